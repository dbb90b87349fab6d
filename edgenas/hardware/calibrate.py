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
from edgenas.hardware.intervals import held_out
from edgenas.hardware.kernel_model import KernelModel, fit_kernels
from edgenas.hardware.kernels import datasheet_prices
from edgenas.hardware.least_squares import Array
from edgenas.hardware.plausible import doubts
from edgenas.hardware.predictor import (
    BLOCKS,
    CELLS,
    Models,
    Row,
    kind_of_row,
    latencies,
    loads_of_rows,
    space_of,
    tiles_of_profile,
)
from edgenas.hardware.profile import (
    CALIBRATED_HOST,
    HOST_CPU,
    checked_precision,
    precision_of,
    profile_from_name,
    profiles_folder,
)
from edgenas.records import Architecture, Calibration, Confidence, HardwareProfile, HeldOut, Precision, Record, Workload
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
    """The existing profile without its fit and the notes on it, or a bare one for a new device, at the precision that was
    measured. By the name host-cpu this machine is measured: what is to predict it gets another, and is given no such one."""
    asked = checked_precision(precision)
    if (target is None) == (new is None):
        raise EdgenasError(
            "say which device was measured: either --target NAME, or --new NAME --runtime R --precision P"
        )
    if target is not None:
        if runtime is not None:
            raise EdgenasError("--runtime belongs to --new: a target has its own")
        profile = profile_from_name(target)
        bare = msgspec.structs.replace(profile, precision=precision_of(profile, asked), calibration=None, notes="")
        if profile.name == HOST_CPU:
            return msgspec.structs.replace(bare, name=CALIBRATED_HOST, aliases=(), sources={})
        return bare
    if runtime is None or asked is None:
        raise EdgenasError("a new device needs --runtime (onnxruntime, tensorrt or another) and --precision")
    if new == HOST_CPU:
        raise EdgenasError(
            f"--new {HOST_CPU}: by that name this machine is measured, not predicted: name it {CALIBRATED_HOST}"
        )
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


def fitted_models(
    profile: HardwareProfile, rows: Sequence[Row], seed: int, others: KnownDevices | None = None
) -> Models:
    """Fit what these rows allow, each at the precision that it ran in; `others` help in spaces with few rows."""
    own = rows_by_precision(profile, rows).get(profile.precision, [])
    spaces = {space_of(row.network) for row in own if row.batch == 1} - {""}
    cells, blocks = {}, {}
    for space in sorted(spaces):
        there = [row for row in own if row.batch == 1 and space_of(row.network) == space]
        if len(there) < MIN_SAMPLES:
            continue
        ms = np.array([row.ms for row in there])
        few = others if len(there) < FEW[space.split()[0]] else None
        if space.startswith(CELLS):
            networks = [row.cell for row in there]
            model = fit_cells(networks, ms)
            known_cells = list(few.cells.get(space, {}).values()) if few else []
            cells[space] = model.helped_by(known_cells, networks, ms) if known_cells else model
        else:
            workloads = [row.workload for row in there]
            block = fit_blocks(workloads, ms)
            known_blocks = list(few.blocks.get(space, {}).values()) if few else []
            blocks[space] = block.helped_by(known_blocks, workloads, ms) if known_blocks else block
    kernels = _fit_kernels(profile, profile.precision, _prior(profile), own, seed)
    return Models(kernels, cells, blocks, _fit_other_precisions(profile, kernels, rows, seed))


def precision_that_ran(profile: HardwareProfile, row: Row) -> Precision:
    """What a measured row ran in: what it says, what its file computes in, or what is being calibrated."""
    return row.ran_in or (profile.precision if row.precision == "fp32" else row.precision)


def rows_by_precision(profile: HardwareProfile, rows: Sequence[Row]) -> dict[Precision, list[Row]]:
    """The measured rows by what they ran in."""
    found: dict[Precision, list[Row]] = {}
    for row in rows:
        found.setdefault(precision_that_ran(profile, row), []).append(row)
    return found


