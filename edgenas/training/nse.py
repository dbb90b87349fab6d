"""What takes the time in NSE's rounds, as work items: an epoch of a round's supernet, and networks to score with its weights.

What an epoch draws depends only on (seed, round, epoch), and every epoch ends in a checkpoint. So a search that is killed goes on
from the last whole epoch, and its numbers do not depend on interruptions or on which process did an item.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgenas.architectures.multibranch import CellOps
from edgenas.architectures.subspace import Fitness, Round, RoundPlan, SupernetRules
from edgenas.durable import replace_file
from edgenas.identity import digest
from edgenas.store import Store
from edgenas.training.augmentation import DeviceImages
from edgenas.training.loop import evaluation_batch, pinned_threads, scored
from edgenas.training.share import LostError, Share, joined
from edgenas.training.supernet import Supernet
from edgenas.training.supernet_training import (
    SupernetImages,
    SupernetTraining,
    epochs_in,
    fitness_in,
    training_name,
)
from edgenas.training.together import Cut, led
from edgenas.training.work import WorkItem, Workplace

Tell = Callable[[str], None]
# Has work items done (CrewExecutor.results): each with its result, as they end.
Results = Callable[[Sequence[WorkItem[Any]], Store], Iterator[tuple[Any, Any]]]
SCORING_THREADS = 1  # of a CPU: networks are scored side by side, and a score must not depend on how many are
TOGETHER = 8  # networks in one item
TOLD = 25  # scored networks between two lines


class NseSupernets:
    """The supernets of one study; see methods/nse.py, Supernets. Rounds are in study.db, checkpoints in STUDY/supernet/."""

    def __init__(
        self,
        rules: SupernetRules,
        store: Store,
        seed: int,
        results: Results,
        tell: Tell = lambda _: None,
        processes: int = 1,
    ) -> None:
        """`processes`: that train a supernet together; so many the crew behind `results` must have."""
        self.processes = processes
        self.rules, self.store, self.seed, self.results, self.tell = rules, store, seed, results, tell
        self._trained: tuple[int, bytes]  # the round's number, and its last checkpoint

    def recall(self, number: int) -> Round | None:
        return self.store.get("round", f"{number:02d}", Round)

    def remember(self, played: Round) -> None:
        self.store.put("round", f"{played.plan.number:02d}", played)
        for number in range(1, played.plan.number):
            self._path(number).unlink(missing_ok=True)

    def train(self, plan: RoundPlan) -> Fitness:
        """The fitness after all epochs; goes on from the last checkpoint of exactly this plan, where there is one."""
        path, epochs = self._path(plan.number), self.rules.recipe.epochs
        path.parent.mkdir(exist_ok=True)
        done = epochs_in(path, training_name(plan, self.rules))
        checkpoint = path.read_bytes() if done else None
        for epoch in range(done, epochs):
            checkpoint, report = self._epoch(SupernetEpoch(plan, self.rules, self.seed, epoch, checkpoint))
            replace_file(path, checkpoint)
            self.tell(f"round {plan.number} epoch {epoch + 1}/{epochs}: {report}")
        assert checkpoint is not None
        self._trained = (plan.number, checkpoint)
        return fitness_in(checkpoint, plan)

    def _epoch(self, item: SupernetEpoch) -> tuple[bytes, str]:
        """One epoch, by one process or by several together."""
        if self.processes == 1:
            ((_, trained),) = self.results([item], self.store)
        else:
            with tempfile.TemporaryDirectory(prefix="edgenas-") as folder:
                shares = [Share(rank, self.processes) for rank in range(self.processes)]
                parts = [PartOfEpoch(item, share, Path(folder) / "meeting") for share in shares]
                results = [result for _, result in self.results(parts, self.store)]  # raises where a process is gone
            trained = led(results, "the search cannot go on")
        checkpoint, report = trained
        return checkpoint, report

    def errors(self, plan: RoundPlan, networks: tuple[CellOps, ...]) -> tuple[float, ...]:
        """The task's metric on the scoring images, as an error, after batch norm was measured anew for each network. Scores are
        kept under the weights that made them: a supernet that was trained anew scores anew."""
        number, checkpoint = self._trained
        assert number == plan.number, "scored before it was trained"
        known = self.store.all("inherited", float)
        weights = hashlib.sha256(checkpoint).hexdigest()[:16]
        keys = {ops: f"{plan.number:02d}-{weights}-{digest(plan.space.member(ops))}" for ops in networks}
        missing = [ops for ops in keys if keys[ops] not in known]
        items = [
            InheritedErrors(plan, self.rules, self.seed, checkpoint, tuple(missing[i : i + TOGETHER]))
            for i in range(0, len(missing), TOGETHER)
        ]
        for item, errors in self.results(items, self.store):
            for ops, error in zip(item.networks, errors, strict=True):
                known[keys[ops]] = error
                self.store.put("inherited", keys[ops], error)
            self._tell_scored(plan, [known[key] for key in keys.values() if key in known], len(keys), len(errors))
        return tuple(known[keys[ops]] for ops in networks)

    def _tell_scored(self, plan: RoundPlan, errors: list[float], total: int, new: int) -> None:
        if len(errors) == total or len(errors) // TOLD > (len(errors) - new) // TOLD:
            metric = self.store.study.metric
            best = metric.words(metric.error(min(errors)))
            self.tell(f"round {plan.number}: {len(errors)} of {total} networks scored, best {best}")

    def _path(self, number: int) -> Path:
        return self.store.folder / "supernet" / f"round-{number:02d}.safetensors"


@dataclass(frozen=True)
class SupernetEpoch:
    """Train a round's supernet for one epoch, the first being 0, from the checkpoint of the one before."""

    plan: RoundPlan
    rules: SupernetRules
    seed: int
    epoch: int
    checkpoint: bytes | None

    @property
    def key(self) -> str:
        return f"{training_name(self.plan, self.rules)} epoch {self.epoch}"

    def run(self, place: Workplace) -> tuple[bytes, str]:
        """(checkpoint, a line about the epoch)."""
        with pinned_threads(self.rules.recipe.threads, place.device):
            training = _training(place, self.plan, self.rules, self.seed, self.epoch, self.checkpoint)
            report = training.epoch(self.epoch)
            return training.checkpoint(), report

    def run_part(self, place: Workplace, share: Share, meeting: Path) -> tuple[bytes, str] | None:
        """The same as one of several processes (see share.py): the result, where this is the one that leads."""
        place.kept.pop("supernet", None)  # others meet for every epoch: what holds them together is not kept
        device = place.device
        with pinned_threads(share.threads(self.rules.recipe.threads), device), joined(share, meeting, device):
            data = SupernetImages(place.task, self.rules, self.seed, device)
            training = SupernetTraining(self.plan, place.task, self.rules, data, device, share)
            if self.checkpoint is not None:
                training.restore(self.checkpoint, self.epoch)
            report = training.epoch(self.epoch)
            return (training.checkpoint(), report) if share.leads else None


