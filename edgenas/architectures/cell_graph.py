"""Cells as labelled graphs in arrays: what the link predictor of NAL learns from and writes. numpy only.

NAS-Bench-101: vertices are operations, links are the cell's edges. NAS-Bench-201: every edge of the cell is a vertex (its
operation), linked where one edge ends and the next begins; the links are the same in every cell, an edge that is not there is
the operation `none`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.cell import (
    INPUT,
    MAX_EDGES,
    MAX_VERTICES,
    NASBENCH101_OPS,
    NASBENCH201_EDGES,
    NASBENCH201_OPS,
    OUTPUT,
)
from edgenas.records import Nasbench101Cell, Nasbench201Cell

GraphCell = Nasbench101Cell | Nasbench201Cell
VOCABULARY = {  # code = place
    "nasbench101": (INPUT, OUTPUT, *NASBENCH101_OPS),
    "nasbench201": (INPUT, OUTPUT, *NASBENCH201_OPS),
}
VERTICES = {"nasbench101": MAX_VERTICES, "nasbench201": 2 + len(NASBENCH201_EDGES)}
INPUT_CODE, OUTPUT_CODE = 0, 1


@dataclass(frozen=True)
class Graphs:
    """N cells: vertex v of cell n has operation ops[n, v]; links[n, i, j] says that an edge leads from i to j > i."""

    ops: NDArray[np.int64]  # (N, V), 0 beyond size
    links: NDArray[np.bool_]  # (N, V, V)
    sizes: NDArray[np.int64]  # (N,) vertices in use, input and output included

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, rows: NDArray[np.generic] | slice) -> Graphs:
        return Graphs(self.ops[rows], self.links[rows], self.sizes[rows])


def graphs_from_cells(space: str, cells: Sequence[GraphCell]) -> Graphs:
    """Arrays of cells of one space, vertices in the cells' own order."""
    count, vertices = len(cells), VERTICES[space]
    codes = {name: code for code, name in enumerate(VOCABULARY[space])}
    ops = np.zeros((count, vertices), np.int64)
    links = np.zeros((count, vertices, vertices), bool)
    sizes = np.full(count, vertices, np.int64)
    for row, cell in enumerate(cells):
        if isinstance(cell, Nasbench101Cell):
            sizes[row] = size = len(cell.ops)
            ops[row, :size] = [codes[op] for op in cell.ops]
            links[row, :size, :size] = cell.matrix
        else:
            ops[row, 1:] = [*(codes[op] for op in cell.ops), OUTPUT_CODE]
    if space == "nasbench201":
        links[:] = nasbench201_links()
    return Graphs(ops, links, sizes)


def cells_from_graphs(space: str, graphs: Graphs) -> list[GraphCell]:
    """The cells as they stand in the arrays: not checked, not pruned."""
    names = VOCABULARY[space]
    cells: list[GraphCell] = []
    for ops, links, size in zip(graphs.ops.tolist(), graphs.links.astype(int).tolist(), graphs.sizes, strict=True):
        if space == "nasbench201":
            a, b, c, d, e, f = (names[code] for code in ops[1:-1])
            cells.append(Nasbench201Cell((a, b, c, d, e, f)))
        else:
            matrix = tuple(tuple(row[:size]) for row in links[:size])
            cells.append(Nasbench101Cell(matrix, tuple(names[code] for code in ops[:size])))
    return cells


def nasbench201_links() -> NDArray[np.bool_]:
    """(8, 8): input -> edges out of node 0; edge into a node -> edges out of it; edges into node 3 -> output."""
    ends = [(-1, 0), *NASBENCH201_EDGES, (3, 4)]  # the input ends in node 0, the output begins at node 3
    size = len(ends)
    return np.array([[ends[i][1] == ends[j][0] for j in range(size)] for i in range(size)])


# ---------------------------------------------------------------- graphs half written


def prefixes(space: str, graphs: Graphs, vertex: int) -> Graphs:
    """The first `vertex` vertices as they are, and one whose operation is unknown (code len(VOCABULARY)).

    Where links are to be told too, the new vertex is linked from all earlier ones: it may look at what it chooses from.
    """
    ops, links = graphs.ops.copy(), graphs.links.copy()
    ops[:, vertex] = len(VOCABULARY[space])
    ops[:, vertex + 1 :] = 0
    if space == "nasbench101":
        links[:, :vertex, vertex] = True
    links[:, :, vertex + 1 :] = False
    return Graphs(ops, links, np.full(len(graphs), vertex + 1))


LINK_FEATURES = 5


def link_features(
    links: NDArray[np.bool_], source: int, chosen: NDArray[np.int64] | int, vertex: int
) -> NDArray[np.float32]:
    """(N, 5) of the question whether `vertex` reads `source`, asked from the latest source to the earliest.

    `links`: (N, V, V) between earlier vertices; `chosen` (N,): sources of `vertex` so far. Without these numbers a network of
    means cannot count: how many edges there are, whether anything reads the source yet, how many others still need a reader.
    """
    vertices = links.shape[1]
    earlier = links[:, :vertex, :vertex]
    unread: NDArray[np.bool_] = np.logical_not(earlier.any(2))  # (N, vertex)
    columns = [
        (earlier.sum((1, 2)) + chosen) / MAX_EDGES,
        np.broadcast_to(np.asarray(chosen) / vertices, len(links)),
        np.broadcast_to(np.asarray(chosen) == 0, len(links)),
        unread[:, source],
        unread[:, :source].sum(1) / vertices,
    ]
    return np.stack(columns, 1).astype(np.float32)


def attention_masks(graphs: Graphs) -> NDArray[np.bool_]:
    """(N, 3, V, V): whom a vertex looks at along its incoming edges, along its outgoing ones, and among all; itself always."""
    vertices = graphs.ops.shape[1]
    itself = np.eye(vertices, dtype=bool)
    there = np.arange(vertices) < graphs.sizes[:, None]  # (N, V)
    everyone = np.broadcast_to(there[:, None, :], graphs.links.shape)
    return np.stack([graphs.links.transpose(0, 2, 1) | itself, graphs.links | itself, everyone | itself], 1)
