"""A profile that has learned a board from a few networks of one study's own space, and how sure it is of others there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from edgenas.hardware.calibrate import KnownDevices, fitted_models, known_devices
from edgenas.hardware.intervals import held_out
from edgenas.hardware.predictor import Models, Row, kind_of_row, latencies
from edgenas.records import Calibration, HardwareProfile, HeldOut, Latency, Limits, Precision

FIRST = 10  # networks that are measured before anything is predicted
FOLDS = 5
# A network wrongly refused is lost; one wrongly let in may become a finalist, and these are measured (benchmarks/sparing.py).
OVER, UNDER = 0.8, 0.4


def learned_from(measured: int) -> int:
    """Of that many measured networks, in the order of asking, how many predictions rest on: 0, 10, 20, 40, ..."""
    first = 0 if measured < FIRST else FIRST
    while first and 2 * first <= measured:
        first *= 2
    return first


def learned_profile(
    profile: HardwareProfile, rows: Sequence[Row], precision: Precision, seed: int, others: KnownDevices | None = None
) -> HardwareProfile:
    """The profile fitted on all measured `rows`; each is judged by a fit without its fold: that is what intervals are made of."""
    own = msgspec.structs.replace(profile, precision=precision, calibration=None)
    known = known_devices() if others is None else others
    predicted = np.zeros(len(rows))
    for fold in range(min(FOLDS, len(rows))):
        predicted[fold::FOLDS] = _without(own, rows, fold, seed, known)
    ms = np.array([row.ms for row in rows])
    models = fitted_models(own, rows, seed, known)
    judged: dict[str, HeldOut] = {}
    for kind in sorted({kind_of_row(row, models) for row in rows}):
        there = [place for place, row in enumerate(rows) if kind_of_row(row, models) == kind]
        judged[f"{precision} {kind}"] = held_out(predicted[there], ms[there], [rows[place].network for place in there])
    calibration = msgspec.structs.replace(
        _bare(models),
        n=len(rows),
        held_out=len(rows),
        mape=float(np.mean(np.abs(predicted / ms - 1))),
        source="this study's own measurements",
        judged=judged,
    )
    return msgspec.structs.replace(own, calibration=calibration, confidence="estimate", error_band=None)


def _without(profile: HardwareProfile, rows: Sequence[Row], fold: int, seed: int, known: KnownDevices) -> list[float]:
    """What the fit on all other rows says of one fold's."""
    others = [row for place, row in enumerate(rows) if place % FOLDS != fold]
    fitted = msgspec.structs.replace(profile, calibration=_bare(fitted_models(profile, others, seed, known)))
    return [latency.ms for latency in latencies(fitted, list(rows[fold::FOLDS]), profile.precision)]


def _bare(models: Models) -> Calibration:
    """The models as a profile holds them, before they are judged."""
    name, parameters = ", ".join((*models.cells, *models.blocks)) or "kernels", msgspec.to_builtins(models)
    return Calibration(name, parameters, 0, 0, None, None, None, None, None, None, source="", date="")


def must_be_measured(latency: Latency, limits: Limits) -> bool:
    """Is the limit so near that the board is asked? Within OVER of the interval below a figure that breaks it, or within UNDER of
    the interval above one that holds it, as ratios. Always where there is no limit or no interval."""
    if limits.latency_ms is None or latency.low is None or latency.high is None:
        return True
    lowest = latency.ms * math.pow(latency.low / latency.ms, OVER)
    highest = latency.ms * math.pow(latency.high / latency.ms, UNDER)
    return lowest <= limits.latency_ms < highest
