"""Networks and what they take, out of a table: what a predictor is fitted on, and what it is asked about."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

import msgspec
import numpy as np

from edgenas.architectures.onnx_file import Shape, input_sides, model_from_file, text_from_sides
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.csv_table import Line, lines_from_csv, milliseconds
from edgenas.hardware.logs import Timed, is_log, timed_from_log
from edgenas.hardware.predictor import Row, row_from_onnx, row_from_text
from edgenas.hardware.profile import checked_precision
from edgenas.image_sizes import sides_asked, sides_from_text
from edgenas.records import Architecture, Precision, Workload

MOST_APART = 2.0  # of repeated measurements: busy boards differ by less
LARGEST_BATCH = 1024
LARGEST_PX = 8192
BOTH_SIZES = "--shape and --image-size both say how large the images are: give one of them"
TOTALS = {"mean", "average", "avg", "total", "sum", "median", "min", "max", "std", "count"}
ZOO = ("torchvision:", "timm:", "torchvision.models.")
Px = tuple[int, int]  # height, width
Zoo = Callable[[str, "Px | None"], Row]  # torchvision:NAME or timm:NAME, at a size or its own


def no_zoo(name: str, _: Px | None = None) -> Row:
    """Where there is no torch: networks of torchvision and timm cannot be built."""
    raise EdgenasError(f"{name[:80]} is built with torch, which is not used here: give its ONNX file")


def rows_from_csv(
    path: Path, *, measured: bool, shapes: Mapping[str, Shape] | None = None, zoo: Zoo = no_zoo
) -> list[Row]:
    """Rows of a CSV with the columns `architecture` and, where measured, `latency_ms` or `log` (a file of trtexec, MLPerf, ...).

    An architecture may be an ONNX file, relative to the table's folder (`shapes`: sizes of inputs with free sides), or a name
    that `zoo` knows. The columns `batch`, `precision` and `input_px` are read where they are there. Repeated measurements of
    one network are averaged; their relative standard deviation is the row's `noise`.
    """
    rows, inputs = _rows_and_inputs(path, measured, shapes or {}, zoo)
    _refuse_unused(shapes or {}, inputs, str(path))
    return rows


def rows_from_files(files: Sequence[Path], shapes: Mapping[str, Shape] | None = None, zoo: Zoo = no_zoo) -> list[Row]:
    """Measured rows of tables, and of logs that name the ONNX file that they ran; averaged over all of them.

    `shapes`: of inputs of any of these networks; what a log says of its own inputs goes before. Raises EdgenasError for a shape
    of an input that none of them has.
    """
    shapes = shapes or {}
    rows: list[Row] = []
    inputs: set[str] = set()
    tables = [file for file in files if not is_log(file)]
    for file in tables:
        found, names = _rows_and_inputs(file, True, shapes, zoo)
        rows, inputs = rows + found, inputs | names
    for file in files:
        if file not in tables:
            row, names = _row_from_log(file, shapes)
            rows, inputs = [*rows, row], inputs | names
    if files:
        _refuse_unused(shapes, inputs, " and ".join(map(str, files)))
    if len(tables) == len(files) == 1:
        return rows
    return averaged("the measurements", list(enumerate(rows, start=1)), "rows")


def _rows_and_inputs(
    path: Path, measured: bool, shapes: Mapping[str, Shape], zoo: Zoo
) -> tuple[list[Row], frozenset[str]]:
    """A table's rows, and the inputs of its ONNX files; of these none where no shape asks for them."""
    lines = lines_from_csv(path, ("architecture", "latency_ms|log") if measured else ("architecture",))
    rows = [(line.number, _row(path, line, measured, shapes, zoo)) for line in lines]
    if not rows:
        raise EdgenasError(f"{path} has no rows: write one network per line below architecture,latency_ms")
    files = [line.fields["architecture"] for line in lines if line.fields["architecture"].lower().endswith(".onnx")]
    inputs = frozenset[str]().union(*(_inputs(path.parent / file) for file in files if shapes))
    return averaged(path, rows) if measured else [row for _, row in rows], inputs


def _inputs(file: Path) -> frozenset[str]:
    return frozenset(value.name for value in model_from_file(file).graph.input)


