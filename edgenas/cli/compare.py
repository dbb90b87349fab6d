"""`edgenas compare`: what was searched beside public networks, trained alike."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.onward import say_onward
from edgenas.cli.options import study_names
from edgenas.cli.output import emit, say
from edgenas.errors import EdgenasError


def compare(
    study: str | None = typer.Argument(
        None, autocompletion=study_names, help="A study's folder or name. Default: the newest."
    ),
    reference: list[str] | None = typer.Option(
        None,
        help="torchvision:NAME or timm:NAME (from scratch; with =FILE.pth behind it from those weights, with =download from "
        "what the "
        "library fetches), or FILE.onnx. Repeatable.",
    ),
    weights: Path | None = typer.Option(
        None, help="File of weights of the one --reference that is named, as =FILE behind its name."
    ),
    reference_mean: str | None = typer.Option(
        None,
        help="What the one --reference FILE.onnx takes, if it does not say: (pixel - mean) / std of pixels 0 to 255. One number "
        "or three. Default: ImageNet's.",
    ),
    reference_std: str | None = typer.Option(None, help="See --reference-mean."),
    seeds: int | None = typer.Option(
        None, min=1, help="Trainings of a reference. Default: as before, at first as many as the winner's."
    ),
    epochs: int | None = typer.Option(
        None,
        min=1,
        help="Epochs of each training. Default: as before, at first as many as fit the seconds that a run of the winner took.",
    ),
    workers: int | None = typer.Option(
        None,
        min=1,
        help="How many processes train. Default: one per seed, where each has as much of a CPU as a run of the winner.",
    ),
    data_dir: str | None = typer.Option(
        None, help="Where named data sets lie now. Default: where they were found last."
    ),
    board: list[str] | None = typer.Option(
        None, help="Measure on this board what is not measured yet: https://.., http://.. or ssh://..; repeatable."
    ),
    token_file: Path | None = typer.Option(None, help="The boards' token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="PEM file of the CA to trust for https:// boards, in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Say whether searching paid: public networks are trained as the winner was, and stand beside it.

    A reference gets the study's images, splits, recipe and seconds, and goes on from its weights where it has some.

    It stays in the study: without --reference all that are there are shown. Finished runs are kept.

    Latencies of different origins (measured, predicted, datasheet) decide nothing: --board measures all of them.

    Example: edgenas compare --reference torchvision:mobilenet_v3_small --weights mobilenet_v3_small.pth

    Example: edgenas compare --reference lite0.onnx --board http://BOARD:8765 --token-file token
    """
    from edgenas.cli.compare_page import document, text
    from edgenas.cli.progress import TrainingView, interruptible
    from edgenas.engine.call import Where
    from edgenas.engine.compare import compare as compare_study
    from edgenas.engine.folders import study_folder
    from edgenas.engine.references import TrainingOfReferences
    from edgenas.faces.pixels import pixels_from_text

    pixels = pixels_from_text(reference_mean, reference_std, "--reference")
    asked = list(reference or ())
    if weights is not None:
        if len(asked) != 1 or "=" in asked[0]:
            raise EdgenasError("--weights belongs to one --reference: for several write --reference NAME=FILE")
        asked = [f"{asked[0]}={weights}"]
    folder, where = study_folder(study, say), Where(boards=tuple(board or ()), token_file=token_file, ca=ca)
    training = TrainingOfReferences(seeds, epochs, workers)
    with interruptible(), TrainingView() as view:
        comparison = compare_study(folder, asked, training, view.hear, None, where, data_dir, pixels)
    emit(document(folder, comparison), as_json=as_json, text=text(folder, comparison))
    if not as_json:
        say_onward(folder)
