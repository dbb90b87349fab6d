"""Known data sets as arrays: scikit-learn's digits, and files in the layouts that torchvision's downloads leave on disk.

The files are read here, not by torchvision: it takes 6 s to import, and refuses converted copies by their checksums.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenas.damaged import GZIP
from edgenas.errors import DataError
from edgenas.files import at_home
from edgenas.image_sizes import ImageSize
from edgenas.tasks import Split
from edgenas.tasks.facts import Origin

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
LARGEST_LABEL = 1_000_000
EMNIST_BALANCED = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")


class DataSet(NamedTuple):
    """A data set as it was published; `test` None where it comes without one."""

    train: Split
    test: Split | None
    classes: tuple[str, ...]
    size: ImageSize  # of its images
    padding: int  # 28-px sets are padded to 32
    flip: bool
    val: Split | None = None  # where it has its own
    together: bool = (
        False  # do equal images go into one split where one is cut? Published sets are cut as they always were
    )
    origin: Origin = Origin({"train": "its training images", "test": "its test images"})


_Options = tuple[tuple[str, str], ...]


class _Idx(NamedTuple):
    folder: str  # under the data root
    prefix: tuple[str, str]  # of the train and test files
    classes: tuple[str, ...]
    torchvision: str
    flip: bool = False
    transposed: bool = False  # EMNIST's images are stored column by column
    options: _Options = ()

    def images(self, prefix: str) -> str:
        """The file of one split's images, under the data root."""
        return f"{self.folder}/{prefix}-images-idx3-ubyte"


_DIGITS = tuple("0123456789")
_IDX = {
    "fashion-mnist": _Idx("FashionMNIST/raw", ("train", "t10k"), FASHION, "FashionMNIST", flip=True),
    "mnist": _Idx("MNIST/raw", ("train", "t10k"), _DIGITS, "MNIST"),
    "kmnist": _Idx("KMNIST/raw", ("train", "t10k"), tuple("おきすつなはまやれを"), "KMNIST"),
    "emnist": _Idx(
        "EMNIST/raw",
        ("emnist-balanced-train", "emnist-balanced-test"),
        EMNIST_BALANCED,
        "EMNIST",
        transposed=True,
        options=(("split", "balanced"),),
    ),
}


class _Cifar(NamedTuple):
    folder: str
    train: tuple[str, ...]
    test: str
    labels: str  # key in the batches
    meta: str
    names: str  # key in the meta file
    torchvision: str


_CIFAR = {
    "cifar10": _Cifar(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "labels",
        "batches.meta",
        "label_names",
        "CIFAR10",
    ),
    "cifar100": _Cifar("cifar-100-python", ("train",), "test", "fine_labels", "meta", "fine_label_names", "CIFAR100"),
}
NAMES = ("digits", *_IDX, *_CIFAR)
FACES = ("synthetic",)
OF_TASKS = {"classification": NAMES, "faces": FACES}


def folder_of_data(data: str, task: str) -> Path | None:
    """The folder that these data are; None for the name of a data set of this task, which goes before a folder that is called so:
    that one is ./NAME. Tasks of other packages have no names that are known here."""
    return Path(data) if data not in OF_TASKS.get(task, ()) and Path(data).is_dir() else None


def tell_folder_beside(data: str, task: str, data_dir: str | None, tell: Callable[[str], None]) -> None:
    """Say that a data set is meant where a folder here is called like it, unless its own files are in there."""
    beside = Path(data).resolve()
    if data in OF_TASKS.get(task, ()) and beside.is_dir() and beside.parent != data_root(data_dir).resolve():
        tell(f"data {data}: the data set of this name; the folder that is called so here is ./{data}")


def data_root(data_dir: str | None) -> Path:
    """`--data-dir`, EDGENAS_DATA, or the user's cache."""
    return at_home(data_dir or os.environ.get("EDGENAS_DATA") or "~/.cache/edgenas/data")


def load_dataset(name: str, data_dir: str | None = None) -> DataSet:
    """A known data set; downloaded by torchvision where its files are not on disk."""
    if name == "digits":
        return _digits()
    if name in _IDX:
        return _idx_dataset(name, data_root(data_dir))
    if name in _CIFAR:
        return _cifar_dataset(name, data_root(data_dir))
    raise unknown_data(
        name, f"data set {name!r} is unknown: {', '.join(NAMES)}, or an existing folder of class folders"
    )


def unknown_data(name: str, otherwise: str) -> DataError:
    """What to say of data that are not there: what is written as a path was meant as one."""
    path = Path(name)
    return DataError(f"there is no folder {path}" if path.name != name or name.startswith("~") else otherwise)


def datasets_on_disk(data_dir: str | None = None) -> tuple[str, ...]:
    """Names of those that need no download: their training files lie under the data root."""
    root = data_root(data_dir)
    files = {name: idx.images(idx.prefix[0]) for name, idx in _IDX.items()}
    files |= {name: f"{cifar.folder}/{cifar.train[0]}" for name, cifar in _CIFAR.items()}
    return tuple(name for name, file in files.items() if _on_disk(root / file))


