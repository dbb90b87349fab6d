"""What the report says of the chosen network's kernels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgenas.records import Latency
from edgenas.report.facts import read_facts
from edgenas.report.network import stages_of
from edgenas.report.words import network_sentence
from tests.report.studies import published_study


def test_the_first_kernel_bears_the_start_of_a_run_and_the_kernels_add_up_to_the_network(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "s"))
    trial = facts.best
    assert trial is not None
    name = facts.study.profiles[0]
    stages = stages_of(trial.candidate.architecture, facts.profile(name), "fp32")
    latency = trial.cost.latencies[name]
    assert sum(stage.ms or 0.0 for stage in stages) == pytest.approx(latency.ms, rel=1e-6)
    said = network_sentence(facts, trial.cost, stages)
    assert (
        f"they add up to {latency.ms:.4g} ms. The first bears what a run costs before any, too. No kernel was timed"
        in said
    )
    unpriced = stages_of(trial.candidate.architecture, None, "fp32")
    assert "no prices of single kernels" in network_sentence(facts, trial.cost, unpriced)
    measured = msgspec.structs.replace(trial.cost, latencies={name: Latency(9.0, "measured", name)})
    whole = network_sentence(facts, measured, stages)
    assert "Measured as a whole, the network takes 9" in whole
