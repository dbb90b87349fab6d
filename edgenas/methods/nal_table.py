"""Tables of cells and their accuracy, which NAL takes its experts from: benchmarks (npz), or the user's own studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.cell import (
    INPUT,
    NASBENCH101_OPS,
    NASBENCH201_OPS,
    OUTPUT,
    Cell,
    canonical_cell,
    family_of,
    live_edges,
)
from edgenas.architectures.cell_graph import GraphCell
from edgenas.errors import EdgenasError
from edgenas.files import read_npz
from edgenas.identity import digest
from edgenas.records import CellArchitecture, DartsCell, Nasbench101Cell, Nasbench201Cell, Trial

DEFAULT_COLUMN = {"nasbench101": "val_acc_108ep", "nasbench201": "acc12_val_cifar10"}
LEVELS = (0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625)
LARGEST = 10**9  # bytes of a table, unpacked; NAS-Bench-101's 423,624 cells take 30 MB
LEAST_CELLS = 8  # below, a ranking says nothing
HELD_OUT = 0.2  # share of a table's cells that a fit is judged on, where nobody asks for another


@dataclass(frozen=True)
class CellTable:
    """Distinct cells in canonical form, and how accurate each was."""

    space: str
    name: str
    column: str
    cells: tuple[GraphCell, ...]
    accuracy: NDArray[np.float64]  # (N,)


@dataclass(frozen=True)
class DartsTable:
    """Distinct DARTS cells of a study, and how accurate each was."""

    name: str
    column: str
    cells: tuple[DartsCell, ...]
    accuracy: NDArray[np.float64]  # (N,)


@dataclass(frozen=True)
class Lesson:
    """What is learned from a table: which rows may be seen, which of them are experts, where each stands."""

    seen: NDArray[np.intp]  # rows of the table, the others are held out
    standing: NDArray[np.float64]  # of the seen rows: share of them that is better; 1 where a limit is broken
    experts: NDArray[np.intp]  # rows of the table
    levels: tuple[float, ...]


def table_from_npz(path: Path, column: str | None = None) -> CellTable:
    """A table laid out like nb101_20000.npz (adj, ops, n_vertices) or nb201.npz (ops, op_names)."""
    arrays = read_npz(path, LARGEST)
    if {"adj", "ops", "n_vertices"} <= set(arrays):
        space, cells = "nasbench101", _rows(path, _nasbench101_rows, arrays)
    elif {"ops", "op_names"} <= set(arrays):
        space, cells = "nasbench201", _rows(path, _nasbench201_rows, arrays)
    else:
        raise EdgenasError(
            f"{path} is no table of cells: it needs adj, ops, n_vertices (NAS-Bench-101) or ops, op_names (201)"
        )
    column = column or DEFAULT_COLUMN[space]
    columns = sorted(name for name, values in arrays.items() if "acc" in name and values.shape == (len(cells),))
    if column not in columns:
        raise EdgenasError(f"{path} has no accuracies {column!r}: it has {', '.join(columns) or 'none'}")
    accuracy = arrays[column]
    if accuracy.dtype.kind not in "fiu" or not np.isfinite(accuracy).all():
        raise EdgenasError(f"{path}: accuracies {column!r} hold something that is no number")
    return cell_table(space, path.name, column, cells, accuracy)


def _rows(
    path: Path, read: Callable[[dict[str, NDArray[Any]]], list[GraphCell]], arrays: dict[str, NDArray[Any]]
) -> list[GraphCell]:
    try:
        return read(arrays)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise EdgenasError(f"{path}: its rows are no cells ({type(error).__name__}: {error})") from error


def table_from_trials(name: str, trials: tuple[Trial, ...], objective: str) -> CellTable | DartsTable:
    """The cells that a study trained, each with its best score (another recipe or seed is another score of the same cell)."""
    scored: list[tuple[Cell, float]] = []
    others: set[str] = set()
    for trial in trials:
        network = trial.candidate.architecture
        if trial.status != "complete":
            continue
        if isinstance(network, CellArchitecture):
            scored.append((network.cell, trial.scores[objective]))
        else:
            others.add(type(network).__name__)
    spaces = {family_of(cell) for cell, _ in scored}
    found = f"{len(scored)} trained cells{' of ' + ' and '.join(sorted(spaces)) if spaces else ''}" + (
        f"; its others are {', '.join(sorted(others))}" if others else ""
    )
    if len(scored) < LEAST_CELLS or len(spaces) != 1:
        raise EdgenasError(
            f"{name} has {found}; NAL learns from at least {LEAST_CELLS} cells of one space: "
            "make them with `edgenas search --method nal`, or fit to an .npz table"
        )
    graph_cells = [cell for cell, _ in scored if not isinstance(cell, DartsCell)]
    if graph_cells:
        return cell_table(spaces.pop(), name, objective, graph_cells, np.array([score for _, score in scored]))
    best: dict[DartsCell, float] = {}
    for cell, score in scored:
        one = canonical_cell(cell)
        assert isinstance(one, DartsCell)
        best[one] = max(score, best.get(one, -np.inf))
    return DartsTable(name, objective, tuple(best), np.array(list(best.values()), np.float64))


def lesson(
    table: CellTable | DartsTable,
    share: float,
    held_out: float = 0.0,
    allowed: Callable[[Cell], bool] | None = None,
) -> Lesson:
    """Experts are the best `share` of the seen cells that `allowed` lets through (a limit on parameters or latency). EdgenasError
    where these are too few."""
    seen = np.flatnonzero([not is_held_out(cell, held_out) for cell in table.cells])
    may = np.array([allowed is None or allowed(table.cells[row]) for row in seen], bool)
    if may.sum() < LEAST_CELLS:
        raise EdgenasError(_too_few(table, len(seen), int(may.sum())))
    worth = np.where(may, table.accuracy[seen], -np.inf)
    order = np.argsort(-worth, kind="stable")
    standing = np.ones(len(seen))
    standing[order[: may.sum()]] = np.arange(may.sum()) / may.sum()
    experts = seen[order[: max(LEAST_CELLS // 2, round(share * may.sum()))]]
    levels = tuple(level for level in LEVELS if level * may.sum() >= 2)
    return Lesson(seen, standing, experts, levels)


def _too_few(table: CellTable | DartsTable, seen: int, within: int) -> str:
    """Why `within` cells are what is left to learn from: limits, held-out cells, or a small table."""
    whole = len(table.cells)
    if within < seen:
        return f"{within} of {seen} cells of {table.name} meet the limits; NAL needs at least {LEAST_CELLS}: raise them"
    if seen < whole:
        return (
            f"{seen} of {whole} cells of {table.name} are left to learn from, the others are held out; NAL needs at least "
            f"{LEAST_CELLS}: hold out less"
        )
    return f"{table.name} has {whole} distinct cells; NAL needs at least {LEAST_CELLS}"


def share_held_out(table: CellTable | DartsTable, asked: float | None, unseen: float) -> float:
    """The share of a table's cells that a fit is judged on: what was asked for; else a fifth, or nothing where that are fewer
    than 8 cells, which are not judged on. `unseen`: the share that the weights which it begins from never saw.

    EdgenasError for a share that they saw a part of, and of DARTS cells, which have no judge."""
    if isinstance(table, DartsTable):
        if asked:
            raise EdgenasError(f"--hold-out {asked:g} is not for DARTS cells, which are not judged: leave it out")
        return 0.0
    if asked is None:
        share = min(HELD_OUT, unseen)
        judged = (cell for cell in table.cells if is_held_out(cell, share))
        return share if len(list(islice(judged, LEAST_CELLS))) == LEAST_CELLS else 0.0
    if asked > unseen:
        raise EdgenasError(
            f"--hold-out {asked:g}: of the cells by which it would be judged, the shipped weights have learned from all but a "
            f"share of {unseen:g}: hold out at most that, or take --start scratch"
        )
    return asked


def is_held_out(cell: Cell, share: float) -> bool:
    """Whether a cell belongs to the share that is never learned from: by the digest of its canonical form, so in every table."""
    return int(digest(cell)[:8], 16) < share * 16**8


def cell_table(
    space: str, name: str, column: str, cells: list[GraphCell], accuracy: NDArray[np.floating[Any]]
) -> CellTable:
    """Distinct cells in canonical form, each with its best accuracy."""
    best: dict[GraphCell, float] = {}
    for cell, value in zip(cells, accuracy.tolist(), strict=True):
        if isinstance(cell, Nasbench201Cell) and not any(live_edges(cell)):
            continue  # its output is a constant
        one = canonical_cell(cell)
        assert not isinstance(one, DartsCell)
        best[one] = max(value, best.get(one, -np.inf))
    return CellTable(space, name, column, tuple(best), np.array(list(best.values()), np.float64))


def _nasbench101_rows(arrays: dict[str, NDArray[Any]]) -> list[GraphCell]:
    names = {-1: INPUT, -2: OUTPUT, **dict(enumerate(NASBENCH101_OPS))}
    if not np.isin(arrays["n_vertices"], range(2, 8)).all():
        raise ValueError("n_vertices must be 2 to 7")
    pairs = np.triu_indices(7, 1)
    bits = arrays["adj"][:, None] >> np.arange(21) & 1
    matrices = np.zeros((len(bits), 7, 7), np.int64)
    matrices[:, pairs[0], pairs[1]] = bits
    cells: list[GraphCell] = []
    for matrix, ops, size in zip(matrices.tolist(), arrays["ops"].tolist(), arrays["n_vertices"].tolist(), strict=True):
        rows = tuple(tuple(row[:size]) for row in matrix[:size])
        cells.append(Nasbench101Cell(rows, tuple(names[op] for op in ops[:size])))
    return cells


def _nasbench201_rows(arrays: dict[str, NDArray[Any]]) -> list[GraphCell]:
    names = [str(name) for name in arrays["op_names"]]
    if not set(names) <= set(NASBENCH201_OPS) or not np.isin(arrays["ops"], range(len(names))).all():
        raise ValueError(f"op_names must be of {', '.join(NASBENCH201_OPS)}, ops numbers below {len(names)}")
    cells: list[GraphCell] = []
    for row in arrays["ops"].tolist():
        a, b, c, d, e, f = (names[code] for code in row)
        cells.append(Nasbench201Cell((a, b, c, d, e, f)))
    return cells
