"""A final training of a study: of a network that was searched or given, or of one that was trained elsewhere."""

from __future__ import annotations

import functools
from pathlib import Path

from edgenas.engine.call import Given
from edgenas.engine.events import Listener, noting
from edgenas.engine.final import final_training
from edgenas.engine.given import choose_given
from edgenas.engine.sessions import begin_session
from edgenas.engine.starts import train_start
from edgenas.engine.teachers import taught_by
from edgenas.engine.training_asked import TrainingAsked
from edgenas.records import FinalTraining
from edgenas.store import Store


def train(folder: Path, asked: TrainingAsked, listener: Listener, given: Given | None = None) -> FinalTraining:
    """Train what is asked for of the study in `folder`; the runs that are finished are kept. `given`: the objects that the study
    was made from, its task whole."""
    given = given or Given()
    with Store.write(folder) as store:
        begin_session(store, "train", noting(listener))
        if asked.start is not None:
            return train_start(store, asked, listener, given.task)
        teach = None if asked.teacher is None else functools.partial(taught_by, store, asked, listener, given)
        final = final_training(store, asked, listener, given.task, teach)
        choose_given(store, final)
        return final
