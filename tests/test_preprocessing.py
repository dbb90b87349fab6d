"""Any picture to the network's pixels: one rule for every kind, alike in training, serving and faces."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.faces.images import image_from_file, rgb_from_image
from edgenas.image_sizes import ImageSize
from edgenas.preprocessing import GROUND, eight_bits, pixels_from_image, upright
from edgenas.records import Preprocessing
from edgenas.serve.images import image_from_bytes
from edgenas.tasks import TaskSettings, load_task
from tests.picture_kinds import encoded, kinds, turned


def how(size: ImageSize, channels: int = 3, fit: str = "crop") -> Preprocessing:
    return Preprocessing(channels, size, (0.0,) * channels, (1.0,) * channels, fit=fit)  # type: ignore[arg-type]


def read(data: bytes, preprocessing: Preprocessing) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return pixels_from_image(image, preprocessing)


SIDES = [(640, 480), (375, 500), (31, 40), (17, 11), (1, 1), (100, 300), (800, 100), (12, 47), (1, 8)]


@pytest.mark.parametrize("size", [24, 64, 224])
@pytest.mark.parametrize("sides", SIDES)
def test_up_to_eight_times_as_long_as_wide_the_whole_is_scaled_and_then_cut(sides: tuple[int, int], size: int) -> None:
    width, height = sides
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    scale = size / min(sides)
    long = [max(size, round(side * scale)) for side in sides]
    whole = np.asarray(image.resize((long[0], long[1]), Image.Resampling.BILINEAR))
    left, top = (long[0] - size) // 2, (long[1] - size) // 2
    assert np.array_equal(pixels_from_image(image, how(size)), whole[top : top + size, left : left + size])
    stretched = image.resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels_from_image(image, how(size, fit="stretch")), stretched)


@pytest.mark.parametrize("target", [(24, 60), (60, 24), (16, 128)])
@pytest.mark.parametrize("sides", SIDES)
def test_a_rectangle_is_covered_filled_or_fitted_into(sides: tuple[int, int], target: tuple[int, int]) -> None:
    """By definition: crop scales until both sides are covered, pad until both fit in. Up to 8 times as long as it asks for."""
    (width, height), (to_height, to_width) = sides, target
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    longer = (width / to_width) / (height / to_height)  # than the target
    stretched = pixels_from_image(image, how(target, fit="stretch"))
    thin = 3 if max(longer, 1 / longer) > 8 else None
    resized = image.resize((to_width, to_height), Image.Resampling.BILINEAR, reducing_gap=thin)
    assert np.array_equal(stretched, resized)

    padded = pixels_from_image(image, how(target, fit="pad"))
    wide, tall = (
        (to_width, max(1, round(height * to_width / width))),
        (max(1, round(width * to_height / height)), to_height),
    )
    inner = wide if longer >= 1 else tall
    top, left = (to_height - inner[1]) // 2, (to_width - inner[0]) // 2
    whole = image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=thin)
    assert np.array_equal(padded[top : top + inner[1], left : left + inner[0]], whole)
    rest = padded.copy()
    rest[top : top + inner[1], left : left + inner[0]] = GROUND
    assert (rest == GROUND).all()

    if thin is None:
        scale = max(to_width / width, to_height / height)
        covering = max(to_width, round(width * scale)), max(to_height, round(height * scale))
        left, top = (covering[0] - to_width) // 2, (covering[1] - to_height) // 2
        large = np.asarray(image.resize(covering, Image.Resampling.BILINEAR))
        cut = large[top : top + to_height, left : left + to_width]
        assert np.array_equal(pixels_from_image(image, how(target)), cut)


def test_a_picture_of_the_target_s_shape_is_never_cut_however_long_that_is() -> None:
    """20 times as wide as high, as the network's input is: the ends are seen."""
    pixels = np.zeros((20, 400, 3), dtype=np.uint8)
    pixels[:, :20], pixels[:, -20:] = 255, 200
    seen = pixels_from_image(Image.fromarray(pixels), how((8, 160)))
    assert (seen[:, 0] == 255).all()
    assert (seen[:, -1] == 200).all()
    tall = pixels_from_image(Image.fromarray(pixels.transpose(1, 0, 2)), how((160, 8)))
    assert np.array_equal(tall.transpose(1, 0, 2), seen)


