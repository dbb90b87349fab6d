"""Scores with what they can tell: their interval, chance, and which differences are noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgenas.binomial import NORMAL_95, Interval, Validation, noise_of_difference, wilson
from edgenas.engine.plan import validation_in
from edgenas.methods import CONTROL
from edgenas.records import (
    ACCURACY,
    Decision,
    Expectation,
    FinalRun,
    FinalTraining,
    Metric,
    OnnxArchitecture,
    StudyRecord,
    Trial,
)


def interval_of(scores: Mapping[str, float], name: str, validation: Validation | None) -> Interval | None:
    """The 95 % interval of a score on validation, such as val_accuracy: its own (TAR, over identities), or where it is a share of
    the images the binomial one."""
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    if low is not None and high is not None:
        return low, high
    if validation is None or name not in scores or not validation.is_share(name):
        return None
    return wilson(scores[name], validation.images)


def scored_words(scores: Mapping[str, float], metric: Metric, validation: Validation | None) -> str:
    """A trial's score as people read the metric, with its 95 % interval: 97.20 % (95.9 to 98.1)."""
    name = f"val_{metric.name}"
    return f"{metric.words(scores[name])}{interval_words(interval_of(scores, name, validation), metric)}"


def interval_words(interval: Interval | None, metric: Metric = ACCURACY) -> str:
    """What stands behind a score, such as (23.2 to 39.6); nothing where its interval is not known."""
    if interval is None:
        return ""
    low, high = (f"{end:.1f}" if metric.unit == "%" else f"{end:.3g}" for end in interval)
    return f" ({low} to {high})"


def expected_words(expected: Expectation, metric: Metric) -> str:
    """An expected score with its standard deviation, in the metric's unit: 83.91 +- 0.42."""
    return f"{metric.number(expected.mean)} +- {metric.number(expected.sd)}"


def noise_of_expected(one: Expectation, other: Expectation) -> float:
    """What two expected scores must differ by to exclude 0 from their difference's 95 % interval, in the metric's unit."""
    return NORMAL_95 * math.hypot(one.sd, other.sd)


def unit_of_difference(metric: Metric) -> str:
    """In what two scores differ: percent in points, others in their unit."""
    return "points" if metric.unit == "%" else metric.unit or metric.name


def split_interval(scores: Mapping[str, float], final: FinalTraining, split: str) -> Interval | None:
    """The 95 % interval of a final training's score on a split (train, val, test); None where its size is not known."""
    images = final.images.get(split)
    if metric_of(final).share and images:
        return wilson(scores[final.metric], images)
    return interval_of(scores, final.metric, None)


def split_words(scores: Mapping[str, float], final: FinalTraining, split: str) -> str:
    """97.20 (95.9 to 98.1); "-" where there is no score."""
    if not scores:
        return "-"
    metric = metric_of(final)
    return f"{metric.number(scores[metric.name])}{interval_words(split_interval(scores, final, split), metric)}"


def best_of_network(trial: Trial, trials: Sequence[Trial], objective: str) -> Trial:
    """The trial, among those that decisions have read, in which the same architecture scored best; `trial` itself on a tie."""
    same = (
        t
        for t in trials
        if t.status == "complete" and t.number is not None and t.candidate.architecture == trial.candidate.architecture
    )
    return max((trial, *same), key=lambda t: t.scores[objective])


def at_chance(trials: Sequence[Trial], study: StudyRecord) -> bool:
    """Was something trained, and is none of it better than chance?"""
    validation, objective = validation_in(study), study.metric.objective
    complete = [t for t in trials if t.status == "complete" and t.candidate.phase != CONTROL]
    return (
        validation is not None and bool(complete) and all(validation.is_chance(t.scores, objective) for t in complete)
    )


def validation_words(validation: Validation, metric: Metric) -> str:
    """How well so many validation images tell two networks apart."""
    if not metric.share:
        return f"chance is {metric.words(validation.chance)}"
    noise = noise_of_difference(90, 90, validation.images)
    low, high = wilson(90, validation.images)
    return f"90 % there means {low:.1f} to {high:.1f} %, and differences under {noise:.1f} points are noise"


def chance_words(validation: Validation, objective: str) -> str:
    """What a study at chance says of itself."""
    known = validation.chance_words(objective)
    by = " by two standard errors" if validation.by_errors(objective) else ""
    return f"no network is better than chance{by} ({known}): nothing was decided here"


def decision_words(decision: Decision, validation: Validation | None, metric: Metric) -> str:
    """The reason of a decision; a difference that the validation split cannot tell from none is called noise."""
    if metric.unit != "%":  # what a method calls a point is 1 in the metric's unit
        return decision.reason.replace(" points", f" {unit_of_difference(metric)}")
    if validation is None or decision.score is None or decision.best is None or not metric.share:
        return decision.reason
    noise = noise_of_difference(decision.score, decision.best, validation.images)
    inside = abs(decision.score - decision.best) <= noise
    return decision.reason + (f", inside the noise of +- {noise:.1f}" if inside else "")


def run_line(run: FinalRun, metric: Metric, images: Mapping[str, int]) -> str:
    """The scores of one seed with their 95 % intervals, over so many images of each split."""
    name = metric.name

    def words(scores: Mapping[str, float], split: str) -> str:
        interval = wilson(scores[name], images[split]) if metric.share else interval_of(scores, name, None)
        return f"{metric.words(scores[name])}{interval_words(interval, metric)}"

    if not run.val:
        trained = f"trained on the validation images, too; {run.seconds:.0f} s"
        return f"seed {run.seed}: test {name} {words(run.test, 'test')}, {trained}"
    return (
        f"seed {run.seed}: test {name} {words(run.test, 'test')}, validation {words(run.val, 'val')}; "
        f"best epoch on validation: {run.best_epoch}, test {words(run.best_test, 'test')}; {run.seconds:.0f} s"
    )


def metric_of(final: FinalTraining) -> Metric:
    """What a final training is judged by; those of before metrics had units know accuracy and TAR."""
    if final.scored is not None:
        return final.scored
    return ACCURACY if final.metric == ACCURACY.name else Metric(final.metric)


def name_of(final: FinalTraining) -> str:
    """What a final training is of: "trial 3", or a network that was not searched by its name."""
    return final.architecture.name if isinstance(final.architecture, OnnxArchitecture) else f"trial {final.trial}"


def best_run(final: FinalTraining) -> FinalRun:
    """The seed that did best on validation; the first one where there is no validation."""
    if final.all_images:
        return final.runs[0]
    metric = metric_of(final)
    return max(final.runs, key=lambda run: metric.gain(run.val[final.metric]))
