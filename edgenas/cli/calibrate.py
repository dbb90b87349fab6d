"""`edgenas calibrate`: measured networks make a profile that predicts."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.output import emit, say


def calibrate(
    measurements: Path = typer.Option(..., help="CSV with the columns architecture,latency_ms."),
    out: Path = typer.Option(..., help="The calibrated profile (TOML), to be used as --target."),
    target: str | None = typer.Option(None, help="The profile to calibrate: a name, an alias or a file."),
    new: str | None = typer.Option(None, help="Or the name of a new device."),
    runtime: str | None = typer.Option(None, help="Of a new device: onnxruntime, tensorrt or another, such as tflite."),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8; left out, the target's own."),
    samples: int | None = typer.Option(None, min=1, help="Rows to fit; all others judge. Left out, four in five."),
    seed: int = typer.Option(0, min=0, help="Chooses the rows."),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Fit a device's predictor on N random measured networks and judge it on all the others.

    Architectures are our JSON, NAS-Bench-201 strings, fbnet: and 22 digits, or convnet_... names.

    Example: edgenas calibrate --target jetson-nano --measurements nano.csv --samples 50 --out my-nano.toml
    """
    from edgenas.hardware.calibrate import calibrate as calibrated
    from edgenas.hardware.calibrate import known_devices, profile_to_calibrate, rows_from_csv
    from edgenas.hardware.profile import write_profile

    profile = profile_to_calibrate(target, new, runtime, precision)
    rows = rows_from_csv(measurements, measured=True)
    result = calibrated(profile, rows, samples, seed, measurements.name, known_devices())
    write_profile(result, out)
    card = result.calibration
    assert card is not None
    keys = ("n", "held_out", "spearman", "kendall", "mape", "within_5", "within_10", "worst_under")
    document = {key: getattr(card, key) for key in keys} | {"confidence": result.confidence}
    if result.confidence == "estimate":
        say(
            f"{out} is an estimate, not calibrated: that takes a held-out Spearman correlation of 0.9 on at least 8 rows; "
            "measure more networks"
        )
    text = "\n".join(f"{key:12} {value if value is None or isinstance(value, int | str) else f'{value:.4f}'}"
                     for key, value in document.items())  # fmt: skip
    emit(document, as_json=json, text=f"{text}\nwritten to {out}")
