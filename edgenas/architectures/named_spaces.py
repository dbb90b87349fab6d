"""Spaces by name: those that follow from the data alone, and those of other packages (entry-point group `edgenas.spaces`).

A package's pyproject.toml names the object, an `OwnSpace` or any function (head, in_channels, image_size) -> Space:

    [project.entry-points."edgenas.spaces"]
    two-stages = "my_package.spaces:SPACE"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from edgenas.architectures.space import Space
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, size_in_words, square_side
from edgenas.plugins import Registry
from edgenas.records import Head

# (head, in_channels, image_size) -> the space for these data; the size is the side of a square, or (height, width)
SpaceForData: TypeAlias = Callable[[Head, int, ImageSize], Space]
SPACES = Registry(
    "space",
    "edgenas.spaces",
    {
        **{name: f"edgenas.architectures.cell_space:{name}" for name in ("nasbench101", "nasbench201", "darts")},
        "multibranch": "edgenas.architectures.branch_spaces:multibranch",
        "fbnet": "edgenas.architectures.fbnet:fbnet_space",
        "stages": "edgenas.architectures.stages_bounds:stages_space",
    },
    further=("chain",),
)
NEEDED = ("choices", "choose", "smallest", "reference", "draw", "neighbour", "features", "words", "contains")


def space_named(name: str, head: Head, in_channels: int, image_size: ImageSize) -> Space:
    """The space of this name for images of this size and this head.

    Raises EdgenasError, in one line, for a name that is unknown or taken twice, and for a package that cannot be used.
    """
    return space_for(SPACES.load(name), head, in_channels, image_size)


def space_for(make: object, head: Head, in_channels: int, image_size: ImageSize) -> Space:
    """The space that an `OwnSpace` or another `SpaceForData` makes for these data. Raises EdgenasError for another object, and
    for one that knows squares only where images are none."""
    if not callable(make):
        raise EdgenasError(
            f"{make!r} is no space: give an OwnSpace, or a function (head, in_channels, image_size) -> Space"
        )
    try:
        space: Space = make(head, in_channels, image_size)
    except TypeError as error:
        if isinstance(image_size, int):
            raise
        raise EdgenasError(
            f"{make!r} makes no space for images of {size_in_words(image_size)} px ({error}): squares may be possible, such as "
            f"--image-size {square_side(image_size)}"
        ) from error
    missing = [needed for needed in NEEDED if not callable(getattr(space, needed, None))]
    if missing or not isinstance(getattr(space, "name", None), str):
        raise EdgenasError(
            f"{make!r} makes {space!r}, which is no space: it has no {', '.join(missing) or 'name'}; see Space"
        )
    return space
