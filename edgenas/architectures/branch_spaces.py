"""Spaces of multi-branch cells for given images: the published ones of NSE, and smaller ones for small images."""

from __future__ import annotations

from typing import Literal

from edgenas.architectures.multibranch import MultiBranchSpace, cell_kinds
from edgenas.image_sizes import ImageSize, square_side
from edgenas.records import Head

LARGE_IMAGES = 128  # px, from which on the published configurations are taken
PUBLISHED_CHANNELS = {"NER": (16, 24, 40, 80, 96, 192, 320), "NR": (16, 32, 64, 128, 256)}
PUBLISHED_REPEATS = {"NER": (1, 3, 3, 3, 3, 3), "NR": (1, 3, 3, 7, 3)}


def multibranch(head: Head, in_channels: int, image_size: ImageSize) -> MultiBranchSpace:
    """The pool of 27 for these data: the published cells from 128 px on, three cells a stage below."""
    if square_side(image_size) >= LARGE_IMAGES:
        return published_space(27, head, in_channels, image_size)
    return staged_space(27, 3, 16, 1, 256, head, in_channels, image_size)


def staged_space(
    pool: Literal[19, 27, 72],
    cells: int,
    channels: int,
    stem_stride: int,
    tail_channels: int,
    head: Head,
    in_channels: int,
    image_size: ImageSize,
) -> MultiBranchSpace:
    """Stages of `cells` cells; a stage halves the image while at least 4x4 is left of it (of a rectangle: of the square of as
    many pixels), and doubles the `channels`."""
    side = square_side(image_size)
    if side < 4 * stem_stride * 2:  # so small that the stem would leave no room for a second stage
        stem_stride = 1
    side = -(-side // stem_stride)
    kinds, widths = "N" * cells, [channels]
    while -(-side // 2) >= 4:
        side = -(-side // 2)
        kinds += "R" + "N" * (cells - 1)
        widths.append(2 * widths[-1])
    return MultiBranchSpace(pool, kinds, tuple(widths), head, in_channels, image_size, stem_stride, tail_channels)


def published_space(pool: Literal[19, 27, 72], head: Head, in_channels: int, image_size: ImageSize) -> MultiBranchSpace:
    """The authors' cells: NR for the pool of 19 (latency on a GPU), NER for the others."""
    template = "NR" if pool == 19 else "NER"
    kinds = cell_kinds(template, PUBLISHED_REPEATS[template])
    return MultiBranchSpace(pool, kinds, PUBLISHED_CHANNELS[template], head, in_channels, image_size)


def is_published(space: MultiBranchSpace) -> bool:
    """Are its cells the authors', which nothing makes smaller?"""
    return space == published_space(space.pool, space.head, space.in_channels, space.image_size)
