"""Architectures: what a network is, as data."""

from __future__ import annotations

from typing import Literal

from edgenas.identity import digest
from edgenas.image_sizes import ImageSize
from edgenas.ranges import (
    Channels,
    Depth,
    Expansion,
    Stride,
    WidthOrNone,
    Window,
)
from edgenas.records.base import Record
from edgenas.records.workloads import Head, Workload


class ChainArchitecture(Record, frozen=True, tag="chain", tag_field="type"):
    """A chain of `depth` layers of working width `width` (GNAS, TRG-NAS); see architectures/chain.py.

    ops[i]: 0 separable, 1 dense. kernels[i]: odd kernel side. `stem_strides`: extra stride-2 stem convolutions for large
    images, () for none. `stage_strides`: strides of the first layers of stages two and three. `stem`: what the extra stem
    convolutions are like; see architectures/stem.py.
    """

    width: Channels
    depth: Depth
    ops: tuple[int, ...]
    kernels: tuple[Window, ...]
    head: Head
    in_channels: Channels = 3
    image_size: ImageSize = 32
    stem_strides: tuple[Stride, ...] = ()
    stage_strides: tuple[Stride, Stride] = (2, 2)
    stem: Literal["wide", "growing"] = "wide"

    @property
    def fingerprint(self) -> str:
        return digest(self)


class BranchCell(Record, frozen=True):
    """One NSE cell: kind N (same channels), E (next channels) or R (next channels, stride 2), and its operations' indices."""

    kind: Literal["N", "E", "R"]
    out_channels: Channels
    ops: tuple[int, ...]


class MultiBranchArchitecture(Record, frozen=True, tag="multibranch", tag_field="type"):
    """A string of multi-branch cells (NSE); op indices refer to the pool of that size; see architectures/multibranch.py."""

    pool: Literal[19, 27, 72]
    cells: tuple[BranchCell, ...]
    head: Head
    stem_channels: Channels = 16
    stem_stride: Stride = 2
    tail_channels: Channels = 1024
    in_channels: Channels = 3
    image_size: ImageSize = 224

    @property
    def fingerprint(self) -> str:
        return digest(self)


class Nasbench101Cell(Record, frozen=True, tag="nasbench101", tag_field="space"):
    """Upper-triangular 0/1 matrix over input, operations, output; ops named as in `edgenas design`."""

    matrix: tuple[tuple[int, ...], ...]
    ops: tuple[str, ...]


class Nasbench201Cell(Record, frozen=True, tag="nasbench201", tag_field="space"):
    """Six edge operations in the order of the benchmark's string |e0~0|+|e1~0|e2~1|+|e3~0|e4~1|e5~2|."""

    ops: tuple[str, str, str, str, str, str]


class DartsCell(Record, frozen=True, tag="darts", tag_field="space"):
    """Genotype: for each of 4 nodes two (operation, source node) pairs; sources 0 and 1 are the cell's two inputs."""

    normal: tuple[tuple[str, int], ...]
    reduce: tuple[tuple[str, int], ...]


class CellArchitecture(Record, frozen=True, tag="cell", tag_field="type"):
    """A stack of repeated cells (NAS-Bench-101/201, DARTS); see architectures/cell.py. `stem`: before images larger than cells
    work on, but for DARTS, which has a published one; see architectures/stem.py."""

    cell: Nasbench101Cell | Nasbench201Cell | DartsCell
    head: Head
    channels: Channels
    cells_per_stage: Depth
    in_channels: Channels = 3
    image_size: ImageSize = 32
    stem: Literal["wide", "growing"] = "wide"

    @property
    def fingerprint(self) -> str:
        return digest(self)


class FbnetArchitecture(Record, frozen=True, tag="fbnet", tag_field="type"):
    """22 block choices 0..8 of the FBNet space, in its 32-px or 224-px setting; see architectures/fbnet.py."""

    ops: tuple[int, ...]
    head: Head
    image_size: Literal[32, 224] = 32
    in_channels: Channels = 3

    @property
    def fingerprint(self) -> str:
        return digest(self)


BlockKind = Literal["separable", "dense", "residual", "mbconv", "fused"]


class Stage(Record, frozen=True):
    """`repeats` blocks of one kind and width, the first with the stride; see architectures/stages.py.

    `expansion`, `squeeze` (squeeze-excitation) are of mbconv and fused blocks.
    """

    block: BlockKind
    width: Channels
    repeats: Depth
    kernel: Window
    stride: Stride
    expansion: Expansion = 1
    squeeze: bool = False


class StagesArchitecture(Record, frozen=True, tag="stages", tag_field="type"):
    """A stem convolution, stages of equal blocks, a 1x1 convolution to `head_width` (0 = none), the head; see
    architectures/stages.py."""

    stages: tuple[Stage, ...]
    head: Head
    in_channels: Channels
    image_size: ImageSize
    stem_width: Channels
    stem_stride: Stride = 1
    stem_kernel: Window = 3
    head_width: WidthOrNone = 0
    activation: Literal["relu", "relu6"] = "relu"

    @property
    def fingerprint(self) -> str:
        return digest(self)


class OwnArchitecture(Record, frozen=True, tag="own", tag_field="type"):
    """A network of a space that is not part of the library. It holds all that is needed to build, export and verify it where that
    space's code is not installed; see architectures/own.py.

    `choices`: what was chosen in `space`, by name. `body`: its kernels without the head, which follows the last of them; they
    read an input of (in_channels, height, width).
    """

    space: str
    choices: dict[str, int | float | str | bool]
    body: Workload
    head: Head
    in_channels: Channels
    image_size: ImageSize

    def __hash__(self) -> int:
        return hash((self.space, frozenset(self.choices.items()), self.body, self.head))

    @property
    def fingerprint(self) -> str:
        return digest(self)


class OnnxArchitecture(Record, frozen=True, tag="onnx", tag_field="type"):
    """A network that is a member of no space: read from an ONNX file, as it is; see architectures/whole.py.

    `name`: what it was asked for by, such as torchvision:resnet18. `workload`: all kernels, those of the head too. `epsilons`: of
    their batch norms, in order. `fixed`: kernels whose weights are constants, such as a normalisation of the input.
    """

    name: str
    workload: Workload
    head: Head
    in_channels: Channels
    image_size: ImageSize
    epsilons: tuple[float, ...] = ()
    fixed: tuple[int, ...] = ()

    @property
    def fingerprint(self) -> str:
        return digest(self)


Architecture = (
    ChainArchitecture
    | MultiBranchArchitecture
    | CellArchitecture
    | FbnetArchitecture
    | StagesArchitecture
    | OwnArchitecture
    | OnnxArchitecture
)
