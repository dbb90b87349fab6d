"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, TextIO

import msgspec

from edgenas.errors import EdgenasError

WIDTH = 80
BELOW = " " * 6  # what stands below a row is set in so far
NEXT = "next: "
BOUNDED = "--max-latency-ms MS --budget 10"  # of a suggested search: the limit is the reader's
MATTERS = ("edgenas:", "warning:", "error:")  # how lines begin that are said to whoever wants to hear nothing else
NOT_ASCII = re.compile(r"[^\x00-\x7f]")

_heard = True


def emit(document: Any, *, as_json: bool, text: str) -> None:
    """Print the result: the one JSON document, or the text for people."""
    text = msgspec.json.encode(document, order="sorted").decode() if as_json else for_reader(text, sys.stdout)
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


def quiet() -> None:
    """From now on only warnings and errors are said."""
    global _heard
    _heard = False


def hears_progress() -> bool:
    """Does the person want to hear more than warnings and errors?"""
    return _heard


def say(message: str) -> None:
    """Tell the person at the terminal; never part of the result."""
    if _heard or message.lstrip().startswith(MATTERS):
        sys.stderr.write(for_reader(message, sys.stderr) + "\n")
        sys.stderr.flush()


def say_next(*commands: str) -> None:
    """The command that a person is likely to type now, below a result that is for people."""
    for command in commands:
        say(f"{NEXT}{command}")


def for_reader(text: str, stream: TextIO | None) -> str:
    """In a terminal, lines that it would break within a word are broken between words and set in; anywhere else as it is."""
    if stream is None or stream.closed or not stream.isatty():
        return text
    return fitted(text, shutil.get_terminal_size((WIDTH, 0)).columns)


def fitted(text: str, width: int) -> str:
    """No line is wider, but for single words and for commands, which a terminal copies whole only when it broke them itself."""
    return "\n".join(
        line if len(line) <= width or line.startswith(NEXT) else _broken(line, width) for line in text.splitlines()
    )


def _broken(line: str, width: int) -> str:
    words = line.lstrip()
    inset = min(len(line) - len(words), width // 4)
    return textwrap.fill(
        words,
        width,
        initial_indent=" " * inset,
        subsequent_indent=" " * (inset + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A plain aligned table; numbers are strings already. Columns that do not fit into 80 stand below their row."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    beside = next((n for n in range(len(widths), 1, -1) if sum(widths[:n]) + 2 * (n - 1) <= WIDTH), 1)
    return "\n".join(_row(row, widths[:beside]) for row in (header, *rows))


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip()
    below = "; ".join(cell for cell in cells[len(widths) :] if cell)
    if not below:
        return line
    return f"{line}\n" + textwrap.fill(below, WIDTH, initial_indent=BELOW, subsequent_indent=BELOW)