@dataclass(frozen=True)
class PartOfEpoch:
    """What one process does of an epoch in several."""

    item: SupernetEpoch
    share: Share
    meeting: Path
    attempts = 1

    @property
    def key(self) -> str:
        return f"{self.item.key}, {self.share.rank} of {self.share.processes}"

    def run(self, place: Workplace) -> tuple[bytes, str] | Cut | None:
        try:
            return self.item.run_part(place, self.share, self.meeting)
        except LostError as error:
            return Cut(str(error))


@dataclass(frozen=True)
class InheritedErrors:
    """Score networks with the weights that they inherit from their round's supernet."""

    plan: RoundPlan
    rules: SupernetRules
    seed: int
    checkpoint: bytes  # of its last epoch
    networks: tuple[CellOps, ...]

    @property
    def key(self) -> str:
        return f"{training_name(self.plan, self.rules)} {digest(self.networks)}"

    def run(self, place: Workplace) -> tuple[float, ...]:
        """The error of each network."""
        epochs = self.rules.recipe.epochs
        with pinned_threads(SCORING_THREADS, place.device):
            training = _training(place, self.plan, self.rules, self.seed, epochs, self.checkpoint)
            return tuple(_error(training, ops, place) for ops in self.networks)


def _training(
    place: Workplace, plan: RoundPlan, rules: SupernetRules, seed: int, epochs: int, checkpoint: bytes | None
) -> SupernetTraining:
    """The training after so many epochs: the one that the last item has left here, or anew from its checkpoint."""
    kept = place.kept.get("supernet")
    if isinstance(kept, SupernetTraining) and (kept.name, kept.epochs_done) == (training_name(plan, rules), epochs):
        return kept
    place.kept.pop("supernet", None)  # before there is another one: both may not fit
    training = SupernetTraining(
        plan, place.task, rules, SupernetImages(place.task, rules, seed, place.device), place.device
    )
    if checkpoint is not None:
        training.restore(checkpoint, epochs)
    place.kept["supernet"] = training
    return training


@torch.no_grad()
def _error(training: SupernetTraining, ops: CellOps, place: Workplace) -> float:
    supernet, data = training.supernet, training.data.scoring
    recalibrate(supernet, ops, training.data.plain, training.rules)
    supernet.eval()
    size, metric = evaluation_batch(place.task.preprocessing, place.device), place.task.metric
    batches = (data.pixels(slice(i, i + size)) for i in range(0, len(data), size))
    outputs = [supernet(data.input(batch), ops).float() for batch in batches]
    return metric.error(scored(place.task, torch.cat(outputs), data.labels)[metric.name])


def recalibrate(supernet: Supernet, ops: CellOps, data: DeviceImages, rules: SupernetRules) -> None:
    """Batch-norm statistics of this network alone: the plain average over a few training batches, the same for every network."""
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative
    supernet.train()
    batch_size = min(rules.recipe.batch_size, len(data))
    for batch in range(min(rules.calibration_batches, len(data) // batch_size)):
        supernet(data.input(data.pixels(slice(batch * batch_size, (batch + 1) * batch_size))), ops)
    for norm in norms:
        norm.momentum = 0.1
