"""`edgenas calibrate`: measured networks make a profile that predicts."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.output import emit, say


def calibrate(
    measurements: list[Path] = typer.Option(
        ..., help="CSV with the columns architecture,latency_ms, or a log of trtexec; repeatable."
    ),
    out: Path = typer.Option(..., help="The calibrated profile (TOML), to be used as --target."),
    target: str | None = typer.Option(None, help="The profile to calibrate: a name, an alias or a file."),
    new: str | None = typer.Option(None, help="Or the name of a new device."),
    runtime: str | None = typer.Option(None, help="Of a new device: onnxruntime, tensorrt or another, such as tflite."),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8; left out, the target's own."),
    samples: int | None = typer.Option(None, min=1, help="Networks to fit; all others judge. Left out, four in five."),
    seed: int = typer.Option(0, min=0, help="Chooses the networks."),
    shape: list[str] = typer.Option(
        [], help="Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."
    ),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Fit a device's predictor on N random measured networks and judge it on all the others.

    Architectures are ONNX files (relative to the table), torchvision:NAME, timm:NAME, our JSON, NAS-Bench-201 strings, fbnet: and
    22 digits, or convnet_... names. Columns batch, precision and input_px are read where they are there; a column log, in place
    of latency_ms, names a file of trtexec (--exportTimes, or its log), MLPerf (mlperf_log_summary.txt) or AI Hub (perf.yaml).
    What was measured several times is averaged.

    Example: edgenas calibrate --target jetson-nano --measurements nano.csv --samples 50 --out my-nano.toml

    Example: edgenas calibrate --target jetson --measurements resnet18.log --measurements others.csv --out mine.toml
    """
    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.cli.zoo import zoo
    from edgenas.hardware.calibration import calibration
    from edgenas.hardware.profile import write_profile

    shapes = shapes_from_text(shape)
    result = calibration(
        measurements,
        target,
        new=new,
        runtime=runtime,
        precision=precision,
        samples=samples,
        seed=seed,
        shapes=shapes,
        zoo=zoo,
    )
    for warning in result.warnings:
        say(warning)
    write_profile(result.profile, out)
    keys = ("n", "held_out", "spearman", "kendall", "mape", "within_5", "within_10", "worst_under")
    document = {key: getattr(result.card, key) for key in keys} | {"confidence": result.profile.confidence}
    if result.shortfall:
        say(f"{out} is an estimate, not calibrated: {result.shortfall}")
    text = "\n".join(f"{key:12} {value if value is None or isinstance(value, int | str) else f'{value:.4f}'}"
                     for key, value in document.items())  # fmt: skip
    emit({**document, "warnings": result.warnings}, as_json=json, text=f"{text}\nwritten to {out}")
