"""The spaces of NAS-Bench-101, NAS-Bench-201 and DARTS: one cell (DARTS: two), and the network that repeats it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, TypeAlias, cast

from edgenas.architectures.cell import (
    DARTS_OPS,
    INPUT,
    MAX_EDGES,
    MAX_VERTICES,
    NASBENCH101_OPS,
    NASBENCH201_EDGES,
    NASBENCH201_OPS,
    OUTPUT,
    Cell,
    cell_network,
    check_cell,
    family_of,
    pruned,
)
from edgenas.architectures.cell_workload import workload_from_cell
from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking, changed_in_one
from edgenas.architectures.stem import Stem
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize
from edgenas.ranges import Channels, Depth
from edgenas.records import (
    Architecture,
    CellArchitecture,
    DartsCell,
    Head,
    Nasbench101Cell,
    Nasbench201Cell,
    Record,
    Workload,
)

Family: TypeAlias = Literal["nasbench101", "nasbench201", "darts"]
FAMILIES: tuple[Family, ...] = ("nasbench101", "nasbench201", "darts")
LAST = MAX_VERTICES - 1  # the output's vertex of a NAS-Bench-101 cell with all its vertices
PAIRS = tuple(combinations(range(MAX_VERTICES), 2))  # (source, vertex) of the edges that such a cell may have


class CellSpace(Record, NamedChoices, frozen=True):
    """Cells of one family, and what surrounds them; `channels` and `cells_per_stage` None = as published."""

    head: Head
    in_channels: int
    image_size: ImageSize
    family: Family = "nasbench101"
    channels: Channels | None = None
    cells_per_stage: Depth | None = None
    stem: Stem = "wide"

    @property
    def name(self) -> str:
        return self.family

    def network(self, cell: Cell) -> CellArchitecture:
        """The network around a cell. Raises EdgenasError where the images do not fit it."""
        return cell_network(
            cell,
            self.head,
            channels=self.channels,
            cells_per_stage=self.cells_per_stage,
            in_channels=self.in_channels,
            image_size=self.image_size,
            stem=self.stem,
        )

    def choices(self) -> dict[str, Values]:
        """NAS-Bench-101: edge_0_1, .. and op_1 to op_5 of seven vertices; NAS-Bench-201: edge_0_1, ..: an operation each; DARTS:
        normal_0, .. (the two states that a node reads) and normal_0_a, normal_0_b (what it does to them), reduce_0, .."""
        if self.family == "nasbench101":
            edges: dict[str, Values] = {_edge(pair): (False, True) for pair in PAIRS}
            return edges | {f"op_{vertex}": NASBENCH101_OPS for vertex in range(1, LAST)}
        if self.family == "nasbench201":
            return {_edge(pair): NASBENCH201_OPS for pair in NASBENCH201_EDGES}
        return {name: values for cell in ("normal", "reduce") for name, values in _darts_choices(cell).items()}

    def choose(self, answer: Answer) -> CellArchitecture:
        choices = self.choices()
        ask = asking(choices, answer)
        if self.family == "nasbench101":
            edges = {pair for pair in PAIRS if ask(_edge(pair))}
            live = _few_edges(_named(edges, [str(vertex) for vertex in range(1, LAST)]))  # vertices by number
            ops = tuple(str(ask(f"op_{vertex}")) for vertex in live.ops[1:-1])
            cell: Cell = Nasbench101Cell(live.matrix, (INPUT, *ops, OUTPUT))
        elif self.family == "nasbench201":
            cell = Nasbench201Cell(cast("tuple[str, str, str, str, str, str]", tuple(str(ask(n)) for n in choices)))
        else:
            said = {name: str(ask(name)) for name in choices}
            cell = DartsCell(_genotype("normal", said), _genotype("reduce", said))
        check_cell(cell)
        return self.network(cell)

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, CellArchitecture) or family_of(network.cell) != self.family:
            raise EdgenasError(f"this network has no {self.family} cells")
        cell = network.cell
        check_cell(cell)
        if isinstance(cell, Nasbench101Cell):
            return _held_101(cell)
        if isinstance(cell, Nasbench201Cell):
            return {_edge(pair): op for pair, op in zip(NASBENCH201_EDGES, cell.ops, strict=True)}
        return {**_held_darts("normal", cell.normal), **_held_darts("reduce", cell.reduce)}

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, CellArchitecture)
        return workload_from_cell(network)

    def smallest(self) -> CellArchitecture:
        """NAS-Bench-101: one projection to a quarter of the channels, pooled three times; the others: nothing but skips and
        pooling."""
        if self.family == "nasbench101":
            edges = {(0, 1), *((1, vertex) for vertex in (2, 3, 4)), *((vertex, 5) for vertex in range(1, 5))}
            return self.network(_named(edges, ("maxpool3x3",) * 4))
        if self.family == "nasbench201":
            return self.network(Nasbench201Cell(("none", "none", "none", "skip_connect", "none", "none")))
        edges_in = (("max_pool_3x3", 0), ("max_pool_3x3", 1)) * 4
        return self.network(DartsCell(edges_in, edges_in))

    def reference(self) -> CellArchitecture:
        """The largest operation everywhere."""
        if self.family == "nasbench101":
            chain = {(vertex, vertex + 1) for vertex in range(LAST)}
            return self.network(_named(chain | {(0, LAST)}, ("conv3x3-bn-relu",) * 5))
        if self.family == "nasbench201":
            return self.network(Nasbench201Cell(("nor_conv_3x3",) * 6))
        edges_in = (("sep_conv_5x5", 0), ("sep_conv_5x5", 1)) * 4
        return self.network(DartsCell(edges_in, edges_in))

    def neighbour(self, network: Architecture, rng: random.Random) -> Architecture:
        """NAS-Bench-101: one edge or operation of a graph of seven vertices, of which those are left out afterwards that lead
        nowhere; a vertex that the cell does not use yet has one edge into it."""
        held = self.choices_of(network)
        if self.family == "nasbench101":
            spare = [vertex for vertex in range(1, LAST) if f"op_{vertex}" not in held]
            held |= {_edge((rng.randrange(vertex), vertex)): True for vertex in spare}
        return changed_in_one(self, network, held, rng)


def nasbench101(head: Head, in_channels: int, image_size: ImageSize) -> CellSpace:
    """NAS-Bench-101 for these data, sized as published."""
    return CellSpace(head, in_channels, image_size, "nasbench101", stem="growing")


def nasbench201(head: Head, in_channels: int, image_size: ImageSize) -> CellSpace:
    """NAS-Bench-201 for these data, sized as published."""
    return CellSpace(head, in_channels, image_size, "nasbench201", stem="growing")


def darts(head: Head, in_channels: int, image_size: ImageSize) -> CellSpace:
    """DARTS for these data, sized as published."""
    return CellSpace(head, in_channels, image_size, "darts", stem="growing")


def _edge(pair: tuple[int, int]) -> str:
    return f"edge_{pair[0]}_{pair[1]}"


# ---------------------------------------------------------------- NAS-Bench-101


def _named(edges: set[tuple[int, int]], ops: Sequence[str]) -> Nasbench101Cell:
    """The cell of these edges, pruned or not; `ops`: of the vertices between input and output."""
    size = len(ops) + 2
    matrix = tuple(tuple(int((i, j) in edges) for j in range(size)) for i in range(size))
    return Nasbench101Cell(matrix, (INPUT, *ops, OUTPUT))


def _few_edges(graph: Nasbench101Cell) -> Nasbench101Cell:
    """What is on a path from input to output; of more than nine edges the first ones go that neither of their ends needs: so
    nearly all choices make a cell."""
    live = pruned(graph)
    while live is not None:
        edges = [(i, j) for i, row in enumerate(live.matrix) for j, entry in enumerate(row) if entry]
        if len(edges) <= MAX_EDGES:
            return live
        readers, sources = Counter(i for i, _ in edges), Counter(j for _, j in edges)
        spare = [(i, j) for i, j in edges if readers[i] > 1 and sources[j] > 1]
        edges.remove(spare[0] if spare else edges[0])
        live = pruned(_named(set(edges), live.ops[1:-1]))
    raise EdgenasError("this NAS-Bench-101 cell never connects its input to its output")


def _held_101(cell: Nasbench101Cell) -> dict[str, Value]:
    """The choices of a cell: its vertices come first among the seven, its output last."""
    last = len(cell.ops) - 1
    place = [*range(last), LAST]
    edges = {(place[i], place[j]) for i, row in enumerate(cell.matrix) for j, entry in enumerate(row) if entry}
    held: dict[str, Value] = {_edge(pair): pair in edges for pair in PAIRS}
    return held | {f"op_{vertex}": op for vertex, op in enumerate(cell.ops[1:-1], 1)}


# ---------------------------------------------------------------- DARTS


def _darts_choices(cell: str) -> dict[str, Values]:
    choices: dict[str, Values] = {}
    for node in range(4):
        choices[f"{cell}_{node}"] = tuple(f"{a}+{b}" for a, b in combinations(range(2 + node), 2))
        choices[f"{cell}_{node}_a"] = choices[f"{cell}_{node}_b"] = DARTS_OPS
    return choices


def _genotype(cell: str, said: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    edges: list[tuple[str, int]] = []
    for node in range(4):
        a, b = map(int, said[f"{cell}_{node}"].split("+"))
        edges += [(said[f"{cell}_{node}_a"], a), (said[f"{cell}_{node}_b"], b)]
    return tuple(edges)


def _held_darts(cell: str, genotype: Sequence[tuple[str, int]]) -> dict[str, Value]:
    held: dict[str, Value] = {}
    for node in range(4):
        (op_a, a), (op_b, b) = genotype[2 * node : 2 * node + 2]
        held |= {f"{cell}_{node}": f"{a}+{b}", f"{cell}_{node}_a": op_a, f"{cell}_{node}_b": op_b}
    return held
