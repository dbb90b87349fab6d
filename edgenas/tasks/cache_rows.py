"""The two files of a cache of images, row by row: the pixels, and the record that says that they are whole."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.preprocessing import Pixels
from edgenas.tasks.mapped import PIXELS, RECORD, RECORDS, Shape

CHECKED_BYTES = RECORD.itemsize - RECORD["check"].itemsize


class CacheFiles:
    """`count` rows of one `shape` in `folder`; opened for each access, so that threads need not share a position."""

    def __init__(self, folder: Path, count: int, shape: Shape) -> None:
        self.folder, self.count, self.shape = folder, count, shape
        self.row_bytes = shape[0] * shape[1] * shape[2]
        self.total_bytes = count * self.row_bytes

    def is_whole(self) -> bool:
        """Do both files have the size that they should have?"""
        sizes = ((PIXELS, self.total_bytes), (RECORDS, self.count * RECORD.itemsize))
        return all(_size(self.folder / name) == size for name, size in sizes)

    def stamp(self) -> tuple[int, int]:
        """(bytes, time of the last change in ns) of the pixels; zeros where there are none."""
        path = self.folder / PIXELS
        if not self.is_whole():
            return 0, 0
        found = path.stat()
        return found.st_size, found.st_mtime_ns

    def bytes_to_allocate(self) -> int:
        path = self.folder / PIXELS
        return self.total_bytes - (path.stat().st_blocks * 512 if path.exists() else 0)

    def allocate(self) -> None:
        """Both files in their whole length, their blocks taken from the disk now rather than in the middle."""
        for name, size in ((PIXELS, self.total_bytes), (RECORDS, self.count * RECORD.itemsize)):
            descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.truncate(descriptor, size)
                if size and hasattr(os, "posix_fallocate"):  # not on macOS
                    _reserve(descriptor, size)
            finally:
                os.close(descriptor)

    def synced(self) -> None:
        """Bring both files to the disk."""
        for name in (PIXELS, RECORDS):
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def records(self) -> NDArray[Any]:
        """(count,) of RECORD."""
        return np.fromfile(self.folder / RECORDS, RECORD)

    def pixels(self, row: int) -> Pixels | None:
        """(H, W, C); None where the file ends before."""
        with (self.folder / PIXELS).open("rb", buffering=0) as file:
            content = os.pread(file.fileno(), self.row_bytes, row * self.row_bytes)
        return np.frombuffer(content, np.uint8).reshape(self.shape) if len(content) == self.row_bytes else None


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # some file systems cannot
            raise


def write_row(files: CacheFiles, row: int, pixels: Pixels) -> None:
    """The pixels, then their record."""
    for name, content, size in (
        (PIXELS, np.ascontiguousarray(pixels).data, files.row_bytes),
        (RECORDS, record_of(pixels), RECORD.itemsize),
    ):
        descriptor = os.open(files.folder / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if (written := os.pwrite(descriptor, content, row * size)) != size:
                raise OSError(errno.ENOSPC, f"only {written} of {size} bytes could be written")
        finally:
            os.close(descriptor)


def record_of(pixels: Pixels) -> bytes:
    """What is known of one image (H, W, C)."""
    record = np.zeros(1, RECORD)
    values = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)  # sums of bytes are exact in it
    channels = values.shape[1]
    record["digest"] = np.frombuffer(digest_of(pixels), np.uint8)
    record["sums"][0, :channels] = values.sum(0)
    record["squares"][0, :channels] = (values * values).sum(0)
    record["constant"] = pixels.min() == pixels.max()
    record["filled"] = 1
    record["check"] = zlib.crc32(record.tobytes()[:CHECKED_BYTES])
    return record.tobytes()


def digest_of(pixels: Pixels) -> bytes:
    """BLAKE2, 16 bytes."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()


def sound_rows(files: CacheFiles, *, against_pixels: bool) -> NDArray[np.bool_]:
    """(count,): rows whose record is whole, and, if asked, whose pixels are those that it was made of."""
    sound = np.zeros(files.count, dtype=np.bool_)
    if _size(files.folder / RECORDS) != files.count * RECORD.itemsize:
        return sound
    records = files.records()
    if against_pixels and _size(files.folder / PIXELS) is None:
        return sound
    for row in np.flatnonzero(records["filled"] == 1).tolist():
        whole = zlib.crc32(records[row].tobytes()[:CHECKED_BYTES]) == records[row]["check"]
        if whole and against_pixels:
            pixels = files.pixels(row)
            whole = pixels is not None and digest_of(pixels) == bytes(records[row]["digest"])
        sound[row] = whole
    return sound


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
