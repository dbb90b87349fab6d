"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from edgenas.errors import EdgenasError

NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def emit(document: Any, *, as_json: bool, text: str) -> None:
    """Print the result: the one JSON document, or the text for people."""
    if as_json:
        text = msgspec.json.encode(document, order="sorted").decode()
    write_result(text.rstrip("\n") + "\n", as_json=as_json)


def write_result(text: str, *, as_json: bool = False) -> None:
    """To stdout. EdgenasError where that is closed, full, or has no such characters; JSON is escaped for it."""
    out = sys.stdout
    if out is None:
        raise EdgenasError(
            "standard output is closed, so the result cannot be shown: open it, or redirect it to a file"
        )
    try:
        out.write(text)
        out.flush()
    except UnicodeEncodeError as error:
        if not as_json:
            lacks = error.object[error.start : error.start + 1]
            raise EdgenasError(
                f"this output is {error.encoding}, which has no {lacks!a}: set PYTHONIOENCODING=utf-8, or ask for --json"
            ) from error
        write_result(NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text))
    except BrokenPipeError:
        raise  # whoever read it has seen enough
    except OSError as error:
        raise EdgenasError(f"the result cannot be written to standard output: {error.strerror}") from error


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
