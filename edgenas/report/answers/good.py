"""Is it good? Against chance, against public networks, class by class."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgenas.confusion import MACRO_F1, METRICS
from edgenas.engine.counts import counted
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import best_run, interval_words, metric_of, unit_of_difference
from edgenas.records import TAR, FinalTraining, Metric
from edgenas.report.answers.commands import compare_command, in_full, train_command
from edgenas.report.answers.ship import epochs_apart, noise_of_scores, not_known
from edgenas.report.facts import Facts
from edgenas.report.figure import score_name
from edgenas.report.trained import chance_on_test, confusion_in, interval_on_test, is_better_than_chance
from edgenas.report.values import data_words, metric_words


def goodness(facts: Facts) -> list[str]:
    """Sentences: the score beside chance, then beside public networks, then its weakest class."""
    if facts.best is None:
        return ["No network is trained yet, so there is nothing to judge."]
    final = facts.final
    told = [*_searched(facts)] if final is None else [*_tested(facts, final), *_weakest(final)]
    return [*told, *_beside_random(facts), *_beside(facts)]


# ---------------------------------------------------------------- after a final training


def final_words(final: FinalTraining) -> str:
    """What a final training reached on the test set, with its spread over seeds."""
    metric, (name, scores) = metric_of(final), tested(final)
    spread = f" ± {metric.number(statistics.stdev(scores))}" if len(scores) > 1 else ""
    seeds = counted(len(scores), "seed") + ", ± their standard deviation" * (len(scores) > 1)
    mean = f"{metric.number(statistics.fmean(scores))}{spread} {metric.unit}".rstrip()
    sure = interval_words(interval_on_test(final), metric).strip(" ()")
    known = f"{seeds}; 95 % interval over the test set {sure}" if sure else seeds
    trained = f"Trained for {final.recipe.epochs} epochs on {data_words(final.data)}, trial {final.trial}"
    return f"{trained} reaches {mean} {name} ({known})."


def tested(final: FinalTraining) -> tuple[str, list[float]]:
    """What was tested, and each seed's score."""
    name = f"test {metric_words(metric_of(final))}"
    return name, [run.test[final.metric] for run in final.runs]


def _tested(facts: Facts, final: FinalTraining) -> Iterator[str]:
    yield final_words(final)
    metric, counts, validation = metric_of(final), confusion_in(final), validation_in(facts.study)
    chance = chance_on_test(final, validation)
    if chance is None:
        return
    known = f"without any learning it would be {_chance(chance, metric)}"
    if counts is not None and metric.name in METRICS:
        images = counts.sum(1)
        what = f"“{final.classes[int(images.argmax())]}”, its most frequent class"
        if len(set(images.tolist())) == 1:
            what = f"one of its {len(images)} classes, all equally frequent"
        answer = f"always answering {what}," if metric != MACRO_F1 else "guessing each class as often as it comes"
        known = f"{answer} would score {metric.words(chance)} there"
    if is_better_than_chance(final, validation):
        yield f"It is better than chance: {known}, outside of that interval."
    else:
        yield f"It is not shown to be better than chance: {known}."


def _weakest(final: FinalTraining) -> Iterator[str]:
    """The class of the lowest recall, and what is confused most often."""
    classes: Sequence[dict[str, Any]] = best_run(final).report.get("classes") or ()
    shown = [one for one in classes if one["recall"] is not None]
    if len(shown) < 2:
        return
    worst = min(shown, key=lambda one: one["recall"])
    if worst["recall"] == 100:
        yield "No test image of any class is taken for another one."
        return
    hits = round(worst["recall"] * worst["images"] / 100)
    yield (
        f"Its weakest class is “{worst['name']}”: {hits:,} of {worst['images']:,} test images are called so, recall "
        f"{worst['recall']:.1f} %{interval_words(tuple(worst['recall_interval']))}."
    )
    if confused := confusions(final):
        count, images, true, called = confused[0]
        yield f"The most frequent mistake: {count:,} of {images:,} images of “{true}” are called “{called}”."


