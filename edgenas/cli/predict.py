"""`edgenas predict`: latencies without the device."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.output import emit, say


def predict(
    file: Path = typer.Argument(..., help="CSV with a column architecture, or an ONNX model."),
    target: str = typer.Option(..., help="A target's name or alias, or a profile file."),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8; left out, the target's own."),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Predict the latency of networks on a device that is not here, batch 1.

    Example: edgenas predict --target jetson-nano resnet50.onnx
    """
    import csv
    import io

    from edgenas.hardware.calibrate import rows_from_csv
    from edgenas.hardware.predictor import Row, latencies
    from edgenas.hardware.profile import checked_precision, profile_from_name, resolved

    profile = profile_from_name(target)
    say(resolved(target, profile))
    if file.suffix == ".onnx":
        from edgenas.architectures.from_onnx import workload_from_onnx

        rows = [Row(file.name, workload_from_onnx(file))]
    else:
        rows = rows_from_csv(file, measured=False)
    predicted = latencies(profile, rows, checked_precision(precision))
    document = [
        {"name": row.name, "ms": latency.ms, "origin": latency.origin, "extrapolated": latency.extrapolated}
        for row, latency in zip(rows, predicted, strict=True)
    ]
    lines = io.StringIO()
    writer = csv.DictWriter(lines, ("name", "ms", "origin", "extrapolated"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(document)
    emit(document, as_json=json, text=lines.getvalue())
