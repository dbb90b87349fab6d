"""What NAL is worth, on benchmark cells that it never saw: python -m benchmarks.nal TABLE101.npz TABLE201.npz [--fits N].

Prints one JSON document and keeps it as benchmarks/results/nal.json. Without --fits only the shipped predictors are judged.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgenas.architectures.cell import check_cell
from edgenas.architectures.cell_graph import cells_from_graphs, graphs_from_cells
from edgenas.errors import EdgenasError
from edgenas.methods.nal import design, shipped_predictor
from edgenas.methods.nal_evidence import held_out_report, percentile_of
from edgenas.methods.nal_model import LinkPredictor, PredictorCard, write_graphs
from edgenas.methods.nal_table import CellTable, Lesson, lesson, table_from_npz
from edgenas.version import __version__

RESULTS = Path(__file__).parent / "results" / "nal.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table101", type=Path)
    parser.add_argument("table201", type=Path)
    parser.add_argument(
        "--fits", type=int, default=0, help="also fit to this many other random splits, and to 12 epochs"
    )
    parser.add_argument("--design-seeds", type=int, default=5)
    options = parser.parse_args()
    table, full201 = table_from_npz(options.table101), table_from_npz(options.table201, "acc200_test_cifar10")
    seeds = range(options.design_seeds)
    document: dict[str, Any] = {
        "version": __version__,
        "device": platform.processor() or platform.machine(),
        "numpy": np.__version__,
        "table": about(table),
        "shipped": judged(shipped_predictor("nasbench101"), table, split_of_card(table), seeds),
        "nasbench201": judged_201(shipped_predictor("nasbench201"), full201, seeds),
    }
    document["splits"] = [on_other_split(table, table, seed, seeds) for seed in range(1, options.fits + 1)]
    if options.fits:
        early = table_from_npz(options.table101, "val_acc_12ep")
        document["learned_from_12_epochs"] = on_other_split(early, table, 1, seeds)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


def about(table: CellTable) -> dict[str, float]:
    accuracy = 100 * table.accuracy
    marks = {f"percentile_{p}": float(np.percentile(accuracy, p)) for p in (50, 95, 99)}
    return {"cells": len(accuracy), "mean": float(accuracy.mean()), "best": float(accuracy.max()), **marks}


def split_of_card(table: CellTable) -> Lesson:
    return lesson(table, 0.01, shipped_predictor(table.space).card.held_out)


def on_other_split(learned_from: CellTable, judged_by: CellTable, seed: int, seeds: range) -> dict[str, Any]:
    """A fresh fit to a random 80 % of one table, judged by another (the same cells, maybe other accuracies)."""
    from edgenas.training.nal_fit import FitSettings, fit_author, fit_judge

    rows = np.random.default_rng(seed).permutation(len(learned_from.cells))[: round(0.8 * len(learned_from.cells))]
    part = CellTable(
        learned_from.space,
        "split",
        learned_from.column,
        tuple(learned_from.cells[r] for r in rows),
        learned_from.accuracy[rows],
    )
    began = time.monotonic()
    learned = lesson(part, 0.01)
    graphs = graphs_from_cells(part.space, part.cells)
    settings = FitSettings()
    weights = fit_author(part.space, graphs[learned.experts], settings, seed)
    weights |= fit_judge(part.space, graphs, learned.standing, learned.levels, settings, seed)
    seconds = time.monotonic() - began
    card = PredictorCard(
        part.space, settings.heads, learned.levels, "split", part.column, len(rows), len(learned.experts), 0
    )
    whole = Lesson(rows, learned.standing, rows[learned.experts], learned.levels)
    return {"fit_seconds": seconds, "column": part.column} | judged(
        LinkPredictor(card, weights), judged_by, whole, seeds
    )


def judged(predictor: LinkPredictor, table: CellTable, learned: Lesson, seeds: range) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    loose = cells_from_graphs("nasbench101", write_graphs(predictor, 2000, rng, bound=False))
    return {
        "held_out": held_out_report(predictor, table, learned),
        "valid_without_bounds": float(np.mean([is_valid(cell) for cell in loose])),
        "designs": [designed(predictor, table, learned, count, seed) for count in (2000, 3000) for seed in seeds],
    }


def designed(predictor: LinkPredictor, table: CellTable, learned: Lesson, count: int, seed: int) -> dict[str, Any]:
    """`count` distinct designs, looked up in the table; random cells with the same numbers of edges beside them."""
    began = time.monotonic()
    found = design(predictor, "nasbench101", count, seed)
    seconds = time.monotonic() - began
    row_of = {cell: row for row, cell in enumerate(table.cells)}
    rows = np.array([row_of[cell] for cell in found.cells if cell in row_of])  # type: ignore[index]
    unseen = np.setdiff1d(rows, learned.seen)
    edges = np.array([np.sum(cell.matrix) for cell in table.cells])  # type: ignore[union-attr]
    alike = np.mean([table.accuracy[edges == edges[row]].mean() for row in rows])
    result: dict[str, Any] = {"n": count, "seed": seed, "seconds": round(seconds, 2), "drawn": found.drawn}
    result["valid_before_repair"] = found.valid / found.drawn
    result["share_in_table"] = len(rows) / count
    for name, some in (("all", rows), ("unseen", unseen)):
        values = table.accuracy[some]
        mean = float(values.mean())
        result[name] = {"found": len(some), "mean": 100 * mean, "best": 100 * float(values.max())}
        result[name]["percentile_of_mean"] = percentile_of(mean, table.accuracy)
    result["random_with_the_same_edges"] = 100 * float(alike)
    return result


def judged_201(predictor: LinkPredictor, full: CellTable, seeds: range) -> dict[str, Any]:
    """Learned from 12-epoch validation accuracy, judged by the 200-epoch test accuracy."""
    accuracy = dict(zip(full.cells, full.accuracy.tolist(), strict=True))
    rows = []
    for seed in seeds:
        values = [accuracy[cell] for cell in design(predictor, "nasbench201", 50, seed).cells]  # type: ignore[index]
        mean = float(np.mean(values))
        rows.append(
            {
                "n": 50,
                "seed": seed,
                "mean": mean,
                "best": max(values),
                "percentile_of_mean": percentile_of(mean, full.accuracy),
            }
        )
    return {"table_mean": float(full.accuracy.mean()), "table_best": float(full.accuracy.max()), "designs": rows}


def is_valid(cell: Any) -> bool:
    try:
        check_cell(cell)
    except EdgenasError:
        return False
    return True


if __name__ == "__main__":
    main()
