"""The live evidence's tasks: which data, which target and limit, and how everything that is compared is trained alike.

Data are real and lie outside of the repository (EDGENAS_SHARED, default ../shared); `prepared` writes them once as EdgeNAS reads
them: Fashion-MNIST's own files, CIFAR-10 as its pickled batches, 1,500 photographs made of CIFAR-10, ELPV by scripts/elpv.py.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHARED = Path(os.environ.get("EDGENAS_SHARED", "../shared")).resolve()
PHOTOS, PHOTO_SIDE = 150, 96  # of each class; px


@dataclass(frozen=True)
class LiveTask:
    """`search`: flags beside method, space, seed and budget. `limit_ms`: binds; about half of the space's members break it.
    `steps` of `batch` images train every network that is compared; `minutes`: of a search."""

    data: str
    search: tuple[str, ...]
    target: str
    limit_ms: float | None
    prepare: Callable[[Path], None]
    minutes: float = 5.0
    steps: int = 500
    batch: int = 64
    image_size: int | None = None

    def flags(self, data: Path) -> tuple[str, ...]:
        """Of `edgenas search`, with the data prepared under `data`."""
        limit = () if self.limit_ms is None else ("--max-latency-ms", f"{self.limit_ms:g}")
        size = () if self.image_size is None else ("--image-size", str(self.image_size))
        where = ("--data", self.data_name(data), "--data-dir", str(data), "--target", self.target)
        return (*where, *limit, *size, *self.search, "--budget", f"{self.minutes:g}")

    def data_name(self, data: Path) -> str:
        """A known name, or the folder that was prepared."""
        return str(data / self.data) if (data / self.data).is_dir() else self.data


def prepare_fashion(data: Path) -> None:
    """Links to the idx files where torchvision would have put them."""
    raw = data / "FashionMNIST/raw"
    raw.mkdir(parents=True, exist_ok=True)
    for file in (SHARED / "data/fashion-mnist").glob("*.gz"):
        if not (raw / file.name).exists():
            (raw / file.name).symlink_to(file)


def cifar_arrays() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(train or test, images (N, 32, 32, 3) uint8, labels (N,)) of the shared mosaics of 50 columns."""
    folder = SHARED / "data/cifar10"
    labels = np.load(folder / "labels.npz")
    for split in ("train", "test"):
        mosaics = [np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.glob(f"{split}_*.webp"))]
        tiles = [m.reshape(-1, 32, 50, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3) for m in mosaics]
        yield split, np.concatenate(tiles), labels[split]


def prepare_cifar(data: Path) -> None:
    """The shared mosaics as CIFAR-10's own pickled batches."""
    folder = data / "cifar-10-batches-py"
    if (folder / "batches.meta").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, content: dict[str, Any]) -> None:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))

    for split, images, labels in cifar_arrays():
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        names = ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)]
        for name, part in zip(names, np.array_split(np.arange(len(rows)), len(names)), strict=True):
            write(name, {"data": rows[part], "labels": [int(label) for label in labels[part]]})
    write("batches.meta", {"label_names": class_names()})


def class_names() -> list[str]:
    return (SHARED / "data/cifar10/classes.txt").read_text().split()


def prepare_photos(data: Path) -> None:
    """The tutorial's photographs: 150 of each of CIFAR-10's classes, at 96 px, as class folders of JPEG files."""
    folder = data / "photos"
    if folder.exists():
        return
    part = data / "photos.part"
    images, labels = next((images, labels) for split, images, labels in cifar_arrays() if split == "train")
    for label, name in enumerate(class_names()):
        (part / name).mkdir(parents=True, exist_ok=True)
        for place in np.flatnonzero(labels == label)[:PHOTOS]:
            photo = Image.fromarray(images[place]).resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BICUBIC)
            photo.save(part / name / f"{place:05}.jpg", quality=95)
    part.rename(folder)


TASKS = {
    "fashion-mnist": LiveTask("fashion-mnist", ("--recipe", "brief"), "raspberry-pi-5", 1.0, prepare_fashion),
    "cifar10": LiveTask("cifar10", ("--recipe", "brief"), "jetson", 0.42, prepare_cifar),
    "photos": LiveTask("photos", (), "jetson", 1.0, prepare_photos, minutes=4.0),
}
