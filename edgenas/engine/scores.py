"""Scores with what they can tell: their interval, chance, and which differences are noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgenas.binomial import Interval, Validation, noise_of_difference, wilson
from edgenas.engine.plan import validation_in
from edgenas.methods import CONTROL
from edgenas.records import Decision, FinalRun, FinalTraining, StudyRecord, Trial


def interval_of(scores: Mapping[str, float], objective: str, validation: Validation | None) -> Interval | None:
    """The score's 95 % interval: its own (TAR, over identities), or that of an accuracy on so many validation images."""
    low, high = scores.get(f"{objective}_low"), scores.get(f"{objective}_high")
    if low is not None and high is not None:
        return low, high
    if validation is None or objective not in scores or not objective.endswith("accuracy"):
        return None
    return wilson(scores[objective], validation.images)


def interval_words(interval: Interval | None) -> str:
    """What stands behind a score, such as (23.2 to 39.6); nothing where its interval is not known."""
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"


def with_intervals(document: dict[str, Any], images: Mapping[str, int]) -> dict[str, Any]:
    """The document with, for every accuracy in it, a key <name>_interval = [low, high]; `images`: of the split <val, test>."""
    told = dict(document)
    for name, value in document.items():
        split = name.split("_")[0]
        if name.startswith(f"{split}_accuracy") and images.get(split) and value is not None:
            share = value["mean"] if isinstance(value, dict) else value
            told[f"{name}_interval"] = list(wilson(share, images[split]))
    return told


def split_interval(scores: Mapping[str, float], final: FinalTraining, split: str) -> Interval | None:
    """The 95 % interval of a final training's score on a split (train, val, test); None where its size is not known."""
    images = final.images.get(split)
    if final.metric == "accuracy" and images:
        return wilson(scores[final.metric], images)
    return interval_of(scores, final.metric, None)


def split_words(scores: Mapping[str, float], final: FinalTraining, split: str) -> str:
    """97.20 (95.9 to 98.1)."""
    return f"{scores[final.metric]:.2f}{interval_words(split_interval(scores, final, split))}"


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
    return f"no network is better than chance by two standard errors ({known}): nothing was decided here"


def decision_words(decision: Decision, validation: Validation | None, objective: str) -> str:
    """The reason of a decision; a difference that the validation split cannot tell from none is called noise."""
    if validation is None or decision.score is None or decision.best is None or not objective.endswith("accuracy"):
        return decision.reason
    noise = noise_of_difference(decision.score, decision.best, validation.images)
    inside = abs(decision.score - decision.best) <= noise
    return decision.reason + (f", inside the noise of +- {noise:.1f}" if inside else "")


def run_line(run: FinalRun, metric: str, images: dict[str, int]) -> str:
    """The scores of one seed with their 95 % intervals, over so many images of each split."""

    def words(scores: dict[str, float], split: str) -> str:
        interval = wilson(scores[metric], images[split]) if metric == "accuracy" else interval_of(scores, metric, None)
        return f"{scores[metric]:.2f} %{interval_words(interval)}"

    return (
        f"seed {run.seed}: test {metric} {words(run.test, 'test')}, validation {words(run.val, 'val')}; "
        f"best epoch on validation: {run.best_epoch}, test {words(run.best_test, 'test')}; {run.seconds:.0f} s"
    )
