"""Which network to ship, and why this one?"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from edgenas.engine import noise
from edgenas.engine.counts import counted
from edgenas.engine.fronts import network_words
from edgenas.engine.scores import expected_words, noise_of_expected, unit_of_difference
from edgenas.engine.verdict import comparable, faster_of, origin_words
from edgenas.records import Trial
from edgenas.report.answers.commands import train_command, verify_searched_command
from edgenas.report.facts import Facts
from edgenas.report.shown import architecture_shown, cost_shown, is_another, wider_words
from edgenas.report.values import three_digits


def shipped(facts: Facts) -> list[str]:
    """Sentences: which one, why, and what smaller ones would cost."""
    trial, peak, cost = facts.best, facts.peak, cost_shown(facts)
    if trial is None or peak is None or cost is None:
        return ["None yet: no network is trained."]
    if facts.at_chance:
        return ["None of these: no network is better than chance, so nothing was decided here."]
    words = network_words(msgspec.to_builtins(architecture_shown(facts)))
    told = [f"Trial {trial.number}{wider_words(facts)}: {words}, {cost.params:,} parameters."]
    if facts.choice is None:
        told = [f"Not decided: the search has not ended. The best so far is trial {trial.number}: {words}."]
    if facts.given:
        return [*told, "It was given by the user: no search was made, and no other network was trained beside it."]
    if facts.search_at_chance:
        return [
            *told,
            "The search did not decide for it: none of its trainings was better than chance. Trained in full this network is; "
            "whether another one would do better is not known.",
        ]
    searched = ["What follows is of the networks as they were searched."] if is_another(facts) else []
    return [*told, *searched, _why(facts, peak), *_smaller(facts, peak)]


def _why(facts: Facts, peak: Trial) -> str:
    """Is it the best score, or why is it another one?"""
    many = len({trial.candidate.architecture.fingerprint for trial in facts.complete})
    of_all = f"of the {many} networks that were trained" if many > 1 else "of the one network that was trained"
    epochs = {trial.candidate.recipe.epochs for trial in facts.complete}
    of_all += f", for {min(epochs)} to {max(epochs)} epochs" if len(epochs) > 1 else ""
    expected = facts.expected(peak)
    if expected is not None:
        level = f"{expected_words(expected, facts.metric)} {facts.metric.unit}".rstrip().replace("+-", "±")
        return (
            f"It has the best expected score {of_all}: {level} (one standard deviation), which rests on all its trainings and on "
            "those of its neighbours: one lucky training is not enough."
        )
    best = max(facts.complete, key=facts.score, default=peak)
    if facts.score(best) <= facts.score(peak):
        told = f"It has the best score {of_all}: {facts.words(peak)} on validation, in trial {peak.number}."
        return told + _as_good(facts, peak)
    away = abs(facts.value(best) - facts.value(peak))
    bar = noise_of_scores(facts, best, peak)
    judged = "" if bar is None else f", {'inside' if away <= bar else 'more than'} the noise of ±{_number(facts, bar)}"
    return (
        f"Its best score is {facts.words(peak)}. Trial {best.number} scored {_number(facts, away)} {_unit(facts)} "
        f"better{epochs_apart(best, peak)}{judged}; {facts.study.method} chose by its own rules, which weigh more than one score."
    )


def _as_good(facts: Facts, peak: Trial) -> str:
    """Other networks with the very same score: few images have few scores."""
    score = facts.score(peak)
    same = {one.candidate.architecture.fingerprint: one for one in facts.complete if facts.score(one) == score}
    others = [one for one in same.values() if not _same(one, peak)]
    if not others:
        return ""
    least = min(others, key=lambda one: one.cost.params)
    more = f" and {counted(len(others) - 1, 'more network')}" if len(others) > 1 else ""
    return f" Trial {least.number}, with {least.cost.params:,} parameters,{more} scored the same."


def _smaller(facts: Facts, peak: Trial) -> Iterator[str]:
    """What the faster networks of the front give up: the fastest that is not shown to be worse, or the nearest that is."""
    profile = facts.study.profiles[0] if facts.study.profiles else ""
    if profile not in peak.cost.latencies:
        return
    ms = peak.cost.latencies[profile].ms
    faster = [one for one in facts.front(profile) if one.cost.latencies[profile].ms < ms and not _same(one, peak)]
    if not faster:
        yield "No network of the front is faster."
        return
    equal = [one for one in faster if _inside(facts, peak, one)]
    if equal:
        one = equal[0]
        bar = noise_of(facts, peak, one)
        assert bar is not None
        more = len(equal) - 1
        others = f" {more} more between the two {'is' if more == 1 else 'are'} inside it as well." if more else ""
        yield (
            f"A faster one may be as good: trial {one.number} takes {three_digits(one.cost.latencies[profile].ms)} ms in place "
            f"of {three_digits(ms)}, with {one.cost.params:,} parameters; {_behind(facts, peak, one)}, inside the noise of "
            f"±{_number(facts, bar)}.{others}{_surely_faster(facts, peak, one)} "
            f"Where speed counts: `{train_command(facts, trial=one.number)}`."
        )
        return
    near = max(faster, key=facts.level)
    bar = noise_of(facts, peak, near)
    if bar is None:
        yield (
            f"The nearest faster one is trial {near.number}, with {three_digits(near.cost.latencies[profile].ms)} ms in place of "
            f"{three_digits(ms)}; {_behind(facts, peak, near)}. Whether that is more than noise is {not_known(facts)}."
        )
    else:
        yield (
            f"Every faster network of the front is worse by more than the noise; the nearest is trial {near.number}, with "
            f"{three_digits(near.cost.latencies[profile].ms)} ms in place of {three_digits(ms)}: "
            f"{_behind(facts, peak, near)}, noise ±{_number(facts, bar)}."
        )


def _surely_faster(facts: Facts, peak: Trial, one: Trial) -> str:
    """A sentence where the two latencies' intervals leave open which is faster, or are not of one origin."""
    profile = facts.study.profiles[0]
    latencies = one.cost.latencies[profile], peak.cost.latencies[profile]
    if not comparable(*latencies):
        told, command = " and ".join(map(origin_words, latencies)), verify_searched_command(facts)
        lead = f" That it is faster is not shown: the two latencies are not of one origin ({told})."
        if command is None:
            return f"{lead} Trained in full and exported, both can be measured (`edgenas verify --bundle`)."
        return f"{lead} `{command}` measures both."
    if faster_of(*latencies) is not None:
        return ""
    return " That it is faster is not certain either: the intervals of their latencies leave it open."


