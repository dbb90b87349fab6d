"""Boards are asked where it matters, and a resumed search goes on with the same numbers."""

import hashlib
import itertools
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import onnx
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.from_onnx import workload_from_onnx
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.fronts import finalists
from edgenas.hardware.candidates import model_from_architecture
from edgenas.hardware.cost import CostModel
from edgenas.hardware.learned import FIRST, learned_from, learned_profile, must_be_measured
from edgenas.hardware.measure import reference_model
from edgenas.hardware.predictor import Row, latencies
from edgenas.records import (
    Candidate,
    ChainArchitecture,
    Choice,
    Classes,
    Cost,
    Latency,
    Limits,
    Measurement,
    Recipe,
    StudyRecord,
    Trial,
)
from edgenas.remote.fleet import DECIDED, LATE_S, Boards, Decided
from edgenas.remote.job import Job
from edgenas.remote.sparing import ASKED, TOLD, AskedBoard, Sparing, Told, is_sparing
from edgenas.store import Store
from tests.remote.models import QUICK
from tests.remote.test_calibration import BARE, PI, Drawn

NETWORKS = [
    chain(4 * width, depth, (0, 1, 0, 1, 0, 1, 0, 1)[:depth], (3,) * depth, Classes(10))
    for depth in (4, 6, 8)
    for width in (2, 3, 4, 5, 6, 8, 10, 12, 14, 16)
]


class Wired(Drawn):
    """Takes 1.7 times what the datasheet says."""

    def info(self) -> dict[str, Any]:
        return {**super().info(), "load": {"provider": "cpu"}}

    def measure(self, model: bytes, job: Job) -> Measurement:
        found = super().measure(model, job)
        return msgspec.structs.replace(found, detail={**found.detail, "reference_ms": [REFERENCE_MS] * 4})


REFERENCE_MS = (
    1.7 * latencies(BARE, [Row("", workload_from_onnx(onnx.load_model_from_string(reference_model())))])[0].ms
)


def true_ms(architecture: ChainArchitecture) -> float:
    return 1.7 * latencies(BARE, [Row("", architecture)])[0].ms


def mixed() -> list[ChainArchitecture]:
    """Small and large ones by turns, as a search meets them."""
    return [NETWORKS[(7 * place) % len(NETWORKS)] for place in range(len(NETWORKS))]


MIDDLE = sorted(map(true_ms, NETWORKS))[15] * 1.001


def record(limit_ms: float | None = MIDDLE, **more: Any) -> StudyRecord:
    limits = Limits(latency_ms=limit_ms, **more)
    return StudyRecord("gnas", "classification", "digits", (PI.name,), "fp32", limits, 0)


def boards(store: Store, board: Drawn, said: list[str] | None = None) -> Boards:
    hook = Boards([board], PI, "fp32", store, QUICK, 1.0, (said if said is not None else []).append)
    hook.greet()
    return hook


def asked_about(store: Store, hook: Sparing, networks: list[ChainArchitecture]) -> list[Latency]:
    costs = CostModel([PI], "fp32", store.study.limits, hook, PI.name)
    return [costs(network).latencies[PI.name] for network in networks]


def test_only_what_may_cross_the_limit_is_measured_and_every_verdict_is_right(tmp_path: Path) -> None:
    said: list[str] = []
    with Store.create(tmp_path / "study", record()) as store:
        board = Wired()
        hook = Sparing(boards(store, board, said), finalists)
        found = asked_about(store, hook, mixed())
        hook.close()
        assert [latency.origin for latency in found[:FIRST]] == ["measured"] * FIRST
        predicted = [latency for latency in found if latency.origin == "predicted"]
        assert len(predicted) >= 8
        assert all(not must_be_measured(latency, store.study.limits) for latency in predicted)
        assert board.asked == 1 + len(found) - len(predicted)  # and the reference network
    for network, latency in zip(mixed(), found, strict=True):
        assert (latency.ms <= MIDDLE) is (true_ms(network) <= MIDDLE)
    assert any("the board is learned from 10 measured networks" in line for line in said)
    assert f"{30 - len(predicted)} of 30 candidates were measured, the others are far from the limit" in said


@pytest.mark.parametrize("stop", [5, 10, 17, 29])
def test_a_search_that_was_interrupted_goes_on_with_the_numbers_of_one_that_was_not(tmp_path: Path, stop: int) -> None:
    with Store.create(tmp_path / "whole", record()) as store:
        hook = Sparing(boards(store, Wired()), finalists)
        whole = asked_about(store, hook, mixed())
        hook.close()
    with Store.create(tmp_path / "parts", record()) as store:
        hook = Sparing(boards(store, Wired()), finalists)
        first = asked_about(store, hook, mixed()[:stop])
        hook.close()
    with Store.write(tmp_path / "parts") as store:
        board = Wired()
        hook = Sparing(boards(store, board), finalists)
        again = asked_about(store, hook, mixed())
        hook.close()
        assert board.asked <= sum(latency.origin == "measured" for latency in again[stop:])
    assert first == whole[:stop]
    assert again == whole


