"""Final training: the chosen network from scratch, long, over several seeds; the test set is read once, at the very end."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from torch import nn

from edgenas.durable import remove_file
from edgenas.errors import EdgenasError
from edgenas.files import lost
from edgenas.identity import digest
from edgenas.networks.weights import save_weights, weights_sha256
from edgenas.records import Architecture, FinalRun, Look, Recipe
from edgenas.store import Store
from edgenas.tasks import Task
from edgenas.tasks.task import has_parts, with_parts
from edgenas.training.augmentation import tensor_of
from edgenas.training.checkpoint import EVERY_S, Checkpoints, State, look_at
from edgenas.training.loop import outputs_of, scored, scores_of, train_network
from edgenas.training.mistakes import worst_mistakes
from edgenas.training.share import ALONE, Share, joined
from edgenas.training.start import Start, begun_network
from edgenas.training.teaching import TeacherAt
from edgenas.training.throughput import EVALUATION_SHARE, seconds_per_image
from edgenas.training.together import PartOfTraining, led, refuse_thin_batches
from edgenas.training.work import AnyItem, WorkItem, Workplace, local_devices, refuse_without_gpu, results_of
from edgenas.training.workers import LocalCrew

R = TypeVar("R")
CHECKPOINT = ".checkpoint"  # suffix
IMAGES = "final-images"  # of the store's rows, key = a run's: the hash of what it was trained on
EPOCH_LOOKS = 20  # how often, at least, a training of as many epochs looks at validation for its best one


@dataclass(frozen=True)
class SeedTraining:
    """One seed of a final training, as a work item."""

    architecture: Architecture
    recipe: Recipe
    seed: int
    weights: Path  # to write
    start: Start | None = None
    teacher: TeacherAt | None = None  # its SHA-256 is part of the recipe
    checkpoint_s: float = EVERY_S  # see Checkpoints
    validated: bool = True  # False: the validation images are trained on, and nobody looks at them

    @property
    def key(self) -> str:
        """What the run's result is found under; the data's name is part of the file's."""
        start = (self.start.architecture, self.start.weights.name) if self.start else None
        return digest(self.architecture, self.recipe, self.seed, self.weights.name, start)

    @property
    def checkpoint(self) -> Path:
        """Where the training is kept while it is not finished."""
        return self.weights.with_suffix(CHECKPOINT)

    @property
    def training(self) -> str:
        """All that decides its weights, but the images."""
        return digest(self.key, self.start.sha256 if self.start else None)

    def run(self, place: Workplace) -> FinalRun:
        """Train and save the weights of the last epoch, then read the test set; raises TrainingError as the loop does."""
        run = self.run_part(place, ALONE, Path())
        assert run is not None, "who trains alone leads"
        return run

    def run_part(self, place: Workplace, share: Share, meeting: Path) -> FinalRun | None:
        """The same as one of several processes (see share.py): the run, where this is the one that leads."""
        started, device = time.perf_counter(), place.device
        network = begun_network(self.architecture, self.seed, device, self.start)
        best = Best(place.task, self.recipe, device, network) if self.validated else None
        parts = {"best": best} if share.leads and best is not None else {}
        kept = Checkpoints(self.checkpoint, self.training, place.task, parts, self.checkpoint_s)
        with joined(share, meeting, device):
            trained = train_network(
                network, place.task, self.recipe, self.seed, device, best, self.teacher, kept, share
            )
        if not share.leads:
            return None
        save_weights(trained.network, self.weights)
        run = _tested(self, place, trained.network, best, started - kept.seconds_before)
        return msgspec.structs.replace(run, processes=share.processes)


@dataclass(frozen=True)
class SpeedTrial:
    """A work item: seconds per trained image, while the other workers do the same."""

    architecture: Architecture
    recipe: Recipe
    key: str
    teacher: TeacherAt | None = None

    def run(self, place: Workplace) -> float:
        return seconds_per_image(place.task, self.architecture, self.recipe, place.device, 6.0, self.teacher)


