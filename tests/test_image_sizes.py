"""One spelling for every size of an image, at every door; what is refused, on both sides of each limit."""

from __future__ import annotations

import re
import subprocess
import sys

import msgspec
import pytest

from edgenas.errors import DataError, EdgenasError
from edgenas.image_sizes import ImageSize, sides_of, size_asked, size_from_sides, size_in_words, square_side
from edgenas.records import ChainArchitecture, Classes, Preprocessing


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ("64", 64),
        (64, 64),
        ("64x64", 64),
        ((64, 64), 64),
        ("64x320", (64, 320)),
        ("64X320", (64, 320)),
        ((64, 320), (64, 320)),
        ([64, 320], (64, 320)),
        ("320x64", (320, 64)),
        ("8x8", 8),
        ("512", 512),
        ("128x2048", (128, 2048)),
        ("8x2048", (8, 2048)),
    ],
)
def test_a_size_is_a_number_for_a_square_and_height_and_width_for_a_rectangle(asked: object, size: ImageSize) -> None:
    assert size_asked(asked) == size
    assert size_asked(size_in_words(size)) == size
    assert size_from_sides(*sides_of(size)) == size


@pytest.mark.parametrize(
    "asked", ["0x32", "64x", "x64", "64x320x3", "axb", "-64", "-64x32", "64 x 320", "64.0", "", "1e2", "٦٤", 64.0, True]
)
def test_what_is_no_size_is_refused_with_how_it_is_written(asked: object) -> None:
    with pytest.raises(
        DataError, match=re.escape(f"image size {str(asked)!r}: write 64 for a square of 64 px, or 64x320")
    ):
        size_asked(asked)


@pytest.mark.parametrize("asked", [(64,), (64, 320, 3), (64.0, 320), ("64", "320"), (True, 32), {}, b"64"])
def test_what_is_no_pair_of_whole_numbers_is_refused(asked: object) -> None:
    with pytest.raises(DataError, match="write 64 for a square"):
        size_asked(asked)


@pytest.mark.parametrize(
    "asked", ["7", "7x64", "64x7", "513", "8x2049", "2049x8", "128x2049", "129x2048", 0, -5, (-5, 64)]
)
def test_too_small_and_too_large_are_refused_with_what_is_possible(asked: object) -> None:
    possible = "sides of 8 to 2048 px and as many pixels as 512x512 at most are possible"
    with pytest.raises(DataError, match=possible):
        size_asked(asked)


def test_a_rectangle_counts_as_the_square_of_as_many_pixels() -> None:
    """71 * 71 = 5041 <= 32 * 160 = 5120 < 72 * 72 = 5184."""
    assert [square_side(size) for size in (64, (16, 64), (32, 160), (160, 32))] == [64, 32, 71, 71]


def test_a_record_holds_a_square_under_one_spelling_only() -> None:
    """Else one network had two fingerprints."""
    for square in (
        lambda: sides_of((64, 64)),
        lambda: Preprocessing(3, (64, 64), (0.0,) * 3, (1.0,) * 3).input_size,
    ):
        with pytest.raises(EdgenasError, match=r"image size \[64, 64\]: a square is written as one number, 64"):
            square()


def test_squares_stay_numbers_in_json_and_rectangles_are_height_and_width() -> None:
    def written(size: ImageSize) -> bytes:
        return ChainArchitecture(8, 3, (0,) * 3, (3,) * 3, Classes(2), 1, size).canonical_json()

    assert b'"image_size":64,' in written(64)
    assert b'"image_size":[64,320],' in written((64, 320))
    assert b'"size":[64,320]' in Preprocessing(1, (64, 320), (0.0,), (1.0,)).canonical_json()


def test_padding_stands_on_every_side() -> None:
    square, wide = (Preprocessing(1, size, (0.0,), (1.0,), padding=2) for size in (28, (28, 60)))
    assert (square.input_size, square.input_sides) == (32, (32, 32))
    assert (wide.input_size, wide.input_sides) == ((32, 64), (32, 64))


def test_records_with_sizes_outlive_the_garbage_collection() -> None:
    """msgspec 0.22 dies of a number with bounds beside a tuple of fixed length, once what it knows of the type is traversed."""
    program = "import gc, msgspec; from edgenas.records import ChainArchitecture, Preprocessing\n"
    program += "for record in (ChainArchitecture, Preprocessing): msgspec.json.Decoder(record)\n"
    program += "for _ in range(9): gc.collect()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text", ["0", "[64]", "[64, 0]", "[64, 320, 3]", '"64x320"', "[64.5, 320]", "16385", "[64, 16385]"]
)
def test_a_record_takes_no_other_size(text: str) -> None:
    written = ChainArchitecture(8, 3, (0,) * 3, (3,) * 3, Classes(2), 1, (64, 320)).canonical_json().decode()
    with pytest.raises(msgspec.ValidationError, match=r"at `\$.image_size"):
        msgspec.json.decode(written.replace("[64,320]", text), type=ChainArchitecture)
