"""What would more budget give: a longer search, a longer training?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from edgenas.binomial import noise_of_difference
from edgenas.engine.counts import counted
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import metric_of, unit_of_difference
from edgenas.records import FinalTraining, Trial
from edgenas.report.answers.commands import in_full, train_again_command
from edgenas.report.answers.ship import noise_of_scores, not_known
from edgenas.report.facts import Facts
from edgenas.report.values import metric_words

FEWEST = 8  # trainings, below which a curve of them says nothing
LAST = 0.25  # the part of trainings, or epochs, that is looked at


def more_budget(facts: Facts) -> list[str]:
    """Sentences on a longer search, then on a longer training."""
    return [*_search(facts), *_training(facts)]


# ---------------------------------------------------------------- a longer search


def best_so_far(facts: Facts) -> list[Trial]:
    """After each training in the order of decisions, the best one until then."""
    best: list[Trial] = []
    for trial in facts.complete:
        best.append(best[-1] if best and facts.score(best[-1]) >= facts.score(trial) else trial)
    return best


def _search(facts: Facts) -> Iterator[str]:
    if facts.given:
        yield "A search: none was made, this network was given; whether there is a better one is not known."
        return
    if facts.search_at_chance:
        yield "A longer search: none of its trainings was better than chance, so they do not say whether it had levelled off."
        return
    trials = first_trainings(facts)
    many = len(trials)
    if many < FEWEST:
        yield f"A longer search: {many} network{'s are' if many != 1 else ' is'} too few to say whether it had levelled off."
        return
    last = math.ceil(LAST * many)
    if len({trial.candidate.recipe.epochs for trial in trials}) > 1:
        yield (
            f"A longer search: whether it had levelled off cannot be told: the last {last} of {many} networks were trained for "
            f"{_epochs(trials[-last:])}, those before for {_epochs(trials[:-last])}."
        )
        return
    before = max(trials[:-last], key=facts.score)
    after = max(trials, key=facts.score)
    gain, noise = facts.score(after) - facts.score(before), noise_of_scores(facts, before, after)
    of_all = f"the last {last} of {many} networks"
    by = f"{facts.metric.number(gain)} {unit_of_difference(facts.metric)}"
    if gain <= 0:
        yield f"A longer search: {of_all} are no better than those before, so it had levelled off."
    elif noise is None:
        yield f"A longer search: {of_all} improved the best score by {by}; what is noise is {not_known(facts)}."
    elif gain <= noise:
        yield (
            f"A longer search: {of_all} improved the best score by {by}, inside the noise of "
            f"±{facts.metric.number(noise)}: the best of many noisy scores improves by luck alone, so it had levelled off as far "
            "as these images can tell."
        )
    else:
        yield (
            f"A longer search: {of_all} still improved the best score by {by}, more than the noise of "
            f"±{facts.metric.number(noise)}: it had not levelled off, and more --budget is likely to find better ones."
        )
    yield "What is beyond the trainings made cannot be read from them: it can only be tried."


def first_trainings(facts: Facts) -> list[Trial]:
    """The first training of every network, in the order of decisions: one that trains the best again finds no better network."""
    found: dict[str, Trial] = {}
    for trial in facts.complete:
        found.setdefault(trial.candidate.architecture.fingerprint, trial)
    return list(found.values())


def _epochs(trials: Sequence[Trial]) -> str:
    """For how long they were trained: 2 epochs, or 10 to 54."""
    shortest, longest = (pick(trial.candidate.recipe.epochs for trial in trials) for pick in (min, max))
    return counted(shortest, "epoch") if shortest == longest else f"{shortest} to {longest} epochs"


# ---------------------------------------------------------------- a longer training


def _training(facts: Facts) -> Iterator[str]:
    final = facts.final
    if final is None:
        if facts.best is not None:
            epochs = facts.best.candidate.recipe.epochs
            yield (
                f"A longer training: the search trained this network for {epochs} epoch{'s' * (epochs > 1)} only; "
                f"{in_full(facts, 'trains it in full')}."
            )
        return
    curve = mean_curve(final)
    if len(curve) < 2:
        yield (
            f"A longer training: no learning curve was kept, as {_why_no_curve(final)}: "
            f"`{train_again_command(facts, final, 2 * final.recipe.epochs)}` trains longer"
            f"{'' if final.all_images else ' and keeps one'}."
        )
        return
    yield f"A longer training: {_levelled(facts, final, curve)}"
    yield (
        "The learning rate falls to nearly nothing towards the end of every training, which lifts the last epochs of a short "
        "one, too: what a longer one reaches is only known after it."
    )


def _why_no_curve(final: FinalTraining) -> str:
    if final.all_images:
        return "it was trained on the validation images, too (--all-images)"
    return "this training is of an earlier version or took one epoch"


def mean_curve(final: FinalTraining) -> dict[int, float]:
    """Epochs -> the metric on validation, over the seeds that kept their looks."""
    kept: dict[int, list[float]] = {}
    for run in final.runs:
        for look in run.curve:
            kept.setdefault(look.epoch, []).append(look.value)
    most = max(map(len, kept.values()), default=0)
    return {epoch: statistics.fmean(values) for epoch, values in sorted(kept.items()) if len(values) == most}


def _levelled(facts: Facts, final: FinalTraining, curve: dict[int, float]) -> str:
    """What the last quarter of the epochs brought, against the noise of the validation images."""
    metric, last = metric_of(final), max(curve)
    before = max((epoch for epoch in curve if epoch <= (1 - LAST) * last), default=min(curve))
    gain = metric.gain(curve[last]) - metric.gain(curve[before])
    validation = validation_in(facts.study)
    images = final.images.get("val") or (validation.images if validation is not None else 0)
    noise = noise_of_difference(curve[before], curve[last], images) if metric.share and images else None
    unit, rise = unit_of_difference(metric), f"{'rose' if gain >= 0 else 'fell'} by {metric.number(abs(gain))}"
    if metric.better == "lower":
        rise = f"{'improved' if gain >= 0 else 'got worse'} by {metric.number(abs(gain))}"
    change = f"{rise} {unit}" if gain else "did not change"
    told = f"from epoch {before} to {last} {metric_words(metric)} on validation {change}"
    longer = f"`{train_again_command(facts, final, 2 * final.recipe.epochs)}`"
    if noise is None:
        return f"{told}; what is noise there is not known. {longer} tries it."
    if gain > noise:
        return f"{told}, more than the noise of ±{metric.number(noise)}: it had not levelled off. {longer} tries more."
    if gain < -noise:
        return (
            f"{told}, more than the noise of ±{metric.number(noise)}: it learns its training images by heart. Fewer epochs or "
            "more images would help, more epochs would not."
        )
    return f"{told}, inside the noise of ±{metric.number(noise)}: more epochs of this recipe are unlikely to show."
