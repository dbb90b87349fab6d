"""One study in words, as the page prints it: sentences, and pairs of a name and a value. The page escapes them all."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from edgenas.binomial import Interval
from edgenas.engine.fronts import covered, network_words, share_words
from edgenas.engine.plan import plan_values, validation_in
from edgenas.engine.scores import chance_words, interval_of, interval_words, metric_of, split_interval
from edgenas.hardware.profile import trust
from edgenas.records import ACCURACY, TAR, FinalTraining, Latency, Limits, StudyRecord, Trial
from edgenas.report.facts import Compared, Facts
from edgenas.report.figure import score_name
from edgenas.report.network import Stage
from edgenas.store import flat

Pairs = list[tuple[str, str]]


# ---------------------------------------------------------------- what was asked and found


def headline(facts: Facts) -> str:
    """The result in one sentence; its figures stand below it."""
    study, trial = facts.study, facts.best
    where = study.profiles[0] if len(study.profiles) == 1 else f"{len(study.profiles)} targets"
    if trial is None:
        state = f"{len(facts.rounds)} rounds so far" if facts.rounds else "nothing is trained yet"
        return f"{study.method} on {study.data} for {where}: {state}"
    if facts.at_chance:
        return f"{study.method} on {study.data} for {where}: at chance"
    if facts.choice is None:
        return f"{study.method} on {study.data} for {where}: {len(facts.complete)} networks so far"
    return f"A network of {trial.cost.params:,} parameters for {where}, found by {study.method} on {study.data}"


def lede(facts: Facts) -> str:
    """The network in a few words, and what state the study is in."""
    if facts.best is None:
        return ""
    validation = validation_in(facts.study)
    chance = (
        f"At chance: {chance_words(validation, facts.objective)}. "
        if facts.at_chance and validation is not None
        else ""
    )
    return chance + _network_words(facts, facts.best)


def _network_words(facts: Facts, best: Trial) -> str:
    words = network_words(msgspec.to_builtins(best.candidate.architecture))
    if facts.choice is None:
        return (
            f"The best so far is trial {best.number}: {words}. The search is running or was stopped; "
            "the same edgenas search goes on from here."
        )
    peak = facts.peak
    longer = ""
    if peak is not None and peak.number != best.number:
        longer = f" The same network scored best in trial {peak.number}, after {peak.candidate.recipe.epochs} epochs."
    return " ".join([f"Trial {best.number}: {words}.{longer}", *map(final_words, facts.finals)])


def final_words(final: FinalTraining) -> str:
    """What a final training reached on the test set, with its spread over seeds."""
    metric, (name, scores) = metric_of(final), _tested(final)
    spread = f" ± {metric.number(statistics.stdev(scores))}" if len(scores) > 1 else ""
    seeds = f"{len(scores)} seed{'s' * (len(scores) > 1)}"
    mean = f"{metric.number(statistics.fmean(scores))}{spread} {metric.unit}".rstrip()
    reached = f"{mean} {name}{interval_words(test_interval(final))}"
    return f"Trained for {final.recipe.epochs} epochs on {final.data}, trial {final.trial} reaches {reached} ({seeds})."


def test_interval(final: FinalTraining) -> Interval | None:
    """Of the mean test accuracy, over the test images; None where their number is not known, and for other metrics."""
    if not metric_of(final).share:
        return None
    return split_interval({final.metric: statistics.fmean(_tested(final)[1])}, final, "test")


def _tested(final: FinalTraining) -> tuple[str, list[float]]:
    """What was tested, and each seed's score."""
    name = f"test {'TAR' if final.metric == TAR.name else final.metric}"
    return name, [run.test[final.metric] for run in final.runs]


def merit(facts: Facts) -> list[dict[str, str]]:
    """The four figures that one looks for first."""
    trial = facts.best
    if trial is None:
        return []
    peak = facts.peak or trial
    name, score = f"{score_name(facts)} after {peak.candidate.recipe.epochs} epochs", facts.value(peak)
    interval = facts.interval(peak)
    for final in facts.finals:  # what the network is worth, once it is known
        if final.trial == trial.number and final.data == facts.study.data:
            tested, scores = _tested(final)
            name, score = f"{tested}, {final.recipe.epochs} epochs", statistics.fmean(scores)
            interval = test_interval(final)
    name += "" if interval is None else f", 95 % interval {interval_words(interval, facts.metric).strip(' ()')}"
    figures = [{"name": name, "value": facts.metric.number(score), "unit": facts.metric.unit, "origin": ""}]
    figures += [
        {"name": latency.profile, "value": three_digits(latency.ms), "unit": "ms", "origin": latency.origin}
        for latency in list(trial.cost.latencies.values())[:2]
    ]
    figures.append({"name": "parameters", "value": f"{trial.cost.params:,}", "unit": "", "origin": ""})
    figures.append({"name": "weights on the device", "value": f"{trial.cost.size_mb:.3g}", "unit": "MB", "origin": ""})
    return figures


