"""Transfer of what NAL learned in NAS-Bench-101 to DARTS cells: four nodes that read two states each, and seven operations.

NAS-Bench-101 has three operations. Which of DARTS' seven an edge becomes is read from what the author would write next:
  conv3x3   a separable convolution. Where the author would convolve its result by 3x3 again, the window of the two: 5x5. Where it
            would pool its result, the same weights over a wider window: dilated. Each with the author's probability.
  conv1x1   only mixes channels: sep_conv_3x3 on the likelier of the node's edges, a skip on the other.
  maxpool   a pool. No table has both kinds: maximum and average are equally likely, and count nothing in the score.
A fit to a study of DARTS cells knows better: its experts' shares of windows, dilations and averages are then drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.cell import Cell, operations_of, sorted_genotype
from edgenas.architectures.cell_graph import OUTPUT_CODE, Graphs, graphs_from_cells, link_features
from edgenas.errors import EdgenasError
from edgenas.methods.nal_model import LinkPredictor
from edgenas.records import DartsCell, Nasbench101Cell

CONV3X3, CONV1X1, MAXPOOL = range(OUTPUT_CODE + 1, OUTPUT_CODE + 4)
NODES = 4
SURE = 1e-3  # a probability is at least so much, and at most 1 less so much
Genotype = list[tuple[str, int]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Genotypes half written: node k is vertex k + 1 of the graphs; both inputs of a cell stand for the graphs' input."""

    graphs: Graphs
    genotypes: list[Genotype]
    likelihood: Floats = field(repr=False)  # (N,) summed over nodes

    @classmethod
    def none(cls, count: int) -> Drawn:
        graphs = Graphs(np.zeros((count, 7), np.int64), np.zeros((count, 7, 7), bool), np.ones(count, np.int64))
        return cls(graphs, [[] for _ in range(count)], np.zeros(count))


def draw_darts(
    predictor: LinkPredictor, count: int, rng: np.random.Generator, operations: int = 7
) -> list[tuple[Cell, float]]:
    """Normal and reduction cells, with the mean log likelihood of what was drawn. `operations`: 7, or 3 as studies had it that
    began before (sep_conv_3x3, max_pool_3x3, skip_connect)."""
    if operations not in (3, 7):
        raise EdgenasError(f"[rules] darts_operations = {operations}: DARTS designs have 7 operations, or 3")
    normal, first = _draw_genotypes(predictor, count, rng, operations)
    reduce, second = _draw_genotypes(predictor, count, rng, operations)
    scores = ((first + second) / 2).tolist()
    cells = (DartsCell(sorted_genotype(n), sorted_genotype(r)) for n, r in zip(normal, reduce, strict=True))
    return list(zip(cells, scores, strict=True))


# ---------------------------------------------------------------- from DARTS cells


def coarse(genotype: Sequence[tuple[str, int]]) -> Nasbench101Cell:
    """One of a DARTS cell's genotypes as the predictor of NAS-Bench-101 knows it: nodes with one of three operations, and what
    each reads. A node with a convolution is conv3x3, with a skip beside it, or two, conv1x1; of pools (and a skip) maxpool.
    Nodes that no other reads lead to the output."""
    size = NODES + 2
    matrix = [[0] * size for _ in range(size)]
    ops = []
    for node in range(NODES):
        pair = genotype[2 * node : 2 * node + 2]
        names = [name for name, _ in pair]
        skips, convolved = names.count("skip_connect"), any("conv" in name for name in names)
        pooled = any("pool" in name for name in names)
        ops.append("maxpool3x3" if pooled and not convolved else "conv1x1-bn-relu" if skips else "conv3x3-bn-relu")
        for _, source in pair:
            matrix[max(0, source - 1)][node + 1] = 1
    for node in range(1, NODES + 1):
        matrix[node][-1] = int(not any(matrix[node]))
    return Nasbench101Cell(tuple(map(tuple, matrix)), ("input", *ops, "output"))


def graphs_of(cells: Sequence[DartsCell]) -> Graphs:
    """Both genotypes of every cell, for the author to learn from."""
    return graphs_from_cells("nasbench101", [coarse(part) for cell in cells for part in (cell.normal, cell.reduce)])


def kinds_of(cells: Sequence[DartsCell]) -> dict[str, float]:
    """What NAS-Bench-101 does not know, of expert cells: the shares of their convolutions with a window of 5x5 and with a
    dilation, and of their pools that average. One of each is added to what was counted: a few cells prove nothing impossible."""
    ops = [op for cell in cells for op in operations_of(cell)]
    convolutions, pools = ([op for op in ops if what in op] for what in ("conv", "pool"))

    def share(what: str, among: list[str]) -> float:
        return (sum(what in op for op in among) + 1) / (len(among) + 2)

    return {"five": share("5x5", convolutions), "dilated": share("dil", convolutions), "average": share("avg", pools)}


# ---------------------------------------------------------------- drawing