def _fit_other_precisions(
    profile: HardwareProfile, kernels: KernelModel | None, rows: Sequence[Row], seed: int
) -> dict[Precision, KernelModel]:
    """Prices at every other precision that was measured, from where the own precision's would be by the datasheet."""
    found: dict[Precision, KernelModel] = {}
    for precision, there in sorted(rows_by_precision(profile, rows).items()):
        if precision == profile.precision:
            continue
        prior = _prior(profile) if kernels is None else kernels.prices
        if _has_datasheet(profile, profile.precision) and _has_datasheet(profile, precision):
            here, then = datasheet_prices(profile, profile.precision), datasheet_prices(profile, precision)
            prior = {name: price * then[name] / here[name] for name, price in prior.items()}
        model = _fit_kernels(profile, precision, prior, there, seed, known=kernels is not None)
        if model is not None:
            found[precision] = model
    return found


def _has_datasheet(profile: HardwareProfile, precision: Precision) -> bool:
    return precision in profile.peaks and profile.bandwidth_gb_s is not None


def _prior(profile: HardwareProfile) -> dict[str, float]:
    """Prices before anything was measured."""
    known = _has_datasheet(profile, profile.precision)
    prior = datasheet_prices(profile, profile.precision) if known else datasheet_prices(NOMINAL, "fp32")
    return prior | {"base": GPU_BASE_MS} if profile.runtime == "tensorrt" else prior


def _fit_kernels(
    profile: HardwareProfile,
    precision: Precision,
    prior: dict[str, float],
    rows: Sequence[Row],
    seed: int,
    *,
    known: bool | None = None,
) -> KernelModel | None:
    """`known`: the prior is of this very device (None = where its datasheet is known)."""
    connected = [row for row in rows if row.connected]
    if not connected:
        return None
    tiles = tiles_of_profile(profile, precision, fitted=True)
    loads = loads_of_rows(connected, tiles, precision)
    ms, noise = np.array([row.ms for row in connected]), np.array([row.noise or 0.0 for row in connected])
    own = _has_datasheet(profile, precision) if known is None else known
    return fit_kernels(loads, ms, prior, known_device=own, seed=seed, noise=noise)


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
    for precision, there in rows_by_precision(profile, rows).items():
        doubts(msgspec.structs.replace(profile, precision=precision), there)
    chosen, held_out_rows = _every_precision_fitted(profile, *split_by_network(rows, samples, seed))
    models = fitted_models(profile, chosen, seed, others)
    card = report_card(profile, models, held_out_rows)
    calibration = Calibration(
        model=", ".join((*models.cells, *models.blocks)) or "kernels",
        parameters=msgspec.to_builtins(models),
        n=_networks(chosen),
        held_out=_networks(held_out_rows),
        source=source,
        date=datetime.date.today().isoformat(),
        judged=judged_by_kind(profile, models, held_out_rows),
        **card,
    )
    confidence = confidence_of(_networks(held_out_rows), card["spearman"])
    sources = {figure: source for figure, source in profile.sources.items() if figure != "error_band"}
    return msgspec.structs.replace(
        profile, calibration=calibration, confidence=confidence, error_band=None, sources=sources
    )


