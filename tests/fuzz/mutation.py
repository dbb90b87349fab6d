"""Inputs that are nearly right: bytes, numbers in text, JSON and TOML documents, each changed in a few places."""

from __future__ import annotations

import copy
import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Change = Callable[[bytes, Random], bytes]
NUMBERS = (
    *(
        "-1",
        "0",
        "1",
        "2",
        "7",
        "65536",
        "-0.0",
        "0.5",
        "1e-320",
        "1e308",
        "1e400",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "true",
        "null",
    ),
    *(
        "2147483647",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "9" * 400,
        "1" * 5000,
    ),
)
WORDS = (
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\x1b]0;x\x07",
        "Jose\u0301".encode(),
        b"../../etc/passwd",
        b"%s%n",
    ),
    *(
        b"[" * 3000,
        b"{" * 3000,
        b"a" * 70_000,
        b'"',
        b"'",
        b",",
        b";",
        b"=",
        b"\\ud800",
        b"'; DROP TABLE trials; --",
        b"\t",
    ),
)


def _bit(content: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _byte(content: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))]) + content[place + 1 :]


def digit(content: bytes, rng: Random) -> bytes:
    """One decimal digit becomes another one."""
    places = [found.start() for found in re.finditer(rb"[0-9]", content)]
    if not places:
        return _byte(content, rng)
    place = rng.choice(places)
    other = rng.choice([byte for byte in b"0123456789" if byte != content[place]])
    return content[:place] + bytes([other]) + content[place + 1 :]


def _number(content: bytes, rng: Random) -> bytes:
    places = [found.span() for found in re.finditer(rb"-?[0-9]+(\.[0-9]+)?", content)]
    if not places:
        return _byte(content, rng)
    start, end = rng.choice(places)
    return content[:start] + rng.choice(NUMBERS).encode() + content[end:]


def _run(content: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.choice((1, 2, 4, 16, 100, 1000)))


def _without(content: bytes, rng: Random) -> bytes:
    start, end = _run(content, rng)
    return content[:start] + content[end:]


def _twice(content: bytes, rng: Random) -> bytes:
    start, end = _run(content, rng)
    place = rng.randrange(len(content))
    return content[:place] + content[start:end] + content[place:]


def _over(content: bytes, rng: Random) -> bytes:
    start, end = _run(content, rng)
    place = rng.randrange(len(content))
    return content[:place] + content[start:end] + content[place + end - start :]


def _cut(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _word(content: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice(WORDS) + content[place:]


CHANGES: tuple[Change, ...] = (_bit, _bit, _byte, _byte, digit, _number, _without, _twice, _over, _cut, _word)
KEEPING_LENGTH: tuple[Change, ...] = (_bit, _bit, _byte, digit, _over)


def mutated(content: bytes, rng: Random, changes: Sequence[Change] = CHANGES, most: int = 3) -> bytes:
    """`content` after one to `most` changes."""
    for _ in range(rng.randint(1, most)):
        content = rng.choice(changes)(content or b"\0", rng)
    return content


def mutations(*bases: bytes, changes: Sequence[Change] = CHANGES, most: int = 3) -> SearchStrategy[bytes]:
    """One of the bases, mutated."""
    return st.builds(lambda base, rng: mutated(base, rng, changes, most), st.sampled_from(bases), RANDOMS)


RANDOMS: SearchStrategy[Random] = st.randoms(use_true_random=True)  # seeded by hypothesis all the same


def png_with_right_sums(content: bytes) -> bytes:
    """A mutated PNG whose chunks have the checksums of what is in them now, as far as it can be told into chunks."""
    parts, place = [content[:8]], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        if length > len(content) - place - 12:
            break
        body = content[place + 4 : place + 8 + length]
        parts.append(content[place : place + 4] + body + struct.pack(">I", zlib.crc32(body)))
        place += 12 + length
    return b"".join(parts) + content[place:]


# ---------------------------------------------------------------- documents

_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-2, 70) | st.floats() | st.text(max_size=20)
    | st.sampled_from([2**31, 2**63, 2**64, 10**400, 1e308, -1, 0, 1e-320, "", "\0", "\u202e", "x" * 5000, "1", "NaN"])
)  # fmt: skip
VALUES: SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_HOW = st.sampled_from(["scale", "scale", "scale", "replace", "replace", "remove", "add", "twice", "swap"])


def changed_documents(*bases: Any) -> SearchStrategy[Any]:
    """One of the documents with one to three of its parts replaced, removed, added, doubled, scaled or exchanged."""
    changes = st.lists(st.tuples(st.integers(0, 10**6), _HOW, VALUES), min_size=1, max_size=3)
    return st.builds(_changed, st.sampled_from(bases), changes)


def _changed(base: Any, changes: list[tuple[int, str, Any]]) -> Any:
    document = {"": copy.deepcopy(base)}
    for place, how, value in changes:
        places = [*_places(document)]
        if how == "scale":
            places = [(one, key) for one, key in places if type(one[key]) in (int, float)] or places
        holder, key = places[place % len(places)]
        old = holder[key]
        if how == "remove" and holder is not document:
            del holder[key]
        elif how == "add" and isinstance(old, dict):
            old[f"k{place}"] = value
        elif how in ("add", "twice") and isinstance(old, list):
            old.extend([value] if how == "add" else old[:50])
        elif how == "scale" and type(old) in (int, float):
            holder[key] = [
                old * 2,
                old + 1,
                old - 1,
                old * 10,
                0,
                -old,
                1 / (old or 1),
                old * 1000,
                old * 10**9,
                10**30,
            ][place // 7 % 10]
        elif how == "swap":
            other, name = places[(place * 7 + 3) % len(places)]
            if holder is not document and other is not document:
                holder[key], other[name] = copy.deepcopy(other[name]), copy.deepcopy(old)
        else:
            holder[key] = value
    return document[""]


def _places(holder: Any) -> Any:
    for key in [*holder] if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def json_documents(*bases: Any) -> SearchStrategy[bytes]:
    """Changed documents as text, and their text mutated."""
    texts = tuple(json.dumps(base).encode() for base in bases)
    return changed_documents(*bases).map(lambda document: json.dumps(document).encode()) | mutations(*texts)


def toml_documents(*bases: dict[str, Any]) -> SearchStrategy[bytes]:
    """Changed documents as TOML, and their text mutated."""
    texts = tuple(toml(base) for base in bases)
    return changed_documents(*bases).map(toml) | mutations(*texts)


def toml(document: Any) -> bytes:
    """Every key of the top on a line of its own, all below in inline tables."""
    lines = (
        [f"{json.dumps(key)} = {_toml(value)}" for key, value in document.items()] if isinstance(document, dict) else []
    )
    return ("\n".join(lines) + "\n").encode(errors="surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False) if value is not None else '"none"'
