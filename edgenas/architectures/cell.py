"""Stacks of repeated cells: NAS-Bench-101, NAS-Bench-201 and DARTS. What a cell is, when it is valid, its canonical form.

A cell architecture is three stages of `cells_per_stage` cells with a reduction between them. In DARTS a reduction is a cell of
its own, so a network has 3 n + 2 of them (20 for CIFAR: n = 6; 14 for ImageNet: n = 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from edgenas.architectures.stem import Stem
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, sides_of, size_from_sides, size_in_words, square_side
from edgenas.records import CellArchitecture, DartsCell, Head, Nasbench101Cell, Nasbench201Cell

Cell = Nasbench101Cell | Nasbench201Cell | DartsCell
Matrix = tuple[tuple[int, ...], ...]

INPUT, OUTPUT = "input", "output"
NASBENCH101_OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
NASBENCH201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
DARTS_OPS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
MAX_VERTICES, MAX_EDGES = 7, 9
NASBENCH201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (source, node) in the order of the cell's ops
CIFAR_SIDE = 32  # the largest map that cells work on; larger images are reduced by the stem


def cell_network(
    cell: Cell,
    head: Head,
    *,
    channels: int | None = None,
    cells_per_stage: int | None = None,
    in_channels: int = 3,
    image_size: ImageSize = 32,
    stem: Stem = "wide",
) -> CellArchitecture:
    """The network of a cell; channels and cells per stage are the published ones unless given. `stem`: for images of more than
    32 px, but for DARTS, which has a published one."""
    if isinstance(cell, Nasbench101Cell):
        published = (128, 3)
    elif isinstance(cell, Nasbench201Cell):
        published = (16, 5)
    else:
        published = (36, 6) if square_side(image_size) <= CIFAR_SIDE else (48, 4)
    width = published[0] if channels is None else channels
    cells = published[1] if cells_per_stage is None else cells_per_stage
    architecture = CellArchitecture(cell, head, width, cells, in_channels, image_size)
    if not isinstance(cell, DartsCell) and stem_reductions(architecture):
        architecture = msgspec.structs.replace(architecture, stem=stem)
    check_cell_network(architecture)
    return architecture


def stem_reductions(architecture: CellArchitecture) -> int:
    """Number of stride-2 convolutions before the first cell: none up to 32 px, or as many pixels in a rectangle; DARTS then has
    the three of its ImageNet stem."""
    side = square_side(architecture.image_size)
    if side <= CIFAR_SIDE:
        return 0
    if isinstance(architecture.cell, DartsCell):
        return 3
    reductions = 0
    while side > CIFAR_SIDE:
        reductions, side = reductions + 1, side // 2
    return reductions


def check_cell_network(architecture: CellArchitecture) -> None:
    """Raise EdgenasError where the cell is invalid or the maps cannot be halved as often as the network does."""
    check_cell(architecture.cell)
    if architecture.channels < 4 or architecture.channels % 4 or architecture.cells_per_stage < 1:
        raise EdgenasError(
            f"a cell network needs channels in multiples of 4 and at least one cell per stage, "
            f"not {architecture.channels} channels, {architecture.cells_per_stage} cells"
        )
    if architecture.stem == "growing" and (
        isinstance(architecture.cell, DartsCell) or not stem_reductions(architecture)
    ):
        raise EdgenasError(
            f"a growing stem is for NAS-Bench-101 and -201 networks of images of more than {CIFAR_SIDE} px: "
            f"{family_of(architecture.cell)} at {size_in_words(architecture.image_size)} px has none"
        )
    step = 4 * 2 ** stem_reductions(architecture)  # the stem's reductions, then one after each of two stages
    sides = sides_of(architecture.image_size)
    if any(side % step for side in sides):
        height, width = (max(step, round(side / step) * step) for side in sides)
        asked, near = size_in_words(architecture.image_size), size_in_words(size_from_sides(height, width))
        raise EdgenasError(
            f"a {family_of(architecture.cell)} network halves {asked}-px images to a fraction of a pixel; "
            f"sides must be multiples of {step}: use --image-size {near}"
        )


def check_cell(cell: Cell) -> None:
    """Raise EdgenasError, in one line, where a cell is not a member of its space."""
    if isinstance(cell, Nasbench101Cell):
        _check_nasbench101(cell)
    elif isinstance(cell, Nasbench201Cell):
        if unknown := sorted(set(cell.ops) - set(NASBENCH201_OPS)):
            raise EdgenasError(
                f"NAS-Bench-201 has no operation {unknown[0]!r}; its operations: {', '.join(NASBENCH201_OPS)}"
            )
        if not any(live_edges(cell)):
            raise EdgenasError("this NAS-Bench-201 cell never connects its input to its output: nothing can be learned")
    else:
        _check_genotype("normal", cell.normal)
        _check_genotype("reduce", cell.reduce)


def family_of(cell: Cell) -> str:
    """nasbench101, nasbench201 or darts."""
    if isinstance(cell, Nasbench101Cell):
        return "nasbench101"
    return "nasbench201" if isinstance(cell, Nasbench201Cell) else "darts"


def operations_of(cell: Cell) -> tuple[str, ...]:
    """The operations of a cell, in its order; DARTS: of the normal cell, then of the reduction cell."""
    if isinstance(cell, Nasbench101Cell):
        return cell.ops[1:-1]
    if isinstance(cell, Nasbench201Cell):
        return cell.ops
    return tuple(op for op, _ in (*cell.normal, *cell.reduce))


# ---------------------------------------------------------------- NAS-Bench-101


def pruned(cell: Nasbench101Cell) -> Nasbench101Cell | None:
    """The cell without the vertices that are not on a path from input to output; None where there is no such path."""
    last = len(cell.ops) - 1
    reached = {0}
    for vertex in range(1, last + 1):
        if any(cell.matrix[source][vertex] for source in reached):
            reached.add(vertex)
    needed = {last}
    for vertex in range(last - 1, -1, -1):
        if any(cell.matrix[vertex][target] for target in needed):
            needed.add(vertex)
    keep = sorted(reached & needed)
    if 0 not in keep or last not in keep:
        return None
    return _reordered(cell, keep)


def canonical(cell: Nasbench101Cell) -> Nasbench101Cell:
    """The same labelled graph under its one spelling: isomorphic cells become equal, the matrix stays upper triangular.

    Of all topological orders, the one with the smallest operations, then the smallest matrix.
    """
    best = min(_topological_orders(cell), key=lambda order: _spelling(cell, order))
    return _reordered(cell, best)


def vertex_channels(matrix: Matrix, in_channels: int, out_channels: int) -> list[int]:
    """Channels of every vertex, as the benchmark's model builder computes them.

    The vertices that feed the output split its channels evenly, the remainder going to the earlier ones; any other has the
    largest of its successors (edges between operations truncate).
    """
    last = len(matrix) - 1
    channels = [in_channels] + [0] * (last - 1) + [out_channels]
    feeding = [vertex for vertex in range(1, last) if matrix[vertex][last]]
    for place, vertex in enumerate(feeding):
        share, rest = divmod(out_channels, len(feeding))
        channels[vertex] = share + (place < rest)
    for vertex in range(last - 1, 0, -1):
        if not matrix[vertex][last]:
            channels[vertex] = max(channels[target] for target in range(vertex + 1, last) if matrix[vertex][target])
    return channels


def _check_nasbench101(cell: Nasbench101Cell) -> None:
    size = len(cell.ops)
    edges = sum(map(sum, cell.matrix))
    if not 2 <= size <= MAX_VERTICES or any(len(row) != size for row in cell.matrix) or len(cell.matrix) != size:
        raise EdgenasError(f"a NAS-Bench-101 cell has 2 to 7 operations and a square matrix of that side, not {size}")
    if any(
        entry not in (0, 1) or (entry and j <= i) for i, row in enumerate(cell.matrix) for j, entry in enumerate(row)
    ):
        raise EdgenasError(
            "a NAS-Bench-101 matrix is 0/1 and upper triangular: edges lead from earlier to later vertices"
        )
    if edges > MAX_EDGES:
        raise EdgenasError(f"a NAS-Bench-101 cell has at most {MAX_EDGES} edges, not {edges}")
    unknown = sorted(set(cell.ops[1:-1]) - set(NASBENCH101_OPS))
    if cell.ops[0] != INPUT or cell.ops[-1] != OUTPUT or unknown:
        raise EdgenasError(
            f"NAS-Bench-101 operations are {INPUT!r} first, {OUTPUT!r} last and {', '.join(NASBENCH101_OPS)} between"
        )
    if pruned(cell) != cell:
        raise EdgenasError("a NAS-Bench-101 cell needs every vertex on a path from input to output: prune it first")


def _reordered(cell: Nasbench101Cell, order: Sequence[int]) -> Nasbench101Cell:
    matrix = tuple(tuple(cell.matrix[i][j] for j in order) for i in order)
    return Nasbench101Cell(matrix, tuple(cell.ops[i] for i in order))


def _spelling(cell: Nasbench101Cell, order: Sequence[int]) -> tuple[list[str], int]:
    bits = 0
    for place, i in enumerate(order):
        row = cell.matrix[i]
        for j in order[place + 1 :]:
            bits = bits << 1 | row[j]
    return [cell.ops[i] for i in order], bits


def _topological_orders(cell: Nasbench101Cell) -> Iterator[list[int]]:
    """Every order of the vertices in which edges lead forward, input first and output last: at most 5! of them."""
    last = len(cell.ops) - 1
    before = [{i for i in range(1, last) if cell.matrix[i][v]} for v in range(last)]
    # Among operations that may come next, only the smallest name can start the smallest spelling.
    stack = [[0]]
    while stack:
        order = stack.pop()
        if len(order) == last:
            yield [*order, last]
            continue
        ready = [v for v in range(1, last) if v not in order and before[v] <= set(order)]
        smallest = min(cell.ops[v] for v in ready)
        stack += [[*order, v] for v in ready if cell.ops[v] == smallest]


# ---------------------------------------------------------------- NAS-Bench-201


def live_edges(cell: Nasbench201Cell) -> tuple[bool, ...]:
    """Which of the six edges carry the input to the output; the others are never built (the benchmark's counts include them)."""
    fed = {0}
    for op, (source, node) in zip(cell.ops, NASBENCH201_EDGES, strict=True):
        if op != "none" and source in fed:
            fed.add(node)
    reaching = edges_reaching_output(cell)
    return tuple(reaches and source in fed for reaches, (source, _) in zip(reaching, NASBENCH201_EDGES, strict=True))


def edges_reaching_output(cell: Nasbench201Cell) -> tuple[bool, ...]:
    """Edges whose result reaches the output: what a runtime keeps that removes unused kernels but not zero inputs."""
    used = {3}
    for op, (source, node) in reversed(list(zip(cell.ops, NASBENCH201_EDGES, strict=True))):
        if op != "none" and node in used:
            used.add(source)
    return tuple(op != "none" and node in used for op, (_, node) in zip(cell.ops, NASBENCH201_EDGES, strict=True))


# ---------------------------------------------------------------- DARTS


def _check_genotype(name: str, genotype: Sequence[tuple[str, int]]) -> None:
    if len(genotype) != 8:
        raise EdgenasError(f"a DARTS {name} cell has 8 edges, two into each of 4 nodes, not {len(genotype)}")
    for place, (op, source) in enumerate(genotype):
        if op not in DARTS_OPS:
            raise EdgenasError(f"DARTS has no operation {op!r}; its operations: {', '.join(DARTS_OPS)}")
        if not 0 <= source < 2 + place // 2:
            raise EdgenasError(f"DARTS {name} node {place // 2} reads states 0 to {1 + place // 2}, not {source}")


def sorted_genotype(genotype: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """One spelling per genotype: the two edges of a node by source, then by operation."""
    pairs = [sorted(genotype[2 * node : 2 * node + 2], key=lambda edge: (edge[1], edge[0])) for node in range(4)]
    return tuple(edge for pair in pairs for edge in pair)


# ---------------------------------------------------------------- any space


def canonical_cell(cell: Cell) -> Cell:
    """One spelling per cell: NAS-Bench-101 up to isomorphism, NAS-Bench-201 with dead edges `none`, DARTS with edges sorted."""
    if isinstance(cell, Nasbench101Cell):
        return canonical(cell)
    if isinstance(cell, Nasbench201Cell):
        a, b, c, d, e, f = (op if live else "none" for op, live in zip(cell.ops, live_edges(cell), strict=True))
        return Nasbench201Cell((a, b, c, d, e, f))
    return DartsCell(sorted_genotype(cell.normal), sorted_genotype(cell.reduce))
