"""The network that a report is about: the choice as it was searched, or the wider one that was trained in its place
(`--final-width macro`), whose cost no search has asked for."""

from __future__ import annotations

from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.again import settings_of
from edgenas.errors import EdgenasError
from edgenas.hardware.cost import counted
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import precision_of
from edgenas.records import Architecture, Cost, Latency, Precision
from edgenas.report.facts import Facts


def is_another(facts: Facts) -> bool:
    """Was another network trained in full than the one that was chosen?"""
    final, best = facts.final, facts.best
    return final is not None and best is not None and final.architecture != best.candidate.architecture


def architecture_shown(facts: Facts) -> Architecture | None:
    """What would be exported; before a final training the best network. None where nothing is trained."""
    if facts.final is not None:
        return facts.final.architecture
    return None if facts.best is None else facts.best.candidate.architecture


def cost_shown(facts: Facts) -> Cost | None:
    """What it costs. Another network than the searched one: as `edgenas compare` has it, else counted, and predicted where the
    target's profile can; a latency that nobody knows is left out."""
    architecture = architecture_shown(facts)
    if facts.best is None or architecture is None:
        return None
    if not is_another(facts):
        return facts.best.cost
    winners = facts.comparison.winners if facts.comparison is not None else ()
    known = next((one.cost for one in winners if one.trial == facts.best.number), None)
    return known or _predicted(facts, architecture)


def wider_words(facts: Facts) -> str:
    """Behind a trial's number, where another network was trained in its place."""
    return ", trained wider than it was searched (--final-width macro)" if is_another(facts) else ""


def _predicted(facts: Facts, architecture: Architecture) -> Cost:
    asked = settings_of(facts.study).precision
    precisions: list[Precision] = []
    latencies: dict[str, Latency] = {}
    for profile in map(facts.profile, facts.study.profiles):
        precisions.append(facts.study.precision if profile is None else precision_of(profile, asked))
        try:
            if profile is not None:
                latencies[profile.name] = latency_from_workload(profile, architecture, precisions[-1])
        except EdgenasError:  # host-cpu, which only measures
            continue
    return counted(workload_from_architecture(architecture), precisions, latencies)
