"""`edgenas data`: what would be learned from a folder; and which decoded images are kept."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from edgenas.cli.options import Fit, refuse_beside
from edgenas.cli.output import BOUNDED, emit, say, say_next, table
from edgenas.errors import EdgenasError
from edgenas.image_sizes import size_asked
from edgenas.ranges import MOST_SEED


def data(
    folder: str | None = typer.Argument(None, help="A folder of class folders, or a data set's name."),
    data_dir: str | None = typer.Option(None, help="Where named data sets lie (also: EDGENAS_DATA)."),
    image_size: str | None = typer.Option(
        None,
        metavar="SIDE|HxW",
        help="Size of the network's input, pixels: 64, or 64x320 (height x width). Default: the data's own.",
    ),
    fit: Fit = typer.Option(
        "crop", help="Images of another shape are cropped to their middle, stretched, or padded with grey."
    ),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave out image files that cannot be read."),
    seed: int = typer.Option(0, min=0, max=MOST_SEED, help="Seed of the validation split, where it is split off here."),
    cache: bool = typer.Option(False, "--cache", help="List the decoded images that are kept, of FOLDER or of all."),
    clear_cache: bool = typer.Option(
        False, "--clear-cache", help="Remove the decoded images that are kept. They are decoded again when needed."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Say what images there are, as a search would read them: classes, splits and where each comes from, size, what is ignored
    and why, and how many images repeat another.

    Damaged files and unclear folders are refused as in a search, all damaged files at once. Images are decoded once, into
    studies/.images or EDGENAS_CACHE; searches and trainings read them there.

    Example: edgenas data my-images

    Example: edgenas data strips --image-size 64x320 --fit pad

    Example: edgenas data --cache
    """
    if cache or clear_cache:
        how = {
            "--data-dir": (data_dir, None),
            "--image-size": (image_size, None),
            "--fit": (fit, "crop"),
            "--skip-damaged": (skip_damaged, False),
            "--seed": (seed, 0),
        }
        refuse_beside(how, "says how images are read, and with --cache or --clear-cache none are")
        _caches(folder, remove=clear_cache, as_json=as_json)
        return
    if folder is None:
        raise EdgenasError("no data was named: give a folder of class folders or a data set's name, or --cache")
    from edgenas.engine.data import facts_lines
    from edgenas.tasks import Loading, TaskSettings
    from edgenas.tasks.classification import load_classification

    size = None if image_size is None else size_asked(image_size)
    settings = TaskSettings(folder, data_dir=data_dir, image_size=size, seed=seed, fit=fit, skip_damaged=skip_damaged)
    facts = load_classification(settings, Loading(tell=say)).facts
    rows = [(name, f"{count:,}") for name, count in facts.classes.items()]
    emit(facts, as_json=as_json, text=table(("class", "images"), rows) + "\n\n" + "\n".join(facts_lines(folder, facts)))
    if not as_json:
        say_next(f"edgenas search --target jetson --data {shlex.quote(folder)} {BOUNDED}")


def _caches(folder: str | None, *, remove: bool, as_json: bool) -> None:
    """List the caches, or remove them and list what is gone."""
    from edgenas.tasks.cache import cache_beside, caches_in, clear, size_words

    root = cache_beside()
    of = None if folder is None else Path(folder)
    found = clear(root, of) if remove else caches_in(root, of)
    rows = [(one.folder, f"{one.images:,}", ", ".join(one.pixels), size_words(one.bytes)) for one in found]
    total = f"{size_words(sum(one.bytes for one in found))} {'removed from' if remove else 'in'} {root}"
    shown = table(("folder", "images", "decoded", "on the disk"), rows) + "\n\n" + total if rows else total
    emit(found, as_json=as_json, text=shown)
