"""Which differences of two networks' scores are noise: one bar, for the front as it is printed and for the report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from edgenas.binomial import degrees_with_repeats, noise_of_difference, noise_with_repeats
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import interval_of
from edgenas.records import Record, StudyRecord, Trial

LEAST_DEGREES = 2.0  # of freedom, that a noise rests on which is told


class Noise(Record, frozen=True):
    """What training a network again changes: pooled standard deviation of one training, in the metric's unit, over `networks`
    repeated ones. `cuts`: each training had a cut of its own of the training and validation images, so that what these images
    leave open is part of the deviation; else another seed alone."""

    deviation: float
    networks: int
    trainings: int
    cuts: bool = False

    @property
    def of_one_pair(self) -> bool:
        """Is it that of two trainings of one network?"""
        return self.trainings == 2

    @property
    def of_a_difference(self) -> float:
        """The standard deviation of the difference of two single trainings."""
        return math.sqrt(2) * self.deviation


def seed_noise(trials: Sequence[Trial], objective: str) -> Noise | None:
    """From networks that were trained more than once, as far as decisions have read them: on the same images where there are
    such, else on another cut of them each time; None where none was repeated."""
    return _pooled(trials, objective, cuts=False) or _pooled(trials, objective, cuts=True)


def noise_of_scores(one: Trial, other: Trial, study: StudyRecord, seeds: Noise | None) -> float | None:
    """What the scores of two trainings must differ by to exclude 0 from their difference's 95 % interval, in the metric's unit:
    what the validation images leave open, and what another training changes, where that is known (`seeds`); on another cut of the
    images each, that has the images' part in it, which is the least that it can be. None where neither is known, and where it
    rests on two trainings of one network: no more than 12.7 of their deviations would be sure, more than a scale often has."""
    name, validation = f"val_{study.metric.name}", validation_in(study)
    below, above = sorted((one, other), key=lambda trial: trial.scores[name])
    low, high = below.scores[name], above.scores[name]
    by_images: float | None = None
    if validation is not None and validation.is_share(name):
        by_images = noise_of_difference(low, high, validation.images)
    else:
        intervals = [interval_of(trial.scores, name, validation) for trial in (below, above)]
        if intervals[0] is not None and intervals[1] is not None:
            by_images = math.hypot(intervals[0][1] - low, high - intervals[1][0])
    if seeds is None:
        return by_images
    repeats = [(seeds.of_a_difference**2, seeds.trainings - seeds.networks)]
    least = by_images or 0.0
    known = 0.0 if seeds.cuts else least
    found = noise_with_repeats(known, repeats)
    if found > least and degrees_with_repeats(known, repeats) < LEAST_DEGREES:
        return None
    return max(least, found)


def _pooled(trials: Sequence[Trial], objective: str, *, cuts: bool) -> Noise | None:
    """`cuts`: are trainings on different cuts of the images held against each other?"""
    groups: dict[tuple[str, str, str, int], list[float]] = {}
    for trial in trials:
        if trial.status == "complete" and trial.number is not None and objective in trial.scores:
            candidate = trial.candidate
            cut = 0 if cuts else candidate.cut
            same = (candidate.architecture.fingerprint, candidate.recipe.fingerprint, candidate.phase)
            groups.setdefault((*same, cut), []).append(trial.scores[objective])
    repeated = [scores for scores in groups.values() if len(scores) > 1]
    if not repeated:
        return None
    squares = sum((len(scores) - 1) * statistics.variance(scores) for scores in repeated)
    trainings = sum(map(len, repeated))
    return Noise(math.sqrt(squares / (trainings - len(repeated))), len(repeated), trainings, cuts)
