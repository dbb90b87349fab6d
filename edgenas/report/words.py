"""One study in words, as the page's head prints it. The page escapes them all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from edgenas.engine.counts import counted
from edgenas.engine.fronts import network_words
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import chance_words, interval_of, interval_words
from edgenas.records import ACCURACY, Cost, Latency, StudyRecord, Trial
from edgenas.report.answers.good import final_words, tested
from edgenas.report.facts import Facts
from edgenas.report.figure import score_name
from edgenas.report.network import Stage
from edgenas.report.shown import architecture_shown, cost_shown, is_another, wider_words
from edgenas.report.trained import interval_on_test
from edgenas.report.values import Pairs, data_words, duration, milliseconds, three_digits
from edgenas.report.values import interval as ends


def headline(facts: Facts) -> str:
    """The result in one sentence; its figures stand below it."""
    study, trial, cost = facts.study, facts.best, cost_shown(facts)
    where = study.profiles[0] if len(study.profiles) == 1 else f"{len(study.profiles)} targets"
    method, data = "A given network" if facts.given else study.method, data_words(study.data)
    if trial is None or cost is None:
        state = f"{counted(len(facts.rounds), 'round')} so far" if facts.rounds else "nothing is trained yet"
        return f"{method} on {data} for {where}: {state}"
    if facts.at_chance:
        return f"{method} on {data} for {where}: at chance"
    if facts.choice is None:
        return f"{method} on {data} for {where}: {counted(len(facts.complete), 'network')} so far"
    origin = f"given by the user, trained on {data}" if facts.given else f"found by {study.method} on {data}"
    return f"A network of {cost.params:,} parameters for {where}, {origin}"


def lede(facts: Facts) -> str:
    """The network in a few words, and what state the study is in."""
    if facts.best is None:
        return ""
    validation = validation_in(facts.study)
    chance = ""
    if validation is not None and facts.at_chance:
        chance = f"At chance: {chance_words(validation, facts.objective)}. "
    elif validation is not None and facts.search_at_chance:
        chance = (
            f"The search was at chance ({validation.chance_words(facts.objective)}) and decided nothing; trained in full, this "
            "network is better than chance. "
        )
    return chance + _network_words(facts, facts.best)


def _network_words(facts: Facts, best: Trial) -> str:
    words = network_words(msgspec.to_builtins(architecture_shown(facts)))
    if facts.choice is None:
        return (
            f"The best so far is trial {best.number}: {words}. The search is running or was stopped; "
            "the same edgenas search goes on from here."
        )
    peak = facts.peak
    longer = ""
    if peak is not None and peak.number != best.number and not is_another(facts):
        longer = f" The same network scored best in trial {peak.number}, after {peak.candidate.recipe.epochs} epochs."
    return " ".join(
        [
            f"Trial {best.number}{wider_words(facts)}: {words}.{longer}",
            *(final_words(one) for one in facts.finals if one is not facts.final),
        ]
    )


def merit(facts: Facts) -> list[dict[str, str]]:
    """The four figures that one looks for first."""
    trial, cost = facts.best, cost_shown(facts)
    if trial is None or cost is None:
        return []
    peak = facts.peak or trial
    name, score = f"{score_name(facts)} after {peak.candidate.recipe.epochs} epochs", facts.value(peak)
    interval, over = facts.interval(peak), ""
    if (final := facts.final) is not None:  # what the network is worth, once it is known
        judged, scores = tested(final)
        name, score = f"{judged}, {final.recipe.epochs} epochs", statistics.fmean(scores)
        interval, over = interval_on_test(final), " over the test set"
    name += "" if interval is None else f", 95 % interval{over} {interval_words(interval, facts.metric).strip(' ()')}"
    figures = [{"name": name, "value": facts.metric.number(score), "unit": facts.metric.unit, "origin": ""}]
    figures += [
        {"name": _on(latency), "value": three_digits(latency.ms), "unit": "ms", "origin": latency.origin}
        for latency in _latencies(cost, facts.study)[:2]
    ]
    figures.append({"name": "parameters", "value": f"{cost.params:,}", "unit": "", "origin": ""})
    figures.append({"name": "weights on the device", "value": f"{cost.size_mb:.3g}", "unit": "MB", "origin": ""})
    return figures


def _latencies(cost: Cost, study: StudyRecord) -> list[Latency]:
    """Those that are known, in the order of the study's targets: a trial has the measured one last."""
    return [cost.latencies[name] for name in study.profiles if name in cost.latencies]


def _on(latency: Latency) -> str:
    """Where a latency is of, with its interval."""
    sure = "" if latency.low is None or latency.high is None else f", {ends(latency.low, latency.high)} ms"
    return latency.profile + sure


def trial_facts(trial: Trial, study: StudyRecord) -> Pairs:
    """One trial, for the panel beside the front."""
    metric, validation = study.metric, validation_in(study)
    words = network_words(msgspec.to_builtins(trial.candidate.architecture))
    pairs = [("trial", f"{trial.number}, {trial.candidate.phase} phase, {trial.status}"), ("network", words)]
    if trial.error:
        pairs.append(("reason", trial.error))
    for name, value in trial.scores.items():
        if metric.better == "lower" and name.startswith(metric.objective):
            continue  # the negative of what stands beside it
        scored = name.split("_", 1)[-1] == metric.name  # on validation or training images
        told = metric.words(value) if scored and metric.unit != "%" else f"{value:.4g}"
        interval = interval_of(trial.scores, name, validation) if name.startswith("val_") else None
        pairs.append((name.replace("_", " "), told + interval_words(interval, metric if scored else ACCURACY)))
    for latency in _latencies(trial.cost, study):
        pairs.append((f"latency, {latency.profile}", milliseconds(latency)))
        if latency.energy_mj is not None:
            pairs.append((f"energy, {latency.profile}", f"{three_digits(latency.energy_mj)} mJ (measured)"))
    pairs += [("parameters", f"{trial.cost.params:,}"), ("MACs", f"{trial.cost.macs:,}")]
    pairs += [("size", f"{trial.cost.size_mb:.4g} MB"), ("peak memory", f"{trial.cost.memory_mb:.4g} MB")]
    if trial.status == "complete":
        pairs.append(
            ("training", f"{trial.candidate.recipe.epochs} epochs in {duration(trial.seconds)}, seed {trial.seed}")
        )
    return pairs


def network_sentence(facts: Facts, cost: Cost, stages: Sequence[Stage]) -> str:
    """What the kernels' milliseconds are, and how they relate to the network's own figure."""
    priced = [stage.ms for stage in stages if stage.ms is not None]
    name = facts.study.profiles[0]
    latency = cost.latencies.get(name)
    if len(priced) < len(stages) or latency is None:
        return f"{name} has no prices of single kernels: latencies are of whole networks only."
    text = f"Per-kernel times are what {name}'s profile charges for each kernel; they add up to {sum(priced):.4g} ms. "
    text += "The first bears what a run costs before any, too."
    if latency.origin == "measured":
        return text + f" Measured as a whole, the network takes {milliseconds(latency)}."
    return text + f" No kernel was timed: the figure's origin is {latency.origin}."
