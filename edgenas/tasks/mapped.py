"""Images in a file that every process maps: a split is a list of row numbers, and no process holds a copy of the pixels."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import MachineError

Rows = NDArray[np.int64]
Shape = tuple[int, int, int]  # (H, W, C) of one image

# What is known of each image in the file, one record a row; written after its pixels.
RECORD = np.dtype(
    [
        ("digest", "u1", (16,)),  # BLAKE2 of the pixels
        ("sums", "<u8", (3,)),  # of each channel's values
        ("squares", "<u8", (3,)),  # of each channel's squared values
        ("constant", "u1"),  # 1: all pixels are equal
        ("filled", "u1"),  # 1: the row holds an image
        ("unused", "u1", (2,)),
        ("check", "<u4"),  # CRC-32 of what stands before it
    ]
)
PIXELS, RECORDS = "pixels", "records"  # files of a cache


class MappedImages:
    """Like a read-only (N, H, W, C) uint8 array whose pixels stay in a file; indexing with a slice or with numbers reads those.

    It goes to other processes as the file's name and the row numbers. MachineError where the file is gone or of another size.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, folder: Path, shape: Shape, rows: Rows) -> None:
        self.folder, self.rows = folder.absolute(), rows  # read again wherever the program goes
        self.shape = (len(rows), *shape)
        self.whole: NDArray[np.uint8] = _mapped(folder / PIXELS, np.dtype(np.uint8), shape)  # (all, H, W, C)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Any) -> NDArray[np.uint8]:
        """(M, H, W, C) of a slice or of M numbers; (H, W, C) of one number."""
        found: NDArray[np.uint8] = self.whole[self.rows[chosen]]
        return found

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self.whole[row] for row in self.rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """A copy of all pixels: for tests and small sets."""
        del copy  # it is always one
        return self[:] if dtype is None else self[:].astype(dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedImages, (self.folder, self.shape[1:], self.rows)

    def __deepcopy__(self, memo: dict[int, Any]) -> MappedImages:
        return self

    def part(self, chosen: Rows) -> MappedImages:
        """These images, in the same file."""
        return self.at(self.rows[chosen])

    def at(self, rows: Rows) -> MappedImages:
        """These rows of the file."""
        return MappedImages(self.folder, (self.shape[1], self.shape[2], self.shape[3]), rows)

    @functools.cached_property
    def records(self) -> NDArray[Any]:
        """(N,) of RECORD."""
        return _mapped(self.folder / RECORDS, RECORD, ())[self.rows]

    @property
    def digests(self) -> list[bytes]:
        """The BLAKE2 (16 bytes) of each image's pixels."""
        return [bytes(digest) for digest in self.records["digest"]]


Images = NDArray[np.uint8] | MappedImages


def joined(one: Images, other: Images) -> Images:
    """The images of both, one behind the other: of one file without reading it, else a copy."""
    if isinstance(one, MappedImages) and isinstance(other, MappedImages) and one.folder == other.folder:
        return one.at(np.concatenate([one.rows, other.rows]))
    return np.concatenate([np.asarray(one), np.asarray(other)])


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """(all rows, *shape), read-only."""
    try:
        flat = np.memmap(path, dtype, mode="r")
        return np.asarray(flat).reshape(-1, *shape)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"the decoded images in {path.parent} are gone or cut short ({error}): run the command again: it decodes them anew"
        ) from error


def gathered(images: Images, rows: Rows) -> Images:
    """These images: of mapped ones still in their file."""
    return images.part(rows) if isinstance(images, MappedImages) else images[rows]


def mean_and_std_of_records(images: MappedImages) -> tuple[list[float], list[float]]:
    """Per channel, of 0..1 pixels, exact but for the last rounding, without reading a pixel."""
    channels, count = images.shape[3], len(images) * images.shape[1] * images.shape[2]
    means, deviations = [], []
    for channel in range(channels):
        total = int(images.records["sums"][:, channel].sum())
        squares = int(images.records["squares"][:, channel].sum())
        means.append(total / (255 * count))
        deviations.append(max(0, count * squares - total * total) ** 0.5 / (255 * count))
    return means, deviations
