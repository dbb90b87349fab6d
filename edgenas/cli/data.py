"""`edgenas data`: what would be learned from a folder; and the same in a few lines before a search or a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from edgenas.cli.output import emit, say, table

if TYPE_CHECKING:
    from edgenas.tasks import Task
    from edgenas.tasks.facts import DataFacts

FITS = {"crop": "cut in the centre", "stretch": "stretched"}


def data(
    folder: str = typer.Argument(..., help="A folder of class folders, or a data set's name."),
    data_dir: str | None = typer.Option(None, help="Where named data sets lie (also: EDGENAS_DATA)."),
    image_size: int | None = typer.Option(
        None, min=8, max=512, help="Side of the network's input, pixels. Default: the data's own."
    ),
    seed: int = typer.Option(0, min=0, max=2**32 - 1, help="Of the validation split, where it is cut here."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Read images for classification as a search would and say what they are: classes, splits and where each comes from,
    size, what is ignored and why, and how many images repeat another.

    Damaged files and unclear folders are refused as in a search, all damaged files at once.

    Example: edgenas data my-images
    """
    from edgenas.tasks import TaskSettings
    from edgenas.tasks.classification import load_classification

    settings = TaskSettings(folder, data_dir=data_dir, image_size=image_size, seed=seed)
    facts = load_classification(settings).facts
    rows = [(name, f"{count:,}") for name, count in facts.classes.items()]
    emit(facts, as_json=as_json, text=table(("class", "images"), rows) + "\n\n" + lines_of(folder, facts))


def say_data(where: str, task: Task) -> None:
    """Before something is trained; faces have no facts."""
    facts = getattr(task, "facts", None)
    if facts is not None:
        say(lines_of(where, facts))


def lines_of(where: str, facts: DataFacts) -> str:
    """Images, splits, what is left out, what repeats, warnings."""
    counts, repeats = facts.classes.values(), facts.duplicates
    least, most = min(counts), max(counts)
    each = f"{least:,} to {most:,}" if least < most else f"{least:,}"
    colours = "grey" if facts.channels == 1 else "RGB"
    splits = ", ".join(f"{kind} {facts.splits[kind]:,} ({source})" for kind, source in facts.sources.items())
    lines = [
        f"data {where}: {sum(counts):,} images in {len(counts)} classes ({each} each), "
        f"{facts.image_size} px, {colours}, {FITS[facts.fit]}",
        f"  {splits}",
    ]
    if facts.ignored:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in facts.ignored.items())
        lines.append(f"  {sum(facts.ignored.values()):,} ignored: {reasons}")
    if any(repeats.values()):
        lines.append(
            f"  {repeats['within'] + repeats['across_splits']:,} images repeat another: {repeats['within']:,} within a split, "
            f"{repeats['across_splits']:,} across splits; {repeats['two_labels']:,} are there under two labels"
        )
    return "\n".join([*lines, *(f"  warning: {warning}" for warning in facts.warnings)])
