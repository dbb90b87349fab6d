"""An exported classifier on pictures that nobody has labelled, through the runtime that serves it. No torch."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgenas.bundle import Bundle, read_bundle
from edgenas.engine.verify import precisions_of
from edgenas.errors import EdgenasError
from edgenas.likeliest import TOP, likeliest
from edgenas.preprocessing import network_input
from edgenas.records import Precision
from edgenas.runtimes import open_runtime
from edgenas.runtimes.batches import run_in_batches
from edgenas.tasks.decoding import Unread, pixels_of


def classify(
    folder: Path,
    images: Sequence[Path],
    *,
    precision: str | None = None,
    runtime: str = "onnxruntime",
    top: int = TOP,
) -> dict[str, Any]:
    """The document of `edgenas classify`: of every image its likeliest classes, or the `error` that kept it from being read.

    `precision`: None for the bundle's choice. EdgenasError for a bundle of another kind, for a folder among the images, and
    where an image does not exist.
    """
    bundle = read_classifier(folder)
    if precision is not None and len(precisions_of(bundle, precision)) != 1:
        raise EdgenasError(f"--precision {precision} was asked for: images are classified by one at a time")
    chosen: Precision = precisions_of(bundle, precision)[0] if precision else bundle.manifest.chosen_precision
    _check(images)
    rows = list(_rows(bundle, images, chosen, runtime, top))
    return {"bundle": str(folder), "precision": chosen, "runtime": runtime, "images": rows}


def read_classifier(folder: Path) -> Bundle:
    """The verified bundle of a classifier. EdgenasError, with what its kind is for, for one of another kind."""
    bundle = read_bundle(folder)
    if bundle.kind != "classification":
        uses = "`edgenas serve` (/embed, /identify) and `edgenas faces eval` are for faces"
        hint = (
            uses if bundle.kind == "faces" else f"`edgenas serve {shlex.quote(str(folder))}` answers with its outputs"
        )
        raise EdgenasError(
            f"{folder} is no classifier's bundle but one of kind {bundle.kind}, which has no classes: {hint}"
        )
    return bundle


def _check(images: Sequence[Path]) -> None:
    for image in images:
        if image.is_dir():
            raise EdgenasError(
                f"{image} is a folder: name the images in it ({image}/*), or `edgenas evaluate` for labelled folders"
            )
        if not image.exists():
            raise EdgenasError(f"{image} does not exist: name image files")


def _rows(
    bundle: Bundle, images: Sequence[Path], precision: Precision, runtime: str, top: int
) -> Iterator[dict[str, Any]]:
    how, uint8 = bundle.manifest.preprocessing, bundle.manifest.input == "uint8"
    with open_runtime(runtime, bundle.path(precision), precision) as network:
        (output,) = network.outputs
        for path in images:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, as where a folder is read
                pixels = pixels_of(path, how)
            if isinstance(pixels, Unread):
                yield {"image": str(path), "error": pixels.why}
                continue
            logits = run_in_batches(network, network_input(pixels[None], how, uint8=uint8))[output][0]
            classes = likeliest(logits, bundle.manifest.labels, top)
            yield {"image": str(path), **{key: classes[0][key] for key in ("label", "probability")}, "classes": classes}
