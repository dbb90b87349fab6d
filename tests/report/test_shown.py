"""The network that the page is about, where a wider one was trained in place of the searched one (`--final-width macro`)."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import ChainArchitecture, FinalRun, FinalTraining, Latency, Preprocessing, Trial
from edgenas.report.facts import read_facts
from edgenas.report.html import html_from_studies
from edgenas.report.values import three_digits
from edgenas.report.words import merit
from tests.report.studies import TARGET, published_study
from tests.report.test_html import Text, page_data


def test_a_wider_network_that_was_trained_in_full_stands_in_the_head_with_its_own_cost(tmp_path: Path) -> None:
    """`--final-width macro`: its test score is not shown beside the parameters and the latency of the searched network."""
    facts = read_facts(published_study(tmp_path / "cifar10"))
    assert facts.best is not None
    best = facts.best.candidate.architecture
    assert isinstance(best, ChainArchitecture)
    wider = msgspec.structs.replace(best, width=2 * best.width)
    run = FinalRun(1, "1.safetensors", {"accuracy": 96.0}, {"accuracy": 95.0}, 48, {}, {}, 10.0)
    how = (facts.best.candidate.recipe, "cifar10", "accuracy", ("a",), Preprocessing(3, 32, (0.5,) * 3, (0.5,) * 3))
    for network, widened in ((best, False), (wider, True)):
        trained = FinalTraining(facts.best.number or 0, network, *how, 5, (run,), 30.0)
        shown = dataclasses.replace(facts, finals=(trained,))
        params = workload_from_architecture(network).params
        latency = latency_from_workload(profile_from_name(TARGET), network, "fp32")
        page = html_from_studies([shown])
        words, figures = str(Text(page)), {one["name"].split(",")[0]: one["value"] for one in merit(shown)}
        assert f"A network of {params:,} parameters for jetson-nano-4gb" in words
        assert (figures["test accuracy"], figures["parameters"]) == ("96.00", f"{params:,}")
        assert figures[TARGET] == three_digits(latency.ms)
        assert figures["weights on the device"] == f"{4e-6 * params:.3g}"
        named = ", trained wider than it was searched (--final-width macro): "
        assert words.count(named) == 2 * widened  # below the headline, and where it says which one to ship
        assert ("<h2>The network that was trained in full</h2>" in page) == widened
        figure = page_data(page)["figures"]["s1-network"]["views"][0]  # type: ignore[index]
        microseconds = sum(sum(trace["y"]) for trace in figure["data"] if trace["yaxis"] == "y2")
        assert microseconds / 1e3 == pytest.approx(latency.ms)


def test_a_wider_network_has_no_latency_where_none_can_be_predicted(tmp_path: Path) -> None:
    """On host-cpu networks are measured, and nobody has measured this one."""

    def measured(trial: Trial) -> Trial:
        there = {"host-cpu": Latency(2.0, "measured", "host-cpu")}
        return msgspec.structs.replace(trial, cost=msgspec.structs.replace(trial.cost, latencies=there))

    facts = read_facts(published_study(tmp_path / "cifar10", profiles=("host-cpu",)))
    assert facts.choice is not None
    best = measured(facts.choice.trial)
    choice = msgspec.structs.replace(facts.choice, trial=best)
    facts = dataclasses.replace(facts, trials=tuple(map(measured, facts.trials)), choice=choice)
    assert isinstance(best.candidate.architecture, ChainArchitecture)
    how = ("cifar10", "accuracy", ("a",), Preprocessing(3, 32, (0.5,) * 3, (0.5,) * 3), 5)
    run = FinalRun(1, "1.safetensors", {"accuracy": 96.0}, {"accuracy": 95.0}, 48, {}, {}, 10.0)
    wider = msgspec.structs.replace(best.candidate.architecture, width=2 * best.candidate.architecture.width)
    trained = FinalTraining(best.number or 0, wider, best.candidate.recipe, *how, (run,), 30.0)
    shown = dataclasses.replace(facts, finals=(trained,))
    assert {one["unit"] for one in merit(facts)} == {"%", "ms", "", "MB"}
    assert {one["unit"] for one in merit(shown)} == {"%", "", "MB"}
    assert "no prices of single kernels" in str(Text(html_from_studies([shown])))
