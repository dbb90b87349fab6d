"""Writes what was fitted on published measurements into the shipped profiles: prices, report cards and sources, never a row."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from scipy.stats import kendalltau, spearmanr

from benchmarks.board_rows import Published
from edgenas.hardware.intervals import half_width, held_out, kind_of
from edgenas.hardware.kernel_model import KernelModel
from edgenas.hardware.kernels import datasheet_prices
from edgenas.hardware.predictor import Models, models_of
from edgenas.hardware.profile import profile_from_file, profiles_folder, write_profile
from edgenas.records import Calibration, Evidence, HardwareProfile, HeldOut, Precision

if TYPE_CHECKING:
    from benchmarks.boards import Judged

TODAY = datetime.date.today().isoformat()
SOURCE = "public measurements of whole networks, see evidence"
NOTES = {
    "jetson-tx2": "FP16: whole networks that others measured. NAS-Bench-201 cells: HW-NAS-Bench, whose runtime version is not "
    "stated. FP32 of other networks: the Jetson Nano's efficiencies, never held against a measurement.",
    "jetson-nano-4gb": "FP32: the TensorRT table, and NAS-Bench-201 cells from LatBench's FP32 column. FP16: whole networks that "
    "others measured.",
    "raspberry-pi-4-tflite": "TFLite's latencies, not ONNX Runtime's: EdgeNAS does not run on it. Whole networks, and the cells "
    "and blocks of HW-NAS-Bench, each have their own predictor.",
    "t4": "Nearly all public figures are of Paddle Inference, which is slower than TensorRT's own runtime for small networks.",
}  # fmt: skip
FP32_RELATIVE = "jetson-nano-4gb"  # the only one that was measured in strict FP32
OTHER_FP32 = {"jetson-tx2": FP32_RELATIVE}  # whole networks in FP32, where cells alone were measured
CARRIED = {  # boards that nobody has published for: the family that judges them, and the board whose efficiencies are theirs
    "jetson-orin-nano-4gb": ("Orin", "jetson-orin-nano-8gb"),
    "jetson-orin-nx-8gb": ("Orin", "jetson-orin-nx-16gb"),
    "jetson-agx-orin-32gb": ("Orin", "jetson-agx-orin-64gb"),
    "raspberry-pi-zero-2w": ("ONNX Runtime on Arm", "raspberry-pi-4"),
}


def write_profiles(judged: Mapping[str, Judged]) -> None:
    """Fit every profile again that has published networks, and the modules that are carried from them."""
    for one in judged.values():
        for name in one.boards.profiles:
            path = profiles_folder() / f"{name}.toml"
            write_profile(fitted(profile_from_file(path), one), path)
            print("wrote", path.name)
    for name, (family, relative) in CARRIED.items():
        path = profiles_folder() / f"{name}.toml"
        band = other_boards(judged[family])
        said = f"derived: nine of ten networks on a board of its family ({family}) that the fit saw no row of lie within it"
        changes: dict[str, Any] = {"carried_from": relative, "error_band": round(band - 1, 2)}
        changes["sources"] = {**profile_from_file(path).sources, "error_band": said}
        write_profile(msgspec.structs.replace(profile_from_file(path), **changes), path)
        print("wrote", path.name, f"within a factor of {band:.2f}")


def fitted(profile: HardwareProfile, one: Judged) -> HardwareProfile:
    """The profile with what was fitted on published networks; predictors of its spaces, and other precisions, stay."""
    before = profile.calibration
    kept = models_of(before) if before else Models()
    measured = {row.precision for row in one.rows}
    models = {p: one.family.model(one.theta, profile, p) for p in one.boards.precisions if p in measured}
    own = models.pop(profile.precision, None)
    if own is None and profile.name in OTHER_FP32:
        own = prices_of_relative(profile, OTHER_FP32[profile.name])
    parameters = Models(own or kept.kernels, kept.cells, kept.blocks, {**kept.precisions, **models})
    cards = {name: card for name, card in (before.judged if before else {}).items() if stays(name, one, own)}
    cards |= cards_of(one)
    places = [place for place, row in enumerate(one.rows) if row.device == profile.name]
    card = headline(one, places, profile.precision) if profile.precision in measured else head_of(before)
    calibration = Calibration(
        model=", ".join((*kept.cells, *kept.blocks)) or "kernels",
        parameters=msgspec.to_builtins(parameters),
        date=TODAY,
        judged=dict(sorted(cards.items())),
        evidence=evidence(one, places),
        **card,
    )
    return msgspec.structs.replace(
        profile,
        calibration=calibration,
        confidence="measured" if own is None else "published",
        error_band=None,
        carried_from=FP32_RELATIVE if "tensorrt" in profile.runtime and own is not None else "",
        notes=NOTES.get(profile.name, profile.notes),
        sources={name: said for name, said in profile.sources.items() if name != "error_band"},
    )


def stays(name: str, one: Judged, own: KernelModel | None) -> bool:
    """Does an earlier card still say something of what the profile predicts now?"""
    precision, kind = name.split(" ", 1)
    if kind in ("cell", "block"):
        return True
    return own is None and all(row.precision != precision for row in one.rows)


def cards_of(one: Judged) -> dict[str, HeldOut]:
    """What a design that the fit never saw is missed by, over all boards of the family, by precision and kind of network."""
    places: dict[str, list[int]] = {}
    for place, (row, workload) in enumerate(zip(one.rows, one.workloads, strict=True)):
        places.setdefault(f"{row.precision} {kind_of(workload)}", []).append(place)
    found = {}
    for name, there in places.items():
        ms = np.array([one.rows[place].ms for place in there])
        networks = [(one.rows[place].device, one.rows[place].network) for place in there]
        card = held_out(one.held_out["design"][there], ms, networks)
        ranks = [
            ranked(one, [place for place in there if one.rows[place].device == device])
            for device in one.boards.profiles
        ]
        known = [rank for rank in ranks if rank is not None]
        found[name] = msgspec.structs.replace(card, kendall=float(np.mean(known)) if known else None)
    return found


def ranked(one: Judged, places: Sequence[int]) -> float | None:
    """Kendall's tau on one board; None for fewer than three networks."""
    if len({one.rows[place].network for place in places}) < 3:
        return None
    return float(kendalltau(one.held_out["design"][places], [one.rows[place].ms for place in places]).statistic)


