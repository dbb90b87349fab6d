"""Lay the collected data sets out as torchvision's downloads do, for --data-dir or EDGENAS_DATA.

    python scripts/convert_shared_data.py ../shared/data ~/.cache/edgenas/data

Fashion-MNIST is copied; CIFAR-10 and CIFAR-100 come as mosaics of 50 columns (CIFAR-100 as JPEG q95: not bit-exact) and become
the pickles that the originals are, in another order than the published files.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLUMNS, SIDE = 50, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with fashion-mnist/, cifar10/, cifar100-jpeg95/")
    parser.add_argument("root", type=Path, help="data root to write, as for --data-dir")
    arguments = parser.parse_args()
    for name, convert in (
        ("fashion-mnist", convert_fashion_mnist),
        ("cifar10", convert_cifar10),
        ("cifar100-jpeg95", convert_cifar100),
    ):
        if not (arguments.source / name).is_dir():
            sys.stderr.write(f"{arguments.source / name} is missing: left out\n")
            continue
        sys.stderr.write(f"{name} -> {convert(arguments.source / name, arguments.root)}\n")


def convert_fashion_mnist(source: Path, root: Path) -> Path:
    target = root / "FashionMNIST" / "raw"
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.gz"):
        shutil.copyfile(path, target / path.name)
    return target


def convert_cifar10(source: Path, root: Path) -> Path:
    target = root / "cifar-10-batches-py"
    target.mkdir(parents=True, exist_ok=True)
    labels = np.load(source / "labels.npz")
    train, test = images_from_mosaics(source, "train"), images_from_mosaics(source, "test")
    for part in range(5):
        rows = slice(part * 10_000, (part + 1) * 10_000)
        write_batch(target / f"data_batch_{part + 1}", train[rows], labels["train"][rows], "labels")
    write_batch(target / "test_batch", test, labels["test"], "labels")
    write_pickle(target / "batches.meta", {"label_names": classes(source)})
    return target


def convert_cifar100(source: Path, root: Path) -> Path:
    target = root / "cifar-100-python"
    target.mkdir(parents=True, exist_ok=True)
    labels = np.load(source / "labels.npz")
    for split in ("train", "test"):
        write_batch(target / split, images_from_mosaics(source, split), labels[split], "fine_labels")
    write_pickle(target / "meta", {"fine_label_names": classes(source)})
    return target


def images_from_mosaics(source: Path, split: str) -> NDArray[np.uint8]:
    """(N, 32, 32, 3), in the order of the labels."""
    parts = []
    for path in sorted(source.glob(f"{split}_*")):
        mosaic = np.asarray(Image.open(path).convert("RGB"))
        rows = mosaic.shape[0] // SIDE
        parts.append(mosaic.reshape(rows, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3))
    return np.concatenate(parts)


def write_batch(path: Path, images: NDArray[np.uint8], labels: NDArray[np.integer], key: str) -> None:
    """One CIFAR batch: (N, 3072) bytes, channel after channel, and a list of labels."""
    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    write_pickle(path, {"data": data, key: [int(label) for label in labels]})


def write_pickle(path: Path, content: dict[str, object]) -> None:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=2)  # as the originals


def classes(source: Path) -> list[str]:
    return (source / "classes.txt").read_text(encoding="utf-8").split()


if __name__ == "__main__":
    main()
