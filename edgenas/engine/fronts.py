"""What a study found: its Pareto front, as items for people and programs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgenas.architectures.words import words_of
from edgenas.engine.hypervolume import hypervolumes
from edgenas.engine.noise import Noise, noise_of_scores, seed_noise
from edgenas.engine.plan import plan_values, validation_in
from edgenas.engine.registry import method_named
from edgenas.engine.scores import at_chance, best_of_network, interval_of, noise_of_expected
from edgenas.errors import EdgenasError
from edgenas.methods import CONTROL
from edgenas.methods.baselines import work
from edgenas.records import Choice, Expectation, StagesArchitecture, StudyRecord, Trial
from edgenas.store import Store

SERVING_TOLERANCE, SERVING_SLACK = 0.5, 1.1  # points; times the latency of the fastest
Point = tuple[float, float, float, int]  # all to be small: -score, latency, energy where it was measured, parameters


def front(
    trials: Sequence[Trial], objective: str, profile: str, expected: Mapping[str, Expectation] | None = None
) -> list[Trial]:
    """Trained trials that no other beats in score, parameters, and latency and energy (where all were measured) on `profile`
    at once; fastest first. `expected` (Choice.expected): a network's expected score counts in place of its scores, and once."""
    points = {}
    complete = [trial for trial in trials if trial.status == "complete"]
    energies = energy_counts(complete, profile)
    for trial in complete:
        point, known = _point(trial, objective, profile, energies), _expectation(trial, expected)
        if known is None:
            points[trial.candidate.key] = (trial, point)
        else:
            points.setdefault(trial.candidate.architecture.fingerprint, (trial, (-known.mean, *point[1:])))
    kept: list[tuple[Trial, Point]] = []
    for trial, point in sorted(points.values(), key=lambda pair: pair[1]):  # whatever beats a point comes before it
        if not any(_dominates(other, point) or _twins(same, trial) for same, other in kept):
            kept.append((trial, point))
    return [trial for trial, _ in sorted(kept, key=lambda pair: pair[1][1:])]


def finalists(store: Store) -> list[Trial]:
    """The chosen trial, and the front on the first target as it is shown: without the control's trials, by expected scores where
    there are any. Every network once, by the chosen trial where it is the chosen one."""
    searched, choice = [trial for trial in store.ledger() if trial.candidate.phase != CONTROL], store.choice
    objective, profile = store.study.metric.objective, store.study.profiles[0]
    found = front(searched, objective, profile, choice.expected if choice else None)
    every = [*([choice.trial] if choice else []), *found]
    return list({trial.candidate.architecture.fingerprint: trial for trial in reversed(every)}.values())[::-1]


def energy_counts(trained: Sequence[Trial], profile: str) -> bool:
    """Was the energy of all of them measured on `profile`? Only then the front there is one of energy, too."""
    on = [trial.cost.latencies.get(profile) for trial in trained]
    return bool(on) and all(latency is not None and latency.energy_mj is not None for latency in on)


def _twins(one: Trial, other: Trial) -> bool:
    """One network: a search may train it again, in another phase."""
    return one.candidate.architecture == other.candidate.architecture


def within_noise(
    found: Sequence[Trial],
    study: StudyRecord,
    expected: Mapping[str, Expectation] | None = None,
    seeds: Noise | None = None,
) -> list[int | None] | None:
    """Numbers of those that cannot be told from the best one: by their expected scores where there are any, else by their scores
    (`noise_of_scores`); None where nothing is known of what is noise. `seeds`: what training a network again changes."""
    known = [one for trial in found if (one := _expectation(trial, expected)) is not None]
    if found and len(known) == len(found):
        best = max(known, key=lambda one: one.mean)
        near = [best.mean - one.mean <= noise_of_expected(best, one) for one in known]
        return [trial.number for trial, inside in zip(found, near, strict=True) if inside]
    objective = study.metric.objective
    highest = max(found, key=lambda trial: trial.scores[objective], default=None)
    if highest is None:
        return None
    bars = [noise_of_scores(trial, highest, study, seeds) for trial in found]
    behind = [highest.scores[objective] - trial.scores[objective] for trial in found]
    if any(bar is None for bar in bars):
        return None
    return [
        trial.number for trial, bar, away in zip(found, bars, behind, strict=True) if bar is not None and away <= bar
    ]


