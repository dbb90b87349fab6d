"""Measuring what a search found on a board: its finalists as they would be exported, or a bundle's own files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.bundle import read_bundle
from edgenas.engine.fronts import finalists
from edgenas.engine.starts import FINAL as START
from edgenas.errors import EdgenasError
from edgenas.hardware.profile import checked_precision, profile_from_name, profiles_of
from edgenas.methods import CONTROL
from edgenas.records import FinalTraining, HardwareProfile, Limits, Precision, Trial
from edgenas.remote.job import runtime_of
from edgenas.remote.verification import Verified, verified_bundle, verified_trial
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.bundle import Bundle
    from edgenas.remote.client import Board

Tell = Callable[[str], None]


def verified_study(folder: Path, numbers: Sequence[int], board: Board, tell: Tell) -> list[Verified]:
    """The trials of these numbers, or the chosen one and the front, measured on the board and held against the study's limits."""
    with Store.read(folder) as store:
        limits, precision, profile = store.study.limits, store.study.precision, profiles_of(store.study)[0]
        measured = _asked_for(store, numbers)
    runtime = _greet(board, profile, precision, tell)
    return [verified_trial(trial, board, runtime, profile, precision, limits) for trial in measured]


def verified_files(folder: Path, study: Path | None, precision: str | None, board: Board, tell: Tell) -> list[Verified]:
    """A bundle's files as they lie there; limits and what the search knew come from the study, where one is named."""
    held = read_bundle(folder)
    precisions = precisions_of(held, precision)
    images = held.manifest.batch or 1
    if study is None or images > 1:
        why = (
            "no study was named"
            if study is None
            else f"its files take {images} images a run, a study's limits are for one"
        )
        tell(f"warning: {why}, so no limit is held against {folder}")
        profile, limits, trial = profile_from_name(held.manifest.profile), Limits(), None
    else:
        with Store.read(study) as store:
            profile, limits = profiles_of(store.study)[0], store.study.limits
            trial = _trial_of(held, store)
    runtime = _greet(board, profile, None, tell)
    return verified_bundle(held, board, runtime, profile, precisions, trial, limits)


def refuse_mixed(bundle: object, numbers: Sequence[int], precision: str | None) -> None:
    """Raise EdgenasError for what chooses among a bundle's files where networks are measured, or the other way round."""
    if bundle is None and precision is not None:
        raise EdgenasError("--precision chooses among a bundle's files: name one with --bundle, or leave it out")
    if bundle is not None and numbers:
        raise EdgenasError("--trial chooses among a study's networks, and --bundle names the files: leave one out")


def precisions_of(bundle: Bundle, asked: str | None) -> tuple[Precision, ...]:
    """Those that were asked for, with commas, or all of the bundle; EdgenasError for one that it does not hold."""
    if asked is None:
        return tuple(bundle.manifest.models)
    chosen = [checked_precision(name.strip()) for name in asked.split(",")]
    for one in chosen:
        bundle.path(one or "fp32")  # raises where the bundle has none
    return tuple(dict.fromkeys(one for one in chosen if one is not None))


def _trial_of(bundle: Bundle, store: Store) -> Trial | None:
    """The trial of a bundle's network; None where the study has trained it and not searched it: a start, another width, other
    classes. EdgenasError for any other network."""
    fingerprint = bundle.manifest.fingerprint
    found = [trial for trial in store.ledger() if trial.candidate.architecture.fingerprint == fingerprint]
    if found:
        choice = store.choice
        chosen = [trial for trial in found if choice is not None and trial.number == choice.trial.number]
        return (chosen or found)[0]
    trained = (*store.all("final", FinalTraining).values(), *store.all(START, FinalTraining).values())
    if fingerprint not in {final.architecture.fingerprint for final in trained}:
        raise EdgenasError(
            f"{bundle.folder} holds network {fingerprint}, which {store.folder} does not know: name its own study"
        )
    return None


def _greet(board: Board, profile: HardwareProfile, precision: Precision | None, tell: Tell) -> str:
    """What the board runs, as a job's deadline depends on it."""
    info = board.info()
    at = f", {precision}" if precision else ""
    tell(f"board {board.url}: {info['device']['model']}, {info['runtime']} {info['runtime_version']}{at}")
    if info["runtime"] != profile.runtime:
        tell(f"warning: the limits were set for {profile.runtime}: another quantity than what is measured here")
    return runtime_of(info)


def _asked_for(store: Store, numbers: Sequence[int]) -> list[Trial]:
    """The named trials, or the chosen one and the front."""
    trials = [trial for trial in store.ledger() if trial.status == "complete" and trial.candidate.phase != CONTROL]
    if not trials:
        raise EdgenasError(f"{store.folder} has no trained network yet: run `edgenas search` first")
    if not numbers:
        return finalists(store)
    found = {trial.number: trial for trial in trials}
    if missing := [number for number in numbers if number not in found]:
        raise EdgenasError(f"no trained trial {missing[0]} in {store.folder}; possible: {', '.join(map(str, found))}")
    return [found[number] for number in numbers]
