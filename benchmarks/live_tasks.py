"""The live evidence's tasks: which data, which target and limit, and how everything that is compared is trained alike.

Data are real and lie outside of the repository (EDGENAS_SHARED, default ../shared); `prepared` writes them once as EdgeNAS reads
them: Fashion-MNIST's own files, CIFAR-10 as its pickled batches, 1,500 photographs made of CIFAR-10, ELPV's five splits.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.convert_shared_data import classes, convert_cifar10, convert_fashion_mnist, images_from_mosaics
from scripts.elpv import cells_of, package_folder, write_splits

SHARED = Path(os.environ.get("EDGENAS_SHARED", "../shared")).resolve()
PHOTOS, PHOTO_SIDE = 150, 96  # of each class; px
ELPV_SIDE = 64  # px


@dataclass(frozen=True)
class LiveTask:
    """`data`: a known name or a folder; {seed} in it: every seed has data of its own. `search`: flags beside method, space, seed
    and budget. `limit_ms`: binds; about half of the space's members break it. `steps` of `batch` images train every network that
    is compared; `minutes`: of a search."""

    data: str
    search: tuple[str, ...]
    target: str
    limit_ms: float | None
    prepare: Callable[[Path], None]
    minutes: float = 5.0
    steps: int = 500
    batch: int = 64
    image_size: int | None = None

    def of(self, seed: int) -> LiveTask:
        """With this seed's data."""
        return dataclasses.replace(self, data=self.data.format(seed=seed))

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
    """The idx files where torchvision would have put them."""
    if not (data / "FashionMNIST/raw").exists():
        convert_fashion_mnist(SHARED / "data/fashion-mnist", data)


def prepare_cifar(data: Path) -> None:
    """CIFAR-10's own pickled batches."""
    if not (data / "cifar-10-batches-py/batches.meta").exists():
        convert_cifar10(SHARED / "data/cifar10", data)


def prepare_photos(data: Path) -> None:
    """The tutorial's photographs: 150 of each of CIFAR-10's classes, at 96 px, as class folders of JPEG files."""
    folder = data / "photos"
    if folder.exists():
        return
    part = data / "photos.part"
    cifar = SHARED / "data/cifar10"
    images, labels = images_from_mosaics(cifar, "train"), np.load(cifar / "labels.npz")["train"]
    for label, name in enumerate(classes(cifar)):
        (part / name).mkdir(parents=True, exist_ok=True)
        for place in np.flatnonzero(labels == label)[:PHOTOS]:
            (part / name / f"{place:05}.jpg").write_bytes(photograph(images[place]))
    part.rename(folder)


def photograph(image: NDArray[np.uint8]) -> bytes:
    """(32, 32, 3) enlarged to PHOTO_SIDE, as a JPEG file."""
    file = io.BytesIO()
    large = Image.fromarray(image).resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BICUBIC)
    large.save(file, "JPEG", quality=95)
    return file.getvalue()


def prepare_elpv(data: Path) -> None:
    """ELPV's splits by scripts/elpv.py. The package is looked for in ELPV_PACKAGE, or among those installed."""
    if not (data / "elpv").exists():
        site = os.environ.get("ELPV_PACKAGE")
        write_splits(cells_of(package_folder(None if site is None else Path(site))), data / "elpv", ELPV_SIDE)


TASKS = {
    "fashion-mnist": LiveTask("fashion-mnist", ("--recipe", "brief"), "raspberry-pi-5", 1.0, prepare_fashion),
    "cifar10": LiveTask("cifar10", ("--recipe", "brief"), "jetson", 0.42, prepare_cifar),
    "elpv": LiveTask("elpv/split-{seed}", ("--recipe", "brief"), "jetson", 0.42, prepare_elpv, image_size=ELPV_SIDE),
    "photos": LiveTask("photos", (), "jetson", 1.0, prepare_photos, minutes=4.0),
}
