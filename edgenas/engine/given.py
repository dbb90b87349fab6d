"""A network that is given, not searched: trained as a search's choice is, into a folder that is a study as any other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.architectures.own import own_for_channels
from edgenas.engine.call import Given
from edgenas.engine.costing import Costing
from edgenas.engine.data import loading_of, searched_task
from edgenas.engine.decide import data_asked, study_record
from edgenas.engine.events import Listener, noting
from edgenas.engine.final import GIVEN, final_training
from edgenas.engine.flags import flags_of_training
from edgenas.engine.folders import ROOT, Asked, asked_in, called_data, differences, is_study, named_folder
from edgenas.engine.largest import LARGEST
from edgenas.engine.plan import WrittenPlan, WrittenSpace, written_plan
from edgenas.engine.scores import best_run, metric_of
from edgenas.engine.sessions import begin_session
from edgenas.engine.settings import as_asked, settings_from
from edgenas.engine.teachers import taught_by
from edgenas.engine.training_asked import TrainingAsked
from edgenas.errors import EdgenasError
from edgenas.files import refuse_folder
from edgenas.hardware.cost import CostModel
from edgenas.hardware.description import architecture_named
from edgenas.hardware.profile import HOST_CPU, profile_from_name, resolved
from edgenas.identity import digest
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.records import (
    Architecture,
    Candidate,
    Choice,
    FinalTraining,
    HardwareProfile,
    OnnxArchitecture,
    OwnArchitecture,
    Record,
    StudyRecord,
    Trial,
)
from edgenas.store import Store, refuse_differences

if TYPE_CHECKING:
    from edgenas.tasks import Task, TaskSettings

METHOD = "given"
BEGAN = "began"  # key of the row that says how the training was asked for
Tell = Callable[[str], None]


@dataclass(frozen=True)
class NetworkAsked:
    """A network to train, and on what: `network` is an architecture's JSON file (as `edgenas design --out` writes them), a
    published network's name, or an architecture."""

    network: str | Architecture
    data: str
    target: tuple[str, ...] = ("jetson",)
    study: str | None = None
    task: str = "classification"

    @property
    def name(self) -> str:
        return self.network.fingerprint if isinstance(self.network, Architecture) else self.network


class Began(Record, frozen=True):
    """How a given network's training was asked for: what the network was called, and the flags of `edgenas train` beside the
    data, the task, the targets and the study."""

    network: str = ""
    flags: tuple[str, ...] = ()


def is_given(name: str | None, study: str | None = None) -> bool:
    """Does this name a network to train, and no study? A study goes first, but where `study` says where the network's own is."""
    if name is None or (study is None and is_study(name)):
        return False
    from edgenas.architectures.published import PUBLISHED

    return name.lower().endswith(".json") or name in PUBLISHED


def network_asked(
    network: str | None,
    data: str | None,
    target: Sequence[str] | None,
    task: str | None,
    study: str | None,
    *,
    from_trained: bool = False,
) -> NetworkAsked | None:
    """What `edgenas train` was asked to train, where that is no study's network. EdgenasError for what belongs to the other."""
    given = is_given(network, study)
    if network is not None and data is not None and not is_study(network) and not given:
        refuse_folder(Path(network), (".json",))
        raise EdgenasError(
            f"{network} is no study, no architecture file (.json) and no published network (as mobilenet-v2)"
        )
    if network is None or not given:
        for flag, value in (("--target", target), ("--task", task), ("--study", study)):
            if value is not None:
                raise EdgenasError(
                    f"{flag} is for a network without a search, FILE.json or a published network's name; a study has its own: "
                    "leave it out"
                )
        return None
    if from_trained:
        raise _is_of_searched("--from-trained", network)
    if data is None:
        raise EdgenasError(f"train {network}: on which --data? A data set's name or a folder of class folders")
    return NetworkAsked(network, data, tuple(target or ("jetson",)), study, task or "classification")


def train_given(wanted: NetworkAsked, asked: TrainingAsked, listener: Listener) -> tuple[Path, FinalTraining]:
    """The study's folder and the training; the same call goes on after an interruption. EdgenasError, in one line, for a network
    that cannot be read or does not fit the images."""
    _refuse_what_is_searched(asked, wanted.name)
    tell = noting(listener)
    named = {"data": wanted.data, "target": wanted.target, "data_dir": asked.data_dir, "task": wanted.task}
    settings = settings_from(None, {**named, "method": METHOD})
    profiles = tuple(profile_from_name(name) for name in settings.target)
    for name, profile in zip(settings.target, profiles, strict=True):
        tell(resolved(name, profile))
    given = wanted.network if isinstance(wanted.network, Architecture) else architecture_named(wanted.network)
    folder = _folder(wanted, settings, given)
    task, of_data = _images(data_asked(settings), given, folder, tell)
    architecture = _fitted(given, task, wanted, tell)
    plan = _plan(settings, profiles, of_data, task, architecture)
    study = msgspec.structs.replace(
        study_record(settings, profiles), metric=task.metric, plan=msgspec.Raw(msgspec.json.encode(plan))
    )
    _refuse_unpredictable(profiles, settings, architecture)
    tell(f"study {folder}")
    with Store.create(folder, _existing(folder, study) or study) as store:
        begin_session(store, "train", tell)
        searched_task(store, tell, asked.data_dir, task)  # remembers what it is trained on
        if store.choice is None:
            with Costing(store, tell) as costing:
                cost = costing(architecture)
            if broken := settings.limits.broken(cost):
                tell(f"warning: this network is over the limits: {'; '.join(broken)}")
            candidate = Candidate(architecture, plan.training.recipe, METHOD)
            store.put(GIVEN, GIVEN, Trial(candidate, "complete", cost, settings.seed, number=1))
            network = "" if isinstance(wanted.network, Architecture) else wanted.network
            store.put(GIVEN, BEGAN, Began(network, flags_of_training(asked)))
        inner = replace(asked, data=None)
        teach = None if asked.teacher is None else functools.partial(taught_by, store, inner, listener, Given())
        final = final_training(store, inner, listener, task, teach)
        choose_given(store, final)
    return folder, final


