"""Milliseconds of a network on a device that is not here: from its workload and the device's prices."""

from __future__ import annotations

import numpy as np

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.kernels import PRICES, datasheet_prices, quantities, tiles_of
from edgenas.hardware.profile import precision_of
from edgenas.records import Architecture, HardwareProfile, Latency, Precision, Workload


def latency_from_workload(
    profile: HardwareProfile, network: Workload | Architecture, precision: Precision | None = None
) -> Latency:
    """Latency of one inference at batch 1, with its origin: `predicted` by a calibrated profile, else `datasheet`."""
    precision = precision_of(profile, precision)
    ms = sum(kernel_latencies_ms(profile, network, precision))
    return Latency(ms, "datasheet", profile.name, detail=conditions(profile, precision))


def kernel_latencies_ms(
    profile: HardwareProfile, network: Workload | Architecture, precision: Precision | None = None
) -> list[float]:
    """What each kernel of the workload contributes, ms, in execution order."""
    precision = precision_of(profile, precision)
    workload = network if isinstance(network, Workload) else workload_from_architecture(network)
    tiles = tiles_of(profile.runtime, precision, profile.compute_capability)
    prices = np.array([_prices(profile, precision)[name] for name in PRICES])
    contributions: list[float] = (quantities(workload, tiles, precision) @ prices).tolist()
    return contributions


def _prices(profile: HardwareProfile, precision: Precision) -> dict[str, float]:
    if precision not in profile.peaks or profile.bandwidth_gb_s is None:
        raise EdgenasError(
            f"{profile.name} has no peak and bandwidth to predict {precision} from: measure on it, or calibrate the profile"
        )
    return datasheet_prices(profile, precision)


def conditions(profile: HardwareProfile, precision: Precision) -> str:
    """Runtime and version, precision, batch size and power mode, for people and manifests."""
    parts = [f"{profile.runtime} {profile.runtime_version}", precision, f"batch {profile.batch_size}"]
    return ", ".join([*parts, profile.power_mode] if profile.power_mode else parts)
