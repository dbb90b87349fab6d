"""`edgenas predict`: latencies without the device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgenas.cli.output import emit, say

if TYPE_CHECKING:
    from edgenas.hardware.predictor import Row
    from edgenas.records import HardwareProfile, Latency, Precision

COLUMNS = ("name", "ms", "precision", "profile", "origin", "extrapolated")
SHAPE = "Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."


def predict(
    file: Path = typer.Argument(..., help="CSV with a column architecture, or an ONNX model."),
    target: str = typer.Option(..., help="A target's name or alias, or a profile file."),
    precision: str | None = typer.Option(
        None, help="fp32, fp16 or int8; left out, that of a quantised or half-precision file, else the target's own."
    ),
    shape: list[str] = typer.Option([], help=SHAPE),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Predict the latency of networks on a device that is not here, batch 1.

    Example: edgenas predict --target jetson-nano resnet50.onnx

    Example: edgenas predict --target jetson yolo.onnx --shape images=1x3x320x320
    """
    import csv
    import io

    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.hardware.calibrate import rows_from_csv
    from edgenas.hardware.predictor import row_from_onnx
    from edgenas.hardware.profile import checked_precision, profile_from_name, resolved

    asked, profile = checked_precision(precision), profile_from_name(target)
    say(resolved(target, profile))
    shapes = shapes_from_text(shape)
    one = file.suffix.lower() == ".onnx"
    rows = [row_from_onnx(file, shapes)] if one else rows_from_csv(file, measured=False, shapes=shapes)
    document = [
        {"name": row.name, "ms": latency.ms, "precision": at, "profile": profile.name, "origin": latency.origin,
         "extrapolated": latency.extrapolated}
        for row, at, latency in _predicted(profile, rows, asked)
    ]  # fmt: skip
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(document)
    emit(document, as_json=json, text=lines.getvalue())


def _predicted(
    profile: HardwareProfile, rows: list[Row], asked: Precision | None
) -> list[tuple[Row, Precision, Latency]]:
    """Every row with the precision that it runs at and its latency there."""
    from edgenas.hardware.predictor import latencies, precision_of_row

    at = [precision_of_row(profile, row, asked) for row in rows]
    known: dict[int, Latency] = {}
    for one in sorted(set(at)):
        places = [place for place, precision in enumerate(at) if precision == one]
        known |= dict(zip(places, latencies(profile, [rows[place] for place in places], one), strict=True))
    for row in rows:
        if row.precision != "fp32":
            say(f"{row.name} computes in {row.precision}, and is predicted at it")
        if row.fixed_batch > 1:
            say(f"{row.name} is made for batches of {row.fixed_batch}; the latency is that of one image")
    return [(row, at[place], known[place]) for place, row in enumerate(rows)]
