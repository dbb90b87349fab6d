"""Pickles of plain values, read without unpickling: nothing in the file is imported, called or believed.

A pickle is a program for a small stack machine. Python's own runs whatever that program names. This one knows the instructions
that make None, numbers, text, bytes, lists, tuples, dictionaries and sets, an OrderedDict (read as a dictionary), and NumPy's
scalars (read as numbers); at any other it ends with ValueError. https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import bz2
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenas.errors import EdgenasError
from edgenas.files import read_bytes

MOST_STEPS = 2_000_000  # instructions: each takes some 100 bytes at most, and no more than a byte of the file
LONGEST_NUMBER = 32  # bytes
STOP = ord(".")
KNOWN = {
    ("collections", "OrderedDict"): "dict",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
}
NUMPY_NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u1": "B", "b1": "?"}
BYTE, SHORT, UINT, LONG, INT, DOUBLE = map(struct.Struct, ("B", "<H", "<I", "<Q", "<i", ">d"))
# Instructions that are followed by a length and so many bytes, and what their length is written in.
SIZED = {0x8C: BYTE, ord("X"): UINT, 0x8D: LONG, ord("C"): BYTE, ord("B"): UINT, 0x8E: LONG, 0x8A: BYTE}


@dataclass(frozen=True)
class _Name:
    """What a pickle may name, in place of the thing itself."""

    word: str


def read_plain_pickle_bz2(path: Path, largest: int) -> Any:
    """The value of a .pickle.pbz2 file of at most `largest` bytes, unpacked. EdgenasError, in one line, for anything else."""
    packed = read_bytes(path, largest)
    try:
        unpacker = bz2.BZ2Decompressor()
        content = unpacker.decompress(packed, largest + 1)
        if len(content) > largest:
            raise EdgenasError(f"{path} cannot be read: unpacked it has more than {largest / 1e6:g} MB")
        if not unpacker.eof:
            raise ValueError("it ends too early")
        return plain_pickle(content)
    except (ValueError, OSError, IndexError, KeyError, struct.error) as error:
        raise EdgenasError(f"{path} cannot be read as a pickle of plain values: {error}") from error


def plain_pickle(content: bytes) -> Any:
    """The value that a pickle of protocol 3 to 5 holds (NATS-Bench: 4). Raises ValueError where it is more than plain values, or
    damaged (IndexError, KeyError or struct.error for programs that no pickler writes)."""
    return _Machine(content).run()


class _Machine:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        steps = {code[0]: getattr(self, name) for code, name in _STEPS.items()}
        for _ in range(MOST_STEPS):
            (code,) = self.take(1)
            if code == STOP:
                break
            step = steps.get(code)
            if step is None:
                raise ValueError(f"instruction {bytes((code,))!r} is not one of plain values")
            step()
        else:
            raise ValueError(f"it has more than {MOST_STEPS:,} instructions")
        (value,) = self.stack
        return _told(value)

    def take(self, count: int) -> bytes:
        end = self.place + count
        if end > len(self.content):
            raise ValueError("it ends too early")
        found = self.content[self.place : end]
        self.place = end
        return found

    def number(self, kind: struct.Struct) -> Any:
        (found,) = kind.unpack_from(self.content, self.place)
        self.place += kind.size
        return found

    def sized(self) -> bytes:
        """The bytes that follow an instruction, as many as it says."""
        return self.take(self.number(SIZED[self.content[self.place - 1]]))

    def above(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        height = self.marks.pop()
        found = self.stack[height:]
        del self.stack[height:]
        return found

    # ---------------------------------------------------------------- instructions

    def protocol(self) -> None:
        if self.number(BYTE) > 5:
            raise ValueError("it is of a later protocol than 5")

    def frame(self) -> None:
        if self.number(LONG) > len(self.content) - self.place:
            raise ValueError("it ends too early")

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def false(self) -> None:
        self.stack.append(False)

    def byte(self) -> None:
        self.stack.append(self.number(BYTE))

    def two_bytes(self) -> None:
        self.stack.append(self.number(SHORT))

    def four_bytes(self) -> None:
        self.stack.append(self.number(INT))

    def long(self) -> None:
        content = self.sized()
        if len(content) > LONGEST_NUMBER:
            raise ValueError(f"a number of {len(content)} bytes")
        self.stack.append(int.from_bytes(content, "little", signed=True))

    def double(self) -> None:
        self.stack.append(self.number(DOUBLE))

    def text(self) -> None:
        self.stack.append(self.sized().decode("utf-8", "strict"))

    def bytes(self) -> None:
        self.stack.append(self.sized())

    def empty_list(self) -> None:
        self.stack.append([])

    def empty_dict(self) -> None:
        self.stack.append({})

    def empty_set(self) -> None:
        self.stack.append(set())

    def empty_tuple(self) -> None:
        self.stack.append(())

    def tuple_of(self) -> None:
        self.stack.append(tuple(self.above()))

    def tuple_of_last(self) -> None:
        count = self.content[self.place - 1] - 0x84  # one to three
        if len(self.stack) < count:
            raise ValueError("a tuple of more than there is")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def frozen_set(self) -> None:
        self.stack.append(frozenset(map(_key, self.above())))

    def append(self) -> None:
        item = self.stack.pop()
        self.of_kind(list).append(item)

    def appends(self) -> None:
        items = self.above()
        self.of_kind(list).extend(items)

    def add_items(self) -> None:
        items = self.above()
        self.of_kind(set).update(map(_key, items))

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.of_kind(dict)[_key(key)] = value

    def set_items(self) -> None:
        items = self.above()
        if len(items) % 2:
            raise ValueError("a key without a value")
        self.of_kind(dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def of_kind(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"it writes into something that is no {kind.__name__}")
        return self.stack[-1]

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def put(self) -> None:
        self.memo[self.number(BYTE)] = self.stack[-1]

    def put_far(self) -> None:
        self.memo[self.number(UINT)] = self.stack[-1]

    def get(self) -> None:
        self.stack.append(self.memo[self.number(BYTE)])

    def get_far(self) -> None:
        self.stack.append(self.memo[self.number(UINT)])

    def name(self) -> None:
        end = self.content.index(b"\n", self.content.index(b"\n", self.place) + 1)
        module, _, name = self.take(end - self.place).decode().partition("\n")
        self.place += 1
        self.named(module, name)

    def name_from_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.named(module, name)

    def named(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("it names something that is no text")
        known = KNOWN.get((module, name))
        if known is None:
            raise ValueError(f"it names {module:.60}.{name:.60}, and only plain values are read: nothing of it was run")
        self.stack.append(_Name(known))

    def call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(_made(called, arguments))

    def build(self) -> None:
        """The state of a dtype says the order of its bytes."""
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is not _Name or type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise ValueError("it gives a state to something else than a number's type")


def _made(called: Any, arguments: Any) -> Any:
    """What a call of one of the KNOWN gives."""
    if type(called) is _Name and type(arguments) is tuple:
        if called.word == "dict" and arguments == ():
            return {}
        if called.word == "dtype" and arguments and type(arguments[0]) is str and arguments[0] in NUMPY_NUMBERS:
            return _Name(arguments[0])
        if (
            called.word == "scalar"
            and len(arguments) == 2
            and type(arguments[0]) is _Name
            and type(arguments[1]) is bytes
        ):
            kind = NUMPY_NUMBERS.get(arguments[0].word)
            if kind is not None and struct.calcsize("<" + kind) == len(arguments[1]):
                return struct.unpack("<" + kind, arguments[1])[0]
    raise ValueError("it calls something in a way that makes no plain value: nothing of it was run")


def _key(value: Any) -> Any:
    """A key of a dictionary, or a member of a set: text, a number, or a tuple of these. Nested tuples can be so deep that hashing
    them ends the process."""
    parts = value if type(value) is tuple else (value,)
    if any(type(part) not in (str, int, float, bool, bytes, type(None)) for part in parts):
        raise ValueError("a key is no text and no number")
    return value


def _told(value: Any) -> Any:
    if type(value) is _Name:
        raise ValueError("it holds a name, and no value")
    return value


def finite(value: Any) -> float:
    """A number of a pickle; ValueError for anything else."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("something that is no number stands where a number should")
    return float(value)


_STEPS = {
    b"\x80": "protocol",
    b"\x95": "frame",
    b"(": "mark",
    b"N": "none",
    b"\x88": "true",
    b"\x89": "false",
    b"K": "byte",
    b"M": "two_bytes",
    b"J": "four_bytes",
    b"\x8a": "long",
    b"G": "double",
    b"\x8c": "text",
    b"X": "text",
    b"\x8d": "text",
    b"C": "bytes",
    b"B": "bytes",
    b"\x8e": "bytes",
    b"]": "empty_list",
    b"}": "empty_dict",
    b"\x8f": "empty_set",
    b")": "empty_tuple",
    b"t": "tuple_of",
    b"\x85": "tuple_of_last",
    b"\x86": "tuple_of_last",
    b"\x87": "tuple_of_last",
    b"\x91": "frozen_set",
    b"a": "append",
    b"e": "appends",
    b"\x90": "add_items",
    b"s": "set_item",
    b"u": "set_items",
    b"\x94": "memoize",
    b"q": "put",
    b"r": "put_far",
    b"h": "get",
    b"j": "get_far",
    b"c": "name",
    b"\x93": "name_from_stack",
    b"R": "call",
    b"b": "build",
}
