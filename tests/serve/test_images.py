"""Images from requests, without a server around them."""

import io

import pytest
from PIL import Image

from edgenas.serve.errors import Refused
from edgenas.serve.images import image_from_bytes
from tests.damaged_images import IMAGES, PICTURE


def test_an_image_is_turned_upright_by_its_exif_tag() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    buffer = io.BytesIO()
    PICTURE.save(buffer, "JPEG", exif=exif)
    assert image_from_bytes(buffer.getvalue()).size == (48, 64)


@pytest.mark.parametrize("body", IMAGES)
def test_a_damaged_exif_is_a_400(body: bytes) -> None:
    with pytest.raises(Refused, match="the image is damaged") as caught:
        image_from_bytes(body)
    assert caught.value.status == 400
