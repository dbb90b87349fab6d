"""Cell networks as kernels: the published macro structures around the cells, operation by operation in execution order.

A ReLU that several operations of a cell share is one kernel: runtimes merge equal nodes. Batch norms are folded into the
convolution before them.
"""

from __future__ import annotations

import functools

from edgenas.architectures.cell import (
    CIFAR_SIDE,
    NASBENCH201_EDGES,
    check_cell_network,
    live_edges,
    stem_reductions,
    vertex_channels,
)
from edgenas.architectures.stem import growing_stem
from edgenas.architectures.tracer import TRACES, Tracer
from edgenas.image_sizes import sides_of, square_side
from edgenas.records import CellArchitecture, DartsCell, Kernel, Nasbench101Cell, Nasbench201Cell, Workload


@functools.lru_cache(TRACES)
def workload_from_cell(architecture: CellArchitecture) -> Workload:
    """The kernels of a cell network at batch 1."""
    return traced_cells(architecture).workload()


def traced_cells(architecture: CellArchitecture) -> CellTracer:
    """Its kernels, and what the tracer has noted about them."""
    check_cell_network(architecture)
    trace = CellTracer(architecture.in_channels, *sides_of(architecture.image_size))
    cell = architecture.cell
    if isinstance(cell, Nasbench101Cell):
        here = _nasbench101(trace, cell, architecture)
    elif isinstance(cell, Nasbench201Cell):
        here = _nasbench201(trace, cell, architecture)
    else:
        here = _darts(trace, cell, architecture)
    trace.head(here, architecture.head)
    return trace


class CellTracer(Tracer):
    """A tracer that launches the ReLU of one tensor once.

    edges: (kernel of a node's sum, which of its inputs) for every edge of a cell whose operation is no identity.
    reductions: what the two reductions between the three stages compute.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width)
        self._relus: dict[int, int] = {}
        self.edges: list[tuple[int, int]] = []
        self.reductions: list[int] = []

    def relu(self, source: int) -> int:
        if source not in self._relus:
            self._relus[source] = self.elementwise("activation", [source], activation="relu")
        return self._relus[source]

    def shifted(self, source: int) -> int:
        """The map without its first row and column: a slice kernel whose output is one pixel smaller."""
        channels, height, width = self.shape(source)
        return self._append(Kernel("slice", channels, channels, height - 1, width - 1, height, width, (source,)))

    def total(self, sources: list[int]) -> int:
        """Sum of one or more tensors; one tensor is its own sum."""
        return sources[0] if len(sources) == 1 else self.elementwise("add", sources)

    def node(self, values: list[tuple[int, bool]]) -> int:
        """The sum of what arrives on edges, each with whether its operation is the identity."""
        total = self.total([value for value, _ in values])
        if len(values) > 1:
            self.edges += [(total, place) for place, (_, identity) in enumerate(values) if not identity]
        return total

    def relu_conv_norm(self, source: int, out_channels: int, kernel: int, stride: int = 1) -> int:
        return self.conv(self.relu(source), out_channels, kernel, stride=stride, norm=True)


def _stem(trace: CellTracer, architecture: CellArchitecture, activation: str) -> int:
    """To the first cell; `activation`: of the last convolution."""
    reductions, here = stem_reductions(architecture), -1
    if architecture.stem == "growing":
        return growing_stem(trace, architecture.channels, reductions, activation)
    for _ in range(reductions):
        here = trace.conv(here, architecture.channels, 3, stride=2, norm=True, activation="relu")
    return trace.conv(here, architecture.channels, 3, norm=True, activation=activation)


# ---------------------------------------------------------------- NAS-Bench-101


def _nasbench101(trace: CellTracer, cell: Nasbench101Cell, architecture: CellArchitecture) -> int:
    channels = architecture.channels
    here = _stem(trace, architecture, "relu")
    for stage in range(3):
        if stage > 0:
            here = trace.pool("maxpool", here, 2, stride=2, padding=0)
            trace.reductions.append(here)
            channels *= 2
        for _ in range(architecture.cells_per_stage):
            here = _nasbench101_cell(trace, cell, here, channels)
    return here


def _nasbench101_cell(trace: CellTracer, cell: Nasbench101Cell, source: int, out_channels: int) -> int:
    last = len(cell.ops) - 1
    channels = vertex_channels(cell.matrix, trace.shape(source)[0], out_channels)
    vertices = {0: source}
    for vertex in range(1, last):
        inputs = [
            _truncated(trace, vertices[before], channels[vertex])
            for before in range(1, vertex)
            if cell.matrix[before][vertex]
        ]
        if cell.matrix[0][vertex]:
            inputs.append(trace.conv(source, channels[vertex], 1, norm=True, activation="relu"))
        total = trace.total(inputs)
        if cell.ops[vertex] == "maxpool3x3":
            vertices[vertex] = trace.pool("maxpool", total, 3)
        else:
            kernel = 3 if cell.ops[vertex] == "conv3x3-bn-relu" else 1
            vertices[vertex] = trace.conv(total, channels[vertex], kernel, norm=True, activation="relu")
    parts = [vertices[vertex] for vertex in range(1, last) if cell.matrix[vertex][last]]
    outputs = [trace.concat(parts) if len(parts) > 1 else parts[0]] if parts else []
    if cell.matrix[0][last]:
        outputs.append(trace.conv(source, out_channels, 1, norm=True, activation="relu"))
    return trace.total(outputs)


def _truncated(trace: CellTracer, source: int, channels: int) -> int:
    return source if trace.shape(source)[0] == channels else trace.channels("slice", source, channels)


# ---------------------------------------------------------------- NAS-Bench-201


def _nasbench201(trace: CellTracer, cell: Nasbench201Cell, architecture: CellArchitecture) -> int:
    channels = architecture.channels
    here = _stem(trace, architecture, "")
    for stage in range(3):
        if stage > 0:
            channels *= 2
            here = _residual_reduction(trace, here, channels)
            trace.reductions.append(here)
        for _ in range(architecture.cells_per_stage):
            here = _nasbench201_cell(trace, cell, here)
    return trace.elementwise("activation", [here], activation="relu", norm=True)


def _nasbench201_cell(trace: CellTracer, cell: Nasbench201Cell, source: int) -> int:
    channels = trace.shape(source)[0]
    arriving: dict[int, list[tuple[int, bool]]] = {1: [], 2: [], 3: []}
    nodes = {0: source}
    for op, (before, node), live in zip(cell.ops, NASBENCH201_EDGES, live_edges(cell), strict=True):
        if not live:
            continue
        if before not in nodes:
            nodes[before] = trace.node(arriving[before])
        value = nodes[before]
        if op == "avg_pool_3x3":
            value = trace.pool("avgpool", value, 3)
        elif op != "skip_connect":
            value = trace.relu_conv_norm(value, channels, 3 if op == "nor_conv_3x3" else 1)
        arriving[node].append((value, op == "skip_connect"))
    return trace.node(arriving[3])


def _residual_reduction(trace: CellTracer, source: int, channels: int) -> int:
    """ResNet's basic block of stride 2; its shortcut is a 2x2 average pool and a 1x1 convolution without batch norm."""
    here = trace.relu_conv_norm(source, channels, 3, stride=2)
    here = trace.relu_conv_norm(here, channels, 3)
    shortcut = trace.conv(trace.pool("avgpool", source, 2, stride=2, padding=0), channels, 1)
    return trace.total([shortcut, here])


