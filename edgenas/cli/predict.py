"""`edgenas predict`: latencies without the device."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from edgenas.cli.options import target_names
from edgenas.cli.output import BOUNDED, emit, say, say_next

COLUMNS = ("name", "ms", "precision", "profile", "origin", "extrapolated", "low", "high")
IMAGE_SIZE = (
    "Size of the images: 224, or 64x320 (height x width); of torchvision:NAME, timm:NAME and free sides of ONNX files."
)
SHAPE = "Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."


def predict(
    file: str = typer.Argument(
        ...,
        help="CSV with a column architecture, an ONNX model, a published network's name, torchvision:NAME or timm:NAME.",
    ),
    target: str = typer.Option(..., autocompletion=target_names, help="A target's name or alias, or a profile file."),
    precision: str | None = typer.Option(
        None,
        help="fp32 (strict), tf32 (what TensorRT makes of FP32 from Ampere on), fp16 or int8; left out, that of a quantised or "
        "half-precision file, else the target's own.",
    ),
    batch: int | None = typer.Option(None, min=1, max=1024, help="Images per run; left out, 1 or what a row says."),
    shape: list[str] = typer.Option([], help=SHAPE),
    image_size: str | None = typer.Option(None, metavar="SIDE|HxW", help=IMAGE_SIZE),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Predict the latency of networks on a device that is not here.

    Example: edgenas predict --target jetson-nano resnet50.onnx

    Example: edgenas predict --target jetson yolo.onnx --shape images=1x3x320x320

    Example: edgenas predict --target raspberry-pi-5 torchvision:mobilenet_v3_small --batch 4

    Example: edgenas predict --target jetson torchvision:mobilenet_v3_small --image-size 64x320
    """
    import csv
    import io

    import msgspec

    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.cli.zoo import zoo
    from edgenas.hardware.prediction import predictions
    from edgenas.hardware.profile import profile_from_name, resolved
    from edgenas.hardware.rows import px_asked

    profile = profile_from_name(target)
    say(resolved(target, profile))
    if precision == "fp32" and "tf32" in profile.precisions:
        say(
            "fp32 is strict here, as EdgeNAS builds engines; TensorRT's default and most published figures are --precision tf32"
        )
    px = None if image_size is None else px_asked(image_size)
    found = predictions(file, profile, precision, batch, shapes_from_text(shape), zoo, px)
    for note in (note for one in found for note in one.notes):
        say(note)
    document = [{key: value for key, value in msgspec.to_builtins(one).items() if key != "notes"} for one in found]
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({key: _shown(value) for key, value in one.items()} for one in document)
    emit(document, as_json=json, text=lines.getvalue())
    if not json:
        say_next(f"edgenas search --target {shlex.quote(target)} --data FOLDER {BOUNDED}")


def _shown(value: Any) -> Any:
    """Six digits of a latency are more than is known of it; JSON has them all."""
    return f"{value:.6g}" if isinstance(value, float) else value
