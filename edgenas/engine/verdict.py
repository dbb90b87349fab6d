"""Did searching pay? A searched network against a public one, by accuracy with its noise and latency with its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from edgenas.binomial import Interval, noise_of_difference, noise_with_repeats, wilson
from edgenas.engine.scores import interval_of, unit_of_difference
from edgenas.hardware.words import LEARNED, ORIGINS
from edgenas.records import Cost, Latency, Metric, Record

Verdict = Literal["paid", "trade", "noise", "not"]
WORST_FIRST: tuple[Verdict, ...] = ("not", "noise", "trade", "paid")
LEAD: dict[Verdict, str] = {
    "paid": "Searching paid",
    "trade": "It depends on what you need",
    "noise": "It was not shown that searching paid",
    "not": "Searching did not pay",
}
MEASURED_NOISE = 0.05  # two measured medians that differ by less are no difference
Side = Literal["winner", "reference"]


class Competitor(Record, frozen=True):
    """One network, trained in full. `each`: its metric on the test set, per seed, `validation` on validation; `interval`: of
    their mean over the test set alone, without what another seed changes, 95 %; None where it is not known. `breaks`: the
    study's limits that it breaks. `seconds`: of one run on average. `origin`: what its training started from, and who taught
    it. `trial`: of what was searched. `scores`: every score on the test set, per seed."""

    name: str
    each: tuple[float, ...]
    interval: Interval | None
    cost: Cost
    epochs: int
    seconds: float
    origin: str = "from scratch"
    breaks: tuple[str, ...] = ()
    trial: int | None = None
    validation: tuple[float, ...] = ()
    learned: bool = True
    scores: dict[str, tuple[float, ...]] = {}

    @property
    def mean(self) -> float:
        return statistics.fmean(self.each)


class Outcome(Record, frozen=True):
    """The winner against one reference. `difference`: winner - reference, in the metric's unit; `noise`: what it must exceed
    to be one, None where nothing is known of it. `faster`: None where their latencies' intervals leave it open, or where the
    latencies are not `comparable`: of one origin."""

    reference: str
    verdict: Verdict
    difference: float
    noise: float | None
    faster: Side | None
    sentence: str
    comparable: bool = True


class Comparison(Record, frozen=True):
    """Winners, the search's choice first, and references, each trained for as long. `verdict`: did searching pay, judged by the
    `outcomes` against each reference: the worst one among those that hold the limits. `advice`: what to do where that could not
    be judged by latency; "" where it could."""

    metric: Metric
    test_images: int
    profile: str
    winners: tuple[Competitor, ...]
    references: tuple[Competitor, ...]
    outcomes: tuple[Outcome, ...]
    verdict: Verdict
    sentence: str
    advice: str = ""


def compared(
    metric: Metric, images: int, profile: str, winners: Sequence[Competitor], references: Sequence[Competitor]
) -> Comparison:
    """`images`: of the test set; `profile`: the target whose latencies decide."""
    outcomes = tuple(outcome(winners[0], reference, metric, images, profile) for reference in references)
    usable = [one for one, reference in zip(outcomes, references, strict=True) if not reference.breaks] or outcomes
    worst = min(usable, key=lambda one: (WORST_FIRST.index(one.verdict), metric.gain(one.difference)))
    return Comparison(
        metric, images, profile, tuple(winners), tuple(references), outcomes, worst.verdict, worst.sentence
    )


def outcome(winner: Competitor, reference: Competitor, metric: Metric, images: int, profile: str) -> Outcome:
    """Better or equal and faster, or better: paid. Equal and slower, or worse and not faster: not. Equal in both: noise.
    Better in one and worse in the other: a trade. Latencies of different origins show nothing: noise. A reference that breaks
    a limit which the winner holds could not be used: paid, whatever the figures; where they do not say so, the sentence begins
    with the limit."""
    difference, noise = winner.mean - reference.mean, noise_between(winner, reference, metric, images)
    latencies = winner.cost.latencies[profile], reference.cost.latencies[profile]
    together = comparable(*latencies)
    faster = faster_of(*latencies) if together else None
    better: Side | None = None
    if noise is not None and abs(difference) > noise:
        better = "winner" if metric.gain(difference) > 0 else "reference"
    by_figures = _verdict(better, faster) if together else "noise"
    verdict: Verdict = "paid" if reference.breaks and not winner.breaks else by_figures
    if not reference.learned:
        verdict = "noise"
    by_limit = verdict == "paid" and by_figures != "paid"
    lead = LEAD[verdict]
    if by_limit:
        lead += f" only by the limit, which {reference.name} breaks ({reference.breaks[0]}) and {winner.name} holds"
    score = _score_words(winner, reference, better, noise, metric)
    sentence = f"{lead}: {score}, {_cost_words(winner, reference, faster, profile)}"
    if reference.breaks and not by_limit:
        sentence += f"; {reference.name} breaks the limit ({reference.breaks[0]})"
    if not reference.learned:
        sentence += f"; {reference.name} is no better than chance: give it more --epochs, or weights to start from"
    return Outcome(reference.name, verdict, difference, noise, faster, sentence + ".", together)


def _verdict(better: Side | None, faster: Side | None) -> Verdict:
    sides = {better, faster} - {None}
    if not sides:
        return "noise"
    if sides == {"winner"}:
        return "paid"
    return "not" if sides == {"reference"} else "trade"


def noise_between(one: Competitor, other: Competitor, metric: Metric, images: int) -> float | None:
    """What two means must differ by to exclude 0 from their difference's 95 % interval: the test set's share (both are
    judged on the same images, which is on the safe side) and what another seed changes. None where neither is known."""
    by_images: float | None = None
    if metric.share:
        by_images = noise_of_difference(one.mean, other.mean, images)
    elif one.interval is not None and other.interval is not None:
        below, above = sorted((one, other), key=lambda competitor: competitor.mean)
        assert below.interval is not None
        assert above.interval is not None
        by_images = math.hypot(below.interval[1] - below.mean, above.mean - above.interval[0])
    repeated = [competitor.each for competitor in (one, other) if len(competitor.each) > 1]
    if by_images is None and not repeated:
        return None
    spread = [(statistics.variance(each), len(each)) for each in repeated]
    repeats = [(variance / runs, runs - 1) for variance, runs in spread]
    if len(spread) == 1:  # the other's one run spreads as much as each of these
        ((variance, runs),) = spread
        repeats = [(variance / runs + variance, runs - 1)]
    return noise_with_repeats(by_images or 0.0, repeats)


def interval_of_mean(
    each: Sequence[float], ends: Sequence[Interval | None], metric: Metric, images: int
) -> Interval | None:
    """The 95 % interval of a mean over seeds, over the images alone, as one run has it: of a share Wilson's; else the mean of the
    runs' own. What another seed changes is not in it."""
    if metric.share:
        return wilson(statistics.fmean(each), images)
    known = [end for end in ends if end is not None]
    if len(known) < len(each):
        return None
    return statistics.fmean(low for low, _ in known), statistics.fmean(high for _, high in known)


