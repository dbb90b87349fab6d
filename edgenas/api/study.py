"""`edgenas.open_study`, and the study that it and `edgenas.search` return."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgenas.api.arguments import File, checked, listener_for, path_or_none, several, text_or_none
from edgenas.engine.call import Given, Where
from edgenas.engine.compare import compare
from edgenas.engine.data import task_at, whole_task
from edgenas.engine.engine import go_on
from edgenas.engine.events import Listener, noting, unheard
from edgenas.engine.folders import study_folder
from edgenas.engine.fronts import front
from edgenas.engine.plan import WrittenPlan, written_plan
from edgenas.engine.references import TrainingOfReferences
from edgenas.engine.table import rows_of
from edgenas.engine.teacher_outputs import TeacherOutputs, save_outputs
from edgenas.engine.train import train as train_final
from edgenas.engine.trained import final_asked, trained_from_store, trained_network, wishes_from
from edgenas.engine.training_asked import TrainingAsked
from edgenas.engine.verdict import Comparison
from edgenas.errors import DataError, EdgenasError, MissingExtraError, StudyError
from edgenas.faces.pixels import numbers_text, pixels_from_text
from edgenas.hardware.profile import profile_from_name
from edgenas.image_sizes import size_asked
from edgenas.methods import CONTROL
from edgenas.methods.spec import MethodSpec
from edgenas.records import Choice, Decision, FinalTraining, StudyRecord, Trial
from edgenas.store import Store

if TYPE_CHECKING:
    import pandas
    from torch import nn

    from edgenas.architectures.named_spaces import SpaceForData
    from edgenas.bundle import Bundle
    from edgenas.remote.verification import Verified
    from edgenas.tasks import Task


@checked
def open_study(study: File | None = None, *, quiet: bool = False, on_event: Listener | None = None) -> Study:
    """The study in this folder, or of this name under studies/; the newest one where none is named.

    Raises StudyError, with what is there, for one that is not there or cannot be read.
    """
    listener = listener_for(quiet, on_event)
    opened = Study(study_folder(None if study is None else str(study), noting(listener)), listener)
    with Store.read(opened.folder):
        return opened


class Study:
    """One study on disk: what a search found, and what is done with it. Reading it again sees what other processes wrote."""

    def __init__(self, folder: Path, listener: Listener = unheard, given: Given | None = None) -> None:
        self._named, self._folder = folder, folder.absolute()
        self._listener = listener
        self._given = given or Given()

    @property
    def folder(self) -> Path:
        """Where it lies: as it was named, and in full where that means another place, after the program changed its folder."""
        return self._named if self._named.absolute() == self._folder else self._folder

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

    @checked
    def front(self, target: str | None = None) -> tuple[Trial, ...]:
        """Trials that no other beats in score, latency on this target (default: the first) and parameters, and in energy where a
        board measured it for all; fastest first. Of a finished search with a model, `choice.expected`, a network's expected score
        counts."""
        record = self.record
        profile = target or record.profiles[0]
        if profile not in record.profiles:
            with contextlib.suppress(EdgenasError):  # unknown here: said below
                profile = profile_from_name(profile).name
        if profile not in record.profiles:
            raise StudyError(
                f"{self.folder} was not searched for {profile}: its targets are {', '.join(record.profiles)}"
            )
        choice = self.choice
        return tuple(front(self._searched(), record.metric.objective, profile, choice.expected if choice else None))

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

    @checked
    def training_images(
        self, image_size: int | tuple[int, int] | str | None = None, *, data_dir: File | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Images (N, H, W, C), at the network's input size or the one asked for (224, or (64, 320) for height and width), and
        labels, in the order in which a teacher's outputs are asked for. `data_dir`: where a data set that is named lies now."""
        train = self._task(image_size, data_dir).train
        return np.asarray(train.images), train.labels

    @checked
    def test_images(
        self, image_size: int | tuple[int, int] | str | None = None, *, data_dir: File | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """The same of the test split: for judging a model that comes from elsewhere on it, not for learning."""
        test = self._task(image_size, data_dir).test
        return np.asarray(test.images), test.labels

    @checked
    def save_outputs(
        self,
        path: File,
        outputs: NDArray[Any],
        *,
        further: tuple[NDArray[np.uint8], NDArray[Any]] | None = None,
        test_outputs: NDArray[Any] | None = None,
        data_dir: File | None = None,
    ) -> None:
        """Write a model's outputs (N, D) for `training_images()` as a teacher: `train(teacher=path)`.

        `further`: images without labels, as the network takes them or (faces) 112 x 112, and the outputs for those.
        `test_outputs`: for `test_images()`; reports show what the model reaches there, and no training sees them. DataError
        where they do not fit.
        """
        if further is not None and (not isinstance(further, tuple | list) or len(further) != 2):
            raise DataError("further: give a pair, images and the outputs for them")
        from edgenas.tasks.arrays import as_array

        held = TeacherOutputs(
            as_array(outputs, "outputs"),
            None if further is None else (as_array(further[0], "further[0]"), as_array(further[1], "further[1]")),
            None if test_outputs is None else as_array(test_outputs, "test_outputs"),
        )
        save_outputs(Path(path), self._task(None, data_dir), held)

    def _task(self, image_size: int | tuple[int, int] | str | None, data_dir: File | None) -> Task:
        size = None if image_size is None else size_asked(image_size)
        with Store.read(self.folder) as store:
            tell, place = noting(self._listener), text_or_none(data_dir)
            task = whole_task(store, tell, place, self._given.task)
            if size in (None, task.preprocessing.input_size):
                return task
            return task_at(store, task, size, tell, place)

    # what is done with it

    @checked
    def go_on(
        self,
        *,
        workers: int | None = None,
        processes: int = 1,
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
        from edgenas.tasks.checks import checked_task

        known = self._given
        own = known.task if data is None else checked_task(data)
        self._given = Given(method or known.method, space or known.space, own, known.arrays)
        at = (several(board), path_or_none(token_file), path_or_none(ca))
        where = Where(None, workers, ray, *at, processes=processes)
        go_on(self.folder, where, self._listener, text_or_none(data_dir), self._given)
        return self

    @checked
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
        start: File | None = None,
        teacher: File | None = None,
        teacher_mean: float | tuple[float, float, float] | None = None,
        teacher_std: float | tuple[float, float, float] | None = None,
        teacher_views: int | None = None,
        start_mean: float | tuple[float, float, float] | None = None,
        start_std: float | tuple[float, float, float] | None = None,
        workers: int | None = None,
        checkpoint_s: float | None = None,
        processes: int = 1,
        all_images: bool = False,
    ) -> FinalTraining:
        """Train the chosen network (or this trial's) from scratch over several seeds, and read the test set once.

        Seeds that are trained already are not trained again. The arguments are the flags of `edgenas train`: `start` is a
        network to fine-tune in place of a trial's, `teacher` whose outputs are learned from beside the labels. A training that
        was interrupted goes on from its last checkpoint.
        """
        named = text_or_none(recipe)
        how = (
            trial, seeds, epochs, named, budget, final_width, data, text_or_none(data_dir), from_trained, workers,
            time.monotonic(), text_or_none(start), text_or_none(teacher), checkpoint_s, processes, all_images,
            pixels_from_text(numbers_text(teacher_mean), numbers_text(teacher_std)), teacher_views,
            pixels_from_text(numbers_text(start_mean), numbers_text(start_std), "--start"),
        )  # fmt: skip
        return train_final(self.folder, TrainingAsked(*how), self._listener, self._given)

    @checked
    def compare(
        self,
        reference: str | Sequence[str] = (),
        *,
        reference_mean: float | tuple[float, float, float] | None = None,
        reference_std: float | tuple[float, float, float] | None = None,
        seeds: int | None = None,
        epochs: int | None = None,
        workers: int | None = None,
        data_dir: File | None = None,
        board: str | Sequence[str] = (),
        token_file: File | None = None,
        ca: File | None = None,
    ) -> Comparison:
        """Train public networks as the winner was trained, and say whether searching paid: see `Comparison`. `reference`:
        "torchvision:NAME" or "timm:NAME", from scratch; with "=FILE.pth" behind it from those weights, with "=download" from what
        the library fetches; or "FILE.onnx". The others are the flags of `edgenas compare`. StudyError where nothing is trained.
        """
        training = TrainingOfReferences(seeds, epochs, workers)
        where = Where(boards=several(board), token_file=path_or_none(token_file), ca=path_or_none(ca))
        pixels = pixels_from_text(numbers_text(reference_mean), numbers_text(reference_std), "--reference")
        return compare(
            self.folder,
            several(reference),
            training,
            self._listener,
            self._given.task,
            where,
            text_or_none(data_dir),
            pixels,
        )

    @checked
    def network(self, trial: int | None = None, *, data: str | None = None, start: File | None = None) -> nn.Module:
        """The trained network, in eval mode on the CPU: (N, C, H, W) float32 -> (N, outputs). Of the seed that did best on
        validation. StudyError where the trial has no trained weights yet."""
        with Store.read(self.folder) as store:
            final = final_asked(store, trial, data, text_or_none(start))
            network, _ = trained_network(store, final, noting(self._listener))
            return network.eval()

    @checked
    def export(
        self,
        out: File,
        *,
        trial: int | None = None,
        data: str | None = None,
        start: File | None = None,
        data_dir: File | None = None,
        precision: str | Sequence[str] = "fp32",
        target: str | None = None,
        input: Literal["float32", "uint8"] = "float32",
        max_drop: float | None = None,
        reduce_range: bool = False,
        batch: int | None = None,
        opset: int | None = None,
        data_license: str = "",
    ) -> Bundle:
        """Export the trained network as ONNX with proof that it computes the same, as a bundle in the folder `out`.

        `precision`: some of fp32, fp16 and int8, or auto: the fastest that passes. `max_drop`: how much worse than FP32 a file
        may score, in the metric's unit; None: what the task's metric says (accuracy: 0.5 points, or one image; TAR: 0.2 points at
        fp16, 0.5 at int8). `batch`: images that every file takes at a time, None: any number. `opset`: of the files, None: what
        the target's software reads. `data_license`: of the images, for the manifest and the model card. What was asked for and
        does not pass is in the bundle's manifest under `left_out`; ParityError where FP32 fails, or all that was asked for.
        """
        from edgenas.export.release import bundle_from_trained

        wishes = wishes_from(precision, input, max_drop, reduce_range, batch=batch, opset=opset)
        with Store.read(self.folder) as store:
            tell, own, begun, place = (
                noting(self._listener),
                self._given.task,
                text_or_none(start),
                text_or_none(data_dir),
            )
            trained = trained_from_store(store, tell, trial, target, data, own, begun, place)
        bundle = bundle_from_trained(Path(out), dataclasses.replace(trained, data_license=data_license), wishes)
        return dataclasses.replace(bundle, folder=bundle.folder.absolute())  # wherever the program goes

    @checked
    def verify(
        self,
        board: str,
        *,
        trials: Sequence[int] = (),
        bundle: File | None = None,
        precision: str | None = None,
        token_file: File | None = None,
        ca: File | None = None,
    ) -> list[Verified]:
        """Measure the finalists (or these trials, or a bundle's own files) on a board: does each hold the study's limits there?

        `board`: http://HOST:PORT or https://HOST:PORT of `edgenas agent`, or ssh://[USER@]HOST. Raises EdgenasError where it
        does not answer.
        """
        from edgenas.engine.verify import refuse_mixed, verified_files, verified_study
        from edgenas.remote.boards import open_board

        tell = noting(self._listener)
        refuse_mixed(bundle, trials, precision)
        there = open_board(board, path_or_none(token_file), path_or_none(ca), tell)
        if bundle is not None:
            return verified_files(Path(bundle), self.folder, precision, there, tell)
        return verified_study(self.folder, trials, there, tell)

    @checked
    def report(self, out: File = "report.html", *others: Study | File) -> Path:
        """Write one HTML page about the study, and others (or those of these folders or names) side by side with it, each once;
        also while a search runs."""
        from edgenas.report.write import each_once, write_report

        folders = [one.folder if isinstance(one, Study) else study_folder(str(one)) for one in (self, *others)]
        write_report(each_once(folders), Path(out))
        return Path(out)

    def _searched(self) -> list[Trial]:
        trained = [t for t in self.trials if t.status == "complete" and t.candidate.phase != CONTROL]
        if not trained:
            raise StudyError(f"{self.folder} has no trained network yet: go on with its search")
        return trained