def smallest_serving_set(
    trials: Sequence[Trial], objective: str, profiles: Sequence[str], tolerance: float, slack: float = SERVING_SLACK
) -> list[Trial]:
    """The fewest trials such that every device has one that serves it: within `tolerance` points of the best score, and at
    most `slack` times as slow there as the fastest of those. Greedy set cover, the more accurate first on a tie."""
    complete = [trial for trial in trials if trial.status == "complete"]
    best = max(trial.scores[objective] for trial in complete)
    good = [trial for trial in complete if trial.scores[objective] >= best - tolerance]
    fastest = {profile: min(_point(trial, objective, profile)[1] for trial in good) for profile in profiles}
    serves = {
        trial.candidate.key: {p for p in profiles if _point(trial, objective, p)[1] <= slack * fastest[p]}
        for trial in good
    }
    chosen: list[Trial] = []
    open_profiles = set(profiles)
    while open_profiles:
        pick = max(good, key=lambda t: (len(serves[t.candidate.key] & open_profiles), t.scores[objective]))
        chosen.append(pick)
        open_profiles -= serves[pick.candidate.key]
    return chosen


def item(trial: Trial, study: StudyRecord, expected: Mapping[str, Expectation] | None = None) -> dict[str, Any]:
    """One trial as the CLI prints it. `expected`: what the search's model expects of its network, in the metric's unit."""
    known = _expectation(trial, expected)
    objective = f"val_{study.metric.name}"  # as people read it
    latencies = msgspec.to_builtins(trial.cost.latencies)
    first = latencies.get(study.profiles[0], {})
    described: dict[str, Any] = {
        "trial": trial.number,
        "phase": trial.candidate.phase,
        "epochs": trial.candidate.recipe.epochs,
        "architecture": msgspec.to_builtins(trial.candidate.architecture),
        "params": trial.cost.params,
        "macs": trial.cost.macs,
        objective: trial.scores.get(objective),
        f"{objective}_interval": interval_of(trial.scores, objective, validation_in(study)),
        "expected": None if known is None else {"mean": study.metric.gain(known.mean), "sd": known.sd},
        "latency": {key: first.get(key) for key in ("ms", "low", "high", "origin", "profile")},
        "latencies": latencies,
    }
    if "val_far" in trial.scores:
        described["far"] = trial.scores["val_far"]
    return described


def chosen_item(choice: Choice, trials: Sequence[Trial], study: StudyRecord) -> dict[str, Any]:
    """The choice with the best score that its architecture reached, and the trial that reached it: a search may end with a
    short training of a network that it had trained longer before."""
    objective = f"val_{study.metric.name}"
    best = best_of_network(choice.trial, trials, study.metric.objective)
    scored = (objective, f"{objective}_interval")
    return item(choice.trial, study, choice.expected) | {
        **{key: value for key, value in item(best, study).items() if key in scored},
        f"{objective}_trial": best.number,
        f"{objective}_epochs": best.candidate.recipe.epochs,
    }


def summary(
    study: StudyRecord, folder: str, trials: Sequence[Trial], choice: Choice | None, seconds: float
) -> dict[str, Any]:
    """The document of `edgenas search` and `edgenas front`: chosen, front, counts."""
    objective = study.metric.objective
    searched = [trial for trial in trials if trial.candidate.phase != CONTROL]
    control = [trial for trial in trials if trial.candidate.phase == CONTROL]
    expected = choice.expected if choice else None
    on = {profile: front(searched, objective, profile, expected) for profile in study.profiles}
    fronts, best = {profile: [t.number for t in found] for profile, found in on.items()}, on[study.profiles[0]]
    document: dict[str, Any] = {
        "study": folder,
        "method": study.method,
        "metric": msgspec.to_builtins(study.metric),
        "chosen": chosen_item(choice, trials, study) if choice else None,
        "at_chance": at_chance(trials, study),
        "ended_early": "; ".join(d.reason for d in choice.decisions if d.verdict == "stop") or None if choice else None,
        "macro": choice.macro if choice else {},
        "front": [item(trial, study, expected) for trial in best],
        "limits": msgspec.to_builtins(study.limits),
        "precision": study.precision,
        "objects": list(plan_values(study).get("objects", ())),
        "within_noise": within_noise(best, study, expected, seed_noise(trials, objective)),
        "uncertain": [trial.number for trial in best if study.limits.uncertain(trial.cost)],
        "within_by_upper_end": [trial.number for trial in searched if _sure(trial, study)],
        "fronts": fronts,
        "trials": sum(trial.status == "complete" for trial in trials),
        "infeasible": sum(trial.status == "infeasible" for trial in trials),
        "failed": sum(trial.status == "failed" for trial in trials),
        "seconds": round(seconds, 3),
    }
    if len(study.profiles) > 1 and any(trial.status == "complete" for trial in searched):
        serving = smallest_serving_set(searched, objective, study.profiles, SERVING_TOLERANCE)
        document["serving_set"] = {
            "tolerance": SERVING_TOLERANCE,
            "latency_slack": SERVING_SLACK,
            "trials": [trial.number for trial in serving],
        }
    if control:
        document["control_share"] = control_share(trials, study.method)
        document["control"] = [item(trial, study) for trial in front(control, objective, study.profiles[0])]
        document["hypervolume"] = covered({"search": searched, "control": control}, objective, study.profiles[0])
    return document


