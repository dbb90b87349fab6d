"""Faces with names from files: identity folders, InsightFace .rec/.idx and .bin, the LFW layout. No mxnet, no open pickles."""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgenas.damaged import PICKLE
from edgenas.errors import NOT_SHOWN, DataError
from edgenas.faces.images import Rgb, folders_in, image_files, image_from_bytes, image_from_file, resized
from edgenas.records import Record

Prepare = Callable[[Rgb], Rgb]  # any image -> (112, 112, 3)
MAGIC = 0xCED7230A


class FaceImages(Record, frozen=True):
    """Images (N, 112, 112, 3) uint8 with their identity 0..len(names)-1, ordered by identity."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


class FacePairs(Record, frozen=True):
    """A verification set: images (2N, 112, 112, 3), pair i = rows 2i and 2i + 1, same (N,)."""

    images: NDArray[np.uint8]
    same: NDArray[np.bool_]


def faces_from_path(path: Path, prepare: Prepare = resized) -> FaceImages:
    """Identity folders (or LFW's folder, or one that holds `train.rec`), or a `.rec` file with its `.idx` beside it."""
    if path.is_dir() and (path / "train.rec").exists():
        return faces_from_rec(path / "train.rec", prepare)
    if path.is_dir():
        return faces_from_folders(path, prepare)
    if path.suffix == ".rec":
        return faces_from_rec(path, prepare)
    if path.suffix == ".bin":
        raise DataError(f"{path} is a verification set (pairs without names): it is for `edgenas faces eval` only")
    raise DataError(f"no faces at {path}: name a folder with one folder per person, or an InsightFace .rec file")


def faces_from_folders(root: Path, prepare: Prepare = resized) -> FaceImages:
    """One folder of images per person, any names (LFW's `lfw/Name/Name_0001.jpg` is this layout, one level down or not)."""
    folders = folders_in(root)
    if len(folders) == 1 and folders[0].name.startswith("lfw"):
        folders = folders_in(folders[0])  # torchvision's layout: ROOT/lfw-deepfunneled/Name/...
    images: list[Rgb] = []
    labels: list[int] = []
    names: list[str] = []
    for folder in folders:
        files = image_files(folder)
        if not files:
            continue
        if NOT_SHOWN.search(folder.name):
            raise DataError(
                f"the folder {folder.name!a} in {root} has control characters or bytes that are not UTF-8 in its name: rename it"
            )
        images += [prepare(image_from_file(file)) for file in files]
        labels += [len(names)] * len(files)
        names.append(folder.name)
    if len(names) < 2:
        raise DataError(
            f"{root} holds {len(names)} folders with images; faces need two people or more, one folder each"
        )
    return FaceImages(np.stack(images), np.array(labels), tuple(names))


def faces_from_rec(path: Path, prepare: Prepare = resized) -> FaceImages:
    """InsightFace's RecordIO training set: images in `.rec`, offsets in `.idx`."""
    index = path.with_suffix(".idx")
    if not path.is_file() or not index.is_file():
        raise DataError(f"{path} and {index} are both needed: InsightFace sets come as train.rec and train.idx")
    images: list[Rgb] = []
    identities: list[int] = []
    for label, data in rec_records(path, index):
        images.append(prepare(image_from_bytes(data, f"a record of {path}")))
        identities.append(label)
    if not images:
        raise DataError(f"{path} holds no images")
    known, labels = np.unique(np.array(identities), return_inverse=True)
    order = np.argsort(labels, kind="stable")
    return FaceImages(np.stack(images)[order], labels[order].astype(np.int64), tuple(str(name) for name in known))


def rec_records(path: Path, index: Path) -> Iterator[tuple[int, bytes]]:
    """(identity, encoded image) of every image record."""
    offsets = _offsets(index)
    with path.open("rb") as file:
        size = path.stat().st_size
        keys = sorted(offsets)
        first, _, labels = _record(file, offsets[keys[0]], size, path)
        # Record 0 of InsightFace sets is no image: its labels say where the images end and the per-person records begin.
        if first == 2 and keys[0] == 0:
            keys = [key for key in keys if 0 < key < int(labels[0])]
        for key in keys:
            _, data, labels = _record(file, offsets[key], size, path)
            yield int(labels[0]), data


def _offsets(index: Path) -> dict[int, int]:
    try:
        rows = [line.split("\t") for line in index.read_text().splitlines() if line.strip()]
        offsets = {int(key): int(offset) for key, offset in rows}
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{index} is not an index of RecordIO (lines of key, tab, offset): {error}") from error
    if not offsets:
        raise DataError(f"{index} is empty")
    return offsets


def _record(file: BinaryIO, offset: int, size: int, path: Path) -> tuple[int, bytes, tuple[float, ...]]:
    """(flag, content, labels): RecordIO framing (magic, 29-bit length), then MXNet's image header (flag, label, id, id2)."""
    file.seek(min(max(offset, 0), size))
    head = file.read(8) if offset >= 0 else b""
    magic, length = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
    kind, length = length >> 29, length & ((1 << 29) - 1)
    if magic != MAGIC or kind != 0 or not 24 <= length <= size - offset - 8:
        raise DataError(
            f"{path} has no whole record at byte {offset}: the file is cut off or does not belong to its .idx"
        )
    data = file.read(length)
    flag, label, _, _ = struct.unpack("<IfQQ", data[:24])
    end = 24 + 4 * flag
    labels = (label,) if flag == 0 else struct.unpack(f"<{flag}f", data[24:end]) if end <= length else ()
    if not labels or not math.isfinite(labels[0]):
        raise DataError(f"{path} has a damaged record at byte {offset}")
    return flag, data[end:], labels


def pairs_from_bin(path: Path, prepare: Prepare = resized) -> FacePairs:
    """InsightFace's verification sets (lfw.bin, cfp_fp.bin, agedb_30.bin): a pickle, read by a loader that runs nothing."""
    try:
        with path.open("rb") as file:
            content = PlainUnpickler(file, encoding="bytes").load()
    except PICKLE as error:
        raise DataError(f"{path} is not a verification set of plain lists and bytes: {error}") from error
    encoded, same = content if isinstance(content, (tuple, list)) and len(content) == 2 else ((), ())
    sound = isinstance(encoded, list) and isinstance(same, list) and len(encoded) == 2 * len(same) > 0
    if not sound or not all(isinstance(image, bytes) for image in encoded):
        raise DataError(f"{path} is not a verification set: expected two encoded images for every same/different flag")
    images = np.stack([prepare(image_from_bytes(image, f"an image of {path}")) for image in encoded])
    return FacePairs(images, np.array([bool(flag) for flag in same]))


class PlainUnpickler(pickle.Unpickler):
    """Knows lists, tuples, bytes, numbers and bools. `_codecs.encode` is how Python 3 writes bytes in protocol 2."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")


def _latin1(text: str | bytes, encoding: str | bytes) -> bytes:
    if encoding not in ("latin1", b"latin1") or not isinstance(text, (str, bytes)):
        raise pickle.UnpicklingError("it asks for an encoding other than latin1")
    # With encoding="bytes" the text arrives as the UTF-8 bytes of Latin-1 characters.
    return (text.decode() if isinstance(text, bytes) else text).encode("latin1")


def write_folders(faces: FaceImages, root: Path) -> int:
    """Write identity folders of PNGs; returns how many images."""
    from PIL import Image

    for number, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        folder = root / faces.names[label]
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        (folder / f"{number:06d}.png").write_bytes(buffer.getvalue())
    return len(faces.images)
