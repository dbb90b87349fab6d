"""The Python API: what a script or a notebook calls. `import edgenas` shows all of it; nothing here prints to stdout.

    study = edgenas.search("digits", target="jetson", max_params=30_000)
    final = study.train(seeds=1)
    bundle = study.export("bundle")

Every mistake is an `EdgenasError` of one line. Interrupted (Ctrl-C, or the stop button of a notebook), the same call goes on.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from edgenas.engine.engine import Given, Where, go_on
from edgenas.engine.engine import search as run_search
from edgenas.engine.events import Listener, noting, unheard
from edgenas.engine.final import TrainingAsked
from edgenas.engine.final import train as train_final
from edgenas.engine.folders import study_folder
from edgenas.engine.fronts import front
from edgenas.engine.lines import Lines
from edgenas.engine.plan import WrittenPlan, written_plan
from edgenas.engine.settings import settings_from
from edgenas.engine.table import rows_of
from edgenas.engine.trained import final_of, trained_from_store, trained_network, wishes_from
from edgenas.errors import EdgenasError, MissingExtraError, StudyError
from edgenas.hardware.calibration import Calibrated, calibration
from edgenas.hardware.description import Description, description
from edgenas.hardware.prediction import Asked, predictions
from edgenas.hardware.targets import Target
from edgenas.hardware.targets import targets as all_targets
from edgenas.methods import CONTROL
from edgenas.methods.spec import MethodSpec
from edgenas.records import Architecture, Choice, Decision, FinalTraining, HardwareProfile, StudyRecord, Trial
from edgenas.store import Store

if TYPE_CHECKING:
    import pandas
    from numpy.typing import ArrayLike
    from torch import nn

    from edgenas.architectures.named_spaces import SpaceForData
    from edgenas.bundle import Bundle
    from edgenas.tasks import Task

File: TypeAlias = "str | Path"
Data: TypeAlias = "str | Path | tuple[ArrayLike, ArrayLike] | Task"


def search(
    data: Data | None = None,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    data_dir: File | None = None,
    method: str | MethodSpec | None = None,
    space: str | SpaceForData | None = None,
    preset: str | None = None,
    min_depth: int | None = None,
    max_depth: int | None = None,
    min_width: int | None = None,
    max_width: int | None = None,
    width_step: int | None = None,
    recipe: File | None = None,
    epoch_scale: float | None = None,
    search_images: int | None = None,
    budget: float | None = None,
    max_latency_ms: float | None = None,
    max_params: int | None = None,
    max_size_mb: float | None = None,
    max_memory_mb: float | None = None,
    max_energy_mj: float | None = None,
    policy: str | None = None,
    confirm_seeds: int | None = None,
    control: str | None = None,
    image_size: int | None = None,
    flip: bool | None = None,
    seed: int | None = None,
    precision: str | None = None,
    final_width: str | None = None,
    pool: int | None = None,
    rounds: int | None = None,
    from_study: str | None = None,
    far: float | None = None,
    rules: Mapping[str, float | tuple[int, ...]] | None = None,
    file: File | None = None,
    study: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    board: str | Sequence[str] = (),
    token_file: File | None = None,
    ca: File | None = None,
    quiet: bool = False,
    on_event: Listener | None = None,
) -> Study:
    """Find networks for a device, and return the finished study. The same call again goes on, or returns what is finished.

    `data`: a data set's name, a folder of class folders, (images (N, H, W[, C]) uint8, labels (N,)), or a `Task` of your own.
    `method`, `space`: a name, or an object: see `MethodSpec` and `OwnSpace`. All other settings have the names and defaults of
    the flags of `edgenas search`; `rules` are the method's numbers; `file`: a project file, whose settings those given here
    overrule. From `study` on, the arguments say where and how, and decide nothing. Progress goes to stderr, one line each, or
    to `on_event`, a function that is called with every event of edgenas.engine.events; `quiet`: to nobody.

    Raises EdgenasError: a setting that is not possible, data that cannot be read, a limit that no network meets.
    """
    asked = dict(locals())
    decides = {name: value for name, value in asked.items() if name not in WHERE}
    given = Given(
        method if isinstance(method, MethodSpec) else None, None if space is None or isinstance(space, str) else space
    )
    if given.method is not None:
        decides["method"] = given.method.name
    if given.space is not None:
        decides["space"] = _name_of(given.space, "space")
    for name in ("data_dir", "recipe"):
        decides[name] = None if decides[name] is None else str(decides[name])
    decides["target"] = [target] if isinstance(target, str) else target
    decides["rules"] = None if rules is None else dict(rules)
    given = _with_data(given, data, decides)
    where = Where(study, workers, ray, _several(board), _path(token_file), _path(ca))
    listener = _listener(quiet, on_event)
    folder = run_search(settings_from(_path(file), decides), where, listener, given)
    return Study(folder, listener, given)


WHERE = (
    "file",
    "study",
    "workers",
    "ray",
    "board",
    "token_file",
    "ca",
    "quiet",
    "on_event",
)  # of `search`: decide nothing


def open_study(study: File | None = None, *, quiet: bool = False, on_event: Listener | None = None) -> Study:
    """The study in this folder, or of this name under studies/; the newest one where none is named.

    Raises StudyError, with what is there, for one that is not there or cannot be read.
    """
    listener = _listener(quiet, on_event)
    opened = Study(study_folder(None if study is None else str(study), noting(listener)), listener)
    with Store.read(opened.folder):
        return opened


class Study:
    """One study on disk: what a search found, and what is done with it. Reading it again sees what other processes wrote."""

    def __init__(self, folder: Path, listener: Listener = unheard, given: Given | None = None) -> None:
        self.folder = folder
        self._listener = listener
        self._given = given or Given()

    def __repr__(self) -> str:
        with Store.read(self.folder) as store:
            trained = sum(trial.status == "complete" for trial in store.ledger())
            state = "finished" if store.choice is not None else "unfinished"
            return f"<Study {self.folder}: {store.study.method} on {store.study.data}, {trained} trained, {state}>"

    # what was asked

    @property
    def record(self) -> StudyRecord:
        """Everything that identifies the study: data, targets with their profiles, limits, seed, versions."""
        with Store.read(self.folder) as store:
            return store.study

    @property
    def plan(self) -> WrittenPlan:
        """What its settings decided, for its data and its machine."""
        return written_plan(self.record)

    # what was found

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial that a decision has read, in that order; infeasible and failed ones too."""
        with Store.read(self.folder) as store:
            return store.ledger()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the method made of them."""
        with Store.read(self.folder) as store:
            return tuple(store.all("decision", Decision).values())

    @property
    def choice(self) -> Choice | None:
        """What the search ended with; None while it is unfinished."""
        with Store.read(self.folder) as store:
            return store.choice

    @property
    def best(self) -> Trial:
        """The chosen trial; of an unfinished search the one that scored best so far. StudyError where nothing is trained."""
        choice, objective = self.choice, self.record.metric.objective
        if choice is not None:
            return choice.trial
        return max(self._searched(), key=lambda trial: trial.scores[objective])

    def front(self, target: str | None = None) -> tuple[Trial, ...]:
        """Trials that no other beats in score, latency on this target (default: the first) and parameters; fastest first."""
        record = self.record
        profile = target or record.profiles[0]
        if profile not in record.profiles:
            raise StudyError(
                f"{self.folder} was not searched for {profile}: its targets are {', '.join(record.profiles)}"
            )
        return tuple(front(self._searched(), record.metric.objective, profile))

    @property
    def finals(self) -> tuple[FinalTraining, ...]:
        """Final trainings that are finished."""
        with Store.read(self.folder) as store:
            return tuple(store.all("final", FinalTraining).values())

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per trial: number, phase, status, network, costs, latency on every target, scores. Needs pandas."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("to_dataframe needs pandas: pip install pandas") from None
        return pandas.DataFrame(rows_of(self.record, self.trials))

    # what is done with it

    def go_on(
        self,
        *,
        workers: int | None = None,
        ray: str | None = None,
        board: str | Sequence[str] = (),
        token_file: File | None = None,
        ca: File | None = None,
        data_dir: File | None = None,
        method: MethodSpec | None = None,
        space: SpaceForData | None = None,
        data: Task | None = None,
    ) -> Study:
        """Continue an unfinished search with the settings that it holds; returns this study.

        `method`, `space`, `data`: the objects that it was begun with, where it was begun with objects of yours.
        """
        known = self._given
        self._given = Given(method or known.method, space or known.space, data or known.task)
        where = Where(None, workers, ray, _several(board), _path(token_file), _path(ca))
        go_on(self.folder, where, self._listener, None if data_dir is None else str(data_dir), self._given)
        return self

    def train(
        self,
        trial: int | None = None,
        *,
        seeds: int = 3,
        epochs: int | None = None,
        recipe: File | None = None,
        budget: float | None = None,
        final_width: Literal["matched", "macro"] | None = None,
        data: str | None = None,
        data_dir: File | None = None,
        from_trained: bool = False,
        workers: int | None = None,
    ) -> FinalTraining:
        """Train the chosen network (or this trial's) from scratch over several seeds, and read the test set once.

        Seeds that are trained already are not trained again. The arguments are the flags of `edgenas train`.
        """
        named = None if recipe is None else str(recipe)
        place = None if data_dir is None else str(data_dir)
        how = (trial, seeds, epochs, named, budget, final_width, data, place, from_trained, workers, time.monotonic())
        return train_final(self.folder, TrainingAsked(*how), self._listener, self._given.task)

    def network(self, trial: int | None = None, *, data: str | None = None) -> nn.Module:
        """The trained network, in eval mode on the CPU: (N, C, H, W) float32 -> (N, outputs). Of the seed that did best on
        validation. StudyError where the trial has no trained weights yet."""
        with Store.read(self.folder) as store:
            network, _ = trained_network(store, final_of(store, trial, data), noting(self._listener))
            return network.eval()

    def export(
        self,
        out: File,
        *,
        trial: int | None = None,
        data: str | None = None,
        precision: str | Sequence[str] = "fp32",
        target: str | None = None,
        input: Literal["float32", "uint8"] = "float32",
        max_drop: float = 0.5,
        reduce_range: bool = False,
    ) -> Bundle:
        """Export the trained network as ONNX with proof that it computes the same, as a bundle in the folder `out`.

        `precision`: some of fp32, fp16 and int8, or auto: the fastest that passes. What was asked for and does not pass is in
        the bundle's manifest under `left_out`; ParityError where nothing passes.
        """
        from edgenas.export.release import bundle_from_trained

        wishes = wishes_from(precision, input, max_drop, reduce_range)
        with Store.read(self.folder) as store:
            trained = trained_from_store(store, noting(self._listener), trial, target, data, self._given.task)
        return bundle_from_trained(Path(out), trained, wishes)

    def report(self, out: File = "report.html", *others: Study) -> Path:
        """Write one HTML page about the study, and others side by side with it; also while a search runs."""
        from edgenas.durable import replace_file
        from edgenas.report.facts import read_facts
        from edgenas.report.html import html_from_studies

        page = html_from_studies([read_facts(study.folder) for study in (self, *others)])
        replace_file(Path(out), page.encode())
        return Path(out)

    def _searched(self) -> list[Trial]:
        trained = [t for t in self.trials if t.status == "complete" and t.candidate.phase != CONTROL]
        if not trained:
            raise StudyError(f"{self.folder} has no trained network yet: go on with its search")
        return trained


def predict(
    network: Asked | Sequence[Asked],
    target: File | HardwareProfile,
    *,
    precision: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Any:
    """The latency of a network on a device that is not here: a `Prediction`; of a CSV or of several networks a list of them.

    `network`: an ONNX file, an architecture, a workload, `torchvision:NAME`, a CSV with a column `architecture`. `batch`: images
    per run. `shapes`: sizes of ONNX inputs with free sides.
    """
    from edgenas.networks.zoo import row_from_zoo

    found = predictions(network, target, precision, batch, shapes, row_from_zoo)
    several = not isinstance(network, str | Path | Architecture) and isinstance(network, Sequence)
    table = isinstance(network, str | Path) and str(network).lower().endswith(".csv")
    return list(found) if several or table else found[0]


def describe(
    network: File | Architecture,
    *,
    target: File | HardwareProfile | None = None,
    precision: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Description:
    """A network layer by layer: kernels as the runtime launches them, parameters, MACs, bytes, and its latency on a target."""
    return description(network, target, precision, shapes)


def targets() -> tuple[Target, ...]:
    """The devices that are known, with what their latencies rest on."""
    return all_targets()


def calibrate(
    measured: File | Sequence[File],
    target: str | None = None,
    *,
    out: File | None = None,
    new: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Calibrated:
    """Fit a target's profile (or that of a `new` device) on measured networks; `out`: a TOML file for it."""
    from edgenas.hardware.profile import write_profile
    from edgenas.networks.zoo import row_from_zoo

    found = calibration(
        measured, target, new=new, runtime=runtime, precision=precision, samples=samples, seed=seed, shapes=shapes,
        zoo=row_from_zoo,
    )  # fmt: skip
    if out is not None:
        write_profile(found.profile, Path(out))
    return found


def _listener(quiet: bool, on_event: Listener | None) -> Listener:
    if on_event is not None:
        return on_event
    return unheard if quiet else Lines(sys.stderr)


def _with_data(given: Given, data: Data | None, decides: dict[str, Any]) -> Given:
    """The data as settings name them, and the task that they are where they are no name."""
    if data is None or isinstance(data, str | Path):
        decides["data"] = None if data is None else str(data)
        return given
    from edgenas.tasks import fingerprint

    task: Task = data  # type: ignore[assignment]
    decides["task"] = task.name
    decides["data"] = f"{task.name}-{fingerprint(task.train, task.val, task.test)[:8]}"
    return dataclasses.replace(given, task=task)


def _name_of(thing: object, what: str) -> str:
    name = getattr(thing, "name", None) or getattr(thing, "__name__", None)
    if not isinstance(name, str) or not name:
        raise EdgenasError(f"this {what} has no name: give it an attribute `name`, by which its studies call it")
    return name


def _several(values: str | Sequence[str]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


def _path(value: File | None) -> Path | None:
    return None if value is None else Path(value)
