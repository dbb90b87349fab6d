"""Cells as tables write them, and cells as zeros and ones in which similar cells differ little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_space import one_of
from edgenas.architectures.cell import MAX_VERTICES, NASBENCH101_OPS, NASBENCH201_OPS
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, CellArchitecture, Nasbench101Cell, Nasbench201Cell

LONGEST = MAX_VERTICES - 2  # operations on a path from input to output
KINDS = len(NASBENCH101_OPS)
CODES = {-1: "input", -2: "output", **dict(enumerate(NASBENCH101_OPS))}
PADDING = -9


def cells_201(ops: NDArray[Any], names: Sequence[str]) -> list[Nasbench201Cell]:
    """Cells of (n, 6) places among `names`. Raises EdgenasError for an operation that the space does not have."""
    if unknown := sorted(set(names) - set(NASBENCH201_OPS)):
        raise EdgenasError(f"op_names has {unknown[0]!r}; NAS-Bench-201's operations: {', '.join(NASBENCH201_OPS)}")
    if ops.ndim != 2 or ops.shape[1] != 6 or ops.min() < 0 or ops.max() >= len(names):
        raise EdgenasError(
            f"ops is {ops.shape}, {ops.min()} to {ops.max()}: give (n, 6) places among {len(names)} names"
        )
    rows = [tuple(names[op] for op in row) for row in ops.tolist()]
    return [Nasbench201Cell(cast("tuple[str, str, str, str, str, str]", row)) for row in rows]


def cells_101(adjacency: NDArray[Any], ops: NDArray[Any], vertices: NDArray[Any]) -> list[Nasbench101Cell]:
    """Cells of (n,) 21 bits, bit i the i-th pair of np.triu_indices(7, 1), (n, 7) operations and (n,) numbers of vertices."""
    if ops.shape != (len(adjacency), MAX_VERTICES) or vertices.shape != adjacency.shape:
        raise EdgenasError(
            f"adj, ops and n_vertices are {adjacency.shape}, {ops.shape} and {vertices.shape}: give (n,), (n, 7), (n,)"
        )
    if vertices.min() < 2 or vertices.max() > MAX_VERTICES:
        raise EdgenasError(f"n_vertices is {vertices.min()} to {vertices.max()}: a cell has 2 to {MAX_VERTICES}")
    if unknown := sorted(set(np.unique(ops).tolist()) - set(CODES) - {PADDING}):
        raise EdgenasError(f"ops has {unknown[0]}; the codes are {', '.join(map(str, sorted(CODES)))} and {PADDING}")
    pairs = np.triu_indices(MAX_VERTICES, 1)
    found = []
    for bits, row, size in zip(adjacency.tolist(), ops.tolist(), vertices.tolist(), strict=True):
        matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), int)
        matrix[pairs] = [bits >> place & 1 for place in range(len(pairs[0]))]
        square = tuple(map(tuple, matrix[:size, :size].tolist()))
        found.append(Nasbench101Cell(square, tuple(CODES.get(op, "padding") for op in row[:size])))
    return found


def edges_of(network: Architecture) -> NDArray[np.float32]:
    """(30,) of a NAS-Bench-201 network: of each edge a one at its operation; another operation is two entries away."""
    cell = _cell(network)
    assert isinstance(cell, Nasbench201Cell)
    return np.array([one for op in cell.ops for one in one_of(NASBENCH201_OPS, op)], np.float32)


def paths_of(network: Architecture) -> NDArray[np.float32]:
    """(364,) of a NAS-Bench-101 network: a one for every sequence of operations that leads from input to output. The path
    encoding of White, Neiswanger, Savani, "BANANAS", AAAI 2021: equal for isomorphic cells."""
    cell = _cell(network)
    assert isinstance(cell, Nasbench101Cell)
    code = np.zeros(sum(KINDS**length for length in range(LONGEST + 1)), np.float32)
    kinds = [NASBENCH101_OPS.index(op) for op in cell.ops[1:-1]]
    last = len(cell.ops) - 1
    # (vertex, length, the operations so far as digits of base KINDS)
    stack = [(0, 0, 0)]
    while stack:
        vertex, length, digits = stack.pop()
        for target in range(vertex + 1, last + 1):
            if not cell.matrix[vertex][target]:
                continue
            if target == last:
                code[sum(KINDS**shorter for shorter in range(length)) + digits] = 1
            else:
                stack.append((target, length + 1, digits * KINDS + kinds[target - 1]))
    return code


def _cell(network: Architecture) -> object:
    assert isinstance(network, CellArchitecture)
    return network.cell
