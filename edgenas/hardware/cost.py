"""What a candidate costs, known before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import HOST_CPU, precision_of
from edgenas.records import Architecture, Cost, HardwareProfile, Latency, Limits, Precision, Workload

Measure = Callable[[Architecture, Workload], Latency]


class CostModel:
    """Architecture -> Cost on all targets, remembered.

    `measure` answers in place of the prediction for the profile named `measured` (None = the first): host-cpu, or one
    with a board; it is not asked about a candidate that breaks another limit already. Without `measure` costs have no latency
    on `measured`: it is not known yet. `precision` None = each profile's.
    """

    def __init__(
        self,
        profiles: Sequence[HardwareProfile],
        precision: Precision | None,
        limits: Limits,
        measure: Measure | None = None,
        measured: str | None = None,
    ) -> None:
        self.profiles = tuple(profiles)
        self.limits = limits
        self._precisions = {profile.name: precision_of(profile, precision) for profile in profiles}
        if "tf32" in self._precisions.values():
            raise EdgenasError(
                "candidates are judged at what is deployed, and EdgeNAS's engines have TF32 off: choose --precision fp32, fp16 "
                "or int8 (predict knows tf32)"
            )
        self._measure = measure
        self.measured = measured or (profiles[0].name if measure else None)
        self._known: dict[Architecture, Cost] = {}

    def prepare(self, architectures: Iterable[Architecture]) -> None:
        """Let boards measure ahead what will be asked for soon."""
        if prepare := getattr(self._measure, "prepare", None):
            prepare(architecture for architecture in architectures if architecture not in self._known)

    def __call__(self, architecture: Architecture) -> Cost:
        if architecture not in self._known:
            self._known[architecture] = self._cost(architecture)
        return self._known[architecture]

    def _cost(self, architecture: Architecture) -> Cost:
        workload = workload_from_architecture(architecture)
        latencies = {
            profile.name: latency_from_workload(profile, architecture, self._precisions[profile.name])
            for profile in self.profiles
            if profile.name != self.measured
        }
        cost = counted(workload, self._precisions.values(), latencies)
        if self._measure is None or self.limits.broken(cost):
            return cost
        latency = self._measure(architecture, workload)
        return msgspec.structs.replace(cost, latencies={**cost.latencies, latency.profile: latency})


def measured_target(profiles: Sequence[HardwareProfile], boards: bool) -> str | None:
    """The target whose latencies a search measures: the one with boards, or this machine; None where all are predicted."""
    if boards:
        return profiles[0].name
    return HOST_CPU if any(profile.name == HOST_CPU for profile in profiles) else None


def counted(workload: Workload, precisions: Collection[Precision], latencies: dict[str, Latency]) -> Cost:
    """What is counted, at the widest of the targets' precisions, beside these latencies."""
    widest = max(precisions, key=("int8", "fp16", "fp32").index, default="fp32")
    return Cost(
        params=workload.params,
        macs=workload.macs,
        bytes_moved=workload.bytes_moved,
        size_mb=workload.size_mb(widest),
        memory_mb=workload.memory_mb(widest),
        latencies=latencies,
    )
