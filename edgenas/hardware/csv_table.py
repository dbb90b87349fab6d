"""Tables of measurements as people keep them: what a spreadsheet or an editor does to a CSV is read, if it has one meaning.

Read: UTF-8 and UTF-16 with their marks, comma, semicolon and tab, any line ends, capitals and spaces in the header, blank
lines, lines that start with #, empty last columns. Everything else is an error that names its line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgenas.errors import EdgenasError
from edgenas.files import read_bytes
from edgenas.records import Record

LARGEST = 64 * 10**6  # bytes
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
ALSO = {"network": "architecture", "ms": "latency_ms"}  # columns by other names, where the usual one is not there


class Line(Record, frozen=True):
    """One row of a table: where it stands in the file, its values by column, and the separator between them."""

    number: int
    fields: dict[str, str]
    separator: str


def lines_from_csv(path: Path, columns: Sequence[str]) -> list[Line]:
    """The rows under a header with these columns, in any order and beside others; "a|b" is a column of one of two names.

    Raises EdgenasError, naming the line.
    """
    numbered = [(number, line) for number, line in enumerate(_text(path).split("\n"), start=1) if _counts(line)]
    if not numbered:
        raise EdgenasError(f"{path} has no column {columns[0]!r}: the first line must be {_said(columns)}")
    (first, header), body = numbered[0], numbered[1:]
    separator, names = _header(path, first, header, columns)
    lines = []
    for number, values in _rows(path, body, separator):
        if len(values) > len(names) and any(value.strip() for value in values[len(names) :]):
            raise EdgenasError(
                f"{path}, line {number}: {len(values)} values under {len(names)} columns: put quotes around values that hold "
                f"{SEPARATORS[separator]}"
            )
        padded = [*values, *[""] * len(names)]
        lines.append(Line(number, {name: value.strip() for name, value in zip(names, padded, strict=False)}, separator))
    return lines


def _text(path: Path) -> str:
    content = read_bytes(path, LARGEST)
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig", errors="strict" if wide else "surrogateescape")
    except UnicodeDecodeError as error:
        raise EdgenasError(f"{path} is no text: {error.reason}: save it as CSV in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _counts(line: str) -> bool:
    """Is there something in it? Spreadsheets write empty rows as separators only."""
    bare = line.strip().strip(",;\t ")
    return bool(bare) and not bare.startswith("#")


def _header(path: Path, number: int, line: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """The separator and the columns' names, in the spelling of `columns`."""
    best: list[str] = []
    for separator in SEPARATORS:
        names = [_name(value) for value in next(csv.reader([line], delimiter=separator))]
        names = [ALSO[name] if name in ALSO and ALSO[name] not in names else name for name in names]
        if all(sum(names.count(name) == 1 for name in column.split("|")) for column in columns):
            return separator, names
        best = max(best, names, key=lambda found: sum(_has(found, column) for column in columns))
    missing = [column for column in columns if not _has(best, column)]
    problem = f"has no column {_said(missing[:1])!r}" if missing else f"has the column {columns[0]!r} twice"
    raise EdgenasError(f"{path} {problem}: line {number} is {_shown(line)}, the first line must be {_said(columns)}")


def _has(names: Sequence[str], column: str) -> bool:
    return any(name in names for name in column.split("|"))


def _said(columns: Sequence[str]) -> str:
    """A header to copy: of two names the first."""
    return ",".join(column.split("|")[0] for column in columns)


def _name(value: str) -> str:
    """ "Latency (ms)" -> "latency_ms"."""
    return re.sub(r"[^a-z0-9]+", "_", value.strip().lower()).strip("_")


def _rows(path: Path, body: list[tuple[int, str]], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its (last) line; a value in quotes may go over several lines."""
    place = -1

    def texts() -> Iterator[str]:
        nonlocal place
        for place, (number, text) in enumerate(body):  # noqa: B007 (read by the loop below)
            if not text.isprintable() and re.search("[\udc80-\udcff\0]", text):
                raise EdgenasError(f"{path}, line {number}: not UTF-8: {_shown(text)}: save the table as CSV in UTF-8")
            yield text + "\n"

    try:
        for values in csv.reader(texts(), delimiter=separator, strict=True):
            yield body[place][0], values
    except csv.Error as error:
        raise EdgenasError(f"{path}, line {body[max(place, 0)][0]}: {error}") from error


def _shown(text: str) -> str:
    """The start of a line, in quotes, fit for a terminal."""
    return ascii(text[:80])


def milliseconds(text: str, separator: str) -> float:
    """A positive number of milliseconds, with " ms" or without; a decimal comma where the table's separator is another.

    Raises ValueError, saying what is expected, for everything else.
    """
    number = re.sub(r"\s*ms$", "", text.strip(), flags=re.IGNORECASE)
    if separator != "," and re.fullmatch(r"[+-]?\d+,\d+", number):
        number = number.replace(",", ".")
    elif "," in number:
        raise ValueError(
            "it must be a positive number of milliseconds, without separators of thousands, such as 1004.6"
        )
    elif re.search(r"[a-zµμ%]\s*$", number, flags=re.IGNORECASE) and re.match(r"[+-]?[\d.]", number):
        raise ValueError("it must be a positive number of milliseconds, such as 4.6")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", number, flags=re.IGNORECASE) or len(number) > 40:
        raise ValueError("it must be a positive number of milliseconds")
    value = float(number)
    if not LEAST_MS <= value <= MOST_MS:
        raise ValueError(f"it must be a positive number of milliseconds, from {LEAST_MS:g} to {MOST_MS:g}")
    return value


LEAST_MS, MOST_MS = 1e-4, 1e7  # a launch takes longer than 0.1 microseconds; nobody waits three hours for one image
