"""An exported classifier on pictures that nobody has labelled, through the runtime that serves it. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from edgenas.bundle import Bundle, read_bundle
from edgenas.engine.verify import precisions_of
from edgenas.errors import DataError, EdgenasError
from edgenas.likeliest import TOP, likeliest
from edgenas.preprocessing import DAMAGED, formats_here, network_input, pixels_from_image
from edgenas.records import Precision
from edgenas.runtimes import open_runtime
from edgenas.runtimes.batches import run_in_batches


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
        hint = uses if bundle.kind == "faces" else f"`edgenas serve {folder}` answers with its outputs"
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
            try:
                with closing(Image.open(path, formats=formats_here())) as image:
                    pixels = pixels_from_image(image, how)[None]
            except (DataError, *DAMAGED) as error:
                yield {"image": str(path), "error": _reason(error)}
                continue
            logits = run_in_batches(network, network_input(pixels, how, uint8=uint8))[output][0]
            classes = likeliest(logits, bundle.manifest.labels, top)
            yield {"image": str(path), **{key: classes[0][key] for key in ("label", "probability")}, "classes": classes}


def _reason(error: Exception) -> str:
    return "no image file that can be read" if isinstance(error, OSError) and not error.errno else str(error)