def _existing(folder: Path, study: StudyRecord) -> StudyRecord | None:
    """The study that is there; None where there is none. StudyError where it is of another network or other settings."""
    if not Store.is_in(folder):
        return None
    with Store.read(folder) as store:
        there, asked = store.study, asked_in(store)
    plan = written_plan(study)
    other = differences(asked, Asked(study, plan.asked, plan.boards))
    if not other and written_plan(there).space != plan.space:
        other = ["the network is another"]
    refuse_differences(folder, other)
    return there


def _refuse_what_is_searched(asked: TrainingAsked, name: str) -> None:
    flags = {
        "--trial": asked.trial,
        "--final-width": asked.final_width,
        "--start": asked.start,
        "--teacher largest": None if asked.teacher != LARGEST else LARGEST,
    }
    for flag, value in flags.items():
        if value is not None:
            raise _is_of_searched(flag, name)


def _is_of_searched(flag: str, name: str) -> EdgenasError:
    return EdgenasError(f"{flag} is about a network that was searched, and {name} is given: leave it out")


def _refuse_unpredictable(
    profiles: tuple[HardwareProfile, ...], settings: SearchSettings, architecture: Architecture
) -> None:
    """Raise EdgenasError, before there is a study, for a target whose latency of this network nothing predicts; this machine
    measures its own."""
    predicted = [profile for profile in profiles if profile.name != HOST_CPU]
    CostModel(predicted, settings.precision, settings.limits)(architecture)


def _images(settings: TaskSettings, architecture: Architecture, folder: Path, tell: Tell) -> tuple[Task, TaskSettings]:
    """The images at the network's own size: as they come where that is their size, else scaled."""
    from edgenas.tasks import load_task

    loading = loading_of(folder, tell)
    task = load_task(settings, loading)
    if task.preprocessing.input_size != architecture.image_size:
        settings = msgspec.structs.replace(settings, image_size=architecture.image_size)
        task = load_task(settings, loading)
    return task, settings


def _fitted(architecture: Architecture, task: Task, wanted: NetworkAsked, tell: Tell) -> Architecture:
    """The network with the task's outputs and the images' channels, which is said where it changes something."""
    if isinstance(architecture, OnnxArchitecture):
        raise EdgenasError(
            f"{wanted.name} is a network of an ONNX file: `edgenas train STUDY --start FILE.onnx` trains one"
        )
    channels = task.preprocessing.channels
    fitted = msgspec.structs.replace(architecture, head=task.head)
    if isinstance(fitted, OwnArchitecture) and channels != fitted.in_channels:
        try:
            fitted = own_for_channels(fitted, channels)
        except EdgenasError as error:
            raise EdgenasError(
                f"{wanted.name} is made for images of {architecture.in_channels} channels, and {wanted.data} has {channels}: "
                f"{error}"
            ) from error
    fitted = msgspec.structs.replace(fitted, in_channels=channels)
    if fitted != architecture:
        had = f"{architecture.in_channels} channels and {architecture.head}"
        tell(
            f"{wanted.name}: its input and last layer are made for {wanted.data}: {channels} channels and {task.head}, not {had}"
        )
    return fitted


def _plan(
    settings: SearchSettings,
    profiles: tuple[HardwareProfile, ...],
    of_data: TaskSettings,
    task: Task,
    architecture: Architecture,
) -> WrittenPlan:
    """What a study holds of how it was planned: here the network is the whole of its space."""
    import torch

    from edgenas.tasks import validation_of
    from edgenas.training.recipes import recipe_from_name

    device = "cuda" if torch.cuda.is_available() else "cpu"
    space = WrittenSpace(METHOD, msgspec.Raw(msgspec.json.encode(architecture)))
    training = Training(recipe_from_name("final", task, device))
    return WrittenPlan(
        as_asked(settings, profiles), boards=False, preset="tiny", device=device, task=of_data, training=training,
        space=space, rules=msgspec.Raw(b"{}"), validation=validation_of(task), targets=settings.target,
    )  # fmt: skip


def choose_given(store: Store, final: FinalTraining) -> None:
    """Put the network that was given on record as the one trial of its study, with what its best seed scored on validation. A
    study that was searched, or has its choice, stays as it is."""
    given = store.get(GIVEN, GIVEN, Trial)
    if store.choice is not None or given is None:
        return
    run = best_run(final)
    candidate = msgspec.structs.replace(given.candidate, recipe=final.recipe)
    scores = metric_of(final).trial_scores(run.val)
    store.add(Trial(candidate, "complete", given.cost, run.seed, scores, run.seconds))
    store.choose(Choice(store.number(candidate.key), {}))


def _folder(wanted: NetworkAsked, settings: SearchSettings, architecture: Architecture) -> Path:
    """The one that is named, or studies/<data>-<network>-<8 hex of network and settings>."""
    if wanted.study is not None:
        return named_folder(wanted.study)
    data = called_data(settings.data, settings.task)
    called = Path(wanted.name).stem[:40]
    decided = msgspec.structs.replace(settings, data_dir=None)
    return ROOT / f"{data}-{called}-{digest(architecture, decided)[:8]}"
