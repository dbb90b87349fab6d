"""Measurements -> a calibrated profile and what to say of it: behind `edgenas calibrate` and `edgenas.calibrate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgenas.architectures.onnx_file import Shape
from edgenas.errors import EdgenasError
from edgenas.hardware.calibrate import (
    MIN_HELD_OUT,
    MIN_SPEARMAN,
    calibrate,
    known_devices,
    precision_that_ran,
    profile_to_calibrate,
    rows_by_precision,
)
from edgenas.hardware.plausible import doubts, outliers
from edgenas.hardware.predictor import Row
from edgenas.hardware.rows import Zoo, no_zoo, rows_from_files
from edgenas.ranges import check_seed
from edgenas.records import BYTES, Calibration, HardwareProfile, Precision, Record

Measured = str | Path


class Calibrated(Record, frozen=True):
    """A calibrated profile (its report card is `profile.calibration`), and sentences for the person who measured.

    `shortfall`: what the fit lacks to be trusted, "" where it lacks nothing.
    """

    profile: HardwareProfile
    warnings: tuple[str, ...] = ()
    shortfall: str = ""

    @property
    def card(self) -> Calibration:
        """How the fit did on networks that it never saw."""
        assert self.profile.calibration is not None
        return self.profile.calibration


def calibration(
    measured: Measured | Sequence[str | Path] | Sequence[Row],
    target: str | None = None,
    *,
    new: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    shapes: Mapping[str, Shape] | None = None,
    source: str | None = None,
    zoo: Zoo = no_zoo,
) -> Calibrated:
    """Fit the profile of `target` (or of a `new` device with that runtime and precision) on measured networks.

    `measured`: CSVs, logs that name their ONNX file (trtexec's), or rows. `samples` of their networks, chosen by `seed`, are
    fitted (None = four in five), all others judge. `zoo` builds `torchvision:NAME` and `timm:NAME`
    (edgenas.networks.zoo.row_from_zoo). Raises EdgenasError, in one line, for what cannot be measurements of that device.
    """
    check_seed(seed)
    profile = profile_to_calibrate(target, new, runtime, precision)
    several = measured if isinstance(measured, Sequence) and not isinstance(measured, str) else (measured,)
    for one in several:
        if not isinstance(one, str | Path | Row):
            raise EdgenasError(
                f"{one!r:.80} is no file of measurements: give a CSV, a log of trtexec, or a list of them"
            )
    files = [Path(one) for one in several if isinstance(one, str | Path)]
    repeated = rows_from_files(files, shapes, zoo)
    rows = [one for one in several if isinstance(one, Row)] + repeated
    named = ", ".join(file.name for file in files) or f"{len(rows)} rows"
    if new is not None:
        ran = {precision_that_ran(profile, row) for row in rows}
        profile = msgspec.structs.replace(profile, precisions=tuple(p for p in BYTES if p in ran | {profile.precision}))
    together = rows_by_precision(profile, rows)
    warnings = [doubt for p, there in together.items() for doubt in doubts(_at(profile, p), there)] + _spread(repeated)
    result = calibrate(profile, rows, samples, seed, source or named, known_devices())
    warnings += [outlier for p, there in together.items() for outlier in outliers(result, there, p)]
    assert result.calibration is not None
    shortfall = _shortfall(result.calibration) if result.confidence == "estimate" else ""
    return Calibrated(result, tuple(warnings), shortfall)


def as_it_ran(
    profile: HardwareProfile, version: str, load: Mapping[str, Any], device: Mapping[str, Any]
) -> HardwareProfile:
    """The profile with the runtime's version, the threads of a CPU and the power mode that measurements were taken with: `load`
    and `device` as a board says them, and as they stand in every measurement."""
    return msgspec.structs.replace(
        profile,
        runtime_version=version,
        power_mode=str(device.get("power_mode") or profile.power_mode),
        threads=load.get("threads", 1) if load["provider"] == "cpu" else profile.threads,
    )


def _at(profile: HardwareProfile, precision: Precision) -> HardwareProfile:
    return msgspec.structs.replace(profile, precision=precision)


def _spread(rows: Sequence[Row]) -> list[str]:
    noise = [row.noise for row in rows if row.noise is not None]
    if not noise:
        return []
    return [
        f"{len(noise)} networks were measured several times and averaged, or their measurement is unstable: these spread by "
        f"{max(noise):.1%} at most (sd), and count less"
    ]


def unstable(rows: Sequence[Row], measured: int) -> tuple[str, ...]:
    """A sentence where some of so many measurements are not sure."""
    many = sum(row.noise is not None for row in rows)
    told = f"{many} of {measured} measurements are unstable, and count less: a calm board is learned better"
    return (told,) if many else ()


def _shortfall(card: Calibration) -> str:
    said = []
    if card.held_out < MIN_HELD_OUT:
        said.append(
            f"{card.held_out} networks were held out to judge it, {MIN_HELD_OUT} are needed: measure more networks"
        )
    if card.held_out > 1 and (card.spearman is None or card.spearman < MIN_SPEARMAN):
        found = "none can be computed" if card.spearman is None else f"{card.spearman:.2f}"
        said.append(
            f"that takes a held-out Spearman correlation of {MIN_SPEARMAN}, and here it is {found}: the latencies do not follow "
            "the networks; check the table, or measure more networks"
        )
    return "; ".join(said)
