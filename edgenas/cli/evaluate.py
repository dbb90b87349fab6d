"""`edgenas evaluate`: an exported classifier on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import typer

from edgenas.cli.onward import serve_commands
from edgenas.cli.output import emit, say, say_next, table
from edgenas.ranges import MOST_SEED

MOST_CLASSES = 20  # that the text shows; of more those with the least recall
Split = Literal["all", "train", "val", "test"]


def evaluate(
    bundle: Path = typer.Argument(..., help="A bundle of edgenas export."),
    data: str = typer.Option(..., help="A folder of class folders, or a data set's name."),
    split: Split | None = typer.Option(
        None,
        help="Which of its images. Default: its own test images, without these its own validation images, else all.",
    ),
    precision: str | None = typer.Option(
        None, help="Precisions to judge, comma-separated: fp32, fp16, int8. Default: all that the bundle has."
    ),
    data_dir: str | None = typer.Option(None, help="Where named data sets lie (also: EDGENAS_DATA)."),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave out image files that cannot be read."),
    seed: int = typer.Option(0, min=0, max=MOST_SEED, help="Seed of the validation split, where it is split off here."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Judge an exported classifier on labelled images: accuracy, balanced accuracy and macro-F1 with 95 % intervals, each class,
    and which classes are taken for which, through ONNX Runtime.

    Images become pixels as in training and serving. PyTorch need not be installed.

    Example: edgenas evaluate bundle --data new-photographs

    Example: edgenas evaluate bundle --data my-images --split test --precision fp32,int8 --json
    """
    from edgenas.bundle import read_bundle
    from edgenas.engine.evaluate import evaluate as run

    document = run(bundle, data, split, precision, say, data_dir=data_dir, skip_damaged=skip_damaged, seed=seed)
    emit(document, as_json=as_json, text=_text(document))
    if not as_json:
        say_next(*serve_commands(bundle, read_bundle(bundle).manifest.profile))


def _text(document: dict[str, Any]) -> str:
    lines = [f"{document['bundle']} on {document['data']} ({document['split']}): {document['images']:,} images"]
    for precision, model in document["models"].items():
        lines += ["", precision, *summary_lines(model)]
    return "\n".join(lines)


def summary_lines(scores: dict[str, Any]) -> list[str]:
    """The three metrics, the classes, and the most frequent mistakes, of a `document_of_confusion`."""
    return [*_metric_lines(scores), "", class_table(scores["classes"]), *mistakes(scores)]


def _metric_lines(scores: dict[str, Any]) -> list[str]:
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}
    return [
        f"  {words} {scores[name]:.2f} % ({scores[f'{name}_interval'][0]:.1f} to {scores[f'{name}_interval'][1]:.1f})"
        for name, words in names.items()
    ]


def class_table(classes: list[dict[str, Any]]) -> str:
    """Images, recall with its interval, precision and F1 of each class; of many those with the least recall."""
    shown = classes
    if len(classes) > MOST_CLASSES:
        shown = sorted((one for one in classes if one["images"]), key=lambda one: one["recall"])[:MOST_CLASSES]
    rows = [
        (
            one["name"],
            f"{one['images']:,}",
            _percent(one["recall"]) + _between(one["recall_interval"]),
            _percent(one["precision"]),
            _percent(one["f1"]),
        )
        for one in shown
    ]
    head = "class" if len(shown) == len(classes) else f"class ({len(shown)} of {len(classes)}, least recall first)"
    return table((head, "images", "recall %", "precision %", "F1 %"), rows)


def mistakes(scores: dict[str, Any], most: int = 3) -> list[str]:
    """The most frequent confusions, such as: 12 of 40 cat are called dog."""
    names = [one["name"] for one in scores["classes"]]
    found = [
        (count, sum(row), names[truth], names[called])
        for truth, row in enumerate(scores["confusion"])
        for called, count in enumerate(row)
        if truth != called and count
    ]
    found.sort(key=lambda one: -one[0])
    return [f"  {count:,} of {images:,} {truth} are called {called}" for count, images, truth, called in found[:most]]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _between(interval: list[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
