"""What callers may write for a path, several names, or who hears of progress."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from edgenas.engine.events import Listener, unheard
from edgenas.engine.lines import Lines

File: TypeAlias = "str | Path"


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
