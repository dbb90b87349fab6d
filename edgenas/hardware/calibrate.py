"""Measured networks -> a calibrated profile and its report card.

Which predictors are fitted follows from the rows: one for every space that has its own (NAS-Bench-201, FBNet), and always the
kernels' prices, which answer for all other networks.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edgenas.errors import EdgenasError
from edgenas.hardware.block_model import BlockModel, fit_blocks
from edgenas.hardware.cell_model import CellModel, fit_cells
from edgenas.hardware.kernel_model import KernelModel, fit_kernels
from edgenas.hardware.kernels import datasheet_prices, tiles_of
from edgenas.hardware.plausible import doubts
from edgenas.hardware.predictor import BLOCKS, CELLS, Models, Row, loads_of_rows, predict, space_of
from edgenas.hardware.profile import checked_precision, precision_of, profile_from_name, profiles_folder
from edgenas.records import Calibration, Confidence, HardwareProfile, Record
from edgenas.store import read_json

MIN_SAMPLES = 3
MIN_HELD_OUT = 8
MIN_SPEARMAN = 0.9
GPU_BASE_MS = 0.5  # what handing over the input and waiting for a GPU may take; weakly held
FEW = {CELLS: 10, BLOCKS: 5}  # rows from which on other devices do not help
NOMINAL = HardwareProfile("", "", "", "", "fp32", "estimate", peaks={"fp32": 0.1}, bandwidth_gb_s=10.0)


def profile_to_calibrate(
    target: str | None, new: str | None, runtime: str | None, precision: str | None
) -> HardwareProfile:
    """The existing profile, or a bare one for a new device, at the precision that was measured."""
    asked = checked_precision(precision)
    if (target is None) == (new is None):
        raise EdgenasError(
            "say which device was measured: either --target NAME, or --new NAME --runtime R --precision P"
        )
    if target is not None:
        if runtime is not None:
            raise EdgenasError("--runtime belongs to --new: a target has its own")
        profile = profile_from_name(target)
        return msgspec.structs.replace(profile, precision=precision_of(profile, asked), calibration=None)
    if runtime is None or asked is None:
        raise EdgenasError("a new device needs --runtime (onnxruntime, tensorrt or another) and --precision")
    return HardwareProfile(str(new), str(new), runtime, "", asked, "estimate", precisions=(asked,))


class KnownDevices(Record, frozen=True):
    """Fitted predictors of measured devices by space and device, numbers only: what a new device is compared with."""

    cells: dict[str, dict[str, CellModel]]
    blocks: dict[str, dict[str, BlockModel]]


@functools.cache
def known_devices() -> KnownDevices:
    """The fitted predictors that come with EdgeNAS."""
    return read_json(profiles_folder() / "known-devices.json", KnownDevices)


# ---------------------------------------------------------------- fitting


def fit(profile: HardwareProfile, rows: Sequence[Row], seed: int, others: KnownDevices | None = None) -> Models:
    """Fit what these rows allow; `others` help in spaces with few rows."""
    spaces = {space_of(row.network) for row in rows if row.batch == 1} - {""}
    cells, blocks = {}, {}
    for space in sorted(spaces):
        own = [row for row in rows if row.batch == 1 and space_of(row.network) == space]
        if len(own) < MIN_SAMPLES:
            continue
        ms = np.array([row.ms for row in own])
        few = others if len(own) < FEW[space.split()[0]] else None
        if space.startswith(CELLS):
            networks = [row.cell for row in own]
            model = fit_cells(networks, ms)
            known_cells = list(few.cells.get(space, {}).values()) if few else []
            cells[space] = model.helped_by(known_cells, networks, ms) if known_cells else model
        else:
            workloads = [row.workload for row in own]
            block = fit_blocks(workloads, ms)
            known_blocks = list(few.blocks.get(space, {}).values()) if few else []
            blocks[space] = block.helped_by(known_blocks, workloads, ms) if known_blocks else block
    return Models(_fit_kernels(profile, rows, seed), cells, blocks)


def _fit_kernels(profile: HardwareProfile, rows: Sequence[Row], seed: int) -> KernelModel | None:
    connected = [row for row in rows if row.connected]
    if not connected:
        return None
    known = profile.precision in profile.peaks and profile.bandwidth_gb_s is not None
    prior = datasheet_prices(profile, profile.precision) if known else datasheet_prices(NOMINAL, "fp32")
    if profile.runtime == "tensorrt":
        prior["base"] = GPU_BASE_MS
    tiles = tiles_of(profile.runtime, profile.precision, profile.compute_capability, fitted=True)
    loads = loads_of_rows(connected, tiles, profile.precision)
    return fit_kernels(loads, np.array([row.ms for row in connected]), prior, known_device=known, seed=seed)


# ---------------------------------------------------------------- the report card


def calibrate(
    profile: HardwareProfile,
    rows: Sequence[Row],
    samples: int | None,
    seed: int,
    source: str,
    others: KnownDevices | None = None,
) -> HardwareProfile:
    """Fit on `samples` random rows (None = four in five), judge on all the others, and keep both in the profile."""
    if len(rows) < MIN_SAMPLES:
        raise EdgenasError(
            f"cannot calibrate on {len(rows)} measured network{'s' * (len(rows) != 1)}: it takes at least {MIN_SAMPLES}, and "
            f"{MIN_HELD_OUT} more to judge the fit: measure more"
        )
    _refuse_other_precisions(profile, rows)
    doubts(profile, rows)
    count = samples if samples is not None else max(MIN_SAMPLES, 4 * len(rows) // 5)
    if not MIN_SAMPLES <= count <= len(rows):
        raise EdgenasError(
            f"cannot calibrate on {count} of {len(rows)} rows: choose --samples {MIN_SAMPLES}..{len(rows)}"
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    chosen, held_out = [rows[i] for i in sorted(order[:count])], [rows[i] for i in sorted(order[count:])]
    models = fit(profile, chosen, seed, others)
    card = report_card(profile, models, held_out)
    calibration = Calibration(
        model=", ".join((*models.cells, *models.blocks)) or "kernels",
        parameters=msgspec.to_builtins(models),
        n=count,
        held_out=len(held_out),
        source=source,
        date=datetime.date.today().isoformat(),
        **card,
    )
    confidence = confidence_of(len(held_out), card["spearman"])
    return msgspec.structs.replace(profile, calibration=calibration, confidence=confidence, error_band=None)


def confidence_of(held_out: int, spearman: float | None) -> Confidence:
    """What a fit may be called: `measured` where it ranked enough networks that it never saw well enough."""
    return "measured" if held_out >= MIN_HELD_OUT and (spearman or 0.0) >= MIN_SPEARMAN else "estimate"


def _refuse_other_precisions(profile: HardwareProfile, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.precision not in ("fp32", profile.precision):
            raise EdgenasError(
                f"{row.name} computes in {row.precision}, and {profile.precision} is being calibrated: say --precision "
                f"{row.precision}, or leave its row out"
            )


def report_card(profile: HardwareProfile, models: Models, rows: Sequence[Row]) -> dict[str, Any]:
    """Rank correlations, relative errors and the worst underestimate (fractions) on rows that were not fitted."""
    from scipy.stats import kendalltau, spearmanr

    nothing = dict.fromkeys(("spearman", "kendall", "mape", "within_5", "within_10", "worst_under"))
    if not rows:
        return nothing
    ms = np.array([row.ms for row in rows])
    predicted, _ = predict(profile, models, rows)
    error = predicted / ms - 1
    ranked = len(rows) > 1 and np.ptp(ms) > 0 and np.ptp(predicted) > 0
    return {
        "spearman": float(spearmanr(predicted, ms).statistic) if ranked else None,
        "kendall": float(kendalltau(predicted, ms).statistic) if ranked else None,
        "mape": float(np.mean(np.abs(error))),
        "within_5": float(np.mean(np.abs(error) <= 0.05)),
        "within_10": float(np.mean(np.abs(error) <= 0.10)),
        "worst_under": float(max(0.0, -error.min())),
    }