# ---------------------------------------------------------------- DARTS


def _darts(trace: CellTracer, cell: DartsCell, architecture: CellArchitecture) -> int:
    channels, per_stage = architecture.channels, architecture.cells_per_stage
    if square_side(architecture.image_size) <= CIFAR_SIDE:
        before = here = trace.conv(-1, 3 * channels, 3, norm=True)
        was_reduced = False
    else:
        first = trace.conv(-1, channels // 2, 3, stride=2, norm=True, activation="relu")
        before = trace.conv(first, channels, 3, stride=2, norm=True)
        here = trace.relu_conv_norm(before, channels, 3, stride=2)
        was_reduced = True
    for index in range(3 * per_stage + 2):
        reduces = index in (per_stage, 2 * per_stage + 1)
        channels *= 1 + reduces
        before, here = here, _darts_cell(trace, cell, before, here, channels, reduces, was_reduced)
        trace.reductions += [here] * reduces
        was_reduced = reduces
    return here


def _darts_cell(
    trace: CellTracer, cell: DartsCell, before: int, here: int, channels: int, reduces: bool, was_reduced: bool
) -> int:
    first = _factorized_reduction(trace, before, channels) if was_reduced else trace.relu_conv_norm(before, channels, 1)
    states = [first, trace.relu_conv_norm(here, channels, 1)]
    genotype = cell.reduce if reduces else cell.normal
    for node in range(4):
        edges = genotype[2 * node : 2 * node + 2]
        strides = [2 if reduces and source < 2 else 1 for _, source in edges]
        values = [
            (_darts_op(trace, op, states[source], channels, stride), op == "skip_connect" and stride == 1)
            for (op, source), stride in zip(edges, strides, strict=True)
        ]
        states.append(trace.node(values))
    return trace.concat(states[2:])


def _darts_op(trace: CellTracer, op: str, source: int, channels: int, stride: int) -> int:
    if op == "skip_connect":
        return source if stride == 1 else _factorized_reduction(trace, source, channels)
    if op in ("max_pool_3x3", "avg_pool_3x3"):
        return trace.pool("maxpool" if op == "max_pool_3x3" else "avgpool", source, 3, stride=stride)
    kernel = 5 if op.endswith("5x5") else 3
    here = trace.relu(source)
    if op.startswith("dil"):
        here = trace.conv(here, channels, kernel, stride=stride, dilation=2, groups=channels)
        return trace.conv(here, channels, 1, norm=True)
    here = trace.conv(here, channels, kernel, stride=stride, groups=channels)
    here = trace.conv(here, channels, 1, norm=True, activation="relu")
    here = trace.conv(here, channels, kernel, groups=channels)
    return trace.conv(here, channels, 1, norm=True)


def _factorized_reduction(trace: CellTracer, source: int, channels: int) -> int:
    """ReLU, then two stride-2 1x1 convolutions, the second on the map shifted by one pixel; their outputs side by side."""
    active = trace.relu(source)
    halves = [
        trace.conv(active, channels // 2, 1, stride=2, norm=True),
        trace.conv(trace.shifted(active), channels - channels // 2, 1, stride=2, norm=True),
    ]
    return trace.concat(halves)
