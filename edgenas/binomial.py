"""What a share of so many images can tell: its interval, whether it is chance, and whether a difference is noise.

All shares are percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgenas.records import Metric, Record

NORMAL_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
CHANCE_ERRORS = 2.0  # standard errors above chance, up to which a score is chance

Interval = tuple[float, float]


def wilson(percent: float, images: int) -> Interval:
    """The 95 % score interval of a share (Wilson 1927); unlike the normal one it stays within 0..100 and is never empty."""
    p, n, z = percent / 100, images, NORMAL_95
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * max(0.0, min(p, middle - half)), 100 * min(1.0, max(p, middle + half))


def standard_error(percent: float, images: int) -> float:
    """Points, of a share over so many images."""
    return 100 * math.sqrt(percent / 100 * (1 - percent / 100) / images)


def noise_of_difference(one: float, other: float, images: int) -> float:
    """How many points two shares over `images` must differ by to exclude 0 from their difference's 95 % interval.

    Newcombe 1998, method 10. It takes the two for independent; on the same images they are not quite, so that this is on the
    safe side.
    """
    below, above = sorted((one, other))
    return math.hypot(wilson(below, images)[1] - below, above - wilson(above, images)[0])


def noise_with_repeats(by_images: float, repeats: Sequence[tuple[float, int]]) -> float:
    """How many points two means must differ by where the images alone ask for `by_images` and repeats were made besides.

    `repeats`: (variance of a mean, degrees of freedom it was estimated with). A variance of two or three trainings is itself
    uncertain: Student's quantile with the degrees of freedom of the sum (Welch 1947, Satterthwaite 1946), the images' part
    counting as known. 1.96 in its place would call 10 to 23 % of no differences one, where seeds differ more than images.
    """
    degrees = degrees_with_repeats(by_images, repeats)
    if degrees == math.inf:
        return by_images
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975)) * math.sqrt(_variance(by_images, repeats))


def degrees_with_repeats(by_images: float, repeats: Sequence[tuple[float, int]]) -> float:
    """The degrees of freedom (Satterthwaite 1946) that the noise of the same arguments rests on: 1 of two trainings alone, more
    the more the images leave open; infinite where repeats changed nothing."""
    uncertain = sum(variance**2 / degrees for variance, degrees in repeats)
    return _variance(by_images, repeats) ** 2 / uncertain if uncertain else math.inf


def _variance(by_images: float, repeats: Sequence[tuple[float, int]]) -> float:
    return (by_images / NORMAL_95) ** 2 + sum(variance for variance, _ in repeats)


class Validation(Record, frozen=True):
    """What the validation split of a study can tell. `chance`: what the metric is without any learning, in its own unit;
    `metric`: None in studies of before metrics had one, which know percent of images that are right, and TAR."""

    images: int
    chance: float
    metric: Metric | None = None

    @property
    def above_chance(self) -> float:
        """A score up to here is chance: for a share of the images two standard errors better, in the metric's unit."""
        if self.metric is None:
            return self.chance + CHANCE_ERRORS * standard_error(self.chance, self.images)
        if not self.metric.share:
            return self.chance
        return self.chance + self.metric.gain(CHANCE_ERRORS * standard_error(self.chance, self.images))

    def is_share(self, score: str) -> bool:
        """Is this score on validation a share of the images, about which the binomial distribution can tell something?"""
        if self.metric is None:
            return score.endswith("accuracy")
        return self.metric.share and score == f"val_{self.metric.name}"

    def chance_words(self, objective: str) -> str:
        """The figures behind `is_chance`."""
        if self.metric is not None and self.metric.unit != "%":
            return self.metric.words(self.chance)
        if not self.by_errors(objective):
            return f"{self.chance:.2f} %, which is inside their 95 % intervals"
        way = "up" if self.above_chance >= self.chance else "down"
        return f"{self.chance:.2f} %, so {way} to {self.above_chance:.2f} % on {self.images} validation images"

    def by_errors(self, objective: str) -> bool:
        """Is chance judged by standard errors, of a share of the images? Else by a score's own interval, or the figure alone."""
        return self.is_share(objective) if self.metric is None else self.metric.share

    def is_chance(self, scores: Mapping[str, float], objective: str) -> bool:
        """Is a trial's score no better than chance? One that comes with an interval: does it reach to chance?

        `objective`: the score's name, which is better the higher it is (Metric.objective).
        """
        gain = self.metric.gain if self.metric is not None else float
        low = scores.get(f"{objective}_low")
        return scores[objective] <= gain(self.above_chance) if low is None else low <= gain(self.chance)
