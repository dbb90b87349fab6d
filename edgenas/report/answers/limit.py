"""Did the network meet its limits, and how surely?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from edgenas.engine.counts import counted
from edgenas.hardware.measure import percentiles
from edgenas.ranges import beside
from edgenas.records import Cost, Latency, Limits, Measurement
from edgenas.report.answers.commands import verify_command
from edgenas.report.facts import Facts
from edgenas.report.shown import architecture_shown, cost_shown, is_another
from edgenas.report.values import digits_beside, interval, three_digits

Held = Literal["none", "unknown", "yes", "likely", "open", "no"]
WORST_FIRST: tuple[Held, ...] = ("no", "open", "likely", "yes")
BADGES: dict[Held, str] = {
    "none": "no limit",
    "unknown": "not known yet",
    "yes": "yes",
    "likely": "likely",
    "open": "not certain",
    "no": "no",
}
_ORIGINS = {"measured": "measured", "predicted": "predicted", "datasheet": "by the datasheet"}
SHARE = "nine of ten measurements of such networks lie in that interval"


@dataclass(frozen=True)
class Met:
    """`held`: the worst over all limits and targets; yes: measured, counted, or the whole interval keeps it; likely: the figure
    keeps it, and how far that may be off is not known; open: the interval crosses it; unknown: nothing is trained yet that could
    keep or break it."""

    held: Held
    sentences: tuple[str, ...]

    @property
    def badge(self) -> str:
        return BADGES[self.held]


def met_limits(facts: Facts) -> Met:
    """Every limit on every target, for the chosen network, or while the search runs the best one so far."""
    limits, cost = facts.study.limits, cost_shown(facts)
    if cost is None:
        asked = any(getattr(limits, name) for name in limits.__struct_fields__ if name != "margin")
        return Met("unknown" if asked else "none", ("No network is trained yet.", *_untrained(facts, "candidate")))
    found = [*_latencies(facts, cost, limits), *_energies(facts, cost, limits), *_counted(cost, limits)]
    sentences = [sentence for _, sentence in found]
    held: Held = min((held for held, _ in found), key=WORST_FIRST.index, default="none")
    if not found:
        sentences.append("No limit was asked for.")
    if limits.latency_ms is None:
        sentences += [_unlimited(latency) for latency in cost.latencies.values()]
    if (other := _other_network(facts, cost)) is not None:
        sentences.append(other)
    return Met(held, (*sentences, *_untrained(facts, "other candidate")))


def _untrained(facts: Facts, noun: str) -> Iterator[str]:
    """How many were not trained, and why."""
    broken = sum(one.status == "infeasible" for one in facts.read)
    if broken:
        yield f"{counted(broken, noun)} broke a limit, and took no training time."
    failed = [one for one in facts.read if one.status == "failed"]
    if failed:
        yield f"{counted(len(failed), noun)} could not be trained: {failed[-1].error.rstrip('.')}."


# ---------------------------------------------------------------- latencies


def _latencies(facts: Facts, cost: Cost, limits: Limits) -> Iterator[tuple[Held, str]]:
    if limits.latency_ms is None:
        return
    for name in _unknown(facts, cost):
        yield (
            "open",
            f"Whether it keeps the limit of {limits.latency_ms:.12g} ms on {name} is not known.{_measuring(facts)}",
        )
    for latency in cost.latencies.values():
        measurement = _measured_beside(facts, latency)
        if measurement is not None:
            yield _judged_beside(latency, measurement, limits.latency_ms)
            continue
        held, words = _judged(latency, limits.latency_ms)
        if limits.margin and latency.high is not None:
            words += " The search judged candidates by the upper end (--margin)."
        if latency.extrapolated:
            words += " The network lies beyond what the profile was fitted on, which is why the interval is wide."
        if held in ("open", "likely"):
            words += _measuring(facts)
        yield held, words


def _measuring(facts: Facts) -> str:
    """How a board would tell."""
    command = verify_command(facts)
    if command is None:
        return " Trained in full and exported, its file can be measured on the device (`edgenas verify --bundle`)."
    if "--bundle" in command:
        return f" Once it is exported, `{command}` measures its file on the device."
    return f" `{command}` measures it on the device."


def _unknown(facts: Facts, cost: Cost) -> list[str]:
    """Targets on which nobody knows the latency: of the network that was trained in place of the searched one, or of one that has
    none at all."""
    unknown = is_another(facts) or not cost.latencies
    return [name for name in facts.study.profiles if name not in cost.latencies] if unknown else []


def _judged(latency: Latency, limit: float) -> tuple[Held, str]:
    """One latency against the limit."""
    ms, where = digits_beside(latency.ms, limit), f"the limit of {limit:.12g} ms on {latency.profile}"
    if latency.origin == "measured":
        return _judged_measured(latency, limit, where)
    figure = f"{ms} ms {_ORIGINS[latency.origin]}"
    if latency.low is None or latency.high is None:
        held: Held = "likely" if latency.ms <= limit else "no"
        keeps = "keeps" if latency.ms <= limit else "breaks"
        return held, (
            f"It {keeps} {where} by the figure alone: {figure}. How far that may be off is not known: no network was ever "
            "held against a measurement there."
        )
    figure += f", {digits_beside(latency.low, limit)} to {digits_beside(latency.high, limit)} ms"
    if latency.high <= limit:
        return "yes", f"It keeps {where}, at the upper end of its interval too: {figure}; {SHARE}."
    if latency.low > limit:
        return "no", f"It breaks {where}, even at the lower end of its interval: {figure}; {SHARE}."
    side = "keeps it" if latency.ms <= limit else "breaks it"
    return (
        "open",
        f"Whether it keeps {where} is not certain: the figure {side}, and the interval crosses it: {figure}; {SHARE}.",
    )


def _judged_measured(latency: Latency, limit: float, where: str) -> tuple[Held, str]:
    runs = f" over {latency.n} runs" if latency.n is not None else ""
    figure = f"measured median {digits_beside(latency.ms, limit)} ms{runs}"
    if latency.p90_ms is not None:
        figure += f", nine of ten within {digits_beside(latency.p90_ms, limit)} ms"
    if latency.ms > limit:
        return "no", f"It breaks {where}: {figure}."
    if not latency.stable:
        return "open", f"It keeps {where} ({figure}), but the device was busy or slowed itself down: measure again."
    if latency.p90_ms is not None and latency.p90_ms > limit:
        return "open", f"Its median keeps {where}, and more than one run in ten takes longer: {figure}."
    return "yes", f"It keeps {where}: {figure}."


def _unlimited(latency: Latency) -> str:
    sure = "" if latency.low is None or latency.high is None else f", {interval(latency.low, latency.high)} ms"
    beyond = ", extrapolated" * latency.extrapolated
    return f"It takes {three_digits(latency.ms)} ms on {latency.profile} ({_ORIGINS[latency.origin]}{beyond}{sure})."


def _measured_beside(facts: Facts, latency: Latency) -> Measurement | None:
    """What was measured of this network, where the search went by a prediction: the board was away when it was decided."""
    if latency.origin == "measured":
        return None
    architecture = architecture_shown(facts)
    fingerprint = "" if architecture is None else architecture.fingerprint
    found = [
        one
        for key, one in facts.measurements.items()
        if key.split()[0] == fingerprint and one.profile == latency.profile and one.status in ("ok", "unstable")
    ]
    return found[-1] if found else None


def _judged_beside(latency: Latency, measurement: Measurement, limit: float) -> tuple[Held, str]:
    """The measurement decides."""
    runs, stable = len(measurement.samples_ms), measurement.status == "ok"
    ms = percentiles(measurement)
    measured = msgspec.structs.replace(
        latency, ms=ms["median"], origin="measured", n=runs, p90_ms=ms["p90"], stable=stable
    )
    held, words = _judged_measured(measured, limit, f"the limit of {limit:.12g} ms on {latency.profile}")
    went_by = f"{three_digits(latency.ms)} ms, {_ORIGINS[latency.origin]}"
    return held, f"{words} The search went by {went_by}: it was measured afterwards."


# ---------------------------------------------------------------- the others


def _energies(facts: Facts, cost: Cost, limits: Limits) -> Iterator[tuple[Held, str]]:
    if limits.energy_mj is None:
        return
    unknown = "is not known: energy is only known where a board measures it."
    for name in _unknown(facts, cost):
        yield "open", f"Whether it keeps the limit of {limits.energy_mj:.12g} mJ on {name} {unknown}"
    for latency in cost.latencies.values():
        where = f"the limit of {limits.energy_mj:.12g} mJ on {latency.profile}"
        if latency.energy_mj is None:
            yield "open", f"Whether it keeps {where} is not known: energy is only known where a board measures it."
        else:
            held: Held = "yes" if latency.energy_mj <= limits.energy_mj else "no"
            yield held, f"It {_verb(held)} {where}: {digits_beside(latency.energy_mj, limits.energy_mj)} mJ, measured."


def _counted(cost: Cost, limits: Limits) -> Iterator[tuple[Held, str]]:
    """What is counted from the architecture, and so is exact."""
    for limit, value, what in (
        (limits.params, cost.params, "parameters"),
        (limits.size_mb, cost.size_mb, "MB of weights"),
        (limits.memory_mb, cost.memory_mb, "MB of weights and activations at batch 1"),
        (limits.mmacs, cost.macs / 1e6, "million multiply-accumulates"),
    ):
        if limit is not None:
            held: Held = "yes" if value <= limit else "no"
            has = beside(value, limit) if what.startswith("MB") else f"{value:,.12g}"
            yield held, f"It {_verb(held)} the limit of {limit:,.12g} {what}: it has {has} {what}, counted exactly."


def _verb(held: Held) -> str:
    return "keeps" if held == "yes" else "breaks"


def _other_network(facts: Facts, cost: Cost) -> str | None:
    """`--final-width macro` trains a wider network than the one that the search judged."""
    if facts.best is None or not is_another(facts):
        return None
    return (
        f"The network that was trained in full is another one than the search judged: {cost.params:,} parameters in place of "
        f"{facts.best.cost.params:,} (--final-width macro). What is said here is of the one that was trained."
    )