def asked(facts: Facts) -> Pairs:
    """What decided the result."""
    study = facts.study
    plan = plan_values(study)
    settings = plan.get("asked", {})
    pairs = [
        ("data", study.data),
        ("task", study.task),
        ("method", study.method),
        ("targets", ", ".join(study.profiles)),
    ]
    own = study.precision if len(study.profiles) == 1 else "each target's own"
    pairs.append(("precision", settings.get("precision") or own))
    pairs += [("limits", "; ".join(limit_words(study.limits)) or "none")]
    pairs += [("preset", str(plan.get("preset", "-"))), ("recipe", str(settings.get("recipe", "-")))]
    if settings.get("search_images"):
        pairs.append(("images", f"{settings['search_images']:,} of the training set, stratified"))
    return [*pairs, ("seed", str(study.seed))]


def found(facts: Facts) -> Pairs:
    """What came out, in counts."""
    counts = Counter(trial.status for trial in facts.trials)
    unread = sum(trial.number is None for trial in facts.trials)
    pairs = [("trained", f"{counts['complete']} networks" + (f", {unread} of them ahead of need" if unread else ""))]
    infeasible = f"{counts['infeasible']} broke a limit and were not trained" if counts["infeasible"] else "none"
    pairs += [("infeasible", infeasible), ("failed", str(counts["failed"] or "none"))]
    pairs += [("time", duration(facts.seconds))]
    pairs += [("ended early", decision.reason) for decision in facts.decisions if decision.verdict == "stop"]
    if facts.study.profiles and facts.complete:
        pairs.append(("on the front", f"{len(facts.front(facts.study.profiles[0]))} networks"))
    if facts.choice is not None and "depth" in facts.choice.macro:
        pairs.append(("macro network", ", ".join(f"{name} {value}" for name, value in facts.choice.macro.items())))
    if facts.control:
        best = max(facts.control, key=facts.score)
        pairs.append(("random control", f"best of {len(facts.control)} at equal budget: {facts.words(best)}"))
        groups = {"search": facts.complete, "control": facts.control}
        shares = covered(groups, facts.objective, facts.study.profiles[0])
        if shares:
            pairs.append(("hypervolume", share_words(shares)))
    return pairs


def limit_words(limits: Limits) -> list[str]:
    """Each limit as a phrase."""
    words = {
        "latency_ms": "latency ≤ {:g} ms",
        "params": "parameters ≤ {:,}",
        "size_mb": "size ≤ {:g} MB",
        "memory_mb": "memory ≤ {:g} MB",
        "energy_mj": "energy ≤ {:g} mJ",
    }
    values = {name: getattr(limits, name) for name in words}
    return [words[name].format(value) for name, value in values.items() if value is not None]


# ---------------------------------------------------------------- how the numbers were obtained


def trust_words(facts: Facts) -> Pairs:
    """What each target's latencies rest on, and the predictor's report card where it was calibrated."""
    pairs = []
    for name in facts.study.profiles:
        profile = facts.profile(name)
        if profile is None:
            pairs.append((name, "its profile is not here any more"))
            continue
        text = f"{trust(profile)}; confidence: {profile.confidence}"
        if (card := profile.calibration) is not None:
            text += f". {card.in_words}"
        pairs.append((name, text))
    return pairs


def network_sentence(facts: Facts, trial: Trial, stages: Sequence[Stage]) -> str:
    """What the kernels' milliseconds are, and how they relate to the network's own figure."""
    priced = [stage.ms for stage in stages if stage.ms is not None]
    name = facts.study.profiles[0]
    latency = trial.cost.latencies.get(name)
    if len(priced) < len(stages) or latency is None:
        return f"{name} has no prices of single kernels: latencies are of whole networks only."
    text = f"Per-kernel times are what {name}'s profile charges for each kernel; they add up to {sum(priced):.4g} ms."
    if latency.origin == "measured":
        return text + f" Measured as a whole, the network takes {milliseconds(latency)}."
    return text + f" No kernel was timed: the figure's origin is {latency.origin}."