def test_what_was_decided_while_no_board_answered_is_never_told_otherwise(tmp_path: Path) -> None:
    far = min(NETWORKS, key=true_ms)
    decided = Latency(0.0123, "predicted", PI.name)
    with Store.create(tmp_path / "study", record()) as store:
        hook = Sparing(boards(store, Wired()), finalists)
        asked_about(store, hook, [network for network in mixed() if network != far][:FIRST])
        store.put(DECIDED, hook.boards.key_of(far), Decided(far, decided))
        board = hook.boards.boards[0]
        before = board.asked  # type: ignore[attr-defined]
        hook.prepare([far])
        assert asked_about(store, hook, [far]) == [decided]
        assert board.asked == before  # type: ignore[attr-defined]
        assert store.get(TOLD, hook.boards.key_of(far), Told) is None
        hook.close()


def test_what_the_board_could_not_measure_is_not_waited_for_at_the_end(tmp_path: Path) -> None:
    said: list[str] = []
    with Store.create(tmp_path / "study", record(None)) as store:
        hook = boards(store, Wired(refuses=1), said)  # the reference network is measured first
        (latency,) = [hook(NETWORKS[0], workload_from_architecture(NETWORKS[0]))]
        assert latency.origin == "predicted"
        begun = time.monotonic()
        hook.close()
        assert time.monotonic() - begun < LATE_S
    assert "warning: 1 candidates could not be measured: their latencies are predictions" in said


def test_a_study_that_measured_all_goes_on_measuring_all(tmp_path: Path) -> None:
    with Store.create(tmp_path / "study", record()) as store:
        assert is_sparing(store, PI)
        everything = boards(store, Wired())
        everything(NETWORKS[0], workload_from_architecture(NETWORKS[0]))
        everything.close()
        assert not is_sparing(store, PI)
    with Store.create(tmp_path / "other", record()) as store:
        sparing = Sparing(boards(store, Wired()), finalists)
        sparing(NETWORKS[0], workload_from_architecture(NETWORKS[0]))
        sparing.close()
        assert is_sparing(store, PI)


@pytest.mark.parametrize(
    ("limits", "sparing"), [({"latency_ms": 3.0}, True), ({}, False), ({"latency_ms": 3.0, "energy_mj": 5.0}, False)]
)
def test_without_a_limit_to_hold_predictions_against_all_are_measured(tmp_path: Path, limits, sparing: bool) -> None:
    study = msgspec.structs.replace(record(), limits=Limits(**limits))
    with Store.create(tmp_path / "study", study) as store:
        assert is_sparing(store, PI) is sparing


def test_what_is_measured_ahead_is_what_will_have_to_be(tmp_path: Path) -> None:
    with Store.create(tmp_path / "study", record()) as store:
        board = Wired()
        hook = Sparing(boards(store, board), finalists)
        hook.prepare(mixed())
        asked_about(store, hook, mixed()[:FIRST])
        assert board.asked == FIRST + 1
        hook.prepare(mixed())
        found = asked_about(store, hook, mixed())
        hook.close()
        assert board.asked == 1 + sum(latency.origin == "measured" for latency in found)
        assert {one.number for one in store.all(ASKED, AskedBoard).values()} == set(range(board.asked - 1))


def test_the_finalists_of_a_finished_search_are_measured_and_shown_beside(tmp_path: Path) -> None:
    said: list[str] = []
    with Store.create(tmp_path / "study", record()) as store:
        hook = Sparing(boards(store, Wired(), said), finalists)
        costs = CostModel([PI], "fp32", store.study.limits, hook, PI.name)
        told = None
        for network in mixed():
            candidate = Candidate(network, Recipe("r", 1, 32, 0.1), "depth")
            cost = costs(network)
            score = 50.0 + workload_from_architecture(network).macs / 1e7
            store.add(trial_of(candidate, cost, score))
            trial = store.number(candidate.key)
            holds = cost.latencies[PI.name].ms <= MIDDLE
            if holds and store.get(TOLD, hook.boards.key_of(network), Told) is not None:
                told = trial
        assert told is not None
        store.choose(Choice(told))
        before = {trial.number: trial for trial in store.ledger()}
        hook.close()
        key = hook.boards.key_of(told.candidate.architecture)
        assert store.get("measurement", key, Measurement) is not None
        assert {trial.number: trial for trial in store.ledger()} == before  # decisions stay as they were
        told_again = store.get(TOLD, key, Told)
        assert told_again is not None
        assert told_again.latency == told.cost.latencies[PI.name]
    assert any(line.startswith(f"trial {told.number}: ") and line.endswith(" measured") for line in said)


