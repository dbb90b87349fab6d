"""`edgenas.train`: a network that is given, trained without a search."""

from __future__ import annotations

import time
from collections.abc import Sequence

from edgenas.api.arguments import File, checked, listener_for, several, text_or_none
from edgenas.api.study import Study
from edgenas.engine.events import Listener
from edgenas.engine.given import NetworkAsked, train_given
from edgenas.engine.training_asked import TrainingAsked
from edgenas.faces.pixels import numbers_text, pixels_from_text
from edgenas.records import Architecture


@checked
def train(
    network: File | Architecture,
    data: str,
    *,
    target: str | Sequence[str] = "jetson",
    task: str = "classification",
    study: str | None = None,
    seeds: int = 3,
    epochs: int | None = None,
    recipe: File | None = None,
    budget: float | None = None,
    data_dir: File | None = None,
    teacher: File | None = None,
    workers: int | None = None,
    checkpoint_s: float | None = None,
    processes: int = 1,
    all_images: bool = False,
    teacher_mean: float | tuple[float, float, float] | None = None,
    teacher_std: float | tuple[float, float, float] | None = None,
    teacher_views: int | None = None,
    quiet: bool = False,
    on_event: Listener | None = None,
) -> Study:
    """Train a network without a search, over several seeds, and read the test set once; returns the study that holds it, as a
    search's does. The same call again goes on, or returns what is trained.

    `network`: an architecture, its JSON file, or the name of a published network. Its last layer and input channels become those
    of the data, which come at its image size. The other arguments are those of `edgenas train` and `edgenas.search`.

    Raises EdgenasError, in one line, for what cannot be read or does not fit.
    """
    how = TrainingAsked(
        None,
        seeds,
        epochs,
        text_or_none(recipe),
        budget,
        data_dir=text_or_none(data_dir),
        workers=workers,
        started=time.monotonic(),
        teacher=text_or_none(teacher),
        checkpoint_s=checkpoint_s,
        processes=processes,
        all_images=all_images,
        teacher_pixels=pixels_from_text(numbers_text(teacher_mean), numbers_text(teacher_std)),
        teacher_views=teacher_views,
    )
    given = network if isinstance(network, Architecture) else str(network)
    listener = listener_for(quiet, on_event)
    folder, _ = train_given(NetworkAsked(given, data, several(target), study, task), how, listener)
    return Study(folder, listener)
