"""Spaces by name: ours, and those of installed packages. What is no space is one line."""

from pathlib import Path

import pytest

from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.fbnet import FbnetSpace
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.named_spaces import SPACES, space_named
from edgenas.errors import EdgenasError
from edgenas.records import Classes, Embedding
from tests.packages import install

HEAD = Classes(4)
GOOD = '''
from edgenas import OwnSpace


def build(net, choices):
    return net.conv(-1, choices["width"], 3)


SPACE = OwnSpace("thin", {"width": (4, 8)}, build)


def squares(head, in_channels, image_size):
    """From before there were rectangles."""
    return OwnSpace("thin", {"width": (4 if image_size > 32 else 8,)}, build)(head, in_channels, image_size)


def made(head, in_channels, image_size):
    """Wider for large images."""
    return OwnSpace("thin", {"width": (image_size, 2 * image_size)}, build)(head, in_channels, image_size)


NUMBER = 7


def nothing(head, in_channels, image_size):
    return object()


class Named:
    name = "named"


def named(head, in_channels, image_size):
    return Named()
'''


def test_our_spaces_have_names_and_are_made_for_the_data() -> None:
    ours = ("nasbench101", "nasbench201", "darts", "multibranch", "fbnet", "stages")
    assert SPACES.names()[: len(ours)] == ours
    for name in ("nasbench101", "nasbench201", "darts"):
        space = space_named(name, HEAD, 1, 8)
        assert isinstance(space, CellSpace)
        assert (space.name, space.head, space.in_channels, space.image_size) == (name, HEAD, 1, 8)
    small, large = (space_named("multibranch", HEAD, 3, size) for size in (32, 224))
    assert isinstance(small, MultiBranchSpace)
    assert (small.kinds, small.channels) == ("NNNRNNRNNRNN", (16, 32, 64, 128))  # 32, 16, 8, 4 px
    assert isinstance(large, MultiBranchSpace)
    assert (large.pool, large.kinds) == (27, "NRNNNRNNNRNNNENNNRNNNE")
    assert space_named("fbnet", Embedding(16), 3, 224) == FbnetSpace(Embedding(16), 3, 224)


@pytest.mark.parametrize(("size", "fits"), [(32, True), (224, True), (33, False), (64, False)])
def test_fbnet_is_for_two_sizes(size: int, fits: bool) -> None:
    if fits:
        assert space_named("fbnet", HEAD, 3, size).smallest().image_size == size
    else:
        with pytest.raises(EdgenasError, match=f"space fbnet is for images of 32 or 224 px, not {size}"):
            space_named("fbnet", HEAD, 3, size)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        name: f"thin_spaces:{name}" for name in ("SPACE", "squares", "made", "NUMBER", "nothing", "named", "missing")
    }
    monkeypatch.syspath_prepend(
        install(tmp_path, "thin", "thin_spaces", GOOD, {"edgenas.spaces": {**points, "fbnet": "thin_spaces:SPACE"}})
    )


@pytest.mark.usefixtures("packages")
def test_a_package_s_object_or_function_makes_its_space() -> None:
    assert [space_named(name, HEAD, 3, 16).choices() for name in ("SPACE", "made")] == [
        {"width": (4, 8)},
        {"width": (16, 32)},
    ]
    assert space_named("SPACE", HEAD, 3, 16).smallest().choices == {"width": 4}


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "thick",
            "space 'thick' is unknown; possible: chain, nasbench101, nasbench201, darts, multibranch, fbnet, stages, NUMBER",
        ),
        ("NUMBER", "7 is no space: give an OwnSpace, or a function .head, in_channels, image_size. -> Space"),
        ("nothing", "which is no space: it has no choices, choose, smallest, reference, draw"),
        ("named", "which is no space: it has no choices, choose"),
        ("missing", "space 'missing' of package thin cannot be imported .AttributeError"),
        ("fbnet", "space 'fbnet' comes with edgenas, and package thin .thin_spaces:SPACE. names another one so"),
    ],
)
def test_what_is_no_space_is_one_line(name: str, words: str) -> None:
    with pytest.raises(EdgenasError, match=words) as refusal:
        space_named(name, HEAD, 3, 16)
    assert "\n" not in str(refusal.value)


def test_our_spaces_are_made_for_rectangles_fbnet_alone_is_not() -> None:
    for name in ("nasbench101", "nasbench201", "darts", "multibranch", "stages"):
        space = space_named(name, HEAD, 1, (64, 256))
        kernel = space.workload(space.smallest()).kernels[0]
        assert (kernel.in_height, kernel.in_width) == (64, 256)
    with pytest.raises(
        EdgenasError, match="fbnet is for images of 32 or 224 px, not 32x224: set --image-size 32 or 224"
    ):
        space_named("fbnet", HEAD, 3, (32, 224))


@pytest.mark.parametrize(
    ("size", "cells"),
    [
        ((8, 16), "NNNRNN"),
        ((32, 160), "NNNRNNRNNRNNRNN"),
        ((64, 255), "NNNRNNRNNRNNRNNRNN"),
        ((64, 256), "NRNNNRNNNRNNNENNNRNNNE"),
    ],
)
def test_branches_have_as_many_stages_as_on_the_square_of_as_many_pixels(size: tuple[int, int], cells: str) -> None:
    """11 -> 6; 71 -> 36 -> 18 -> 9 -> 5; 127 -> 64 -> 32 -> 16 -> 8 -> 4; from 128 px on the published cells."""
    space = space_named("multibranch", HEAD, 3, size)
    assert isinstance(space, MultiBranchSpace)
    assert space.kinds == cells


@pytest.mark.usefixtures("packages")
def test_a_package_s_space_takes_rectangles_or_says_in_one_line_that_it_does_not() -> None:
    """OwnSpace describes kernels, whatever the sides; a function that computes with one number does not."""
    space = space_named("SPACE", HEAD, 3, (16, 80))
    kernel = space.workload(space.smallest()).kernels[0]
    assert (kernel.height, kernel.width) == (16, 80)
    assert space_named("squares", HEAD, 3, 33).choices() == {"width": (4,)}
    with pytest.raises(
        EdgenasError, match=r"makes no space for images of 16x80 px .* squares may be possible, such as --image-size 35"
    ):
        space_named("squares", HEAD, 3, (16, 80))