def headline(one: Judged, places: Sequence[int], precision: Precision) -> dict[str, Any]:
    """The report card of a profile's own precision: its rows, each predicted by a fit that saw nothing of that design."""
    own = [place for place in places if one.rows[place].precision == precision]
    predicted, ms = one.held_out["design"][own], np.array([one.rows[place].ms for place in own])
    error = predicted / ms - 1
    return {
        "n": len({one.rows[place].network for place in own}),
        "held_out": len({one.rows[place].network for place in own}),
        "spearman": float(spearmanr(predicted, ms).statistic),
        "kendall": float(kendalltau(predicted, ms).statistic),
        "mape": float(np.mean(np.abs(error))),
        "within_5": float(np.mean(np.abs(error) <= 0.05)),
        "within_10": float(np.mean(np.abs(error) <= 0.10)),
        "worst_under": float(max(0.0, -error.min())),
        "source": SOURCE,
    }


def head_of(before: Calibration | None) -> dict[str, Any]:
    """The report card that was there: of a precision that the published networks do not have."""
    assert before is not None, "a profile whose own precision nobody has published needs a calibration of its own"
    names = ("n", "held_out", "spearman", "kendall", "mape", "within_5", "within_10", "worst_under", "source")
    return {name: getattr(before, name) for name in names}


def evidence(one: Judged, places: Sequence[int]) -> tuple[Evidence, ...]:
    """The board's rows by where they were published."""
    groups: dict[tuple[str, str, Precision, str], list[Published]] = {}
    for place in places:
        row = one.rows[place]
        groups.setdefault((row.repository, row.source.partition("@")[2], row.precision, row.what), []).append(row)
    return tuple(
        Evidence(source_of(rows), precision, len({row.network for row in rows}), len(rows), what)
        for (_, _, precision, what), rows in sorted(groups.items())
    )


def source_of(rows: Sequence[Published]) -> str:
    """Repository:path@commit; several files of one commit by the beginning of their paths."""
    paths = sorted({row.source.partition("@")[0] for row in rows})
    commit = rows[0].source.partition("@")[2]
    path = paths[0] if len(paths) == 1 else f"{os.path.commonpath(paths)}/*"
    return f"{path}@{commit}" if commit else path


def prices_of_relative(profile: HardwareProfile, relative: str) -> KernelModel:
    """A relative's fitted prices at this device's datasheet; its residual belongs to its own networks."""
    other = profile_from_file(profiles_folder() / f"{relative}.toml")
    assert other.calibration is not None
    kernels = models_of(other.calibration).kernels
    assert kernels is not None
    here, there = datasheet_prices(profile, profile.precision), datasheet_prices(other, profile.precision)
    prices = {name: price * here[name] / there[name] for name, price in kernels.prices.items()}
    return KernelModel(prices, kernels.largest)


def other_boards(one: Judged) -> float:
    """The factor that nine of ten networks of a board stay within, when its rows were not fitted."""
    predicted, ms = one.held_out["board"], np.array([row.ms for row in one.rows])
    known = np.flatnonzero(~np.isnan(predicted))
    networks = [(one.rows[place].device, one.rows[place].network) for place in known]
    return float(np.exp(half_width(np.abs(np.log(predicted[known] / ms[known])), networks)))
