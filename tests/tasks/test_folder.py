"""Folders of class folders: what is read, and one line for each way in which they are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.tasks.folder import default_size
from tests.damaged_images import IMAGES


def write(path: Path, size: tuple[int, int], mode: str = "RGB", value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    noise = np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise, mode if mode == "RGBA" else None).save(path)


def folder(root: Path, mode: str = "RGB", each: int = 10) -> Path:
    for label in ("cat", "dog"):
        for index in range(each):
            write(root / label / f"{index}.png", (30 + index, 40), mode, index)
    return root


def load(root: Path, **settings: int) -> Task:
    return load_task(TaskSettings(str(root), **settings))  # type: ignore[arg-type]


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
        (corrupt, "zz.png is not a readable image: mend or remove"),
        (truncated, "0.png: the image is damaged"),
        (garbled, "exif.png: the image is damaged"),
        (rare, "class 'bird' has 1 images: every class needs at least 3"),
        (one_class, r"one class folder \(cat\): classification needs at least 2"),
        (deep, "deep.tif: images need 8 or 16 bits a channel"),
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
    with pytest.raises(DataError, match=r"different classes \(dog, fish\)"):
        load(tmp_path / "split")
