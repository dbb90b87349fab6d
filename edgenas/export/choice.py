"""Which precision of a bundle is the one to serve: by the target's prediction, or else by measurement here."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edgenas.hardware.measure import Timing, latency_from_measurement, measure
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import HOST_CPU
from edgenas.hardware.words import latency_words
from edgenas.hardware.worker import Load
from edgenas.records import Architecture, HardwareProfile, Latency, Precision


def measured_latencies(models: Mapping[Precision, bytes], timing: Timing, batch: int = 1) -> dict[Precision, Latency]:
    """Latency of one run of `batch` images of every file on this machine, one thread, taken in turns."""
    measurements = measure(list(models.values()), Load("", batch_size=batch), timing, HOST_CPU)
    return {
        precision: latency_from_measurement(msgspec.structs.replace(measurement, precision=precision))
        for precision, measurement in zip(models, measurements, strict=True)
    }


def predicted_latencies(
    profile: HardwareProfile,
    architecture: Architecture,
    precisions: tuple[Precision, ...],
    notes: list[str],
    batch: int = 1,
) -> dict[Precision, Latency]:
    """What the target's profile expects of each precision, for one run of `batch` images; nothing for this machine, which is
    measured."""
    if profile.name == HOST_CPU:
        return {}
    found: dict[Precision, Latency] = {}
    at_batch = msgspec.structs.replace(profile, batch_size=batch)  # which it only tells
    for precision in precisions:
        if precision not in profile.precisions:
            notes.append(f"{profile.name} has no {precision}")
            continue
        (found[precision],) = latencies(at_batch, [Row("the network", architecture, batch=batch)], precision)
    return found


def chosen_precision(
    possible: tuple[Precision, ...], evidence: Mapping[Precision, Latency], notes: list[str]
) -> Precision:
    """The fastest of those that there is evidence of."""
    choice = min((p for p in possible if p in evidence), key=lambda p: evidence[p].ms)
    latency = evidence[choice]
    notes.append(f"{choice} was chosen: {latency_words(latency)} on {latency.profile}")
    return choice