def noise_of(facts: Facts, one: Trial, other: Trial) -> float | None:
    """What the levels of two trials must differ by to exclude 0 from their difference's 95 % interval, in the metric's unit: by
    the standard deviations of what is expected of them, else as scores; None where nothing is known of it."""
    expected = facts.expected(one), facts.expected(other)
    if expected[0] is not None and expected[1] is not None:
        return noise_of_expected(expected[0], expected[1])
    return noise_of_scores(facts, one, other)


def noise_of_scores(facts: Facts, one: Trial, other: Trial) -> float | None:
    """The same of two scores, as `edgenas front` has it, too."""
    return noise.noise_of_scores(one, other, facts.study, facts.seed_noise)


def not_known(facts: Facts) -> str:
    """Behind "what is noise is": where nothing tells it, and where no more than two trainings do."""
    pair = facts.seed_noise is not None and facts.seed_noise.of_one_pair
    return "not known from two trainings of one network" if pair else "not known here"


def _inside(facts: Facts, peak: Trial, one: Trial) -> bool:
    bar = noise_of(facts, peak, one)
    return bar is not None and facts.level(peak) - facts.level(one) <= bar


def _behind(facts: Facts, peak: Trial, one: Trial) -> str:
    """How far its level lies below the chosen one's, and whether both trained for as long."""
    away = facts.level(peak) - facts.level(one)
    what = "its expected score" if facts.expected(one) is not None else "its score"
    fewer = epochs_apart(one, peak)
    if away <= 0:
        return f"{what} is no worse{fewer}"
    if _number(facts, away) == _number(facts, 0.0):
        return f"{what} is the same{fewer}"
    return f"{what} is {_number(facts, away)} {_unit(facts)} worse{fewer}"


def epochs_apart(one: Trial, other: Trial) -> str:
    """Behind the score of the one, where the two were trained for so many epochs: " after 48 epochs in place of 2"; else ""."""
    epochs = one.candidate.recipe.epochs, other.candidate.recipe.epochs
    return "" if epochs[0] == epochs[1] else f" after {counted(epochs[0], 'epoch')} in place of {epochs[1]}"


def _same(one: Trial, other: Trial) -> bool:
    return one.candidate.architecture == other.candidate.architecture


def _number(facts: Facts, value: float) -> str:
    return facts.metric.number(value)


def _unit(facts: Facts) -> str:
    return unit_of_difference(facts.metric)