def _row_from_log(file: Path, shapes: Mapping[str, Shape]) -> tuple[Row, frozenset[str]]:
    """The log's row, and the inputs of its network."""
    timed = timed_from_log(file)
    if timed.network is None:
        raise EdgenasError(
            f"{file} does not name its network: write a CSV with the columns architecture,log, and the file in its row"
        )
    named = Path(timed.network.replace("\\", "/"))
    found = next((path for path in (file.parent / named.name, file.parent / named, named) if path.is_file()), None)
    if found is None:
        raise EdgenasError(
            f"{file} is of {timed.network}, which is not here: copy it beside the log, or write a CSV with the columns "
            "architecture,log"
        )
    one = {key: (1, *shape[1:]) for key, shape in timed.shapes.items()}  # the batch is counted apart
    given = {**shapes, **(one if _has_free_sides(found) else {})}
    return row_as_timed(row_from_file(found, found.name, given), timed, {}), _inputs(found)


def _has_free_sides(file: Path) -> bool:
    sides = input_sides(model_from_file(file), {}, file.name)
    return any(isinstance(side, str) for shape in sides.values() for side in shape)


def _row(path: Path, line: Line, measured: bool, shapes: Mapping[str, Shape], zoo: Zoo) -> Row:
    try:
        row = _network(path, line, shapes, zoo)
        return _with_latency(path, line, row) if measured else row
    except EdgenasError as error:
        text = line.fields["architecture"]
        total = text.lower() in TOTALS or text.startswith("=")
        hint = "; take totals and formulas out of the table" if total else ""
        raise EdgenasError(f"{path}, line {line.number}: {error}{hint}") from error


def _network(path: Path, line: Line, shapes: Mapping[str, Shape], zoo: Zoo) -> Row:
    """The network of a line at the size, the batch and the precision that it says."""
    text, px = line.fields["architecture"], _px(line.fields.get("input_px", ""))
    batch, precision = _batch(line.fields.get("batch", "")), _precision(line.fields.get("precision", ""))
    if text.lower().endswith(".onnx"):
        row = row_from_file(path.parent / text, text, shapes, px)
    elif text.startswith(ZOO):
        row = zoo(text, px)
    else:
        row = row_from_text(text)
        _refuse_other_size(text, row, px)
    if precision is not None and row.precision not in ("fp32", precision):
        raise EdgenasError(f"{text[:80]} computes in {row.precision} by its own nodes, and its row says {precision}")
    return msgspec.structs.replace(row, batch=batch or 1, ran_in=precision)


def row_from_file(file: Path, name: str, shapes: Mapping[str, Shape], px: Px | None = None) -> Row:
    """The network of an ONNX file, its free sides as `shapes` (of those inputs that it has) or `px` say."""
    given: Mapping[str, Shape] = {}
    if shapes:
        inputs = _inputs(file)
        given = {key: shape for key, shape in shapes.items() if key in inputs}
    if px is not None and not given:
        given = shapes_at(file, name, px)
    return msgspec.structs.replace(row_from_onnx(file, given), name=name)


def shapes_at(file: Path, name: str, px: Px, what: str = "input_px") -> dict[str, Shape]:
    """Shapes of the one image among the file's inputs at `px`, in the place of free sides; {} where its size is fixed, and is
    that. `what` said so: for messages."""
    images = {key: shape for key, shape in input_sides(model_from_file(file), {}, name).items() if len(shape) == 4}
    if len(images) != 1:
        raise EdgenasError(f"{name} has {len(images)} inputs with four sides, so {what} says nothing: use --shape")
    ((key, shape),) = images.items()
    batch, channels = (side if isinstance(side, int) else free for side, free in zip(shape[:2], (1, 3), strict=True))
    wanted = (batch, channels, *px)
    if shape[1] not in (1, 3, "") and shape[3] in (1, 3):  # channels last
        wanted = (batch, *px, int(shape[3]))
    if any(isinstance(side, int) and side != other for side, other in zip(shape, wanted, strict=True)):
        raise EdgenasError(f"{what} is {px[0]}x{px[1]}, and the input {key!r} of {name} is {text_from_sides(shape)}")
    return {} if all(isinstance(side, int) for side in shape) else {key: wanted}


def _refuse_other_size(text: str, row: Row, px: Px | None) -> None:
    if px is None:
        return
    workload = row.network if isinstance(row.network, Workload) else workload_from_architecture(row.network)
    own = (workload.kernels[0].in_height, workload.kernels[0].in_width)
    if own != px:
        raise EdgenasError(f"input_px is {px[0]}x{px[1]}, and {text[:80]} is a network for {own[0]}x{own[1]}")


def _batch(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,6}", text, re.ASCII) or int(text) > LARGEST_BATCH:
        raise EdgenasError(f"batch is {text[:80]!r}: it must be a whole number from 1 to {LARGEST_BATCH}")
    return int(text)


