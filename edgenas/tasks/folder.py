"""A folder of class folders of images, of any size and mode."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from PIL import Image

from edgenas.errors import DataError, EdgenasError
from edgenas.preprocessing import DAMAGED, pixels_from_image
from edgenas.records import Preprocessing
from edgenas.tasks import Split
from edgenas.tasks.datasets import DataSet

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
LARGEST = 224  # px; larger images are scaled down unless --image-size says otherwise
Files = dict[str, list[Path]]  # class -> its images


def load_folder(root: Path, image_size: int | None) -> DataSet:
    """DIR/class/image, or DIR/train/class/image and DIR/test/class/image. Grey images stay one channel."""
    train = class_files(root / "train" if _is_split(root) else root)
    test = class_files(root / "test") if _is_split(root) else {}
    if test and sorted(test) != sorted(train):
        odd = ", ".join(sorted(set(test) ^ set(train)))
        raise DataError(f"{root}: train and test have different classes ({odd}): both need the same class folders")
    headers = [_header(path) for files in (*train.values(), *test.values()) for path in files]
    channels = 1 if all(mode in ("1", "L", "LA") for mode, _ in headers) else 3
    size = image_size or default_size([side for _, side in headers])
    how = Preprocessing(channels, size, mean=(0.0,) * channels, std=(1.0,) * channels)
    return DataSet(_read(train, how), _read(test, how) if test else None, tuple(train), size, padding=0, flip=False)


def default_size(short_sides: list[int]) -> int:
    """The median short side, at most 224, rounded up to a multiple of 8."""
    return -(-min(int(statistics.median_high(short_sides)), LARGEST) // 8) * 8


def class_files(root: Path) -> Files:
    """Image files of every class folder, both sorted by name."""
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    loose = [entry for entry in entries if _is_image(entry)]
    folders = [entry for entry in entries if entry.is_dir()]
    if loose:
        raise DataError(
            f"{root} has images outside class folders ({loose[0].name}): put each into the folder of its class"
        )
    if not folders:
        raise DataError(f"{root} has no class folders: one folder of images per class is needed")
    files = {folder.name: sorted(path for path in folder.iterdir() if _is_image(path)) for folder in folders}
    for name, images in files.items():
        if not images:
            raise DataError(
                f"{root / name} has no images ({', '.join(sorted(SUFFIXES))}): fill or remove that class folder"
            )
    if len(files) < 2:
        raise DataError(f"{root} has one class folder ({folders[0].name}): classification needs at least 2")
    return files


def _is_split(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "test").is_dir()


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _header(path: Path) -> tuple[str, int]:
    """(mode, short side) without decoding."""
    try:
        with Image.open(path) as image:
            return image.mode, min(image.size)
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: mend or remove it") from error


def _read(files: Files, how: Preprocessing) -> Split:
    images, labels = [], []
    for label, paths in enumerate(files.values()):
        for path in paths:
            try:
                with Image.open(path) as image:
                    images.append(pixels_from_image(image, how))
            except EdgenasError as error:
                raise DataError(f"{path}: {error}") from error
            except DAMAGED as error:
                raise DataError(f"{path} is not a readable image ({error}): mend or remove it") from error
            labels.append(label)
    return Split(np.stack(images), np.asarray(labels, dtype=np.int64))
