"""Small data sets in the layouts of the published ones, for rehearsals: dark images and bright ones under the first two labels,
and two of each of the others, as every class needs them.

Those two are learned in a few steps, so that a search of seconds decides something.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.convert_shared_data import write_batch, write_pickle

IDX = (  # folder, prefixes of the training and test files, labels
    ("FashionMNIST/raw", ("train", "t10k"), 10),
    ("KMNIST/raw", ("train", "t10k"), 10),
    ("EMNIST/raw", ("emnist-balanced-train", "emnist-balanced-test"), 47),
)
EACH, TESTED = 80, 10  # images of each of two labels, of 28 and 32 px
LEAST = 2  # of every other label
LARGE_EACH, LARGE_TESTED = 12, 2  # of 224 px
ROOT = "data"  # of the named sets


def prepare(folder: Path) -> None:
    """All of them: named sets under `folder`/data, as EDGENAS_DATA takes it, ImageNet's class folders as `folder`/imagenet. What
    is there already is left as it is."""
    root = folder / ROOT
    for place, prefixes, classes in IDX:
        if not (root / place).exists():
            part = _part(root / place)
            for prefix, count in zip(prefixes, (EACH, TESTED), strict=True):
                images, labels = drawn(count, 28, f"{place} {prefix}", classes)
                _write_idx(part / f"{prefix}-images-idx3-ubyte.gz", images[..., 0])
                _write_idx(part / f"{prefix}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
            part.rename(root / place)
    if not (root / "cifar-10-batches-py").exists():
        _write_cifar(root / "cifar-10-batches-py", 10, 5, "labels", "batches.meta", "label_names")
    if not (root / "cifar-100-python").exists():
        _write_cifar(root / "cifar-100-python", 100, 1, "fine_labels", "meta", "fine_label_names")
    if not (folder / "imagenet").exists():
        _write_folders(folder / "imagenet")


def drawn(each: int, side: int, seed: str, classes: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, side, side, 3) and labels: `each` of the first two, then LEAST of every other, of any brightness."""
    rng = np.random.default_rng(list(seed.encode()))
    labels = np.concatenate([np.tile(np.arange(2), each), np.tile(np.arange(2, classes), LEAST)])
    level = np.where(labels < 2, 0.3 + 0.4 * labels, rng.uniform(0.2, 0.8, len(labels)))[:, None, None, None]
    return (255 * (level + rng.normal(0, 0.1, (len(labels), side, side, 3))).clip(0, 1)).astype(np.uint8), labels


def _part(folder: Path) -> Path:
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    return part


def _write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + np.ascontiguousarray(values).tobytes(), mtime=0))


def _write_cifar(folder: Path, classes: int, batches: int, key: str, meta: str, names: str) -> None:
    part = _part(folder)
    images, labels = drawn(EACH, 32, folder.name, classes)
    files = [f"data_batch_{index + 1}" for index in range(batches)] if batches > 1 else ["train"]
    for file, some, their in zip(files, np.array_split(images, batches), np.array_split(labels, batches), strict=True):
        write_batch(part / file, some, their, key)
    write_batch(
        part / ("test_batch" if batches > 1 else "test"), *drawn(TESTED, 32, f"{folder.name} test", classes), key
    )
    write_pickle(part / meta, {names: [f"class {label}" for label in range(classes)]})
    part.rename(folder)


def _write_folders(folder: Path) -> None:
    """train/LABEL/*.jpg and test/LABEL/*.jpg at 224 px."""
    part = _part(folder)
    for split, each in (("train", LARGE_EACH), ("test", LARGE_TESTED)):
        for index, (image, label) in enumerate(zip(*drawn(each, 224, split), strict=True)):
            path = part / split / f"n{label:08}" / f"{index:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=95)
    part.rename(folder)
