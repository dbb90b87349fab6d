"""One study in tables, as the page prints it: a header and rows of text, which the page escapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from edgenas.architectures.subspace import kept_by
from edgenas.engine.fronts import network_words
from edgenas.engine.scores import expected_words, interval_words, split_words
from edgenas.engine.verdict import is_learned
from edgenas.hardware.words import latency_words
from edgenas.records import Latency, Trial
from edgenas.report.facts import Facts
from edgenas.report.figure import score_words, with_unit
from edgenas.report.network import Stage
from edgenas.report.values import data_words, duration

Table = dict[str, Any]


def front_table(facts: Facts) -> Table:
    """The front on the first target, fastest first; a choice that is not on it stands below it."""
    profiles = facts.study.profiles
    front = facts.front(profiles[0])
    shown, chosen = list(front), facts.best_on(front) if facts.choice else None
    if chosen is not None and chosen not in front:
        shown.append(chosen)
    metered = [name for name in profiles if any(_energy(trial, name) is not None for trial in shown)]
    header = [
        "trial",
        score_words(facts),
        *(["expected"] if facts.choice and facts.choice.expected else []),
        *(f"ms on {profile}" for profile in profiles),
        *(f"mJ on {profile}" for profile in metered),
        "parameters",
        "MACs",
        "epochs",
        "network",
    ]
    rows = [[_called(trial, front, chosen), *_row(facts, trial, metered)] for trial in shown]
    return {"header": header, "rows": rows}


def ledger(facts: Facts) -> Table:
    """Every trial; in a search of thousands this is the longest part of the page."""
    profiles = facts.study.profiles
    header = [
        "trial",
        "phase",
        "status",
        score_words(facts),
        *(f"ms on {profile}" for profile in profiles),
        "parameters",
        "epochs",
        "seconds",
        "network or reason",
    ]
    rows = []
    for trial in facts.trials:
        words = network_words(msgspec.to_builtins(trial.candidate.architecture))
        rows.append(
            [
                "ahead of need" if trial.number is None else str(trial.number),
                trial.candidate.phase,
                trial.status,
                _score(facts, trial),
                *(_milliseconds(trial, profile) for profile in profiles),
                f"{trial.cost.params:,}",
                str(trial.candidate.recipe.epochs),
                f"{trial.seconds:.1f}",
                f"{words} ({trial.error})" if trial.error else words,
            ]
        )
    return {"header": header, "rows": rows}


def rounds_table(facts: Facts) -> Table | None:
    """NSE: what every round looked at and kept."""
    if not facts.rounds:
        return None
    rows = []
    for played, kept in zip(facts.rounds, kept_by(facts.rounds), strict=True):
        plan = played.plan
        best = min((network.error for network in played.survivors), default=None)
        rows.append(
            [
                str(plan.number),
                " ".join(f"{kind}:{len(ops)}" for kind, ops in zip(plan.space.kinds, plan.subspace, strict=True)),
                " ".join(str(len(ops)) for ops in kept),
                str(len(played.networks)),
                str(len(played.survivors)),
                "-" if best is None else facts.metric.words(best),
                duration(played.seconds),
            ]
        )
    header = [
        "round",
        "operations looked at, per cell",
        "kept, per cell",
        "scored",
        "on its front",
        "least error",
        "time",
    ]
    return {"header": header, "rows": rows}


def finals_table(facts: Facts) -> Table | None:
    """One line per seed of every final training."""
    if not facts.finals:
        return None
    name = facts.metric.name if facts.metric.unit != "%" else ""
    test, val = (with_unit(f"{split} {name}".rstrip(), facts.metric) for split in ("test", "validation"))
    header = ["trial", test, val, "best epoch", "epochs", "time", "parameters", "data", "seed"]
    rows = [
        [
            str(final.trial),
            split_words(run.test, final, "test"),
            split_words(run.val, final, "val"),
            str(run.best_epoch),
            str(final.recipe.epochs),
            duration(run.seconds),
            f"{final.params:,}",
            data_words(final.data),
            str(run.seed),
        ]
        for final in facts.finals
        for run in final.runs
    ]
    return {"header": header, "rows": rows}


def comparison_table(facts: Facts) -> Table | None:
    """The searched networks and the public ones, trained alike."""
    found = facts.comparison
    if found is None:
        return None
    metric = found.metric
    score = with_unit(f"test {metric.name}", metric)
    header = ["network", score, f"ms on {found.profile}", "parameters", "MACs", "epochs", "time of a run", "weights"]
    rows = [
        [
            one.name,
            f"{metric.number(one.mean)}{interval_words(one.interval, metric)}",
            _with_learned(one.cost.latencies[found.profile]),
            f"{one.cost.params:,}",
            f"{one.cost.macs:,}",
            str(one.epochs),
            duration(one.seconds),
            one.origin,
        ]
        for one in (*found.winners, *found.references)
    ]
    return {"header": header, "rows": rows}


def _with_learned(latency: Latency) -> str:
    """A latency beside others, which may be of another origin."""
    return latency_words(latency) + ", learned from the board" * is_learned(latency)


def stages_table(stages: Sequence[Stage], precision: str) -> Table:
    """One line per stage."""
    header = ["stage", "kernels", "made of", "parameters", f"kB moved, {precision}", "ms"]
    rows = [
        [
            stage.name,
            str(len(stage.kernels)),
            ", ".join(f"{count} {kind}" for kind, count in Counter(kernel.kind for kernel in stage.kernels).items()),
            f"{stage.params:,}",
            f"{stage.kilobytes:,.1f}",
            "-" if stage.ms is None else f"{stage.ms:.4f}",
        ]
        for stage in stages
    ]
    return {"header": header, "rows": rows}


def kernels_table(stages: Sequence[Stage], precision: str) -> Table:
    """One line per kernel."""
    header = ["kernel", "what", "makes", "parameters", "MACs", f"kB moved, {precision}", "ms"]
    rows = [
        [
            str(kernel.index),
            kernel.words,
            kernel.shape,
            f"{kernel.params:,}",
            f"{kernel.macs:,}",
            f"{kernel.kilobytes:,.1f}",
            "-" if kernel.ms is None else f"{kernel.ms:.4f}",
        ]
        for stage in stages
        for kernel in stage.kernels
    ]
    return {"header": header, "rows": rows}


def _called(trial: Trial, front: Sequence[Trial], chosen: Trial | None) -> str:
    if chosen is None or trial.number != chosen.number:
        return str(trial.number)
    return f"{trial.number} (chosen)" if trial in front else f"{trial.number} (chosen, not on the front)"


def _row(facts: Facts, trial: Trial, metered: Sequence[str]) -> list[str]:
    """All but the trial's number; energies on the targets `metered`."""
    latencies = [trial.cost.latencies.get(profile) for profile in facts.study.profiles]
    return [
        _score(facts, trial),
        *([_expected(facts, trial)] if facts.choice and facts.choice.expected else []),
        *(latency_words(latency) if latency else "-" for latency in latencies),
        *("-" if (mj := _energy(trial, name)) is None else f"{mj:.3g}" for name in metered),
        f"{trial.cost.params:,}",
        f"{trial.cost.macs:,}",
        str(trial.candidate.recipe.epochs),
        network_words(msgspec.to_builtins(trial.candidate.architecture)),
    ]


def _energy(trial: Trial, profile: str) -> float | None:
    """Of one inference, mJ; None where no board measured it."""
    return trial.cost.latencies[profile].energy_mj if profile in trial.cost.latencies else None


def _milliseconds(trial: Trial, profile: str) -> str:
    """With the ends of its interval, 0.812 (0.33 to 2.97), where it has one; "-" where it is not known."""
    latency = trial.cost.latencies.get(profile)
    if latency is None:
        return "-"
    sure = latency.low is not None and latency.high is not None
    return f"{latency.ms:.3f} ({latency.low:.3g} to {latency.high:.3g})" if sure else f"{latency.ms:.3f}"


def _expected(facts: Facts, trial: Trial) -> str:
    known = facts.expected(trial)
    return "-" if known is None else expected_words(known, facts.metric).replace("+-", "±")


def _score(facts: Facts, trial: Trial) -> str:
    if facts.objective not in trial.scores:
        return "-"
    return f"{facts.metric.number(facts.value(trial))}{interval_words(facts.interval(trial), facts.metric)}"
