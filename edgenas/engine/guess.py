"""What a network may cost, where latencies are measured: for methods that look at many networks before they ask for one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import HOST_CPU
from edgenas.methods import CostOf
from edgenas.records import Architecture, Cost, HardwareProfile, Latency, Limits, Precision

# A core of some processor; a method scales guesses by what it measures.
MACS_PER_MS, BYTES_PER_MS = 2e6, 5e6


def guess_of(
    profiles: Sequence[HardwareProfile], precision: Precision | None, limits: Limits, measured: str
) -> CostOf:  # fmt: skip
    """Costs with predicted latencies; for `measured`, where nothing predicts it, one in proportion to MACs and bytes moved."""
    model = CostModel(profiles, precision, limits, measured=HOST_CPU)  # which no profile predicts

    def guess(network: Architecture) -> Cost:
        cost = model(network)
        if measured in cost.latencies:
            return cost
        ms = cost.macs / MACS_PER_MS + cost.bytes_moved / BYTES_PER_MS
        return msgspec.structs.replace(
            cost, latencies={**cost.latencies, measured: Latency(ms, "predicted", measured)}
        )  # fmt: skip

    return guess
