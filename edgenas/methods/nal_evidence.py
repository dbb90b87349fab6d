"""How well a link predictor knows cells that it never saw: links, operations, ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.cell_graph import OUTPUT_CODE, Graphs, graphs_from_cells, link_features
from edgenas.methods.nal_model import LinkPredictor
from edgenas.methods.nal_table import LEAST_CELLS, CellTable, Lesson


def held_out_report(
    predictor: LinkPredictor, table: CellTable, learned: Lesson, seed: int = 0
) -> dict[str, Any] | None:
    """On the held-out cells: rank correlation, what the best-ranked reach, and how links and operations of experts are told.
    None where they are too few."""
    rows = np.setdiff1d(np.arange(len(table.cells)), learned.seen)
    if len(rows) < LEAST_CELLS:
        return None
    accuracy = table.accuracy[rows]
    graphs = graphs_from_cells(table.space, [table.cells[row] for row in rows])
    order = np.argsort(-predictor.score(graphs), kind="stable")
    top = accuracy[order[: max(1, round(0.007 * len(rows)))]]
    experts = graphs[np.argsort(-accuracy, kind="stable")[: max(8, round(0.01 * len(rows)))]]
    return {
        "n": len(rows),
        "spearman": spearman(-np.argsort(order), accuracy),
        "mean_of_best_ranked": float(top.mean()),
        "percentile_of_best_ranked": percentile_of(float(top.mean()), table.accuracy),
        "experts": told_apart(predictor, experts, seed),
    }


def percentile_of(value: float, accuracy: NDArray[np.float64]) -> float:
    """Share of a table below a value, percent."""
    return 100 * float((accuracy < value).mean())


def told_apart(predictor: LinkPredictor, graphs: Graphs, seed: int = 0) -> dict[str, Any]:
    """Operations: share predicted correctly. Links (NAS-Bench-101): AUC and average precision over all pairs i < j of all
    cells, next to ranking pairs by their sources' degree so far, and at random."""
    right, total = 0, 0
    truth, model, degree = [], [], []
    for vertex in range(1, graphs.ops.shape[1]):
        some = graphs[graphs.sizes > vertex]
        if not len(some):
            continue
        h, logits = predictor.look(some, vertex)
        if predictor.space == "nasbench101" or vertex < graphs.ops.shape[1] - 1:
            right += int((logits.argmax(1) == some.ops[:, vertex]).sum())
            total += len(some)
        if predictor.space != "nasbench101":
            continue
        link = predictor.linker(h, vertex, some.ops[:, vertex])
        for source in range(vertex):
            chosen = some.links[:, source + 1 : vertex, vertex].sum(1)
            model.append(link(source, link_features(some.links, source, chosen, vertex)))
            earlier = some.links[:, :vertex, :vertex]
            degree.append((earlier[:, source].sum(1) + earlier[:, :, source].sum(1)).astype(np.float32))
            truth.append(some.links[:, source, vertex])
    told: dict[str, Any] = {"cells": len(graphs), "operation_accuracy": 100 * right / max(total, 1)}
    told["commonest_operation"] = 100 * _commonest(graphs, predictor.space)
    if truth:
        known = np.concatenate(truth)
        chance = np.random.default_rng(seed).random(len(known))
        for name, values in (("model", np.concatenate(model)), ("degree", np.concatenate(degree)), ("random", chance)):
            told[name] = {"auc": auc(known, values), "average_precision": average_precision(known, values)}
    return told


def _commonest(graphs: Graphs, space: str) -> float:
    """Accuracy of always answering the commonest operation."""
    ops = [op for row, size in zip(graphs.ops, graphs.sizes, strict=True) for op in row[1:size]]
    if space == "nasbench201":
        ops = [op for op in ops if op != OUTPUT_CODE]
    return float(np.bincount(ops).max() / len(ops))


def spearman(a: NDArray[np.number], b: NDArray[np.number]) -> float:
    """Rank correlation, ties sharing their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(a.astype(float), b.astype(float)).statistic)


def auc(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Chance that a true one outranks a false one, ties counting half."""
    from scipy.stats import rankdata

    ranks = rankdata(score)
    positive, negative = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Mean over the true ones of the precision at their score; ties enter together."""
    order = np.argsort(-score, kind="stable")
    hits, values = np.cumsum(truth[order]), score[order]
    ends = np.flatnonzero(np.append(np.diff(values) != 0, True))  # last place of every distinct score
    precision = hits[ends] / (ends + 1)
    gained = np.diff(np.append(0, hits[ends]))
    return float((precision * gained).sum() / truth.sum())
