"""What a study has measured, as rows to calibrate on: a search with --board, or on host-cpu, is a calibration for free."""

from __future__ import annotations

import msgspec

from edgenas.errors import StudyError
from edgenas.hardware.calibrate import profile_to_calibrate
from edgenas.hardware.calibration import Calibrated, as_it_ran, calibration, unstable
from edgenas.hardware.candidates import KIND
from edgenas.hardware.measure import SPREAD_TO_DEVIATION, spread
from edgenas.hardware.predictor import Row
from edgenas.hardware.profile import profiles_of
from edgenas.records import Architecture, HardwareProfile, Latency, Measurement, Precision
from edgenas.store import Store


def calibration_of_study(
    store: Store,
    target: str | None = None,
    *,
    new: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Calibrated:
    """The profile of `target` (or of a `new` device) calibrated on what the study measured, with the threads and the power mode
    of these measurements. Raises StudyError where it measured nothing, or by another runtime than the profile describes."""
    rows = rows_from_study(store)
    taken = _measurements(store, profiles_of(store.study)[0].name)
    profile = profile_to_calibrate(target, new, runtime, precision)
    for other in sorted({one.runtime.split(" ")[0] for one in taken} - {profile.runtime}):
        mend = f"give --new NAME --runtime {other}" if target else f"say --runtime {other}"
        raise StudyError(
            f"{store.folder} was measured by {other}, and {profile.name} describes {profile.runtime}: {mend}, or choose a target "
            f"of {other}"
        )
    result = calibration(
        rows,
        target,
        new=new,
        runtime=runtime,
        precision=precision,
        samples=samples,
        seed=seed,
        source=f"study {store.folder.name}",
    )
    result = msgspec.structs.replace(result, warnings=(*unstable(rows, len(rows)), *result.warnings))
    if not taken:
        return result
    version, detail = taken[0].runtime.partition(" ")[2], taken[0].detail
    measured = as_it_ran(result.profile, version, detail["settings"], detail["device"]["before"])
    return msgspec.structs.replace(result, profile=measured)


def _measurements(store: Store, target: str) -> list[Measurement]:
    """Of the study's candidates, and of the reference network."""
    return [one for one in store.all(KIND, Measurement).values() if one.profile == target]


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
