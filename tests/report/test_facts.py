import math
from pathlib import Path

import msgspec
import pytest

from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Measurement, Trial
from edgenas.report.facts import compared, read_facts
from edgenas.store import Store
from tests.report.studies import TARGET, published_study


def test_the_published_search_is_read_back_with_its_choice(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "cifar10"))
    assert facts.choice is not None
    assert facts.best == facts.choice.trial
    assert facts.choice.trial.cost.params == 409_714  # 0.4097 M searched, as published
    assert facts.choice.macro["depth"] == 26


def test_a_study_without_a_choice_reports_its_best_trial_so_far(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "running", finished=False))
    assert facts.choice is None
    assert facts.best is not None
    assert facts.score(facts.best) == max(facts.score(trial) for trial in facts.complete)


def test_seed_noise_is_the_pooled_deviation_of_repeated_trainings(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "repeated")
    with Store.write(folder) as store:
        first, second = (trial for trial in store.ledger()[:2])
        for trial, scores in ((first, (-1.0, 1.0)), (second, (-2.0, 2.0))):
            for repeat, change in enumerate(scores, start=1):
                candidate = msgspec.structs.replace(trial.candidate, repeat=repeat)
                score = trial.scores["val_accuracy"] + change
                store.add(msgspec.structs.replace(trial, candidate=candidate, scores={"val_accuracy": score}))
                store.number(candidate.key)
    spread = read_facts(folder).seed_noise
    assert spread is not None
    # deviations (0, -1, 1) and (0, -2, 2): (2 + 8) / (6 - 2) = 2.5
    assert spread.deviation == pytest.approx(math.sqrt(2.5))
    assert spread.of_a_difference == pytest.approx(math.sqrt(5))
    assert (spread.networks, spread.trainings) == (2, 6)


def test_without_repeated_trainings_the_noise_is_unknown(tmp_path: Path) -> None:
    assert read_facts(published_study(tmp_path / "once")).seed_noise is None


def test_measured_networks_stand_beside_their_prediction(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "measured")
    with Store.write(folder) as store:
        trial = store.ledger()[0]
        architecture = trial.candidate.architecture
        measurement = Measurement(TARGET, "board", "TensorRT 8.2", "fp32", 10, (3.0, 5.0, 4.0))
        store.put("measurement", f"{architecture.fingerprint} {TARGET} fp32", measurement)
        store.put("measurement", f"reference {TARGET}", measurement)
    (pair,) = compared(read_facts(folder))
    assert pair.trial == 1
    assert pair.measured_ms == 4.0
    assert pair.predicted_ms == latency_from_workload(profile_from_name(TARGET), architecture, "fp32").ms


def test_the_front_is_what_the_definition_says(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "cifar10"))

    def point(trial: Trial) -> tuple[float, float, int]:
        return -facts.score(trial), trial.cost.latencies[TARGET].ms, trial.cost.params

    def beaten(trial: Trial) -> bool:
        points = [point(other) for other in facts.complete]
        return any(p != point(trial) and all(x <= y for x, y in zip(p, point(trial), strict=True)) for p in points)

    expected = {trial.number for trial in facts.complete if not beaten(trial)}
    assert {trial.number for trial in facts.front(TARGET)} == expected
    assert len(expected) > 5