def confusions(final: FinalTraining, most: int = 20) -> list[tuple[int, int, str, str]]:
    """(images, of how many of its class, true class, what it is called), the most frequent ones first."""
    counts = confusion_in(final)
    if counts is None:
        return []
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(cell), len(counts)) for cell in order if wrong.flat[cell]]
    names = final.classes
    return [(int(wrong[row, col]), int(counts[row].sum()), names[row], names[col]) for row, col in cells]


# ---------------------------------------------------------------- before one, and beside others


def _searched(facts: Facts) -> Iterator[str]:
    """What the search's own short training says."""
    trial, validation = facts.peak, validation_in(facts.study)
    assert trial is not None
    epochs = trial.candidate.recipe.epochs
    after = f"after {epochs} epoch{'s' * (epochs > 1)} in the search (trial {trial.number})"
    judged = f"{score_name(facts)} {facts.words(trial)} {after}"
    if validation is None:
        yield f"{judged[0].upper()}{judged[1:]}. What chance is was not kept by the version that made this study."
    elif not validation.is_chance(trial.scores, facts.objective):
        yield f"It is better than chance: {judged}; chance is {_chance(validation.chance, facts.metric)}."
    else:
        yield f"It is not shown to be better than chance: {judged}; chance is {_chance(validation.chance, facts.metric)}."
    yield f"It is not trained in full yet, and the test set is untouched: {in_full(facts, 'does both')}."
    if facts.finals:
        yield f"Trained in full was trial {facts.finals[-1].trial} on {facts.finals[-1].data}: the tables below are about it."


def _chance(value: float, metric: Metric) -> str:
    if metric.name == TAR.name:
        return f"{metric.words(value)}, the false accept rate itself"
    return (
        f"{metric.words(value)}, what always answering the most frequent class scores"
        if metric.share
        else metric.words(value)
    )


def _beside_random(facts: Facts) -> Iterator[str]:
    """Against the random networks of `--control random`."""
    peak = facts.peak if facts.control else None
    if peak is None:
        return
    best = max(facts.control, key=facts.score)
    gain, bar = facts.score(peak) - facts.score(best), noise_of_scores(facts, peak, best)
    number, unit = facts.metric.number, unit_of_difference(facts.metric)
    told = (
        f"The best of {counted(len(facts.control), 'random network')} {facts.control_words} scores {facts.words(best)} on "
        f"validation{epochs_apart(best, peak)}, against {facts.words(peak)}"
    )
    if bar is None:
        yield f"{told}; whether that is more than noise is {not_known(facts)}."
    elif abs(gain) <= bar:
        yield f"{told}: inside the noise of ±{number(bar)}, so this search is not shown to be better than drawing at random."
    elif gain > 0:
        yield f"{told}: the search gained {number(gain)} {unit}, more than the noise of ±{number(bar)}."
    else:
        yield f"{told}: drawing at random did better by {number(-gain)} {unit}, more than the noise of ±{number(bar)}."


def _beside(facts: Facts) -> Iterator[str]:
    """Against public networks: the sentence that decides, then those on the others."""
    found = facts.comparison
    if found is not None:
        yield found.sentence
        yield from (one.sentence for one in found.outcomes if one.sentence != found.sentence)
        if found.advice:
            yield found.advice
    elif facts.study.task == "classification":
        yield _alone(facts)


def _alone(facts: Facts) -> str:
    """Why no public network stands beside it, and what puts one there."""
    final, command = facts.final, compare_command(facts)
    if final is not None and final.all_images:
        return (
            "No public network can stand beside it: it was trained on the validation images, too (--all-images), and a reference "
            f"would not be. `{train_command(facts)}`, without that flag, puts another training in its place."
        )
    if final is None or command is None:
        return (
            "No public network stands beside it yet: once it is trained in full, `edgenas compare` trains one alike and says "
            "whether searching paid."
        )
    if facts.outdated:
        return (
            f"The public networks stood beside a training that was replaced: `{command}` holds them against this one."
        )
    return f"No public network stands beside it yet: `{command}` trains one alike and says whether searching paid."
