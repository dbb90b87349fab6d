"""Candidate -> trial: train on the training split, score on the validation split. Never looks at the test split."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from edgenas.errors import MachineError, MissingExtraError, TaskError
from edgenas.identity import digest
from edgenas.networks.weights import check_weights
from edgenas.records import Candidate, Cost, Trial
from edgenas.tasks import Task
from edgenas.training.cuts import other_cut
from edgenas.training.faults import machine_fault
from edgenas.training.loop import scores_of, train_network
from edgenas.training.start import Start, begun_network
from edgenas.training.work import Workplace


def seed_of(study_seed: int, candidate: Candidate) -> int:
    """A candidate's own seed: never of its number, of the worker, or of when it ran."""
    c = candidate
    return int(digest(study_seed, c.architecture.fingerprint, c.recipe, c.phase, c.repeat)[:12], 16)


@dataclass(frozen=True)
class Evaluator:
    """Trains and scores candidates of one task on one device."""

    task: Task
    study_seed: int
    device: str = "cpu"  # cpu, cuda, cuda:1
    start: Start | None = None

    def __call__(self, candidate: Candidate, cost: Cost) -> Trial:
        """A complete or a failed trial. Ctrl-C is neither: it passes through. EdgenasError where the weights that every candidate
        begins with are lost, the task does not give its metric, something is not installed or the machine fails (MachineError):
        no candidate can help that."""
        if self.start is not None:
            check_weights(self.start.weights, self.start.sha256)
        seed = seed_of(self.study_seed, candidate)
        started = time.perf_counter()
        try:
            scores = self._scores(candidate, seed)
        except (TaskError, MissingExtraError, MachineError):
            raise
        except Exception as error:
            if (fault := machine_fault(error, torch.device(self.device))) is not None:
                raise fault from error
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return Trial(candidate, "failed", cost, seed, seconds=time.perf_counter() - started, error=reason)
        return Trial(candidate, "complete", cost, seed, scores, time.perf_counter() - started)

    def _scores(self, candidate: Candidate, seed: int) -> dict[str, float]:
        device = torch.device(self.device)
        network = begun_network(candidate.architecture, seed, device, self.start)
        task = other_cut(self.task, self.study_seed, candidate.cut) if candidate.cut else self.task
        trained = train_network(network, task, candidate.recipe, seed, device)
        scores = scores_of(trained.network, task, task.val, device, candidate.recipe.threads)
        accuracy = {} if trained.train_accuracy is None else {"train_accuracy": trained.train_accuracy}
        return {**self.task.metric.trial_scores(scores), **accuracy, "train_loss": trained.train_loss}


@dataclass(frozen=True)
class Evaluation:
    """One candidate to train, as a work item."""

    candidate: Candidate
    cost: Cost
    study_seed: int
    start: Start | None = None

    @property
    def key(self) -> str:
        return self.candidate.key

    def run(self, place: Workplace) -> Trial:
        return Evaluator(place.task, self.study_seed, str(place.device), self.start)(self.candidate, self.cost)