def _sure(trial: Trial, study: StudyRecord) -> bool:
    """Would a search with --margin have taken this network?"""
    return not msgspec.structs.replace(study.limits, margin=True).broken(trial.cost)


def covered(groups: Mapping[str, Sequence[Trial]], objective: str, profile: str) -> dict[str, float]:
    """Hypervolume of each group's (error, latency); empty where a group has nothing to show."""
    points = {
        name: [(-t.scores[objective], _point(t, objective, profile)[1]) for t in trials if t.status == "complete"]
        for name, trials in groups.items()
    }
    return hypervolumes(points) if all(points.values()) else {}


def control_share(trials: Sequence[Trial], method: str) -> float | None:
    """What the control's trainings cost beside those of the search (`work`), as with_control counts it: 1 or more once it has
    spent what the search has. None where the method has a control of its own, which spends no budget."""
    with contextlib.suppress(EdgenasError):  # a method that is not installed here
        if method_named(method).control == "own":
            return None
    spent = sum(work(trial) for trial in trials if trial.candidate.phase != CONTROL)
    had = sum(work(trial) for trial in trials if trial.candidate.phase == CONTROL)
    return had / spent if spent else None


def budget_words(share: float | None) -> str:
    """How much a control was trained beside the search."""
    if share is None:
        return "trained as the search's own last ones"
    if share >= 1:
        return "at equal budget"
    return (
        f"at {math.floor(100 * share)} % of the search's budget"
        if share >= 0.01
        else "at under 1 % of the search's budget"
    )


def share_words(shares: Mapping[str, float]) -> str:
    """Each group's hypervolume in a few words."""
    return ", ".join(f"{name} {share:.3f}" for name, share in shares.items())


def network_words(architecture: dict[str, Any]) -> str:
    """A network in a few words."""
    if architecture["type"] == "chain":
        words = f"depth {architecture['depth']}, width {architecture['width']}"
        dense = [str(i) for i, op in enumerate(architecture["ops"]) if op == 1]
        large = [f"{i}:{k}" for i, k in enumerate(architecture["kernels"]) if k != 3]
        return (
            words + (f", dense {' '.join(dense)}" if dense else "") + (f", kernels {' '.join(large)}" if large else "")
        )
    if architecture["type"] == "multibranch":
        cells = [cell for cell in architecture["cells"] if cell["ops"]]
        branches = sum(len(cell["ops"]) for cell in cells)
        return f"{len(cells)} cells with {branches} branches, stem {architecture['stem_channels']}, pool {architecture['pool']}"
    if architecture["type"] == "cell":
        return f"{architecture['cell']['space']} cells, {architecture['channels']} channels"
    if architecture["type"] == "stages":
        return words_of(msgspec.convert(architecture, type=StagesArchitecture))
    if architecture["type"] == "own":
        return f"{architecture['space']}: {', '.join(f'{name} {value}' for name, value in architecture['choices'].items())}"
    if architecture["type"] == "onnx":
        return str(architecture["name"])
    return str(architecture["type"])


def _expectation(trial: Trial, expected: Mapping[str, Expectation] | None) -> Expectation | None:
    return expected.get(trial.candidate.architecture.fingerprint) if expected else None


def _point(trial: Trial, objective: str, profile: str, energies: bool = False) -> Point:
    latency = trial.cost.latencies.get(profile)
    ms = latency.ms if latency else 0.0
    energy_mj = (latency.energy_mj or 0.0) if latency and energies else 0.0
    return -trial.scores[objective], ms, energy_mj, trial.cost.params


def _dominates(a: Point, b: Point) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
