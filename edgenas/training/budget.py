"""Minutes -> epoch scale, number of search images and of candidates: a rehearsal of the search, and a short throughput trial of
this machine.

A training that is planned here has LEAST_STEPS steps or more: where the minutes do not reach, there are fewer of them, never
shorter ones. The choice is made once and stored with the study.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Ask, Candidate, Choice, Cost, Record, Trial
from edgenas.tasks import Task
from edgenas.training.executors import Costs
from edgenas.training.throughput import EVALUATION_SHARE, seconds_per_image

# How many rungs of a phase are taken to be accepted: about what the published GNAS searches accepted (CIFAR-10: 16 and 9).
ACCEPTED = {"depth": 16, "width": 9}
# Other courses that such a search may take: under a limit a network that stays shallow is wider, and takes longer to train.
COURSES = tuple({**ACCEPTED, "depth": depth} for depth in (0, 1, 2, 4, 8))
PARALLEL = 0.5  # what a second core adds: it shares the memory's bandwidth, and a short ladder leaves it idle at times
GUESSED = 0.25  # what it adds where every accepted change spoils what was trained ahead
OVERHEAD = 0.3  # seconds per candidate beside its images
# Source: searches of this project on small tables, in which trainings of fewer optimiser steps ranked networks by noise.
LEAST_STEPS = 130
LEAST_CANDIDATES = 4  # fewer are no search
LEAST_IMAGES_PER_CLASS = 50  # fewer, and a search ranks noise: epochs are cut before that
AS_MANY_CLASSES = 10  # that a task without classes is taken to have
# Fresh images tell more than the same ones again: half of the epochs on as many images as fit; more only where all images fit,
# fewer only where not even LEAST_IMAGES_PER_CLASS fit.
LONGER, SHORTER = (2.0, 1.5, 1.0, 0.75, 0.5), (0.5, 0.35, 0.25)
# Of a search that is cut short; 0: every training is as short as LEAST_STEPS allows.
LEAST_SCALES = (0.25, 0.1, 0.05, 0.0)
Method: TypeAlias = Generator[Ask, tuple[Trial, ...], Choice]  # as in methods, which training does not know


class Budget(Record, frozen=True):
    """What was chosen, and from what."""

    epoch_scale: float
    search_images: int | None  # None: all
    predicted_seconds: float
    images_per_second: dict[str, float]  # of one worker: the fastest and the slowest network that was timed
    candidates: int
    least_epochs: int = 1  # of a training
    least_steps: int = 1  # of the shortest training
    most_candidates: int | None = None  # the search ends after so many; None: where its method ends
    rehearsed: int = 0  # candidates of a search that nothing ends early


def rehearse_longest(begin: Callable[[], Method], cost: Costs, objective: str) -> tuple[Candidate, ...]:
    """The candidates of the course that trains most, of those that a search may take. `begin` makes the method anew."""
    first = rehearse(begin(), cost, objective)
    if not any(candidate.phase in ACCEPTED for candidate in first):  # no ladder: its candidates hang on no score
        return first

    def work(course: tuple[Candidate, ...]) -> float:
        return sum(candidate.recipe.epochs * cost(candidate.architecture).bytes_moved for candidate in course)

    others = [rehearse(begin(), cost, objective, accepted) for accepted in COURSES]
    return max((first, *others), key=work)


def rehearse(
    method: Method, cost: Costs, objective: str, accepted: Mapping[str, int] = ACCEPTED
) -> tuple[Candidate, ...]:
    """All candidates that the method would have trained where each is better than the last, as long as `accepted` says."""
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
                better = phases[candidate.phase] <= accepted.get(candidate.phase, 0) + 1
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
        """From the candidates that move least, move most, compute most, and compute most for what they move; and from those in
        the middle, since what is fitted to extremes alone may be far off between them."""
        from scipy.optimize import nnls  # 0.3 s

        costed = [(candidate, cost(candidate.architecture)) for candidate in candidates]
        by_bytes, by_macs = (sorted(costed, key=key) for key in (_bytes_of, _macs_of))
        timed = (
            by_bytes[len(costed) // 2],
            by_macs[len(costed) // 2],
            by_bytes[0],
            by_bytes[-1],
            by_macs[-1],
            max(costed, key=lambda pair: pair[1].macs / pair[1].bytes_moved),
        )
        probes = list({candidate.architecture.fingerprint: (candidate, known) for candidate, known in timed}.values())
        times = [seconds_per_image(task, c.architecture, c.recipe, torch.device(device)) for c, _ in probes]
        rows = [[known.bytes_moved / t, known.macs / t, 1 / t] for (_, known), t in zip(probes, times, strict=True)]
        fitted, _ = nnls(np.array(rows), np.ones(len(rows)))  # relative errors; no price below zero
        per_byte, per_mac, constant = fitted.tolist()
        return cls(per_byte, per_mac, constant, tuple(times))

    def per_image(self, cost: Cost) -> float:
        return self.constant + self.per_byte * cost.bytes_moved + self.per_mac * cost.macs


def _bytes_of(pair: tuple[Candidate, Cost]) -> float:
    return pair[1].bytes_moved


def _macs_of(pair: tuple[Candidate, Cost]) -> int:
    return pair[1].macs


def least_images(task: Task) -> int:
    """Training images below which epochs are cut first."""
    return LEAST_IMAGES_PER_CLASS * (len(task.classes) or AS_MANY_CLASSES)


def least_epochs(steps: int) -> int:
    """How many epochs of so many steps are LEAST_STEPS."""
    return -(-LEAST_STEPS // steps)


Rehearsal = Callable[[int | None], tuple[Candidate, ...]]


@dataclass(frozen=True)
class Schedule:
    """How long planned trainings take. `steps`: images -> optimiser steps of an epoch over them."""

    speed: Speed
    cost: Callable[[Architecture], Cost]
    steps: Callable[[int], int]
    evaluated: int  # validation images
    workers: int

    def epochs(self, candidate: Candidate, images: int, scale: float) -> int:
        return max(least_epochs(self.steps(images)), int(candidate.recipe.epochs * scale + 0.5))

    def seconds(self, candidates: Sequence[Candidate], images: int, scale: float) -> float:
        """On all workers."""
        total = 0.0
        for candidate in candidates:
            passes = self.epochs(candidate, images, scale) * images + EVALUATION_SHARE * self.evaluated
            share = GUESSED if candidate.phase in ("ops", "kernels") else PARALLEL
            alone = OVERHEAD + passes * self.speed.per_image(self.cost(candidate.architecture))
            total += alone / (1 + share * (self.workers - 1))
        return total


def fit_budget(
    left: Callable[[], float],
    rehearsal: Rehearsal,
    steps: Callable[[int], int],
    cost: Callable[[Architecture], Cost],
    task: Task,
    device: str,
    workers: int,
) -> Budget:
    """As many images as the rehearsed search can train in the seconds that are `left` at half of its epochs; then more epochs.
    `rehearsal(n)` gives the candidates of a search that ends after n candidates (None: where it ends by itself)."""
    candidates = rehearsal(None)
    speed = Speed.measured(candidates, cost, task, device)
    schedule = Schedule(speed, cost, steps, len(task.val), workers)
    seconds = left()  # asked after what loading and timing took
    fitted = _fit(seconds, schedule, rehearsal, candidates, len(task.train), least_images(task))
    planned, images, scale = fitted
    shortest = min(schedule.epochs(candidate, images, scale) for candidate in planned)
    return Budget(
        epoch_scale=scale,
        search_images=None if images == len(task.train) else images,
        predicted_seconds=schedule.seconds(planned, images, scale),
        images_per_second={"fastest": 1 / min(speed.probes), "slowest": 1 / max(speed.probes)},
        candidates=len(planned),
        least_epochs=least_epochs(steps(images)),
        least_steps=shortest * steps(images),
        most_candidates=None if len(planned) == len(candidates) else len(planned),
        rehearsed=len(candidates),
    )


Sized = tuple[tuple[Candidate, ...], int, float]  # (candidates, images, epoch scale)


def _fit(
    seconds: float,
    schedule: Schedule,
    rehearsal: Rehearsal,
    candidates: tuple[Candidate, ...],
    everything: int,
    least: int,
) -> Sized:
    """The whole search with more epochs, or with fewer images; then a shorter search."""
    for scale in LONGER:
        if schedule.seconds(candidates, everything, scale) <= seconds:
            return candidates, everything, scale
    sizes = _sizes(everything, min(least, everything))
    for scale in SHORTER:
        for images in sizes:
            if schedule.seconds(candidates, images, scale) <= seconds:
                return candidates, images, scale
    return _fewer(seconds, schedule, rehearsal, len(candidates), sizes)


def _fewer(seconds: float, schedule: Schedule, rehearsal: Rehearsal, candidates: int, sizes: tuple[int, ...]) -> Sized:
    """The longest search of LEAST_CANDIDATES or more that fits, by halving, at the largest scale at which one does; then the
    most images."""
    fewest = min(LEAST_CANDIDATES, candidates)
    for scale in LEAST_SCALES:

        def shortest(planned: tuple[Candidate, ...], scale: float = scale) -> float:
            return min(schedule.seconds(planned, images, scale) for images in sizes)

        if shortest(rehearsal(fewest)) <= seconds:
            low, high = fewest, candidates
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if shortest(rehearsal(middle)) <= seconds else (low, middle)
            planned = rehearsal(low)
            return planned, next(n for n in sizes if schedule.seconds(planned, n, scale) <= seconds), scale
    raise EdgenasError(_too_short(seconds, shortest(rehearsal(fewest)), fewest))


def _sizes(everything: int, least: int) -> tuple[int, ...]:
    """Numbers of images, most first, two per cent apart. Costs do not grow steadily with them: batches follow the images."""
    sizes = [everything]
    while sizes[-1] > least:
        sizes.append(max(least, min(sizes[-1] - 1, int(sizes[-1] / 1.02))))
    return tuple(sizes)


def _too_short(seconds: float, needed: float, candidates: int) -> str:
    more = math.ceil((needed - seconds) / 6) / 10
    return (
        f"--budget has {max(0.0, seconds) / 60:.1f} minutes left after loading, and the smallest search of this space "
        f"({candidates} trainings of {LEAST_STEPS} steps, below which they rank noise) takes about {needed / 60:.1f} on this "
        f"machine: allow {more:.1f} minutes more, or narrow the space (--max-depth, --max-width, --image-size)"
    )