def obtained(facts: Facts) -> Pairs:
    """Where each kind of number comes from."""
    study = facts.study
    pairs = [("scores", _score_origin(facts))]
    for name in study.profiles:
        latencies = [t.cost.latencies[name] for t in facts.trials if name in t.cost.latencies]
        origins = Counter(latency.origin for latency in latencies)
        how = Counter(latency.detail for latency in latencies if latency.detail)
        words = ", ".join(f"{count} {origin}" for origin, count in origins.items()) or "none yet"
        beyond = sum(latency.extrapolated for latency in latencies)
        words += f" ({beyond} of them beyond what the profile was calibrated on)" if beyond else ""
        if how:
            words += f"; {how.most_common(1)[0][0]}"
        pairs.append((f"latency, {name}", words))
    pairs.append(("costs", "parameters, MACs and bytes are counted from the architecture, before any training"))
    pairs.append(("seeds", f"study seed {study.seed}; every training's seed is a hash of it and of the candidate"))
    pairs.append(("trained on", str(plan_values(study).get("device", "-"))))
    pairs.append(("versions", _versions(facts)))
    return pairs


def _versions(facts: Facts) -> str:
    """Those that the study began with, and every change since."""
    spelled = [", ".join(f"{name} {version}" for name, version in facts.study.versions.items())]
    before = facts.study.versions
    for session in facts.sessions:
        if session.versions != before:
            changed = (f"{name} {version}" for name, version in session.versions.items() if before.get(name) != version)
            spelled.append(
                f"from {session.began} ({session.command}, after {session.trials} trials) {', '.join(changed)}"
            )
            before = session.versions
    return "; ".join(spelled)


def _score_origin(facts: Facts) -> str:
    data = "people" if facts.metric.name == TAR.name else "images"
    validation = validation_in(facts.study)
    many = "" if validation is None else f"{validation.images} "
    intervals = "; 95 % intervals" if any(facts.interval(trial) for trial in facts.complete) else ""
    return (
        f"on {many}validation {data} that no candidate was trained on; last epoch, short trainings of the search{intervals}. "
        "The test set is not touched by a search."
    )


def settings(facts: Facts) -> Pairs:
    """Every setting of the study, flattened, as its database holds it; the profiles have a section of their own."""
    plan = plan_values(facts.study)
    return [(name, msgspec.json.encode(value).decode()) for name, value in flat(plan).items()]


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
    pairs += [(f"latency, {latency.profile}", milliseconds(latency)) for latency in trial.cost.latencies.values()]
    pairs += [("parameters", f"{trial.cost.params:,}"), ("MACs", f"{trial.cost.macs:,}")]
    pairs += [("size", f"{trial.cost.size_mb:.4g} MB"), ("peak memory", f"{trial.cost.memory_mb:.4g} MB")]
    if trial.status == "complete":
        pairs.append(
            ("training", f"{trial.candidate.recipe.epochs} epochs in {duration(trial.seconds)}, seed {trial.seed}")
        )
    return pairs


def no_scatter_words(facts: Facts) -> str:
    """Why there is nothing to compare predictions with."""
    if facts.measurements:
        return (
            f"{len(facts.measurements)} measurements are in this study, none on a device whose profile also predicts: "
            "there is nothing to hold them against."
        )
    return "Nothing was measured in this study. edgenas search --board URL measures on the device."


def scatter_words(pairs: Sequence[Compared]) -> str:
    """How far predictions were off, and under which conditions both were made."""
    errors = sorted(abs(pair.predicted_ms / pair.measured_ms - 1) for pair in pairs)
    hosts = sorted({f"{pair.runtime}, {pair.precision} on {pair.host}" for pair in pairs})
    origins = " and ".join(sorted({pair.predicted_by for pair in pairs}))
    return f"Median difference {100 * errors[len(errors) // 2]:.1f} % ({origins} against {'; '.join(hosts)})."


def verdicts(facts: Facts) -> list[str]:
    """Did searching pay? The sentence that decides, then those on the other references."""
    found = facts.comparison
    if found is None:
        return []
    return [found.sentence, *(one.sentence for one in found.outcomes if one.sentence != found.sentence)]


# ---------------------------------------------------------------- values with their units


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def three_digits(value: float) -> str:
    """Three significant digits, zeros kept: 0.200, 12.3, 123."""
    return f"{value:#.3g}".rstrip(".")


def interval(low: float, high: float) -> str:
    """The ends of an interval, such as "3.40 to 5.20"."""
    return f"{three_digits(low)} to {three_digits(high)}"


def milliseconds(latency: Latency) -> str:
    """A latency with its interval, its origin and, where it was measured, its spread."""
    sure = "" if latency.low is None or latency.high is None else interval(latency.low, latency.high) + ", "
    text = f"{three_digits(latency.ms)} ms ({sure}{latency.origin}{', extrapolated' * latency.extrapolated}"
    if latency.n is not None:
        text += f", n {latency.n}"
    if latency.p90_ms is not None:
        text += f", p90 {three_digits(latency.p90_ms)} ms"
    return text + ")"
