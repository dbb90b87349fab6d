"""Measured latencies for a search: what the study knows already is read, the rest is taken now and kept.

A resumed search therefore decides on the numbers that it decided on before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.measure import SEARCH, Say, Timing, latency_from_measurement, measure, no_one, reference_model
from edgenas.hardware.worker import Load
from edgenas.records import Architecture, HardwareProfile, Latency, Measurement, Precision, Workload
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.half import half_from_float
from edgenas.store import Store

KIND = "measurement"
BUILT: tuple[Precision, ...] = ("fp32", "fp16")  # what an untrained candidate can be written in


def measuring_here(
    store: Store,
    profile: HardwareProfile,
    precision: Precision | None = None,
    *,
    timing: Timing = SEARCH,
    say: Say = no_one,
) -> Callable[[Architecture, Workload], Latency]:
    """For `CostModel(measure=...)`: times every candidate on this machine with ONNX Runtime on the CPU, as FP32."""
    if (precision or profile.precision) != "fp32":
        raise EdgenasError(
            f"candidates are measured on {profile.name} as fp32, not {precision}: leave --precision out, or choose a target "
            "without measuring"
        )
    load = Load("", threads=profile.threads)

    def take(model: bytes) -> Measurement:
        return measure([model], load, timing, profile.name, say=say)[0]

    def latency(architecture: Architecture, workload: Workload) -> Latency:
        baseline_ms = baseline(store, profile.name, take)
        key = f"{architecture.fingerprint} {profile.name} fp32"
        measurement = store.get(KIND, key, Measurement)
        if measurement is None:
            measurement = take(model_of(workload, profile))
            store.put(KIND, key, measurement)
        return latency_from_measurement(measurement, baseline_ms)

    return latency


def baseline(store: Store, profile: str, take: Callable[[bytes], Measurement]) -> float:
    """The reference network's median on this target when the study began, in ms; measured and kept at first use."""
    key = f"reference {profile}"
    measurement = store.get(KIND, key, Measurement)
    if measurement is None:
        measurement = take(reference_model())
        store.put(KIND, key, measurement)
    return float(np.median(measurement.samples_ms))


def model_of(workload: Workload, profile: HardwareProfile, precision: Precision = "fp32") -> bytes:
    """What is measured in place of the trained network: the same kernels, seeded random weights, in fp32 or fp16."""
    model = onnx_from_workload(workload, None, profile.onnx_opset, profile.onnx_ir)
    if precision == "tf32":
        raise EdgenasError(
            "a network cannot be measured in tf32, which EdgeNAS's engines have off: choose fp32 or fp16"
        )
    if precision not in BUILT:
        raise EdgenasError(
            f"a candidate cannot be measured in {precision}, whose scales are made from images: export it, and measure the file"
        )
    return bytes((half_from_float(model) if precision == "fp16" else model).SerializeToString())


def model_from_architecture(
    architecture: Architecture, profile: HardwareProfile, precision: Precision = "fp32"
) -> bytes:
    """The ONNX file that a candidate is measured as."""
    return model_of(workload_from_architecture(architecture), profile, precision)
