"""Plays the dear half of NSE's rounds: trains each round's supernet, and scores networks with the weights that they inherit.

Every epoch ends in a checkpoint, and everything drawn in an epoch comes from (seed, round, epoch): a search that is killed goes
on from the last whole epoch and ends with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from edgenas.architectures.multibranch import CellOps
from edgenas.architectures.subspace import Fitness, Round, RoundPlan, SupernetRules
from edgenas.identity import digest
from edgenas.store import Store
from edgenas.tasks import Task
from edgenas.training.augmentation import DeviceImages
from edgenas.training.loop import EVALUATION_BATCH, pinned_threads
from edgenas.training.supernet import Supernet
from edgenas.training.supernet_training import Data, SupernetTraining

Tell = Callable[[str], None]


class NseSupernets:
    """The supernets of one study; see methods/nse.py, Supernets. Rounds are in study.db, checkpoints in STUDY/supernet/."""

    def __init__(
        self, task: Task, rules: SupernetRules, store: Store, seed: int, device: str, tell: Tell = lambda _: None
    ) -> None:
        self.task, self.rules, self.store, self.tell = task, rules, store, tell
        self.device = torch.device(device)
        self.seed = seed
        self.data = Data(task, rules, seed, self.device)
        self._trained: tuple[int, Supernet]

    def recall(self, number: int) -> Round | None:
        return self.store.get("round", f"{number:02d}", Round)

    def remember(self, played: Round) -> None:
        self.store.put("round", f"{played.plan.number:02d}", played)
        for number in range(1, played.plan.number):
            self._checkpoint(number).unlink(missing_ok=True)

    def train(self, plan: RoundPlan) -> Fitness:
        """The fitness after all epochs; goes on from the last checkpoint of exactly this plan, where there is one."""
        with pinned_threads(self.rules.recipe.threads, self.device):
            training = SupernetTraining(plan, self.task, self.rules, self.data, self.device)
            path, epochs = self._checkpoint(plan.number), self.rules.recipe.epochs
            for epoch in range(training.restore(path), epochs):
                report = training.epoch(epoch)
                training.save(path, epoch + 1)
                self.tell(f"round {plan.number} epoch {epoch + 1}/{epochs}: {report}")
            self._trained = (plan.number, training.supernet)
            return training.fitness()

    def errors(self, plan: RoundPlan, networks: tuple[CellOps, ...]) -> tuple[float, ...]:
        """The error (Metric.error) on the scoring images, after batch norm was measured anew for each network."""
        number, supernet = self._trained
        assert number == plan.number, "scored before it was trained"
        known = self.store.all("inherited", float)
        errors = []
        with pinned_threads(self.rules.recipe.threads, self.device):
            for index, ops in enumerate(networks):
                key = f"{plan.number:02d}-{digest(plan.space.member(ops))}"
                if key not in known:
                    known[key] = self._error(supernet, ops)
                    self.store.put("inherited", key, known[key])
                errors.append(known[key])
                if (index + 1) % 25 == 0 or index + 1 == len(networks):
                    metric = self.task.metric
                    best = metric.words(metric.error(min(errors)))
                    self.tell(f"round {plan.number}: {index + 1} of {len(networks)} networks scored, best {best}")
        return tuple(errors)

    @torch.no_grad()
    def _error(self, supernet: Supernet, ops: CellOps) -> float:
        recalibrate(supernet, ops, self.data.plain, self.rules)
        supernet.eval()
        size, data = EVALUATION_BATCH[self.device.type], self.data.scoring
        outputs = [
            supernet(data.input(data.pixels(slice(i, i + size))), ops).float() for i in range(0, len(data), size)
        ]
        metric = self.task.metric
        return metric.error(self.task.scores(torch.cat(outputs), data.labels)[metric.name])

    def _checkpoint(self, number: int) -> Path:
        return self.store.folder / "supernet" / f"round-{number:02d}.safetensors"


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
