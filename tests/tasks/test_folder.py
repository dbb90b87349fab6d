"""Folders of class folders: what is read, and one line for each way in which they are wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.faces.images import image_from_bytes
from edgenas.image_sizes import size_asked, size_in_words
from edgenas.preprocessing import formats_here
from edgenas.records import Preprocessing
from edgenas.tasks import TaskSettings
from edgenas.tasks.classification import Classification, load_classification
from edgenas.tasks.decoding import Header
from edgenas.tasks.folder import _imbalance, _warnings, default_size, size_in_shape
from tests.cli.edgenas import refusal
from tests.damaged_images import IMAGES, MOST_PIXELS, TOO_MANY_PIXELS, png_of_one_colour, png_without_pixels
from tests.picture_kinds import encoded


def write(path: Path, size: tuple[int, int], mode: str = "RGB", value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    noise = np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise, mode if mode == "RGBA" else None).save(path)


def folder(root: Path, mode: str = "RGB", each: int = 10) -> Path:
    for place, label in enumerate(("cat", "dog")):
        for index in range(each):
            write(root / label / f"{index}.png", (30 + index, 40), mode, index + 1000 * place)
    return root


def load(root: Path, **settings: int) -> Classification:
    return load_classification(TaskSettings(str(root), **settings))  # type: ignore[arg-type]


def test_the_median_short_side_rounded_up_is_the_size(tmp_path: Path) -> None:
    task = load(folder(tmp_path))
    # short sides 30..39: (high) median 35, rounded up to a multiple of 8
    assert task.train.images.shape[1:] == (40, 40, 3)
    assert task.classes == ("cat", "dog")
    assert (len(task.train), len(task.val), len(task.test)) == (14, 2, 4)
    assert not task.flip


def test_sizes_stop_at_224_and_are_multiples_of_8() -> None:
    assert [default_size(sides) for sides in ([28] * 3, [32] * 3, [33] * 3, [4000] * 3)] == [32, 32, 40, 224]


def test_grey_stays_one_channel_and_one_coloured_image_makes_three(tmp_path: Path) -> None:
    assert load(folder(tmp_path / "grey", "L")).preprocessing.channels == 1
    write(folder(tmp_path / "mixed", "L") / "cat" / "rgba.png", (40, 40), "RGBA")
    assert load(tmp_path / "mixed").preprocessing.channels == 3


def test_an_asked_image_size_is_kept(tmp_path: Path) -> None:
    assert load(folder(tmp_path), image_size=24).train.images.shape[1:] == (24, 24, 3)


def test_train_and_test_folders_are_the_split(tmp_path: Path) -> None:
    folder(tmp_path / "train", each=10)
    folder(tmp_path / "test", each=3)
    task = load(tmp_path)
    assert (len(task.train), len(task.val), len(task.test)) == (18, 2, 6)


def test_other_files_are_left_out(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "notes.txt").write_text("notes")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / ".cache").mkdir()
    assert load(root).classes == ("cat", "dog")


def loose(root: Path) -> None:
    write(root / "loose.png", (40, 40))


def empty_class(root: Path) -> None:
    (root / "bird").mkdir()


def corrupt(root: Path) -> None:
    (root / "cat" / "zz.png").write_bytes(b"no image")


def truncated(root: Path) -> None:
    path = root / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:400])


def garbled(root: Path) -> None:
    (root / "cat" / "exif.png").write_bytes(IMAGES[1])


def rare(root: Path) -> None:
    write(root / "bird" / "0.png", (40, 40))


def one_class(root: Path) -> None:
    for path in (root / "dog").iterdir():
        path.unlink()
    (root / "dog").rmdir()


def deep(root: Path) -> None:
    Image.fromarray(np.zeros((40, 40), dtype=np.float32)).save(root / "cat" / "deep.tif")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (loose, r"outside class folders \(loose.png\): put each"),
        (empty_class, "bird has no images"),
        (corrupt, r": 1 of 21 images cannot be read: cat/zz.png \(no PNG, JPEG, .* file\): mend or remove it, or"),
        (truncated, r"cat/0.png \(the image is damaged: image file is truncated"),
        (garbled, r"cat/exif.png \(the image is damaged"),
        (rare, "class 'bird' has 1 image: every class needs at least 3"),
        (one_class, r"one class folder \(cat\): classification needs at least 2"),
        (deep, r"cat/deep.tif \(images need 8 or 16 bits a channel, this one has 32 \(mode F\): convert it\)"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(tmp_path: Path, spoil, complaint: str) -> None:  # type: ignore[no-untyped-def]
    spoil(folder(tmp_path))
    with pytest.raises(DataError, match=complaint) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_different_classes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no class folders"):
        load(tmp_path / "empty")
    folder(tmp_path / "split" / "train")
    write(tmp_path / "split" / "test" / "cat" / "0.png", (40, 40))
    write(tmp_path / "split" / "test" / "fish" / "0.png", (40, 40))
    with pytest.raises(DataError, match=r"different classes \(test/ lacks dog; test/ has fish, which train/ lacks\)"):
        load(tmp_path / "split")


def test_damaged_files_are_named_all_at_once(tmp_path: Path) -> None:
    root = folder(tmp_path, each=30)
    for index in range(22):
        (root / "dog" / f"{index}.png").write_bytes(b"" if index else b"<html>404</html>")
    whole = (root / "cat" / "3.png").read_bytes()
    (root / "cat" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        load(root)
    line = str(caught.value)
    assert f"{root}: 23 of 60 images cannot be read: cat/3.png (the image is damaged" in line
    assert "; dog/0.png (no PNG" in line
    assert "; dog/1.png, dog/10.png, " in line  # the reason once for all of them
    assert "21.png" not in line.split("(the file is empty)")[1]
    assert line.endswith("; and 3 more: mend or remove them, or leave them out with --skip-damaged")


def test_a_split_of_nothing_but_damaged_images_is_refused_where_damaged_ones_are_left_out(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folder(tmp_path / split, each=3)
    for path in (tmp_path / "val").rglob("*.png"):
        path.write_bytes(b"")
    line = "all 6 images of val/ are damaged: val/cat/0.png, val/cat/1.png, .*, val/dog/2.png \\(the file is empty\\)$"
    assert re.search(f"^{tmp_path}: {line}", refusal("data", str(tmp_path), "--skip-damaged"))
    assert re.search("6 of 12 images cannot be read", refusal("data", str(tmp_path)))
    write(tmp_path / "val" / "cat" / "0.png", (30, 40))
    assert "class 'dog' has 0 images" in refusal("data", str(tmp_path), "--skip-damaged")
    write(tmp_path / "val" / "dog" / "0.png", (30, 40), value=1)
    assert len(load(tmp_path, skip_damaged=True).val) == 2


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n no more"])
def test_a_folder_of_nothing_but_damaged_images_is_refused_in_words_that_fit(tmp_path: Path, content: bytes) -> None:
    for path in folder(tmp_path, each=3).rglob("*.png"):
        path.write_bytes(content)
    assert refusal("data", str(tmp_path), "--skip-damaged").startswith(
        f"{tmp_path}: all 6 images are damaged: cat/0.png"
    )
    assert refusal("data", str(tmp_path)).endswith("mend or remove them, or leave them out with --skip-damaged")


@pytest.mark.parametrize("pixels", [(10_000, 10_000), (15_000, 12_100)])
def test_a_hundred_megapixels_are_read_and_more_than_178_refused_by_name(
    tmp_path: Path, pixels: tuple[int, int]
) -> None:
    root = folder(tmp_path)
    Image.new("1", pixels).save(root / "cat" / "scan.png")
    if pixels == (10_000, 10_000):
        assert len(load(root).train) == 15
        return
    with pytest.raises(DataError, match=r"cat/scan.png \(more than 178 million pixels are too many: scale it down\)"):
        load(root)


def test_a_pointer_of_git_lfs_in_place_of_an_image_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "pics")
    (root / "cat" / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 12\n")
    with pytest.raises(DataError, match=r"cat/pointer\.png \(a pointer of Git LFS, not the file: run `git lfs pull`"):
        load(root)


def test_an_image_of_too_many_pixels_is_refused_by_name_without_a_suffix_too(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "cat" / "scan").write_bytes(png_without_pixels(TOO_MANY_PIXELS))
    (root / "cat" / "notes").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 21 images cannot be read: cat/scan \(more than 178 million pixels"):
        load(root)
    (root / "cat" / "scan").write_bytes(png_of_one_colour(MOST_PIXELS))
    task = load(root)
    assert sum(task.facts.classes.values()) == 21
    assert task.facts.ignored == {"files without suffix that are no images": 1}


def test_postscript_under_any_name_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand it to Ghostscript: here a script that leaves a trace."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # looked for again
    root = folder(tmp_path / "pics")
    (root / "cat" / "x.png").write_bytes(POSTSCRIPT)
    (root / "cat" / "no-suffix").write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match=r"1 of 21 images cannot be read: cat/x.png \(no PNG"):
        load(root)
    with pytest.raises(DataError, match="cannot be decoded"):
        image_from_bytes(POSTSCRIPT)
    assert not (tmp_path / "ran").exists()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n%%EOF\n"


def test_images_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for index in range(10):
            (tmp_path / label).mkdir(exist_ok=True)
            frames = [Image.new("L", (16, 16)), Image.new("L", (16, 16), index + 1)]
            frames[0].save(tmp_path / label / f"{index}.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(
        DataError, match=r"all 20 images have the same pixels.*20 files are animations .* 20 of those are of one colour"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ([(200, 40)], (40, 200)),
        ([(40, 200)], (200, 40)),
        ([(201, 41)], (48, 208)),  # multiples of 8
        ([(200, 40), (210, 40), (900, 30)], (40, 216)),  # the median of each side
        ([(2400, 480)], (104, 504)),  # 100.2 x 500.9: as many pixels as 224 x 224
        ([(6000, 30)], (16, 2048)),  # 15.8 x 3,168, and no side is longer than 2,048
        ([(100_000, 1)], (8, 2048)),
    ],
)
def test_a_size_that_keeps_the_shape_is_named_and_can_be_asked_for(
    sides: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    found = size_in_shape([Header(True, one, False) for one in sides])
    assert found == size == size_asked(size_in_words(found))


@pytest.mark.parametrize(("coloured", "of", "said"), [(1, 20, True), (1, 19, False), (2, 40, True), (2, 39, False)])
def test_one_image_in_twenty_in_colour_is_said_and_more_are_meant(
    coloured: int, of: int, said: bool, tmp_path: Path
) -> None:
    headers = {tmp_path / f"{n}.png": Header(n >= coloured, (40, 40), False) for n in range(of)}
    nothing: Any = None  # of the images themselves
    found = list(_warnings(tmp_path, {}, headers, nothing, Preprocessing(3, 40, (0.0,) * 3, (1.0,) * 3)))
    assert found == [f"{coloured} of {of} images are in colour (0.png), so that all are read as RGB"] * said


@pytest.mark.parametrize(("most", "said"), [(29, False), (30, True)])
def test_a_class_ten_times_as_large_as_another_is_said(most: int, said: bool) -> None:
    labels = np.repeat([0, 1, 2], (3, most, 5))
    assert ["class 'a' has 3 images and 'b' 30: " in line for line in _imbalance(("a", "b", "c"), labels)] == [
        True
    ] * said


def test_what_is_read_otherwise_than_one_may_think_is_said(tmp_path: Path) -> None:
    root = folder(tmp_path, "L", each=30)
    assert load(root).facts.warnings == ()
    write(root / "cat" / "colour.png", (40, 40))
    write(root / "cat" / "wide.png", (90, 40), "L", 501)
    write(root / "cat" / "not-so-wide.png", (80, 40), "L", 502)
    Image.new("L", (9, 9)).save(
        root / "dog" / "moves.gif", save_all=True, append_images=[Image.new("L", (9, 9), 255), Image.new("L", (9, 9))]
    )
    for index in range(3):
        write(root / "bird" / f"{index}.png", (40, 40), "L", 500 + index)
        (root / "bird" / f"{index}.heic").touch()
    assert load(root).facts.warnings == (
        "3 .heic files are pictures that are not read: convert them to JPEG or PNG",
        "2 of 67 images are in colour (cat/colour.png), so that all are read as RGB",
        "1 of 67 images are more than twice as long as wide: only their middle is seen (--fit stretch or --fit pad shows "
        "all, --image-size 40x96 keeps their shape)",
        "1 files are animations or have several pages: only the first one is read, and 1 of those are of one colour",
        "class 'bird' has 3 images and 'cat' 33: accuracy hardly shows the rare one (--metric macro_f1 does, "
        "--balance trains it)",
    )


def test_damage_of_any_kind_to_any_format_is_a_refusal(tmp_path: Path) -> None:
    """Decoders raise what they like (AVIF: RuntimeError, GIF: IndexError); 1,600 files with one to five wrong bytes."""
    root, rng = folder(tmp_path), np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    sound = [
        encoded(kind, form, **options)
        for form, options in (
            *(("GIF", {}), ("PNG", {}), ("JPEG", {}), ("WEBP", {}), ("BMP", {}), ("PPM", {}), ("TIFF", {})),
            *((form, {}) for form in formats_here(("AVIF",))),
            ("GIF", {"save_all": True, "append_images": [image.rotate(90)] * 3}),
            ("TIFF", {"compression": "tiff_lzw"}),
        )
        for kind in (image, image.convert("L"))
    ]
    for number in range(1600):
        data = bytearray(sound[number % len(sound)])
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(0, len(data))] = rng.integers(0, 256)
        (root / "cat" / f"damaged-{number}.png").write_bytes(data)
    with pytest.raises(
        DataError, match=r"[1-9]\d\d of 1620 images cannot be read: .*; and \d+ more: mend or remove them"
    ):
        load(root)
