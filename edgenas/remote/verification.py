"""What a board says of a finished network, held against its limit and against what the search was told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.bundle import Bundle
from edgenas.hardware.candidates import model_from_architecture
from edgenas.hardware.measure import BENCH, Timing, percentiles
from edgenas.records import HardwareProfile, Latency, Limits, Measurement, Origin, Precision, Record, Trial
from edgenas.remote.job import job_for

if TYPE_CHECKING:
    from edgenas.remote.client import Board

REPEATS = 0.1  # two calm measurements of one network on one board differ by less


class Times(Record, frozen=True):
    """Of one measurement: median and p90 in ms, energy per run where the board has sensors."""

    median: float
    p90: float
    energy_mj: float | None


class Verified(Record, frozen=True):
    """One network on the board.

    `predicted`, `origin`, `interval`: the latency that the search went by, None where it knew none of this precision;
    `ratio`: measured over that; `beyond`: is it outside of the interval (of a measured one: more than 10 % off)? `file` and
    `sha256`: what was measured; a trial's own network with random weights has no file. `holds`: every limit.
    """

    trial: int | None
    predicted: float | None
    origin: Origin | None
    measured: Times
    runtime: str
    precision: str
    status: str
    warnings: tuple[str, ...]
    limit: float | None
    energy_limit: float | None
    holds: bool
    file: str | None = None
    sha256: str = ""
    interval: tuple[float, float] | None = None
    ratio: float | None = None
    beyond: bool | None = None


def verified_trial(
    trial: Trial,
    board: Board,
    runtime: str,
    profile: HardwareProfile,
    precision: Precision,
    limits: Limits,
    timing: Timing = BENCH,
) -> Verified:
    """A trial's network with random weights, in the precision of its study (fp32 or fp16); `runtime`: the board's."""
    model = model_from_architecture(trial.candidate.architecture, profile, precision)
    measurement = board.measure(model, job_for(model, profile.name, timing, runtime=runtime))
    return _verified(measurement, trial.cost.latencies[profile.name], limits, trial.number, None)


def verified_bundle(
    bundle: Bundle,
    board: Board,
    runtime: str,
    profile: HardwareProfile,
    precisions: tuple[Precision, ...],
    trial: Trial | None = None,
    limits: Limits = Limits(),
    timing: Timing = BENCH,
) -> list[Verified]:
    """Every file of these precisions as it lies in the bundle. `limits`: the study's, if one is named; `trial`: its own of this
    network, if it has searched it."""
    found = []
    for precision in precisions:
        path, known = bundle.path(precision), bundle.manifest.models[precision].latencies
        content = path.read_bytes()
        measurement = board.measure(
            content,
            job_for(content, profile.name, timing, batch_size=bundle.manifest.batch or 1, runtime=runtime),
        )
        told = [latency for latency in known if latency.profile == profile.name]
        if trial is not None and profile.name in trial.cost.latencies:
            searched = trial.cost.latencies[profile.name]
            told = [searched, *told] if searched.precision in (None, precision) else told
        number = None if trial is None else trial.number
        found.append(_verified(measurement, told[0] if told else None, limits, number, path))
    return found


def _verified(
    measurement: Measurement, searched: Latency | None, limits: Limits, trial: int | None, file: Path | None
) -> Verified:
    ms, energy = percentiles(measurement), measurement.detail.get("energy_mj")
    slow = limits.latency_ms is not None and ms["median"] > limits.latency_ms
    hungry = limits.energy_mj is not None and energy is not None and energy > limits.energy_mj
    interval = None if searched is None else interval_to_hold(searched)
    return Verified(
        trial=trial,
        predicted=None if searched is None else searched.ms,
        origin=None if searched is None else searched.origin,
        measured=Times(ms["median"], ms["p90"], energy),
        runtime=measurement.runtime,
        precision=measurement.precision,
        status=measurement.status,
        warnings=tuple(measurement.detail["warnings"]),
        limit=limits.latency_ms,
        energy_limit=limits.energy_mj,
        holds=not slow and not hungry,
        file=None if file is None else file.name,
        sha256=measurement.detail.get("sha256", ""),
        interval=interval,
        ratio=None if searched is None else ms["median"] / searched.ms,
        beyond=None if interval is None else not interval[0] <= ms["median"] <= interval[1],
    )


def interval_to_hold(latency: Latency) -> tuple[float, float] | None:
    """Where another measurement should lie; None where that was never found out."""
    if latency.low is not None and latency.high is not None:
        return latency.low, latency.high
    return (latency.ms * (1 - REPEATS), latency.ms * (1 + REPEATS)) if latency.origin == "measured" else None