def split_by_network(rows: Sequence[Row], samples: int | None, seed: int) -> tuple[list[Row], list[Row]]:
    """All rows of `samples` random networks (None = four in five), and the rows of all others.

    A network that was measured in several precisions or batches is on one side: the same network is no judge of itself.
    """
    places: dict[Architecture | Workload, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.network, []).append(place)
    groups = list(places.values())
    count = samples if samples is not None else max(MIN_SAMPLES, 4 * len(groups) // 5)
    if not MIN_SAMPLES <= count <= len(groups):
        raise EdgenasError(
            f"cannot calibrate on {count} of {len(groups)} networks: choose --samples {MIN_SAMPLES}..{len(groups)}"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    chosen = sorted(place for group in order[:count] for place in groups[group])
    held_out = sorted(place for group in order[count:] for place in groups[group])
    return [rows[place] for place in chosen], [rows[place] for place in held_out]


def _networks(rows: Sequence[Row]) -> int:
    """How many different ones: a network that ran in several batches or precisions is one."""
    return len({row.network for row in rows})


def _every_precision_fitted(
    profile: HardwareProfile, chosen: list[Row], held_out: list[Row]
) -> tuple[list[Row], list[Row]]:
    """Networks that alone ran in some precision are fitted: what was not fitted cannot be judged."""
    fitted = rows_by_precision(profile, chosen).keys()
    moved = {row.network for row in held_out if precision_that_ran(profile, row) not in fitted}
    chosen = chosen + [row for row in held_out if row.network in moved]
    return chosen, [row for row in held_out if row.network not in moved]


def confidence_of(held_out: int, spearman: float | None) -> Confidence:
    """What a fit may be called: `measured` where it ranked enough networks that it never saw well enough."""
    return "measured" if held_out >= MIN_HELD_OUT and (spearman or 0.0) >= MIN_SPEARMAN else "estimate"


def _refuse_other_precisions(profile: HardwareProfile, rows: Sequence[Row]) -> None:
    """Raise EdgenasError for precisions that the device lacks, or where the one to be calibrated was not measured."""
    for row in rows:
        ran = precision_that_ran(profile, row)
        if row.precision not in ("fp32", ran):
            raise EdgenasError(
                f"{row.name} computes in {row.precision} by its own nodes, and is said to have run in {ran}"
            )
        if ran not in profile.precisions:
            raise EdgenasError(
                f"{row.name} ran in {ran}, and {profile.name} has {' and '.join(profile.precisions)} only: leave its row out"
            )
    measured = {precision_that_ran(profile, row) for row in rows}
    if profile.precision not in measured:
        one = sorted(measured)[0]
        raise EdgenasError(
            f"{profile.precision} is being calibrated, and no row ran in it: say --precision {one} to calibrate {one}"
        )


def report_card(profile: HardwareProfile, models: Models, rows: Sequence[Row]) -> dict[str, Any]:
    """Rank correlations, relative errors and the worst underestimate (fractions) on rows that were not fitted."""
    from scipy.stats import kendalltau, spearmanr

    nothing = dict.fromkeys(("spearman", "kendall", "mape", "within_5", "within_10", "worst_under"))
    if not rows:
        return nothing
    ms = np.array([row.ms for row in rows])
    predicted = _predicted(profile, models, rows)
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


def judged_by_kind(profile: HardwareProfile, models: Models, rows: Sequence[Row]) -> dict[str, HeldOut]:
    """How the models did on rows that they never saw, by precision and kind of network: what intervals are made of."""
    if not rows:
        return {}
    predicted, ms = _predicted(profile, models, rows), np.array([row.ms for row in rows])
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(f"{precision_that_ran(profile, row)} {kind_of_row(row, models)}", []).append(place)
    return {
        name: held_out(predicted[there], ms[there], [rows[place].network for place in there])
        for name, there in sorted(places.items())
    }


def _predicted(profile: HardwareProfile, models: Models, rows: Sequence[Row]) -> Array:
    """Each row at the precision that it ran in; one that was not fitted is predicted as a user's would be, by the datasheet."""
    whole = msgspec.structs.replace(profile, calibration=_bare(models))
    ms = np.zeros(len(rows))
    for precision in {precision_that_ran(profile, row) for row in rows}:
        places = [place for place, row in enumerate(rows) if precision_that_ran(profile, row) == precision]
        ms[places] = [latency.ms for latency in latencies(whole, [rows[place] for place in places], precision)]
    return ms


def _bare(models: Models) -> Calibration:
    """The models as a profile holds them, before they are judged."""
    parameters = msgspec.to_builtins(models)
    return Calibration("", parameters, 0, 0, None, None, None, None, None, None, source="", date="")
