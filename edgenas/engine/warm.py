"""`--warm-start`: what studies of other data learned of the same space."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from edgenas.architectures.space import Space
from edgenas.engine.folders import study_folder
from edgenas.engine.plan import KINDS, WrittenSpace, written_plan, written_space
from edgenas.errors import EdgenasError
from edgenas.identity import later_defaults
from edgenas.methods import CONTROL
from edgenas.methods.guided_prior import Learned
from edgenas.records import StudyRecord, Trial
from edgenas.store import Store

OF_DATA = ("head", "in_channels", "image_size", "stem")  # of a space: what follows from the data
FEWEST = 4  # trained networks that teach something


def learned_from(name: str, space: Space) -> Learned:
    """What the study of this name or folder learned. EdgenasError where it is of another space, or has learned too little."""
    folder = study_folder(name)
    with Store.read(folder) as store:
        study, trials = store.study, store.trials()
    here, there = _described(written_space(space)), _described(written_plan(study).space)
    if here != there:
        key = next(key for key in {**here, **there} if here.get(key) != there.get(key))
        other = f"{key} {there.get(key, 'not known')} there, {here.get(key, 'not known')} here"
        raise EdgenasError(
            f"--warm-start {name}: it searched another space ({other}): give a study with the same --space and bounds"
        )
    return _learned(name, study, [t for t in trials if t.status == "complete" and t.candidate.phase != CONTROL], space)


def _learned(name: str, study: StudyRecord, trials: list[Trial], space: Space) -> Learned:
    """In the order of their candidates' keys, which no number of workers changes."""
    trials = sorted(trials, key=lambda trial: trial.candidate.key)
    networks = {trial.candidate.architecture.fingerprint: trial.candidate.architecture for trial in trials}
    if len(networks) < FEWEST:
        raise EdgenasError(
            f"--warm-start {name}: it has {len(networks)} trained networks: give a study with {FEWEST} or more"
        )
    rows = dict(zip(networks, space.features(list(networks.values())).tolist(), strict=True))
    numbers = {fingerprint: number for number, fingerprint in enumerate(networks)}
    most = max(trial.candidate.recipe.epochs for trial in trials)
    names = [trial.candidate.architecture.fingerprint for trial in trials]
    return Learned(
        name,
        tuple(tuple(rows[one]) for one in names),
        tuple(numbers[one] for one in names),
        tuple(math.log(most / trial.candidate.recipe.epochs) for trial in trials),
        tuple(trial.scores[study.metric.objective] for trial in trials),
    )


def _described(space: WrittenSpace) -> dict[str, Any]:
    """Its name and bounds, without what follows from the data. What an older study's space does not say is what it meant then,
    where that is known."""
    fields: dict[str, Any] = msgspec.json.decode(space.fields)
    if space.name in KINDS:
        later = msgspec.to_builtins(later_defaults(KINDS[space.name]))
        fields = {**later, **fields}
    return {"space": space.name, **{key: value for key, value in fields.items() if key not in OF_DATA}}
