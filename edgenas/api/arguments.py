"""What callers may write for a path, several names, or who hears of progress; and what they may not."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

from edgenas.engine.events import Listener, unheard
from edgenas.engine.lines import Lines
from edgenas.errors import EdgenasError
from edgenas.files import at_home, with_homes
from edgenas.hardware.prediction import Asked
from edgenas.methods.spec import MethodSpec

File: TypeAlias = "str | Path"
P = ParamSpec("P")
T = TypeVar("T")
NO_WORD = " | None"  # at the end of an annotation: it may be left out


def listener_for(quiet: bool, on_event: Listener | None) -> Listener:
    """Who hears of progress: the caller's function, nobody, or stderr."""
    if on_event is not None:
        return on_event
    return unheard if quiet else Lines(sys.stderr)


def several(values: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as several."""
    return (values,) if isinstance(values, str) else tuple(values)


def path_or_none(value: File | None) -> Path | None:
    """The path that was given, if one was."""
    return None if value is None else Path(value)


def text_or_none(value: File | None) -> str | None:
    """The same as text."""
    return None if value is None else str(value)


# ---------------------------------------------------------------- types


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, which takes NumPy's numbers for Python's, finds the homes in paths and names (~/x) as the command line
    does, and raises EdgenasError for an argument that is not what KINDS says of its annotation. Others it checks itself."""
    signature = inspect.signature(function)
    kinds = {
        name: (*KINDS[kind], one.annotation.endswith(NO_WORD))
        for name, one in signature.parameters.items()
        if (kind := str(one.annotation).removesuffix(NO_WORD)) in KINDS
    }
    called: Callable[..., T] = function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return called(*args, **kwargs)  # Python says which name there is not
        for name, given in bound.arguments.items():
            bound.arguments[name] = value = given.item() if isinstance(given, np.generic) else _at_home(given)
            holds, words, optional = kinds.get(name, (_anything, "", True))
            if not (holds(value) or (value is None and optional)):
                raise EdgenasError(f"{name}={value!r:.80}: give {words}")
        return called(*bound.args, **bound.kwargs)

    return cast("Callable[P, T]", call)


def _at_home(value: Any) -> Any:
    """A path or a text, or those of a list, with the homes in it; anything else as it is."""
    if isinstance(value, str):
        return with_homes(value)
    if isinstance(value, Path):
        return at_home(value)
    if type(value) in (list, tuple) and any(isinstance(one, str | Path) for one in value):
        return type(value)(map(_at_home, value))
    return value


def _anything(_: object) -> bool:
    return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _all(holds: Callable[[object], bool], values: object) -> bool:
    return isinstance(values, Sequence) and not _is_text(values) and all(map(holds, values))


def _is_shapes(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value)) and all(_all(_is_whole, v) for v in value.values())


# Annotation, without `None` -> (is this one?, what to give).
KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "str": (_is_text, "text"),
    "File": (lambda value: isinstance(value, str | os.PathLike), "a path"),
    "str | Sequence[str]": (lambda value: _is_text(value) or _all(_is_text, value), "text, or a list of texts"),
    "Sequence[int]": (lambda value: _all(_is_whole, value), "a list of whole numbers"),
    "Mapping[str, float | tuple[int, ...]]": (lambda value: isinstance(value, Mapping), "a dict, as {'trials': 24}"),
    "Mapping[str, tuple[int, ...]]": (_is_shapes, "a dict of sizes by names, as {'image': (1, 3, 224, 224)}"),
    "Asked | Sequence[Asked]": (
        lambda value: isinstance(value, Asked) or _all(lambda one: isinstance(one, Asked), value),
        "a network (an ONNX file, a CSV, an architecture, a workload or a name), or a list of networks",
    ),
    "Listener": (callable, "a function that takes an event"),
    "MethodSpec": (lambda value: isinstance(value, MethodSpec), "a MethodSpec"),
}