def _draw_genotypes(
    predictor: LinkPredictor, count: int, rng: np.random.Generator, operations: int
) -> tuple[list[Genotype], Floats]:
    drawn = Drawn.none(count)
    for vertex in range(1, NODES + 1):
        two, states = _draw_node(predictor, drawn, vertex, rng)
        names: NDArray[np.str_] | None = None
        if operations == 7:
            names, likelihood = _draw_kinds(predictor, drawn.graphs, vertex, rng)
            drawn.likelihood[:] += likelihood
        for row, sources in enumerate(two.tolist()):
            sources.sort(key=lambda state: -states[row, state])
            op = drawn.graphs.ops[row, vertex]
            first, second = _plain(op) if names is None or op == CONV1X1 else names[row].tolist()
            drawn.genotypes[row] += [(first, sources[0]), (second, sources[1])]
    return drawn.genotypes, drawn.likelihood / (NODES * (3 if operations == 7 else 2))


def _draw_node(
    predictor: LinkPredictor, drawn: Drawn, vertex: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """The operation of a vertex, written into the graphs, and its two states (N, 2) with the log odds of all states."""
    graphs, rows = drawn.graphs, np.arange(len(drawn.graphs))
    h, logits = predictor.look(graphs, vertex)
    operations = logits[:, OUTPUT_CODE + 1 :]
    chosen = (operations + rng.gumbel(size=operations.shape)).argmax(1)
    graphs.ops[:, vertex] = chosen + OUTPUT_CODE + 1
    drawn.likelihood[:] += _log_softmax(operations)[rows, chosen]
    link = predictor.linker(h, vertex, graphs.ops[:, vertex])
    odds = np.stack([link(source, link_features(graphs.links, source, 0, vertex)) for source in range(vertex)], 1)
    states = np.concatenate([odds[:, :1], odds], 1)  # (N, 1 + vertex): DARTS states 0 and 1 are both the input
    two = np.argsort(-(states + rng.gumbel(size=states.shape)), 1)[:, :2]
    drawn.likelihood[:] += -np.logaddexp(0, -np.take_along_axis(states, two, 1)).mean(1)
    for state in two.T:
        graphs.links[rows, np.maximum(state - 1, 0), vertex] = True
    return two, states


def _plain(op: int) -> tuple[str, str]:
    """What the likelier and the other edge of a node become where nothing is known of windows."""
    name = "max_pool_3x3" if op == MAXPOOL else "sep_conv_3x3"
    return name, "skip_connect" if op == CONV1X1 else name


def _draw_kinds(
    predictor: LinkPredictor, graphs: Graphs, vertex: int, rng: np.random.Generator
) -> tuple[NDArray[np.str_], Floats]:
    """Names (N, 2) of both edges of a vertex as its operation has them, and the mean log likelihood (N,) of windows and
    dilations."""
    shares = predictor.card.kinds
    conv, pool = (graphs.ops[:, vertex] == code for code in (CONV3X3, MAXPOOL))
    five, dilated = _followed(predictor, graphs, vertex, shares)
    wide, apart = (rng.random((len(graphs), 2)) < share[:, None] for share in (five, dilated))
    mean = rng.random((len(graphs), 2)) < shares.get("average", 0.5)
    sizes = np.where(wide, "5x5", "3x3")
    names = np.char.add(np.where(apart, "dil_conv_", "sep_conv_"), sizes)
    names = np.where(pool[:, None], np.where(mean, "avg_pool_3x3", "max_pool_3x3"), names)
    likelihood = (_log_chance(five, wide) + _log_chance(dilated, apart)).mean(1)
    return names, np.where(conv, likelihood, 0.0)


def _followed(
    predictor: LinkPredictor, graphs: Graphs, vertex: int, shares: Mapping[str, float]
) -> tuple[Floats, Floats]:
    """(N,) each: how likely the next vertex would convolve the result of this one by 3x3, and how likely it would pool it; the
    shares of experts of a fit to DARTS cells stand in their place."""
    if "five" in shares and "dilated" in shares:
        whole = np.ones(len(graphs))
        return shares["five"] * whole, shares["dilated"] * whole
    h, logits = predictor.look(graphs, vertex + 1)
    chances = np.exp(_log_softmax(logits[:, OUTPUT_CODE + 1 :]))
    features = link_features(graphs.links, vertex, 0, vertex + 1)
    found = []
    for code in (CONV3X3, MAXPOOL):
        reads = predictor.linker(h, vertex + 1, np.full(len(graphs), code))(vertex, features)
        found.append(
            np.clip(chances[:, code - OUTPUT_CODE - 1] / (1 + np.exp(-reads.astype(np.float64))), SURE, 1 - SURE)
        )
    return found[0], found[1]


def _log_chance(share: Floats, drawn: NDArray[np.bool_]) -> Floats:
    """(N,) and (N, 2) -> (N, 2): log probability of what was drawn."""
    return np.asarray(np.log(np.where(drawn, share[:, None], 1 - share[:, None])))


def _log_softmax(x: NDArray[np.floating]) -> Floats:
    shifted = x - x.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), np.float64)