class FinalPool:
    """One worker process per seed on a CPU (up to two a core: three seeds on two cores end sooner that way), one per GPU; all
    share one copy of the task. Where `processes` train each seed together, one seed after the other."""

    def __init__(
        self, task: Task, seeds: int, device: str, processes: int = 1, checkpoint_s: float | None = None
    ) -> None:
        """`checkpoint_s`: see Checkpoints; None = EVERY_S. Raises EdgenasError for more processes than fit this machine, and for
        a GPU where there is none."""
        refuse_without_gpu(device)
        devices = local_devices(device)
        self.task, self.processes = task, processes
        self.checkpoint_s = EVERY_S if checkpoint_s is None else checkpoint_s
        most = len(devices) * (2 if device == "cpu" else 1)
        if processes > most:
            what = "cores, and two processes fit each" if device == "cpu" else "GPUs, and each takes one process"
            raise EdgenasError(f"--processes {processes}: this machine has {len(devices)} {what}: take {most} or fewer")
        self.size = min(seeds, most) if processes == 1 else processes
        self.places = devices
        self._crew: LocalCrew | None = None

    def at_most(self, trainings: int) -> None:
        """Let so many run at once, and one in any case; where processes are started or train together, that stays as it is."""
        if self._crew is None and self.processes == 1:
            self.size = max(1, min(self.size, trainings))

    def beside(self, name: str, scores: dict[str, float]) -> None:
        """Have the reports on the test show these scores of another model's, too; before a process is started."""
        assert self._crew is None
        if has_parts(self.task, "anchors"):
            self.task = with_parts(self.task, anchors={name: scores})

    def seconds_per_image(self, seed: SeedTraining) -> float:
        """Of one worker while all are busy: the slowest."""
        trials = [SpeedTrial(seed.architecture, seed.recipe, str(i), seed.teacher) for i in range(self.size)]
        return max(seconds for _, seconds in self._results(trials))

    def runs(self, seeds: list[SeedTraining]) -> Iterator[tuple[SeedTraining, FinalRun]]:
        """Each with its run, as they end."""
        items = [dataclasses.replace(seed, checkpoint_s=self.checkpoint_s) for seed in seeds]
        if self.processes > 1:
            for item in items:
                yield item, self._run_together(item)
            return
        for done, run in self._results(items) if items else ():
            assert isinstance(done, SeedTraining)
            yield done, run

    def _run_together(self, seed: SeedTraining) -> FinalRun:
        """One seed in all processes."""
        refuse_thin_batches(seed.recipe, len(self.task.train), self.processes)
        with tempfile.TemporaryDirectory(prefix="edgenas-") as folder:
            shares = [Share(rank, self.processes) for rank in range(self.processes)]
            parts = [PartOfTraining(seed, share, Path(folder) / "meeting") for share in shares]
            results = [result for _, result in self._results(parts)]  # raises where a process is gone
        run = led(results, "a final training ended early")
        assert isinstance(run, FinalRun)
        return run

    def _results(self, items: Sequence[WorkItem[R]]) -> Iterator[tuple[WorkItem[R], R]]:
        """Each item with its result, as they end. Processes are started now: mistakes and finished trainings cost none."""
        if self._crew is None:
            devices = tuple(self.places[i % len(self.places)] for i in range(self.size))
            self._crew = LocalCrew(self.task, devices, attempts=1)
        fewer = "train fewer --seeds at once" if self.processes == 1 else "take fewer --processes"
        return results_of(self._crew, items, _nothing_else, "a final training ended early", f"free memory, or {fewer}")

    def __enter__(self) -> FinalPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._crew is not None:
            self._crew.close()


def _nothing_else(item: AnyItem, result: object) -> None:
    raise AssertionError(f"{item} was not asked for, and gave {result}")


def final_runs(
    seeds: list[SeedTraining],
    pool: FinalPool,
    store: Store,
    on_run: Callable[[FinalRun], None],
    tell: Callable[[str], None],
    images: str = "",
) -> tuple[FinalRun, ...]:
    """The runs of all seeds, in order; those in the store are not trained again while their files of weights are what they were,
    those that were interrupted go on. `images`: a hash of what is trained on, where that may become another under one name.

    Raises StudyError where a checkpoint is there that another training has written.
    """
    reasons = [(seed, why_missing(store, seed, images)) for seed in seeds]
    missing = [seed for seed, why in reasons if why is not None]
    for seed, why in reasons:
        if why:
            tell(f"warning: {seed.weights} {why}: it is trained again")
    for seed in seeds:
        if seed not in missing:
            remove_file(seed.checkpoint)
        elif (line := look_at(seed.checkpoint, seed.training, pool.task, seed.recipe.epochs)) is not None:
            tell(line)
    _tell_unfinished(seeds, tell)
    for seed, run in pool.runs(missing):
        store.put("final-run", seed.key, run)
        if images:
            store.put(IMAGES, seed.key, images)
        remove_file(seed.checkpoint)  # only now: a kill before it costs nothing
        on_run(run)
    return tuple(_there(store.get("final-run", seed.key, FinalRun)) for seed in seeds)


def why_missing(store: Store, seed: SeedTraining, images: str = "") -> str | None:
    """Why its run is to be trained: "" where it never was, else in a few words; None where it is on record, of these images, and
    the file of its weights is the one that was written."""
    run = store.get("final-run", seed.key, FinalRun)
    if run is None:
        return ""
    other = (store.get(IMAGES, seed.key, str) or images) != images
    return lost(seed.weights, run.weights_sha256) or ("was trained on other images under this name" if other else None)


