"""What a study has measured, as rows to calibrate on: a search with --board, or on host-cpu, is a calibration for free."""

from __future__ import annotations

from edgenas.errors import StudyError
from edgenas.hardware.candidates import KIND
from edgenas.hardware.measure import spread
from edgenas.hardware.predictor import Row
from edgenas.hardware.profile import profiles_of
from edgenas.records import Architecture, HardwareProfile, Latency, Measurement, Precision
from edgenas.store import Store

SPREAD_TO_DEVIATION = 1.349  # of a normal distribution: its interquartile range over its standard deviation


def rows_from_study(store: Store, profile: HardwareProfile | None = None) -> list[Row]:
    """Every network that the study measured on `profile` (None = its first), at the latency that it decided by.

    Raises StudyError where it measured none.
    """
    name = (profile or profiles_of(store.study)[0]).name
    taken = store.all(KIND, Measurement)
    found: dict[tuple[Architecture, Precision], Row] = {}
    for trial in store.ledger():
        architecture = trial.candidate.architecture
        latency = trial.cost.latencies.get(name)
        if latency is None or latency.origin != "measured":
            continue
        precision: Precision = latency.precision or "fp32"  # earlier versions measured nothing else
        measurement = taken.get(f"{architecture.fingerprint} {name} {precision}")
        row = Row(
            architecture.fingerprint, architecture, latency.ms, ran_in=precision, noise=_noise(latency, measurement)
        )
        found[architecture, precision] = row
    if not found:
        raise StudyError(
            f"{store.folder} has measured nothing on {name}: search with --board, or for --target host-cpu; or calibrate on a "
            "table (--measurements)"
        )
    return list(found.values())


def _noise(latency: Latency, measurement: Measurement | None) -> float | None:
    """The spread of what was measured while the machine was not calm."""
    if measurement is None or measurement.stable:
        return None if latency.stable else (latency.spread or 0.0) / SPREAD_TO_DEVIATION
    return spread(measurement.samples_ms) / SPREAD_TO_DEVIATION