def _px(text: str) -> Px | None:
    """224, or 224x320 (height x width)."""
    if not text:
        return None
    sides = sides_from_text(text)
    if sides is None:
        raise EdgenasError(f"input_px is {text[:80]!r}: write 224, or 224x320 for height and width")
    return _possible(sides, f"input_px is {text[:80]!r}")


def px_asked(value: object) -> Px:
    """(height, width) of 224, 224x320 or (224, 320)."""
    return _possible(sides_asked(value), f"image size {str(value)[:80]!r}")


def _possible(px: Px, what: str) -> Px:
    if not 1 <= min(px) <= max(px) <= LARGEST_PX:
        raise EdgenasError(f"{what}: no side is larger than {LARGEST_PX}, or smaller than 1")
    return px


def _precision(text: str) -> Precision | None:
    plain = {"float32": "fp32", "float": "fp32", "float16": "fp16", "half": "fp16"}.get(text.lower(), text.lower())
    return checked_precision(plain or None)


# ---------------------------------------------------------------- latencies


def _with_latency(path: Path, line: Line, row: Row) -> Row:
    latency, log = line.fields.get("latency_ms", ""), line.fields.get("log", "")
    if latency and log:
        raise EdgenasError(
            f"latency_ms is {latency[:80]}, and log is {log[:80]}: a row has one of them, so leave the other cell empty"
        )
    if log:
        return row_as_timed(row, timed_from_log(path.parent / log, line.fields), said=line.fields)
    try:
        row = msgspec.structs.replace(row, ms=milliseconds(latency, line.separator))
    except ValueError as error:
        raise EdgenasError(f"latency_ms is {latency[:80]!r}: {error}") from error
    return _at_fixed_batch(row, row.batch if line.fields.get("batch") else None)


def row_as_timed(row: Row, timed: Timed, said: Mapping[str, str]) -> Row:
    """The row with what a log says. Raises EdgenasError where the row's own columns, or its file, say otherwise."""
    # A file's own batch is what ran: beside it only the shapes of the inputs count, and not the batch that tools print unasked
    ran = timed.batch if row.fixed_batch == 1 or timed.shapes else None
    if ran is not None and said.get("batch") and ran != row.batch:
        raise EdgenasError(f"batch is {row.batch}, and {timed.file} ran batches of {ran}")
    if timed.precision is not None and row.ran_in not in (None, timed.precision):
        raise EdgenasError(f"precision is {row.ran_in}, and {timed.file} ran in {timed.precision}")
    batch = ran if ran is not None else row.batch
    row = msgspec.structs.replace(
        row, ms=timed.ms, batch=batch, ran_in=row.ran_in or timed.precision, noise=timed.noise
    )
    return _at_fixed_batch(row, batch if ran is not None or said.get("batch") else None)


def _at_fixed_batch(row: Row, said: int | None) -> Row:
    """A file that is made for a batch ran with all its images. Raises EdgenasError where another batch was `said`."""
    if row.fixed_batch == 1:
        return row
    if said not in (None, row.fixed_batch):
        raise EdgenasError(f"batch is {said}, and {row.name} can only run batches of {row.fixed_batch}")
    return msgspec.structs.replace(row, batch=row.fixed_batch)


def averaged(path: Path | str, numbered: Sequence[tuple[int, Row]], unit: str = "lines") -> list[Row]:
    """One row for what was measured several times: the same network, batch and precision. `numbered`: with their lines."""
    same: dict[tuple[Architecture | Workload, int, Precision | None, Precision], list[tuple[int, Row]]] = {}
    for number, row in numbered:
        same.setdefault((row.network, row.batch, row.ran_in, row.precision), []).append((number, row))
    return [_average(path, group, unit) for group in same.values()]


def _average(path: Path | str, group: list[tuple[int, Row]], unit: str) -> Row:
    (first, row), (last, _) = group[0], group[-1]
    ms = np.array([each.ms for _, each in group])
    if len(group) == 1:
        return row
    if ms.max() > MOST_APART * ms.min():
        raise EdgenasError(
            f"{path}: {unit} {first} to {last} hold the same network with {ms.min():g} and {ms.max():g} ms, which no repetition "
            "explains: keep the right one"
        )
    return msgspec.structs.replace(row, ms=float(ms.mean()), noise=float(ms.std(ddof=1) / ms.mean()))


def _refuse_unused(shapes: Mapping[str, Shape], inputs: Set[str], where: str) -> None:
    unused = [name for name in shapes if name not in inputs]
    if unused:
        raise EdgenasError(f"--shape {unused[0]}: no network in {where} has such an input")
