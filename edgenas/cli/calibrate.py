"""`edgenas calibrate`: measured networks make a profile that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgenas.cli.output import emit, say

if TYPE_CHECKING:
    from edgenas.hardware.predictor import Row
    from edgenas.records import Calibration


def calibrate(
    measurements: Path = typer.Option(
        ..., help="CSV with the columns architecture,latency_ms; networks measured several times are averaged."
    ),
    out: Path = typer.Option(..., help="The calibrated profile (TOML), to be used as --target."),
    target: str | None = typer.Option(None, help="The profile to calibrate: a name, an alias or a file."),
    new: str | None = typer.Option(None, help="Or the name of a new device."),
    runtime: str | None = typer.Option(None, help="Of a new device: onnxruntime, tensorrt or another, such as tflite."),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8; left out, the target's own."),
    samples: int | None = typer.Option(None, min=1, help="Rows to fit; all others judge. Left out, four in five."),
    seed: int = typer.Option(0, min=0, help="Chooses the rows."),
    shape: list[str] = typer.Option(
        [], help="Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."
    ),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Fit a device's predictor on N random measured networks and judge it on all the others.

    Architectures are ONNX files (relative to the table), our JSON, NAS-Bench-201 strings, fbnet: and 22 digits, or convnet_...
    names.

    Example: edgenas calibrate --target jetson-nano --measurements nano.csv --samples 50 --out my-nano.toml
    """
    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.hardware.calibrate import calibrate as calibrated
    from edgenas.hardware.calibrate import known_devices, profile_to_calibrate, rows_from_csv
    from edgenas.hardware.plausible import doubts, outliers
    from edgenas.hardware.profile import write_profile

    profile = profile_to_calibrate(target, new, runtime, precision)
    rows = rows_from_csv(measurements, measured=True, shapes=shapes_from_text(shape))
    warnings = [*doubts(profile, rows), *_repeats(rows)]
    result = calibrated(profile, rows, samples, seed, measurements.name, known_devices())
    warnings += outliers(result, rows)
    for warning in warnings:
        say(warning)
    write_profile(result, out)
    card = result.calibration
    assert card is not None
    keys = ("n", "held_out", "spearman", "kendall", "mape", "within_5", "within_10", "worst_under")
    document = {key: getattr(card, key) for key in keys} | {"confidence": result.confidence}
    if result.confidence == "estimate":
        say(f"{out} is an estimate, not calibrated: {_shortfall(card)}")
    text = "\n".join(f"{key:12} {value if value is None or isinstance(value, int | str) else f'{value:.4f}'}"
                     for key, value in document.items())  # fmt: skip
    emit({**document, "warnings": warnings}, as_json=json, text=f"{text}\nwritten to {out}")


def _repeats(rows: list[Row]) -> list[str]:
    noise = [row.noise for row in rows if row.noise is not None]
    if not noise:
        return []
    return [
        f"{len(noise)} networks were measured several times and averaged; they differ by {max(noise):.1%} at most (sd)"
    ]


def _shortfall(card: Calibration) -> str:
    """What the fit lacks to be trusted."""
    from edgenas.hardware.calibrate import MIN_HELD_OUT, MIN_SPEARMAN

    said = []
    if card.held_out < MIN_HELD_OUT:
        said.append(
            f"{card.held_out} networks were held out to judge it, {MIN_HELD_OUT} are needed: measure more networks"
        )
    if card.held_out > 1 and (card.spearman is None or card.spearman < MIN_SPEARMAN):
        found = "none can be computed" if card.spearman is None else f"{card.spearman:.2f}"
        said.append(
            f"that takes a held-out Spearman correlation of {MIN_SPEARMAN}, and here it is {found}: the latencies do not follow "
            "the networks; check the table, or measure more networks"
        )
    return "; ".join(said)