def interval_of_runs(runs: Sequence[Mapping[str, float]], metric: Metric, images: int | None) -> Interval | None:
    """The same of the scores of runs on one split of so many images (None: not known)."""
    each = [scores[metric.name] for scores in runs if metric.name in scores]
    if not each or len(each) < len(runs) or (metric.share and not images):
        return None
    return interval_of_mean(each, [interval_of(scores, metric.name, None) for scores in runs], metric, images or 0)


def comparable(one: Latency, other: Latency) -> bool:
    """Are both of one origin? What a board measured, what a study has learned from its board, and what a profile says of all
    such devices may be far apart for the very same network."""
    return (one.origin, is_learned(one)) == (other.origin, is_learned(other))


def is_learned(latency: Latency) -> bool:
    """Is it a prediction from what a board has measured for the study?"""
    return LEARNED in latency.detail


def origin_words(latency: Latency) -> str:
    """How a latency came to be known, behind its figure."""
    if is_learned(latency):
        return "predicted from what the board has measured"
    return ORIGINS[latency.origin]


def faster_of(winner: Latency, reference: Latency) -> Side | None:
    """Which takes less time for sure: 1 lies outside of the interval of their ratio, whose half widths, as factors, are
    those of the two that face each other, taken for independent (as `noise_of_difference` has it, for logarithms)."""
    ahead: Side = "winner" if winner.ms <= reference.ms else "reference"
    fast, slow = (winner, reference) if ahead == "winner" else (reference, winner)
    (_, high), (low, _) = _ends(fast), _ends(slow)
    sure = math.log(slow.ms / fast.ms) > math.hypot(math.log(high / fast.ms), math.log(slow.ms / low))
    return ahead if sure else None


def _ends(latency: Latency) -> Interval:
    if latency.low is not None and latency.high is not None:
        return latency.low, latency.high
    share = (1 + MEASURED_NOISE) ** (1 / math.sqrt(2))  # two of these, as independent ones, make MEASURED_NOISE
    return latency.ms / share, latency.ms * share


def _score_words(
    winner: Competitor, reference: Competitor, better: Side | None, noise: float | None, metric: Metric
) -> str:
    figures = f"{metric.number(winner.mean)} against {metric.words(reference.mean)} {metric.name}"
    if noise is None:
        return f"whether {winner.name} or {reference.name} is better cannot be told from one run of each ({figures})"
    whole = 100 if metric.unit == "%" else math.inf  # more than that no two scores can differ by
    figures += (
        f", noise +- {metric.number(noise)}" if noise < whole else ", the noise is not known from so few trainings"
    )
    if len(winner.each) == len(reference.each) == 1:
        figures += " by the test images alone, one training each"
    if better is None:
        return f"{winner.name} and {reference.name} are equal within the noise ({figures})"
    far = f"{metric.number(abs(winner.mean - reference.mean))} {unit_of_difference(metric)}"
    return f"{winner.name} is {far} {'better' if better == 'winner' else 'worse'} than {reference.name} ({figures})"


def _cost_words(winner: Competitor, reference: Competitor, faster: Side | None, profile: str) -> str:
    ours, theirs = winner.cost.latencies[profile], reference.cost.latencies[profile]
    figures = f"{ours.ms:.3g} against {theirs.ms:.3g} ms on {profile}, {ours.origin}"
    if not comparable(ours, theirs):
        each = [f"{one.ms:.3g} ms {origin_words(one)}" for one in (ours, theirs)]
        speed = (
            f"and their latencies on {profile} are not of one origin ({each[0]}, {each[1]}): neither is called faster"
        )
    elif faster is None:
        speed = f"and their latencies cannot be told apart ({figures})"
    elif faster == "winner":
        speed = f"and {winner.name} takes 1/{_times(theirs.ms / ours.ms)} of the time ({figures})"
    else:
        speed = f"and {winner.name} takes {_times(ours.ms / theirs.ms)} times as long ({figures})"
    if winner.cost.params <= reference.cost.params:
        return f"{speed}, with 1/{_times(reference.cost.params / winner.cost.params)} of its parameters"
    return f"{speed}, with {_times(winner.cost.params / reference.cost.params)} times its parameters"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}".removesuffix(".0")