def _digits() -> DataSet:
    from sklearn.datasets import load_digits  # 1.8 s

    data = load_digits()
    images = np.round(data.images[..., None] * (255 / 16)).astype(np.uint8)  # (1797, 8, 8, 1), 0..16 -> 0..255
    whole = Split(images, data.target.astype(np.int64))
    return DataSet(whole, None, _DIGITS, size=8, padding=0, flip=False, origin=Origin({"train": "its images"}))


def _idx_dataset(name: str, root: Path) -> DataSet:
    about = _IDX[name]
    splits = []
    for prefix in about.prefix:
        images_file = _find(name, root, about.images(prefix), about.torchvision, about.options)
        labels_file = _find(name, root, f"{about.folder}/{prefix}-labels-idx1-ubyte", about.torchvision, about.options)
        images, labels = read_idx(images_file), read_idx(labels_file)
        if images.ndim != 3 or images.size == 0 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"{images_file} holds {images.shape}, {labels_file} {labels.shape}: need (N, H, W) and (N,)"
            )
        images = images.transpose(0, 2, 1) if about.transposed else images
        splits.append(Split(np.ascontiguousarray(images[..., None]), labels.astype(np.int64)))
    return DataSet(splits[0], splits[1], about.classes, size=28, padding=2, flip=about.flip)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, gzipped or not (yann.lecun.com/exdb/mnist)."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except GZIP as error:
        raise DataError(f"{path} cannot be read ({error}): fetch it again") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise DataError(f"{path} is no idx file of unsigned bytes: fetch it again")
    rank = raw[3]
    header = 4 + 4 * rank
    if len(raw) < header:
        raise DataError(f"{path} ends inside its header: fetch it again")
    shape = tuple(int(side) for side in np.frombuffer(raw[4:header], dtype=">u4"))
    if not 1 <= rank <= 3 or len(raw) != header + math.prod(shape):
        raise DataError(f"{path} promises {shape} bytes and holds {len(raw) - header}: fetch it again")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def _cifar_dataset(name: str, root: Path) -> DataSet:
    about = _CIFAR[name]

    def find(file: str) -> Path:
        return _find(name, root, f"{about.folder}/{file}", about.torchvision, ())

    parts = [_read_batch(find(file), about.labels) for file in about.train]
    train = Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
    names = _unpickle(find(about.meta)).get(about.names)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{find(about.meta)} has no list of names {about.names!r}: fetch it again")
    classes = tuple(names)
    return DataSet(train, _read_batch(find(about.test), about.labels), classes, size=32, padding=0, flip=True)


def _read_batch(path: Path, label_key: str) -> Split:
    batch = _unpickle(path)
    data, labels = batch.get("data"), batch.get(label_key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise DataError(f"{path} is no CIFAR batch ('data' must be (N, 3072) bytes): fetch it again")
    if not isinstance(labels, list) or len(labels) != len(data) or len(data) == 0:
        raise DataError(f"{path} has no {label_key!r} for its {len(data)} images: fetch it again")
    if odd := [label for label in labels if type(label) is not int or not 0 <= label < LARGEST_LABEL]:
        raise DataError(f"{path} has the label {_shown(odd[0])}: class numbers are needed, fetch it again")
    images = np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Split(images, np.asarray(labels, dtype=np.int64))


def _shown(value: object) -> str:
    """Short, and one line: an int of ten million digits or a list of lists may stand there."""
    short = isinstance(value, (str, float)) or (isinstance(value, int) and value.bit_length() < 128)
    return repr(value)[:40] if short else f"of type {type(value).__name__}"


class _ArraysOnly(pickle.Unpickler):
    """Opens what CIFAR's pickles hold and nothing else: unpickling runs code, and these files come from elsewhere."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)  # as NumPy 2 calls it
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"holds {module}.{name}")


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"{path} cannot be read ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no CIFAR batch: fetch it again")
    return content


def _find(name: str, root: Path, file: str, torchvision: str, options: _Options) -> Path:
    """The file or its .gz; torchvision downloads the whole data set where neither exists."""
    if (path := _on_disk(root / file)) is None:
        _download(name, root, torchvision, options)
        path = _on_disk(root / file)
    if path is None:
        raise DataError(f"{name}: {root / file} is missing: put it there, or name another folder with --data-dir")
    return path


def _on_disk(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def _download(name: str, root: Path, torchvision: str, options: _Options) -> None:
    import torchvision.datasets as published  # 6 s

    fetch: Callable[..., object] = getattr(published, torchvision)
    try:
        root.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            fetch(str(root), train=train, download=True, **dict(options))
    except (OSError, RuntimeError, zlib.error) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{name} is not in {root} and cannot be downloaded ({first}): put its files there, or set --data-dir"
        ) from error
