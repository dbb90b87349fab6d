"""What a study was asked and how its numbers were obtained, as pairs of a name and a value. The page escapes them all."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from edgenas.engine.fronts import covered, share_words
from edgenas.engine.plan import plan_values, validation_in
from edgenas.hardware.profile import trust
from edgenas.records import TAR, Limits
from edgenas.report.facts import Compared, Facts
from edgenas.report.values import Pairs, duration
from edgenas.store import flat


def asked(facts: Facts) -> Pairs:
    """What decided the result."""
    study = facts.study
    plan = plan_values(study)
    settings = plan.get("asked", {})
    pairs = [
        ("data", study.data),
        ("task", study.task),
        ("method", "none: the network was given" if facts.given else study.method),
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
    counts = Counter(trial.status for trial in facts.read)
    ahead = sum(trial.number is None and trial.status == "complete" for trial in facts.trials)
    pairs = [("trained", f"{counts['complete']} networks" + (f", and {ahead} ahead of need" if ahead else ""))]
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
        pairs.append(("random control", f"best of {len(facts.control)}, {facts.control_words}: {facts.words(best)}"))
        groups = {"search": facts.complete, "control": facts.control}
        shares = covered(groups, facts.objective, facts.study.profiles[0])
        if shares:
            pairs.append(("hypervolume", share_words(shares)))
    return pairs


def limit_words(limits: Limits) -> list[str]:
    """Each limit as a phrase."""
    words = {
        "latency_ms": "latency ≤ {:.12g} ms",
        "params": "parameters ≤ {:,}",
        "mmacs": "MACs ≤ {:.12g} M",
        "size_mb": "size ≤ {:.12g} MB",
        "memory_mb": "memory ≤ {:.12g} MB",
        "energy_mj": "energy ≤ {:.12g} mJ",
    }
    values = {name: getattr(limits, name) for name in words}
    told = [words[name].format(value) for name, value in values.items() if value is not None]
    return [*told, "latencies judged by the upper end of their interval"] if limits.margin else told


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


def obtained(facts: Facts) -> Pairs:
    """Where each kind of number comes from."""
    study = facts.study
    pairs = [("scores", _score_origin(facts))]
    for name in study.profiles:
        latencies = [t.cost.latencies[name] for t in facts.read if name in t.cost.latencies]
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
    images = "images of people" if facts.metric.name == TAR.name else "images"
    validation = validation_in(facts.study)
    many = "" if validation is None else f"{validation.images} "
    unseen = "that no candidate was trained on"
    if any(trial.candidate.cut for trial in facts.read):  # training/cuts.py
        unseen = "each, which that candidate was not trained on; repeats on other cuts of the images"
    intervals = "; 95 % intervals" if any(facts.interval(trial) for trial in facts.complete) else ""
    return (
        f"on {many}validation {images} {unseen}; last epoch, short trainings of the search{intervals}. "
        "The test set is not touched by a search."
    )


def settings(facts: Facts) -> Pairs:
    """Every setting of the study, flattened, as its database holds it; the profiles have a section of their own."""
    plan = plan_values(facts.study)
    return [(name, msgspec.json.encode(value).decode()) for name, value in flat(plan).items()]


def no_scatter_words(facts: Facts) -> str:
    """Why there is nothing to compare predictions with."""
    if facts.measurements:
        return (
            f"{len(facts.measurements)} measurements are in this study, none on a device whose profile also predicts: "
            "there is nothing to hold them against."
        )
    return "Nothing was measured in this study. `edgenas search --board URL` measures on the device."


def scatter_words(pairs: Sequence[Compared]) -> str:
    """How far predictions were off, and under which conditions both were made."""
    error = statistics.median(abs(pair.predicted_ms / pair.measured_ms - 1) for pair in pairs)
    hosts = sorted({f"{pair.runtime}, {pair.precision} on {pair.host}" for pair in pairs})
    origins = " and ".join(sorted({pair.predicted_by for pair in pairs}))
    return f"Median difference {100 * error:.1f} % ({origins} against {'; '.join(hosts)})."
