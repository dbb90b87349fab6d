"""TFRecord files without TensorFlow: length, its checksum, content, its checksum; and the fields of a protobuf message.

A record is little-endian: u64 length, u32 masked CRC-32C of those 8 bytes, content, u32 masked CRC-32C of the content
(TensorFlow, core/lib/io/record_writer.h). Nothing is read before its length was found right, and within bounds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import EdgenasError

LONGEST = 1 << 16  # bytes of a record; those of NAS-Bench-101 have some hundreds
TOGETHER = 1024  # records whose checksums are computed at once
POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
MASK = 0xA282EAD8
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
MOST_VARINT = 10  # bytes


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


TABLE = _table()
BY_BYTE = TABLE.tolist()


def records(path: Path) -> Iterator[bytes]:
    """The contents of all records. Raises EdgenasError, in one line, where the file cannot be read, ends within a record, or a
    checksum is wrong."""
    if not path.is_file():
        raise EdgenasError(f"{path} cannot be read: it is no file")
    waiting: list[bytes] = []
    sums: list[int] = []
    try:
        with path.open("rb") as file:
            for number, (content, checksum) in enumerate(_framed(file), 1):
                waiting.append(content)
                sums.append(checksum)
                if len(waiting) == TOGETHER:
                    yield from _checked(waiting, sums, number)
                    waiting, sums = [], []
        if waiting:
            yield from _checked(waiting, sums, number)
    except OSError as error:
        raise EdgenasError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise EdgenasError(f"{path} cannot be read as a TFRecord file: {error}") from error


def _framed(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(content, masked checksum) of every record."""
    number = 0
    while head := file.read(12):
        number += 1
        if len(head) < 12:
            raise ValueError(f"it ends within record {number}")
        length, checksum = struct.unpack("<QI", head)
        if masked(crc32c_of(head[:8])) != checksum:
            raise ValueError(f"the checksum of record {number}'s length is wrong: it is damaged, or something else")
        if length > LONGEST:
            raise ValueError(f"record {number} has {length:,} bytes, and at most {LONGEST:,} are read")
        content, end = file.read(length), file.read(4)
        if len(content) < length or len(end) < 4:
            raise ValueError(f"it ends within record {number}")
        yield content, struct.unpack("<I", end)[0]


def _checked(contents: list[bytes], sums: list[int], last: int) -> Iterator[bytes]:
    wrong = np.flatnonzero(masked_all(crc32c(contents)) != np.array(sums, np.uint32))
    if len(wrong):
        raise ValueError(f"the checksum of record {last - len(contents) + 1 + int(wrong[0])} is wrong: it is damaged")
    yield from contents


# ---------------------------------------------------------------- CRC-32C


def crc32c_of(content: bytes) -> int:
    """Of a few bytes."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = BY_BYTE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc32c(contents: Sequence[bytes]) -> NDArray[np.uint32]:
    """(N,) of N contents at once: their first bytes, their second bytes, and so on."""
    crc = np.full(len(contents), 0xFFFFFFFF, np.uint32)
    lengths = np.array([len(content) for content in contents], np.int64)
    if not len(contents) or not lengths.max():
        return np.zeros(len(contents), np.uint32)
    order = np.argsort(-lengths, kind="stable")
    padded = np.zeros((len(contents), int(lengths.max())), np.uint8)
    for row, index in enumerate(order):
        padded[row, : lengths[index]] = np.frombuffer(contents[index], np.uint8)
    columns = np.ascontiguousarray(padded.T)  # (longest, N): rows of it are read one after another
    longer = np.searchsorted(-lengths[order], -np.arange(len(columns)), side="left")  # how many reach this byte
    for column, count in zip(columns, longer.tolist(), strict=True):
        now = crc[:count]
        crc[:count] = TABLE[(now ^ column[:count]) & 0xFF] ^ (now >> 8)
    found = np.empty_like(crc)
    found[order] = crc ^ 0xFFFFFFFF
    return found


def masked(crc: int) -> int:
    """As TensorFlow stores a checksum: rotated right by 15 bits, and a constant added."""
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def masked_all(crc: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The same of many."""
    return np.asarray((crc >> 15 | crc << 17) + np.uint32(MASK), np.uint32)


# ---------------------------------------------------------------- protobuf


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of every field of a message: varints as they are, 64 bits as a double, bytes. ValueError where it ends
    within a field or has a wire type that no such message has."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            length, place = _varint(message, place)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a protobuf field of wire type {kind}")
        if length > len(message) - place:
            raise ValueError("a protobuf field is longer than its message")
        content = message[place : place + length]
        place += length
        yield number, struct.unpack("<d", content)[0] if kind == FIXED64 else content


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(MOST_VARINT):
        if place >= len(message):
            raise ValueError("a protobuf message ends within a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, place
    raise ValueError("a protobuf number has more than ten bytes")
