"""Images from requests, without a server around them."""

import io

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.preprocessing import pixels_from_image
from edgenas.records import Preprocessing
from edgenas.serve.errors import RequestRefused
from edgenas.serve.images import image_from_bytes
from tests.damaged_images import IMAGES, PICTURE
from tests.picture_kinds import encoded, turned


def test_an_image_is_turned_upright_by_its_exif_tag() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    buffer = io.BytesIO()
    PICTURE.save(buffer, "JPEG", exif=exif)
    assert image_from_bytes(buffer.getvalue()).size == (48, 64)


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
