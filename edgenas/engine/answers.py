"""What a method yields and returns, held against the records that it must be before anything of it is written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import msgspec

from edgenas.errors import EdgenasError
from edgenas.methods import Method
from edgenas.methods.endings import SearchEnds
from edgenas.records import Ask, Candidate, Choice, Record
from edgenas.store import flat


def checked(made: object, name: str) -> Method:
    """The method of this name. EdgenasError, which says where, for what it asks, decides or chooses that could not be read back:
    other types than those of the records, as a NumPy number in a recipe. All else goes through as it is."""
    if not isinstance(made, Generator):
        raise EdgenasError(f"method {name}: `make` gave a {_kind(made)}: it has to be a generator that yields Asks")
    go_on: Callable[[], Any] = functools.partial(next, made)
    while True:
        try:
            ask = go_on()
        except StopIteration as end:
            choice: Choice = end.value
            if isinstance(end.value, Choice):  # the loop says what it has to be, and of which trial
                _read_back(choice, f"method {name} chose")
            return choice
        if not isinstance(ask, Ask):
            raise EdgenasError(f"method {name} yielded a {_kind(ask)}: it has to yield an Ask of Candidates")
        _refuse_renamed(ask, _read_back(ask, f"method {name} asked for"), f"method {name} asked for")
        try:
            answers = yield ask
        except SearchEnds as end:
            go_on = functools.partial(made.throw, end)
        else:
            go_on = functools.partial(made.send, answers)


def _read_back(record: Record, who: str) -> Any:
    """What is read of what would be written."""
    strange: list[str] = []

    def noted(value: object) -> str:
        strange.append(_kind(value))
        return "?"

    try:
        back = msgspec.json.decode(msgspec.json.encode(record, enc_hook=noted), type=type(record))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        what = str(error).replace("`str`", f"`{strange[0]}`") if strange else str(error)
        raise EdgenasError(
            f"{who} what cannot be written down: {what.replace('$.', '')}: mend the method or its space"
        ) from error
    if strange:
        raise EdgenasError(
            f"{who} what cannot be written down: a {strange[0]} in {record!r:.200}: mend the method or its space"
        )
    return back


def _refuse_renamed(ask: Ask, read: Ask, who: str) -> None:
    """A whole number where others are possible is read back as another candidate: 1 as 1.0."""
    if msgspec.json.encode(ask) == msgspec.json.encode(read):
        return
    for one, other in zip((*ask.needed, *ask.likely), (*read.needed, *read.likely), strict=True):
        if one.key != other.key:
            field, was, now = next(_differences(one, other))
            raise EdgenasError(
                f"{who} a candidate whose {field} is {was!r}, which is read back as {now!r}: mend the method or its space"
            )


def _differences(one: Candidate, other: Candidate) -> Iterator[tuple[str, Any, Any]]:
    """(field, in one, in the other)."""
    was, now = (flat(msgspec.json.decode(msgspec.json.encode(candidate))) for candidate in (one, other))
    return ((name, was[name], now.get(name)) for name in was if repr(was[name]) != repr(now.get(name)))


def _kind(value: object) -> str:
    module = type(value).__module__
    return type(value).__qualname__ if module == "builtins" else f"{module}.{type(value).__qualname__}"
