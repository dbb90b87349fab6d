"""Networks of the papers by name, as they were finally trained; their parameter and MAC counts are in the tests.

Networks of stages, for ImageNet: MobileNetV2 (arXiv 1801.04381), MnasNet (arXiv 1807.11626; b1 is torchvision's),
EfficientNet-Lite0 (github.com/tensorflow/tpu, efficientnet/lite), ResNet-18 (arXiv 1512.03385) without its max pool.

NSE: the cell lists of the authors' published configurations. GNAS, TRG-NAS: the searched operations and kernels at the width
of the final training (the macro width), as the logs of the authors' final trainings name them
(github.com/siddikui/Efficient-Macro-Micro-NAS).
"""

from __future__ import annotations

from typing import Literal

from edgenas.architectures.chain import chain
from edgenas.architectures.multibranch import branch_cells, cell_kinds
from edgenas.architectures.stages_space import Activation
from edgenas.errors import EdgenasError
from edgenas.records import (
    Architecture,
    ChainArchitecture,
    Classes,
    MultiBranchArchitecture,
    Stage,
    StagesArchitecture,
)


def _chain(
    depth: int, width: int, classes: int, dense: tuple[int, ...], kernel5: tuple[int, ...], in_channels: int = 3
) -> ChainArchitecture:
    ops = tuple(int(layer in dense) for layer in range(depth))
    kernels = tuple(5 if layer in kernel5 else 3 for layer in range(depth))
    return chain(width, depth, ops, kernels, Classes(classes), in_channels, image_size=32)


def _multibranch(
    pool: Literal[19, 27, 72], kinds: str, channels: tuple[int, ...], ops: list[list[int]]
) -> MultiBranchArchitecture:
    return MultiBranchArchitecture(pool, branch_cells(kinds, channels, ops), Classes(1000), stem_channels=channels[0])


def _mobile(activation: Activation, *stages: tuple[int, int, int, int, int, bool]) -> StagesArchitecture:
    """Of (expansion, width, repeats, kernel, stride, squeeze) for each stage of mbconv blocks, at 224 px."""
    return StagesArchitecture(
        tuple(Stage("mbconv", width, n, k, stride, e, squeeze) for e, width, n, k, stride, squeeze in stages),
        *(Classes(1000), 3, 224),
        stem_width=32,
        stem_stride=2,
        head_width=1280,
        activation=activation,
    )


# fmt: off
PUBLISHED: dict[str, Architecture] = {
    "gnas-cifar10-t": _chain(26, 46, 10, dense=(0, 2), kernel5=(13, 17)),
    "gnas-cifar10-m": _chain(21, 102, 10, dense=(0, 1, 5, 8, 13), kernel5=()),
    "gnas-cifar100-t": _chain(21, 56, 100, dense=(), kernel5=(3,)),
    "gnas-cifar100-m": _chain(21, 118, 100, dense=(1, 12), kernel5=(7,)),
    "gnas-emnist-t": _chain(17, 50, 47, dense=(1, 4, 5), kernel5=(11, 13), in_channels=1),
    "gnas-emnist-m": _chain(21, 106, 47, dense=(0, 3, 10), kernel5=(), in_channels=1),
    "gnas-fashion-t": _chain(18, 54, 10, dense=(1, 5, 9), kernel5=(8,), in_channels=1),
    "gnas-fashion-m": _chain(16, 120, 10, dense=(1, 2, 4, 8, 11, 15), kernel5=(6, 12), in_channels=1),
    "gnas-kmnist-t": _chain(18, 50, 10, dense=(2, 10), kernel5=(17,), in_channels=1),
    "gnas-kmnist-m": _chain(24, 120, 10, dense=(0, 1), kernel5=(), in_channels=1),
    "trgnas-cifar10": _chain(16, 56, 10, dense=(0, 2), kernel5=()),
    "nsenet-27": _multibranch(
        27, cell_kinds("NER", [1, 2, 2, 2, 2, 3]), (16, 24, 40, 80, 96, 200, 336),
        [[0], [6], [3], [0], [16], [3], [9], [11, 17], [9, 2], [12], [1, 6], [9, 12], [9], [17, 14], [21], [3], [13],
         [19, 3, 14]],
    ),
    "nsenet": _multibranch(
        72, cell_kinds("NER", [1, 1, 2, 3, 2, 3]), (16, 24, 40, 80, 104, 200, 336),
        [[0], [34], [3], [52], [35], [38], [17, 11, 49], [41], [35], [12], [1, 10, 6], [9], [0, 9], [35, 52, 61],
         [10, 32], [3, 57], [13], [3, 19, 44]],
    ),
    "nsenet-gpu": _multibranch(
        19, cell_kinds("NR", [0, 1, 3, 4, 2]), (16, 32, 64, 128, 256),
        [[15], [11], [1, 17], [16, 1], [11], [11], [2, 7], [3], [1, 6], [11], [11, 6], [8, 2], [0, 1, 8, 11],
         [2, 6, 8, 12, 14]],
    ),
    "mobilenet-v2": _mobile(
        "relu6", (1, 16, 1, 3, 1, False), (6, 24, 2, 3, 2, False), (6, 32, 3, 3, 2, False), (6, 64, 4, 3, 2, False),
        (6, 96, 3, 3, 1, False), (6, 160, 3, 3, 2, False), (6, 320, 1, 3, 1, False),
    ),
    "mnasnet-a1": _mobile(
        "relu", (1, 16, 1, 3, 1, False), (6, 24, 2, 3, 2, False), (3, 40, 3, 5, 2, True), (6, 80, 4, 3, 2, False),
        (6, 112, 2, 3, 1, True), (6, 160, 3, 5, 2, True), (6, 320, 1, 3, 1, False),
    ),
    "mnasnet-b1": _mobile(
        "relu", (1, 16, 1, 3, 1, False), (3, 24, 3, 3, 2, False), (3, 40, 3, 5, 2, False), (6, 80, 3, 5, 2, False),
        (6, 96, 2, 3, 1, False), (6, 192, 4, 5, 2, False), (6, 320, 1, 3, 1, False),
    ),
    "efficientnet-lite0": _mobile(
        "relu6", (1, 16, 1, 3, 1, False), (6, 24, 2, 3, 2, False), (6, 40, 2, 5, 2, False), (6, 80, 3, 3, 2, False),
        (6, 112, 3, 5, 1, False), (6, 192, 4, 5, 2, False), (6, 320, 1, 3, 1, False),
    ),
    "resnet-18-without-pool": StagesArchitecture(
        tuple(Stage("residual", width, 2, 3, stride) for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2))),
        Classes(1000), 3, 224, stem_width=64, stem_stride=2, stem_kernel=7,
    ),
}
# fmt: on


def published_architecture(name: str) -> Architecture:
    """The published network of this name."""
    try:
        return PUBLISHED[name]
    except KeyError:
        raise EdgenasError(f"there is no published network {name!r}: choose from {', '.join(PUBLISHED)}") from None
