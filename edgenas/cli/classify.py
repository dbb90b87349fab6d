"""`edgenas classify`: an exported classifier on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgenas.cli.onward import serve_commands
from edgenas.cli.output import emit, say_next, table


def classify(
    bundle: Path = typer.Argument(..., help="A bundle of edgenas export."),
    images: list[Path] = typer.Argument(..., help="Image files.", metavar="IMAGE..."),
    top: int = typer.Option(3, min=1, help="How many classes of each image are named."),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8. Default: the bundle's own choice."),
    runtime: str = typer.Option(
        "onnxruntime", help="onnxruntime (CPU), cuda (ONNX Runtime on the GPU), tensorrt, or a package's."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Say what is in pictures: the likeliest classes of each, by an exported classifier. PyTorch need not be installed.

    Images become pixels as in training and serving. One that cannot be read is named, the others are classified, and the exit
    code is 1.

    Example: edgenas classify bundle new/*.jpg
    """
    from edgenas.bundle import read_bundle
    from edgenas.engine.classify import classify as run
    from edgenas.errors import EdgenasError

    document = run(bundle, images, precision=precision, runtime=runtime, top=top)
    emit(document, as_json=as_json, text=_text(document))
    unread = [one for one in document["images"] if "error" in one]
    if unread:
        raise EdgenasError(
            f"{len(unread)} of {len(document['images'])} images could not be read: "
            + "; ".join(f"{one['image']}: {one['error']}" for one in unread)
        )
    if not as_json:
        say_next(*serve_commands(bundle, read_bundle(bundle).manifest.profile))


def _text(document: dict[str, Any]) -> str:
    rows = [
        (*(f"{100 * likely['probability']:.1f} % {likely['label']}" for likely in one["classes"]), one["image"])
        for one in document["images"]
        if "error" not in one
    ]
    if not rows:
        return ""
    header = ("likeliest", *("then" for _ in rows[0][2:]), "image")
    return table(header, rows)