def _tell_unfinished(seeds: list[SeedTraining], tell: Callable[[str], None]) -> None:
    """What other trainings, which were interrupted, have left."""
    folder, own = seeds[0].weights.parent, {seed.checkpoint for seed in seeds}
    others = [path for path in folder.glob(f"*{CHECKPOINT}") if path not in own]
    if others:
        size = sum(path.stat().st_size for path in others) / 1e6
        tell(
            f"{len(others)} unfinished trainings of other commands are kept in {folder} ({size:.0f} MB): those commands go on "
            f"with them; remove *{CHECKPOINT} there if nobody will"
        )


def epochs_within(seconds: float, task: Task, per_image: float, waves: int, *, validated: bool = True) -> int:
    """How many epochs fit, validation looks (unless it is not `validated`) and the test at the end included; 0 where not even one
    does."""
    most = max(0, int(seconds / (waves * per_image * len(task.train))))
    fitting = (n for n in range(most, 0, -1) if seconds_of(n, task, per_image, waves, validated=validated) <= seconds)
    return next(fitting, 0)


def seconds_of(epochs: int, task: Task, per_image: float, waves: int, *, validated: bool = True) -> float:
    """What that many epochs take, looks and test included."""
    ending = (2 + task.flip) * len(task.test)
    looks = len(looked_after(epochs)) * len(task.val) if validated else 0
    return waves * per_image * (epochs * len(task.train) + EVALUATION_SHARE * (looks + ending))


def looked_after(epochs: int) -> tuple[int, ...]:
    """After which of so many epochs a training looks at validation: 20 to 39 times, never more often than every epoch."""
    every = max(1, epochs // EPOCH_LOOKS)
    return tuple(sorted({*range(every, epochs + 1, every), epochs}))


def _tested(asked: SeedTraining, place: Workplace, network: nn.Module, best: Best | None, started: float) -> FinalRun:
    """The test set, for the first and only time: the last epoch, its mirrored variant, and the best epoch beside it."""
    task, device, threads = place.task, place.device, asked.recipe.threads
    labels = tensor_of(task.test.labels).to(device)
    outputs = outputs_of(network, task.test, task.preprocessing, device, threads)
    mirrored = {}
    if task.flip:
        mirror = outputs_of(network, task.test, task.preprocessing, device, threads, mirror=True)
        mirrored = scored(task, (outputs + mirror) / 2, labels)
    test = scored(task, outputs, labels)
    return FinalRun(
        seed=asked.seed,
        weights=f"{asked.weights.parent.name}/{asked.weights.name}",
        test=test,
        val={} if best is None else scores_of(network, task, task.val, device, threads),
        best_epoch=asked.recipe.epochs if best is None else best.epoch,
        best_val={} if best is None else best.scores,
        best_test=test if best is None else scores_of(best.network, task, task.test, device, threads),
        seconds=time.perf_counter() - started,
        mirrored=mirrored,
        report=task.report(outputs, labels),
        weights_sha256=weights_sha256(asked.weights),
        curve=() if best is None else tuple(best.looks),
        mistakes=worst_mistakes(task, outputs, asked.weights),
    )


class Best:
    """Called after every epoch: keeps what each look at validation saw, and the network that was best there so far."""

    def __init__(self, task: Task, recipe: Recipe, device: torch.device, network: nn.Module) -> None:
        """`network`: that will be trained."""
        self.task, self.recipe, self.device = task, recipe, device
        self.epoch = 0
        self.scores: dict[str, float] = {}
        self.looks: list[Look] = []
        self.network = network  # a copy, as soon as there is a best one
        self.after = frozenset(looked_after(recipe.epochs))

    def __call__(self, epoch: int, network: nn.Module) -> None:
        if epoch not in self.after:
            return
        scores = scores_of(network, self.task, self.task.val, self.device, self.recipe.threads)
        gain, name = self.task.metric.gain, self.task.metric.name
        self.looks.append(Look(epoch, scores[name]))
        if not self.epoch or gain(scores[name]) > gain(self.scores[name]):
            self.epoch, self.scores, self.network = epoch, scores, copy.deepcopy(network)

    def state(self) -> State:
        tensors = self.network.state_dict() if self.epoch else {}
        looks = [(look.epoch, look.value) for look in self.looks]
        return State(tensors, {"epoch": self.epoch, "scores": self.scores, "looks": looks})

    def restore(self, state: State) -> None:
        self.epoch, self.scores = state.notes["epoch"], state.notes["scores"]
        self.looks = [Look(epoch, value) for epoch, value in state.notes["looks"]]
        if self.epoch:
            self.network = copy.deepcopy(self.network)
            self.network.load_state_dict(state.tensors)


def _there(run: FinalRun | None) -> FinalRun:
    assert run is not None, "a final run was not stored"
    return run
