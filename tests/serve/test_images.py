"""Images from requests, without a server around them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.preprocessing import pixels_from_image
from edgenas.records import Preprocessing
from edgenas.serve.errors import RequestRefused
from edgenas.serve.images import MOST_EXIF, MOST_PARTS, MOST_SCANS, image_from_bytes
from tests.damaged_images import IMAGES, PICTURE
from tests.picture_kinds import encoded, turned


def test_an_image_is_turned_upright_by_its_exif_tag() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    buffer = io.BytesIO()
    PICTURE.save(buffer, "JPEG", exif=exif)
    assert image_from_bytes(buffer.getvalue()).size == (48, 64)


def test_an_image_has_16_million_pixels_at_most() -> None:
    def png(width: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("1", (width, 4000)).save(buffer, "PNG")
        return buffer.getvalue()

    assert image_from_bytes(png(4000)).size == (4000, 4000)
    with pytest.raises(RequestRefused, match=r"^the image has 4001 x 4000 pixels, 16 million are allowed$") as caught:
        image_from_bytes(png(4001))
    assert caught.value.status == 413


@pytest.mark.parametrize("body", IMAGES)
def test_a_damaged_exif_is_a_400(body: bytes) -> None:
    with pytest.raises(RequestRefused, match="the image is damaged") as caught:
        image_from_bytes(body)
    assert caught.value.status == 400


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_anywhere_in_the_header_is_refused_or_read_as_training_reads_it() -> None:
    """Some EXIF data only fail when they are asked for a second time; 2,000 files with one to three wrong bytes."""
    preprocessing = Preprocessing(3, 16, (0.0,) * 3, (1.0,) * 3)
    sound = [encoded(PICTURE, form, exif=turned(n)) for form in ("JPEG", "PNG") for n in (1, 3, 6, 8)]
    rng = np.random.default_rng(0)
    read = 0
    for number in range(2000):
        data = bytearray(sound[number % len(sound)])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, 160)] = rng.integers(0, 256)
        try:
            served = pixels_from_image(image_from_bytes(bytes(data)), preprocessing)
        except (RequestRefused, DataError):
            continue
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            assert np.array_equal(served, pixels_from_image(image, preprocessing))
        read += 1
    assert 200 < read < 1800


def jpeg(side: int, scans: int, segments: int = 0, segment: bytes = b"\xff\xe4\0\2", frame: int = 0xC2) -> bytes:
    """Grey, of scans without data, each of which walks over all blocks; `segments` in front."""
    head = b"\xff\xd8" + segments * segment + b"\xff\xdb" + struct.pack(">H", 67) + b"\0" + b"\1" * 64
    head += struct.pack(">BBHBHHB", 0xFF, frame, 11, 8, side, side, 1) + b"\1\x11\0"
    head += b"".join(b"\xff\xc4" + struct.pack(">H", 20) + bytes([table, 1]) + bytes(15) + b"\0" for table in (0, 16))
    scan = b"\xff\xda" + struct.pack(">HB", 8, 1) + b"\1\0" + (b"\1\x3f\0" if frame == 0xC2 else b"\0\x3f\0")
    return head + scan * scans + b"\xff\xd9"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (jpeg(3992, MOST_SCANS + 1), "64 scans"),
        (jpeg(3992, 100_000), "64 scans"),
        (jpeg(3992, MOST_SCANS + 1, frame=0xC0), "64 scans"),
        (jpeg(8, MOST_SCANS + 1).replace(b"\xff\xda", b"\xff\xff\xda"), "64 scans"),  # with a byte that fills
        (jpeg(8, 1, MOST_PARTS // 2), "65536 parts"),
        (jpeg(8, 1, MOST_PARTS, b"\xff"), "65536 parts"),
        (jpeg(8, 1, MOST_PARTS, b"x"), "65536 parts"),
        (jpeg(8, 1, MOST_PARTS, b"\xff\xd9"), "65536 parts"),
        (b"\xff\xd8" + MOST_PARTS * b"\xff\xff", "65536 parts"),
        (jpeg(8, 1, MOST_EXIF + 1, b"\xff\xe1\0\x0aExif\0\0\0\0"), "16 segments of Exif"),
        (b"\x89PNG\r\n\x1a\n" + (MOST_PARTS + 1) * (bytes(4) + b"abCd" + bytes(4)), "65536 parts"),
        (b"\x89PNG\r\n\x1a\n" + 2 * (bytes(4) + b"iCCP" + bytes(4)), "1 colour profiles"),
    ],
)
def test_a_small_file_that_costs_much_time_is_refused_at_once(body: bytes, what: str) -> None:
    with pytest.raises(RequestRefused, match=f"more than {what}") as caught:
        image_from_bytes(body)
    assert caught.value.status == 413


def test_as_many_scans_as_are_allowed_are_read() -> None:
    assert image_from_bytes(jpeg(8, MOST_SCANS, MOST_EXIF)).size == (8, 8)


def test_scans_of_a_preview_and_behind_the_end_are_not_counted() -> None:
    buffer = io.BytesIO()
    PICTURE.save(buffer, "JPEG", progressive=True)
    whole, scan = buffer.getvalue(), b"\xff\xda\0\x08"
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 100 * len(scan)) + scan * 100
    assert 6 <= whole.count(b"\xff\xda") <= 12
    assert image_from_bytes(whole[:2] + comment + whole[2:] + scan * 100).size == PICTURE.size
