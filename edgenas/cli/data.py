"""`edgenas data`: what would be learned from a folder; and the same in a few lines before a search or a training."""

from __future__ import annotations

import typer

from edgenas.cli.output import emit, table


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
    from edgenas.engine.data import facts_lines
    from edgenas.tasks import TaskSettings
    from edgenas.tasks.classification import load_classification

    settings = TaskSettings(folder, data_dir=data_dir, image_size=image_size, seed=seed)
    facts = load_classification(settings).facts
    rows = [(name, f"{count:,}") for name, count in facts.classes.items()]
    emit(facts, as_json=as_json, text=table(("class", "images"), rows) + "\n\n" + "\n".join(facts_lines(folder, facts)))
