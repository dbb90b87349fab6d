"""Trained networks of a study, as they are exported."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.engine.data import place_known
from edgenas.engine.final import began_by, task_to_train
from edgenas.engine.plan import written_plan
from edgenas.engine.references import with_preprocessing
from edgenas.engine.scores import best_run, name_of
from edgenas.engine.starts import refuse_beside, start_of
from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.profile import HOST_CPU, profile_from_name, profiles_of
from edgenas.records import FinalRun, FinalTraining, Latency
from edgenas.remote.boards import remembered
from edgenas.store import Store

if TYPE_CHECKING:
    from torch import nn

    from edgenas.export.release import Trained, Wishes
    from edgenas.tasks import Task

Tell = Callable[[str], None]
SEEN = "trained on the validation images, too: scores on them compare precisions, and do not judge the network"


def trained_from_store(
    store: Store,
    tell: Tell,
    trial: int | None = None,
    target: str | None = None,
    data: str | None = None,
    own: Task | None = None,
    start: str | None = None,
    data_dir: str | None = None,
) -> Trained:
    """The trained network of a trial (or that of `train --start`), the seed that did best on validation; its data at `data_dir`,
    else where they were found last. EdgenasError where there is none yet."""
    from edgenas.export.release import Trained

    final = final_asked(store, trial, data, start)
    other = None if final.data == store.study.data else final.data
    trained_at = final.data_dir if other is not None or place_known(store) is None else None
    task = task_to_train(store, other, data_dir or trained_at, final.architecture, tell, own)
    if start is not None:
        task = with_preprocessing(task, final.preprocessing)
    if (task.classes, task.preprocessing) != (final.classes, final.preprocessing):
        raise StudyError(
            f"{final.data} is not what {name_of(final)} was trained on (its classes or pixel statistics are others): "
            "restore it, or run the `edgenas train` that trained it again"
        )
    network, best = trained_network(store, final, tell)
    profile = profile_from_name(target) if target else profiles_of(store.study)[0]
    recipe, score = final.recipe.fingerprint, best.val.get(final.metric)
    notes, seeds = (SEEN,) if final.all_images else (), len(final.runs)
    return Trained(
        network, final.architecture, task, profile, final.data, recipe, score=score, notes=notes, seeds=seeds
    )


def trained_network(store: Store, final: FinalTraining, tell: Tell) -> tuple[nn.Module, FinalRun]:
    """The torch network of the seed that did best on validation, in eval mode, and that seed's run."""
    from edgenas.networks.weights import load_weights

    best = best_run(final)
    if not best.weights_sha256:
        tell(
            f"warning: {best.weights} was saved before weights had a SHA-256 in the study: only its score can be checked"
        )
    path = store.folder / "weights" / Path(best.weights).name
    return load_weights(final.architecture, path, best.weights_sha256), best


def latency_judged(store: Store, trained: Trained) -> Latency | None:
    """What the study's latency limit is held against for this network on its target, at one precision: what a board has measured,
    else what the search went by. None for a network that is in neither, and where this machine times the files themselves."""
    name, plan = trained.profile.name, written_plan(store.study)
    if name == HOST_CPU and not plan.boards:
        return None
    network = trained.architecture
    searched = [one.cost.latencies.get(name) for one in store.ledger() if one.candidate.architecture == network]
    return remembered(store, trained.profile, plan.asked.precision, network) or next(iter(searched), None)


def final_asked(store: Store, trial: int | None, data: str | None, start: str | None) -> FinalTraining:
    """The final training that is meant: of a trial, or of a `start`, beside which neither a trial nor data are named."""
    if start is None:
        return final_of(store, trial, data)
    refuse_beside(start, {"--trial": trial, "--data": data})
    return start_of(store, start)


def final_of(store: Store, trial: int | None, data: str | None) -> FinalTraining:
    """The final training of a trial on `data`; the only one where that is left out."""
    choice = store.choice
    if trial is None and choice is None:
        began = began_by(store.study.method)
        raise StudyError(f"{store.folder} has no choice yet: run the same `{began}` again, or give --trial N")
    number = trial if trial is not None or choice is None else choice.trial.number
    trained = store.all("final", FinalTraining)
    found = {key: final for key, final in trained.items() if final.trial == number}
    if not found:
        others = sorted({final.trial for final in trained.values()})
        hint = f" (trained: {', '.join(map(str, others))})" if others else ""
        raise StudyError(
            f"trial {number} of {store.folder} has no trained weights{hint}: "
            f"run `edgenas train {shlex.quote(str(store.folder))} --trial {number}` first"
        )
    own = next((one.candidate.key for one in store.ledger() if one.number == number), "")
    found = dict(sorted(found.items(), key=lambda item: item[0].startswith(own)))  # the last one of some data is taken
    on = {final.data: final for final in found.values()}
    if data is None and len(on) > 1:
        raise StudyError(f"trial {number} was trained on {', '.join(on)}: say which with --data")
    if data is not None and data not in on:
        raise StudyError(f"trial {number} was not trained on {data}: possible: {', '.join(on)}")
    return on[data] if data is not None else next(iter(on.values()))


def wishes_from(
    precision: str | Sequence[str],
    input_type: str = "float32",
    max_drop: float | None = None,
    reduce_range: bool = False,
    *,
    batch: int | None = None,
    opset: int | None = None,
) -> Wishes:
    """What a bundle is to hold, checked. `precision`: auto, or some of fp32, fp16 and int8, with commas or one by one."""
    from edgenas.export.release import PRECISIONS, Wishes

    if input_type not in ("float32", "uint8"):
        raise EdgenasError(f"--input {input_type} was asked for; possible: float32, uint8")
    if max_drop is not None and not 0 <= max_drop < math.inf:
        raise EdgenasError(f"--max-drop {max_drop:g} was asked for: it takes a number from 0")
    shared = Wishes(uint8=input_type == "uint8", max_drop=max_drop, reduce_range=reduce_range, batch=batch, opset=opset)
    if precision == "auto":
        return dataclasses.replace(shared, auto=True)
    names = [name.strip() for name in (precision.split(",") if isinstance(precision, str) else precision)]
    if not any(names):
        raise EdgenasError(f"no precision was asked for; possible: {', '.join(PRECISIONS)}, or auto")
    if unknown := [name for name in names if name not in PRECISIONS]:
        raise EdgenasError(f"precision {', '.join(unknown)} was asked for; possible: {', '.join(PRECISIONS)}, or auto")
    chosen = tuple(known for name in names for known in PRECISIONS if known == name)
    if reduce_range and "int8" not in chosen:
        raise EdgenasError(
            f"--reduce-range is about int8, and --precision is {', '.join(names)}: add int8, or leave it out"
        )
    return dataclasses.replace(shared, precisions=tuple(dict.fromkeys(chosen)))
