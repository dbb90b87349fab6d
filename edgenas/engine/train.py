"""A final training of a study: of a network that was searched, or of one that was trained elsewhere."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.engine.events import Listener, noting
from edgenas.engine.final import final_training
from edgenas.engine.sessions import begin_session
from edgenas.engine.starts import train_start
from edgenas.engine.teachers import taught_by
from edgenas.engine.training_asked import TrainingAsked
from edgenas.records import FinalTraining
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task


def train(folder: Path, asked: TrainingAsked, listener: Listener, own: Task | None = None) -> FinalTraining:
    """Train what is asked for of the study in `folder`; the runs that are finished are kept. `own`: the task, whole, of a study
    that was made from an object."""
    with Store.write(folder) as store:
        begin_session(store, "train", noting(listener))
        if asked.start is not None:
            return train_start(store, asked, listener, own)
        teach = None if asked.teacher is None else functools.partial(taught_by, store, asked, listener, own)
        return final_training(store, asked, listener, own, teach)