THIN = """
import resource, sys
import numpy as np
from PIL import Image
from edgenas.faces.images import resized
from edgenas.preprocessing import pixels_from_image, scaled
from edgenas.records import Preprocessing
size = tuple(map(int, sys.argv[1:3]))
image, clear = Image.new("L", size, 128), Image.new("LA", size)

def allow(megabytes):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 1_000_000, -1))

def seen(image, how, size=224):
    return pixels_from_image(image, Preprocessing(3, size, (0.,) * 3, (1.,) * 3, fit=how))

allow(30)
assert (seen(clear, "crop") == 128).all()
assert (seen(clear, "crop", (32, 160)) == 128).all()
assert (seen(clear, "crop", (160, 32)) == 128).all()
assert (np.asarray(scaled(image, 224, "crop")) == 128).all()
allow(120)
assert (seen(image, "stretch") == 128).all()
assert (seen(image, "stretch", (64, 320)) == 128).all()
assert (resized(np.full((size[1], size[0], 3), 128, np.uint8)) == 128).all()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by Linux's limit on the address space")
@pytest.mark.parametrize("sides", [("1", "4000000"), ("4000000", "1"), ("30000", "1")])
def test_a_thin_picture_needs_no_more_memory_than_the_network(sides: tuple[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", THIN, *sides], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LARGE = """
import resource, sys
from PIL import Image
from edgenas.preprocessing import pixels_from_image
from edgenas.records import Preprocessing
size, fit, mode = tuple(map(int, sys.argv[1:3])), sys.argv[3], sys.argv[4]
image = Image.new(mode, size)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 4 * size[0] * size[1] + 60_000_000, -1))
pixels_from_image(image, Preprocessing(3, 224, (0.,) * 3, (1.,) * 3, fit=fit))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by Linux's limit on the address space")
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
@pytest.mark.parametrize("sides", [("4000", "4000"), ("16000000", "1")])
def test_a_picture_is_changed_in_mode_with_one_copy_of_it(sides: tuple[str, str], mode: str) -> None:
    """16 million pixels in 4 bytes each, and 60 MB for all the rest."""
    how = [*sides, "stretch", mode]
    done = subprocess.run([sys.executable, "-c", LARGE, *how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("part", [1, 70, 401])
def test_parts_of_a_picture_show_what_the_whole_shows(
    channels: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {name: _eight_bits(data, channels) for name, data in kinds().items()}
    monkeypatch.setattr("edgenas.preprocessing.PART", part)
    for name, data in kinds().items():
        assert np.array_equal(_eight_bits(data, channels), whole[name]), name


def _eight_bits(data: bytes, channels: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(eight_bits(upright(image), channels))


def test_of_a_thin_picture_the_centre_is_seen() -> None:
    values = np.zeros((10, 1000, 3), np.uint8)
    values[:, 495:505] = 200
    assert (pixels_from_image(Image.fromarray(values), how(10)) == 200).all()
    assert (pixels_from_image(Image.fromarray(values.transpose(1, 0, 2)), how(10)) == 200).all()


@pytest.mark.parametrize("colour", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("channels", [1, 3])
def test_forty_drawings_that_differ_in_transparency_alone_are_forty_arrays(colour: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        icon = Image.new("RGB", (24, 24), (colour,) * 3)
        icon.putalpha(Image.fromarray(rng.integers(0, 2, (24, 24), dtype=np.uint8) * 255))
        seen.add(pixels_from_image(icon, how(24, channels)).tobytes())
    assert len(seen) == 40


def test_transparent_is_mid_grey_and_half_transparent_half_of_it() -> None:
    for alpha, expected in ((0, (GROUND,) * 3), (255, (200, 100, 0)), (51, (142, 122, 102))):  # 51: a fifth
        image = Image.new("RGBA", (8, 8), (200, 100, 0, alpha))
        assert tuple(pixels_from_image(image, how(8))[3, 3]) == expected


def test_sixteen_bits_are_scaled_by_their_range_and_never_by_the_image() -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for depth in (values * 257, values * 256, values * 256 + 255):
        assert np.array_equal(read(encoded(Image.fromarray(depth)), how(16, 1))[..., 0], values)
    dark = np.full((8, 8), 300, np.uint16)  # 300 >> 8 = 1, though it is the brightest value there
    assert (read(encoded(Image.fromarray(dark)), how(8, 1)) == 1).all()
    assert (read(b"P5 8 8 65535\n" + dark.astype(">u2").tobytes(), how(8, 1)) == 1).all()
    assert (read(encoded(Image.fromarray(dark), "TIFF"), how(8, 1)) == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_thirty_two_bits_have_no_rule_and_are_refused(dtype: type) -> None:
    tiff = encoded(Image.fromarray(np.ones((8, 8), dtype)), "TIFF")
    with pytest.raises(DataError, match=r"need 8 or 16 bits a channel, this one has 32 \(mode [FI]\): convert it"):
        read(tiff, how(8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_shows_the_same_upright_picture(orientation: int) -> None:
    shown = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4) * 10
    stored = {  # how EXIF 2.3 says that the rows and columns lie in the file
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.T,
        6: np.rot90(shown),
        7: shown[::-1, ::-1].T,
        8: np.rot90(shown, -1),
    }[orientation]
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=turned(orientation))
    assert np.array_equal(read(data, how(4, 1))[..., 0], shown[1:5])


@pytest.mark.parametrize("channels", [1, 3])
def test_training_serving_and_faces_see_the_same_pixels_of_every_kind(tmp_path: Path, channels: int) -> None:
    files = kinds()
    for label in ("one", "two"):
        for name, data in files.items():
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / name).write_bytes(data)
    task = load_task(TaskSettings(str(tmp_path), image_size=24))
    learned = {image.tobytes() for split in (task.train, task.val, task.test) for image in split.images}
    preprocessing = how(24, channels)
    for name, data in files.items():
        served = pixels_from_image(image_from_bytes(data), preprocessing)
        assert np.array_equal(served, read(data, preprocessing)), name
        assert channels == 1 or served.tobytes() in learned, name
        path = tmp_path / "one" / name
        assert np.array_equal(image_from_file(path), rgb_from_image(image_from_bytes(data))), name
