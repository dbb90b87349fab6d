"""Networks and what they take, out of a table: what a predictor is fitted on, and what it is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgenas.architectures.onnx_file import model_from_file
from edgenas.errors import EdgenasError
from edgenas.hardware.csv_table import Line, lines_from_csv, milliseconds
from edgenas.hardware.predictor import Row, row_from_onnx, row_from_text
from edgenas.records import Architecture, Workload

MOST_APART = 2.0  # of repeated measurements: busy boards differ by less
TOTALS = {"mean", "average", "avg", "total", "sum", "median", "min", "max", "std", "count"}


def rows_from_csv(path: Path, *, measured: bool, shapes: Mapping[str, tuple[int, ...]] | None = None) -> list[Row]:
    """Rows of a CSV with the columns `architecture` and, where measured, `latency_ms`.

    An architecture may be an ONNX file, relative to the table's folder (`shapes`: sizes of inputs with free sides). Repeated
    measurements of one network are averaged; their relative standard deviation is the row's `noise`.
    """
    wanted = ("architecture", "latency_ms") if measured else ("architecture",)
    lines, shapes = lines_from_csv(path, wanted), shapes or {}
    rows = [(line.number, _row(path, line, measured, shapes)) for line in lines]
    _refuse_unused(path, lines, shapes)
    if not rows:
        raise EdgenasError(f"{path} has no rows: write one network per line below {','.join(wanted)}")
    if not measured:
        return [row for _, row in rows]
    same: dict[Architecture | Workload, list[tuple[int, Row]]] = {}
    for number, row in rows:
        same.setdefault(row.network, []).append((number, row))
    return [_average(path, group) for group in same.values()]


def _row(path: Path, line: Line, measured: bool, shapes: Mapping[str, tuple[int, ...]]) -> Row:
    text = line.fields["architecture"]
    try:
        if text.endswith(".onnx"):
            has = _inputs(path.parent / text) if shapes else frozenset()
            mine = {name: shape for name, shape in shapes.items() if name in has}
            row = msgspec.structs.replace(row_from_onnx(path.parent / text, mine), name=text)
        else:
            row = row_from_text(text)
    except EdgenasError as error:
        total = text.lower() in TOTALS or text.startswith("=")
        hint = "; take totals and formulas out of the table" if total else ""
        raise EdgenasError(f"{path}, line {line.number}: {error}{hint}") from error
    if not measured:
        return row
    latency = line.fields["latency_ms"]
    try:
        return msgspec.structs.replace(row, ms=milliseconds(latency, line.separator))
    except ValueError as error:
        raise EdgenasError(f"{path}, line {line.number}: latency_ms is {latency[:80]!r}: {error}") from error


def _inputs(path: Path) -> frozenset[str]:
    return frozenset(value.name for value in model_from_file(path).graph.input)


def _refuse_unused(path: Path, lines: Sequence[Line], shapes: Mapping[str, tuple[int, ...]]) -> None:
    files = [line.fields["architecture"] for line in lines if line.fields["architecture"].endswith(".onnx")]
    known = frozenset[str]().union(*(_inputs(path.parent / file) for file in files if shapes))
    unused = [name for name in shapes if name not in known]
    if unused:
        raise EdgenasError(f"--shape {unused[0]}: no network in {path} has such an input")


def _average(path: Path, group: list[tuple[int, Row]]) -> Row:
    """One row for a network that was measured several times."""
    (first, row), (last, _) = group[0], group[-1]
    ms = np.array([each.ms for _, each in group])
    if len(group) == 1:
        return row
    if ms.max() > MOST_APART * ms.min():
        raise EdgenasError(
            f"{path}: lines {first} to {last} hold the same network with {ms.min():g} and {ms.max():g} ms, which no repetition "
            "explains: keep the right one"
        )
    return msgspec.structs.replace(row, ms=float(ms.mean()), noise=float(ms.std(ddof=1) / ms.mean()))