def test_only_finalists_are_measured_at_the_end(tmp_path: Path) -> None:
    chosen: list[Trial] = []
    with Store.create(tmp_path / "study", record()) as store:
        hook = Sparing(boards(store, Wired()), lambda _: chosen)
        costs = CostModel([PI], "fp32", store.study.limits, hook, PI.name)
        for network in mixed():
            candidate = Candidate(network, Recipe("r", 1, 32, 0.1), "depth")
            store.add(trial_of(candidate, costs(network), 50.0))
            store.number(candidate.key)
        told = [t for t in store.ledger() if t.cost.latencies[PI.name].origin == "predicted"]
        chosen += told[:2]
        store.choose(Choice(told[0]))
        hook.close()
        keys = [hook.boards.key_of(trial.candidate.architecture) for trial in told]
        measured = [store.get("measurement", key, Measurement) is not None for key in keys]
    assert len(told) > 2
    assert measured == [True, True] + [False] * (len(told) - 2)


def test_finalists_are_measured_before_what_waits_and_however_long_the_board_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine is built for minutes, one after the other."""
    said: list[str] = []
    free, hours = threading.Event(), itertools.count(0, 3600)
    order: list[str] = []

    class Building(Wired):
        runtime = "tensorrt"

        def measure(self, model: bytes, job: Job) -> Measurement:
            free.wait(60)
            order.append(job.sha256)
            return super().measure(model, job)

    def slept(seconds: float) -> None:
        time.sleep(seconds)
        next(hours)
        if len(said) > before:  # what is measured has been said
            free.set()

    with Store.create(tmp_path / "study", record()) as store:
        board = Building()
        board.runtime = "tensorrt"
        hook = Sparing(boards(store, board, said), lambda store: list(store.ledger()))
        for network in NETWORKS[:3]:
            cost = CostModel([PI], "fp32", store.study.limits)(network)
            candidate = Candidate(network, Recipe("r", 1, 32, 0.1), "depth")
            store.add(trial_of(candidate, cost, 50.0))
            store.number(candidate.key)
            store.put(TOLD, hook.boards.key_of(network), Told(network, cost.latencies[PI.name]))
        hook.boards.prepare(NETWORKS[3:6])  # and then nobody asked for them
        store.choose(Choice(store.ledger()[0]))
        before = len(said)
        clock = SimpleNamespace(sleep=slept, monotonic=lambda: time.monotonic() + next(hours))
        monkeypatch.setattr("edgenas.remote.sparing.time", clock)
        hook.close()
        models = [model_from_architecture(network, PI, "fp32") for network in NETWORKS[:3]]
    assert "up to 3 networks are measured, and an engine is built for each: minutes" in said
    measured = [hashlib.sha256(model).hexdigest() for model in models]
    assert [sha256 for sha256 in order[:4] if sha256 in measured] == measured  # one was at work already


def trial_of(candidate: Candidate, cost: Cost, score: float) -> Trial:
    return Trial(candidate, "complete", cost, 0, {"val_accuracy": score})


@pytest.mark.parametrize(
    ("measured", "rests_on"), [(0, 0), (9, 0), (10, 10), (19, 10), (20, 20), (39, 20), (40, 40), (100, 80)]
)
def test_a_board_is_learned_anew_whenever_twice_as_much_was_measured(measured: int, rests_on: int) -> None:
    assert learned_from(measured) == rests_on


@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        # 2 ms (1 to 4): 2 x (1/2)^.8 = 1.149 below, 2 x 2^.4 = 2.639 above
        (1.148, False), (1.150, True), (2.0, True), (2.638, True), (2.640, False), (None, True),
    ],
)  # fmt: skip
def test_a_prediction_stands_where_the_limit_is_far_enough(limit: float | None, asked: bool) -> None:
    latency = Latency(2.0, "predicted", "b", low=1.0, high=4.0)
    assert must_be_measured(latency, Limits(latency_ms=limit)) is asked


def test_a_prediction_without_an_interval_never_stands() -> None:
    assert must_be_measured(Latency(2.0, "predicted", "b"), Limits(latency_ms=100.0))


def test_a_learned_profile_is_judged_on_what_each_fit_left_out() -> None:
    rows = [Row("", network, true_ms(network), ran_in="fp32") for network in mixed()[:20]]
    profile = learned_profile(PI, rows, "fp32", 0)
    assert profile.calibration is not None
    (judged,) = profile.calibration.judged.values()
    assert (judged.networks, profile.calibration.n) == (20, 20)
    assert 0 < (profile.calibration.mape or 0) < 0.2
    assert profile == learned_profile(PI, rows, "fp32", 0)
