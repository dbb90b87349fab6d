"""What is known of devices and networks without a search: `edgenas.predict`, `describe`, `targets`, `calibrate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from edgenas.api.arguments import File
from edgenas.hardware.calibration import Calibrated, calibration
from edgenas.hardware.description import Description, description
from edgenas.hardware.prediction import Asked, Prediction, predictions
from edgenas.hardware.targets import Target
from edgenas.hardware.targets import targets as all_targets
from edgenas.records import Architecture, HardwareProfile, Workload


@overload
def predict(
    network: Architecture | Workload,
    target: File | HardwareProfile,
    *,
    precision: str | None = ...,
    batch: int | None = ...,
    shapes: Mapping[str, tuple[int, ...]] | None = ...,
) -> Prediction: ...


@overload
def predict(
    network: Asked | Sequence[Asked],
    target: File | HardwareProfile,
    *,
    precision: str | None = ...,
    batch: int | None = ...,
    shapes: Mapping[str, tuple[int, ...]] | None = ...,
) -> Any: ...


def predict(
    network: Asked | Sequence[Asked],
    target: File | HardwareProfile,
    *,
    precision: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Any:
    """The latency of a network on a device that is not here: a `Prediction`; of a CSV or of several networks a list of them.

    `network`: an ONNX file, an architecture, a workload, `torchvision:NAME`, a CSV with a column `architecture`. `batch`: images
    per run. `shapes`: sizes of ONNX inputs with free sides.
    """
    from edgenas.networks.zoo import row_from_zoo

    found = predictions(network, target, precision, batch, shapes, row_from_zoo)
    several = not isinstance(network, str | Path | Architecture) and isinstance(network, Sequence)
    table = isinstance(network, str | Path) and str(network).lower().endswith(".csv")
    return list(found) if several or table else found[0]


def describe(
    network: File | Architecture,
    *,
    target: File | HardwareProfile | None = None,
    precision: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Description:
    """A network layer by layer: kernels as the runtime launches them, parameters, MACs, bytes, and its latency on a target."""
    return description(network, target, precision, shapes)


def targets() -> tuple[Target, ...]:
    """The devices that are known, with what their latencies rest on."""
    return all_targets()


def calibrate(
    measured: File | Sequence[File],
    target: str | None = None,
    *,
    out: File | None = None,
    new: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Calibrated:
    """Fit a target's profile (or that of a `new` device) on measured networks; `out`: a TOML file for it."""
    from edgenas.hardware.profile import write_profile
    from edgenas.networks.zoo import row_from_zoo

    found = calibration(
        measured, target, new=new, runtime=runtime, precision=precision, samples=samples, seed=seed, shapes=shapes,
        zoo=row_from_zoo,
    )  # fmt: skip
    if out is not None:
        write_profile(found.profile, Path(out))
    return found
