"""Minutes -> epoch scale and number of search images: a rehearsal of the search, and a short throughput trial of this machine.

The choice is made once and stored with the study: the search itself never looks at a clock, so it stays repeatable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy.optimize import nnls

from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Ask, Candidate, Choice, Cost, Record, Trial
from edgenas.tasks import Task
from edgenas.training.executors import Costs
from edgenas.training.throughput import EVALUATION_SHARE, seconds_per_image

# How many rungs of a phase are taken to be accepted: about what the published GNAS searches accepted (CIFAR-10: 16 and 9).
ACCEPTED = {"depth": 16, "width": 9}
PARALLEL = 0.5  # what a second core adds: it shares the memory's bandwidth, and a short ladder leaves it idle at times
GUESSED = 0.25  # what it adds where every accepted change spoils what was trained ahead
OVERHEAD = 0.3  # seconds per candidate beside its images
LEAST_IMAGES_PER_CLASS = 50  # fewer, and a search ranks noise: epochs are cut before that
# Fresh images tell more than the same ones again: half of the epochs on as many images as fit; more only where all images fit,
# fewer only where not even LEAST_IMAGES_PER_CLASS fit.
LONGER, SHORTER = (2.0, 1.5, 1.0, 0.75, 0.5), (0.5, 0.35, 0.25)
Method: TypeAlias = Generator[Ask, tuple[Trial, ...], Choice]  # as in methods, which training does not know


class Budget(Record, frozen=True):
    """What was chosen, and from what."""

    epoch_scale: float
    search_images: int | None  # None: all
    predicted_seconds: float
    images_per_second: dict[str, float]  # of one worker: the fastest and the slowest network that was timed
    candidates: int


def rehearse(method: Method, cost: Costs, objective: str) -> tuple[Candidate, ...]:
    """All candidates that the method would have trained where each is better than the last, as long as ACCEPTED says."""
    asked: dict[str, Candidate] = {}
    phases: Counter[str] = Counter()
    score = 20.0
    try:
        ask = next(method)
        while True:
            answers = []
            for candidate in ask.needed:
                known = cost(candidate.architecture)
                if cost.limits.broken(known):
                    answers.append(Trial(candidate, "infeasible", known, 0))
                    continue
                phases[candidate.phase] += 1
                better = phases[candidate.phase] <= ACCEPTED.get(candidate.phase, 0) + 1
                score += 0.5 if better else 0.0
                scores = {objective: score if better else score - 1.0, "train_accuracy": 0.0}
                answers.append(Trial(candidate, "complete", known, 0, scores))
                asked[candidate.key] = candidate  # what was asked before costs nothing
            ask = method.send(tuple(answers))
    except StopIteration:
        return tuple(asked.values())


@dataclass(frozen=True)
class Speed:
    """Seconds of training per image, by what a network moves and computes."""

    per_byte: float
    per_mac: float
    constant: float
    probes: tuple[float, ...]  # seconds per image of the networks that were timed

    @classmethod
    def measured(
        cls, candidates: tuple[Candidate, ...], cost: Callable[[Architecture], Cost], task: Task, device: str
    ) -> Speed:
        """From the candidates that move least, move most, compute most, and compute most for what they move."""
        costed = [(candidate, cost(candidate.architecture)) for candidate in candidates]
        extremes = (
            min(costed, key=lambda pair: pair[1].bytes_moved),
            max(costed, key=lambda pair: pair[1].bytes_moved),
            max(costed, key=lambda pair: pair[1].macs),
            max(costed, key=lambda pair: pair[1].macs / pair[1].bytes_moved),
        )
        probes = list(
            {candidate.architecture.fingerprint: (candidate, known) for candidate, known in extremes}.values()
        )
        times = [seconds_per_image(task, c.architecture, c.recipe, torch.device(device)) for c, _ in probes]
        rows = [[known.bytes_moved / t, known.macs / t, 1 / t] for (_, known), t in zip(probes, times, strict=True)]
        fitted, _ = nnls(np.array(rows), np.ones(len(rows)))  # relative errors; no price below zero
        per_byte, per_mac, constant = fitted.tolist()
        return cls(per_byte, per_mac, constant, tuple(times))

    def per_image(self, cost: Cost) -> float:
        return self.constant + self.per_byte * cost.bytes_moved + self.per_mac * cost.macs


def fit_budget(
    seconds: float,
    candidates: tuple[Candidate, ...],
    cost: Callable[[Architecture], Cost],
    task: Task,
    device: str,
    workers: int,
) -> Budget:
    """As many images as the rehearsed search can train in `seconds` on this machine at half of its epochs; then more epochs."""
    speed = Speed.measured(candidates, cost, task, device)

    def predicted(images: int, scale: float) -> float:
        total = 0.0
        for candidate in candidates:
            epochs = max(1, int(candidate.recipe.epochs * scale + 0.5))
            passes = epochs * images + EVALUATION_SHARE * len(task.val)
            share = GUESSED if candidate.phase in ("ops", "kernels") else PARALLEL
            total += (OVERHEAD + passes * speed.per_image(cost(candidate.architecture))) / (1 + share * (workers - 1))
        return total

    images, scale = _fit(seconds, predicted, len(task.train), LEAST_IMAGES_PER_CLASS * len(task.classes))
    return Budget(
        epoch_scale=scale,
        search_images=None if images == len(task.train) else images,
        predicted_seconds=predicted(images, scale),
        images_per_second={"fastest": 1 / min(speed.probes), "slowest": 1 / max(speed.probes)},
        candidates=len(candidates),
    )


def _fit(seconds: float, predicted: Callable[[int, float], float], everything: int, least: int) -> tuple[int, float]:
    """(images, epoch scale)."""
    for scale in LONGER:
        if predicted(everything, scale) <= seconds:
            return everything, scale
    least = min(least, everything)
    for scale in SHORTER:
        if predicted(least, scale) <= seconds:
            low, high = least, everything + 1  # the most images at this scale, by halving
            while high - low > max(1, low // 50):
                middle = (low + high) // 2
                low, high = (middle, high) if predicted(middle, scale) <= seconds else (low, middle)
            return low, scale
    needed = predicted(least, SHORTER[-1]) / 60
    raise EdgenasError(
        f"--budget leaves {seconds / 60:.1f} minutes and the shortest search of this space takes about {needed:.1f} on this "
        "machine: allow more, or narrow the space (--max-depth, --max-width)"
    )
