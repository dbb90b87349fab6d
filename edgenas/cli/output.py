"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec


def emit(document: Any, *, as_json: bool, text: str) -> None:
    """Print the result: the one JSON document, or the text for people."""
    if as_json:
        text = msgspec.json.encode(document, order="sorted").decode()
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    """Tell the person at the terminal; never part of the result."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A plain aligned table; numbers are strings already."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)
