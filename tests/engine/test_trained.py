"""What is asked of an export."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import msgspec
import pytest

import edgenas
from edgenas.cli.export import export
from edgenas.engine.trained import latency_judged, wishes_from
from edgenas.errors import EdgenasError
from edgenas.hardware.candidates import KIND
from edgenas.records import Latency, Measurement
from edgenas.store import Store
from tests.cli.edgenas import refusal
from tests.digits_bundle import trained
from tests.plans import plan, studied
from tests.trained_study import trained_study


def test_what_a_precision_may_lose_is_the_metrics_own_unless_somebody_says_it() -> None:
    assert wishes_from("fp16").max_drop is None  # the metric's, see tests/export/test_kinds.py
    assert wishes_from("auto").max_drop is None
    assert wishes_from("fp16", max_drop=0.25).max_drop == 0.25
    assert inspect.signature(edgenas.Study.export).parameters["max_drop"].default is None
    assert inspect.signature(export).parameters["max_drop"].default.default is None


@pytest.mark.parametrize("drop", ["nan", "-0.1", "inf"])
def test_what_is_no_drop_is_refused_before_anything_is_read(drop: str) -> None:
    line = f"--max-drop {drop} was asked for: it takes a number from 0"
    assert refusal("export", "nowhere", "--out", "b", f"--max-drop={drop}") == line
    assert wishes_from("fp16", max_drop=0).max_drop == 0


def test_precisions_are_given_with_commas_or_one_by_one_and_each_counts_once() -> None:
    assert wishes_from("fp16, fp32,fp16").precisions == wishes_from(("fp16", "fp32")).precisions == ("fp16", "fp32")
    with pytest.raises(EdgenasError, match=r"precision fp8 was asked for; possible: fp32, fp16, int8, or auto"):
        wishes_from(("fp32", "fp8"))


@pytest.mark.parametrize("nothing", [(), "", " , ", ("", "")])
def test_no_precision_at_all_is_refused_before_anything_is_built(nothing: str | tuple[str, ...]) -> None:
    with pytest.raises(EdgenasError, match=r"^no precision was asked for; possible: fp32, fp16, int8, or auto$"):
        wishes_from(nothing)
    assert wishes_from("fp32").precisions == ("fp32",)


def measured(profile: str, ms: float) -> Measurement:
    """Beside a reference network that takes 1 ms."""
    detail = {
        "runs": 10,
        "round_ms": [ms],
        "reference_ms": [1.0],
        "settings": {"provider": "cpu"},
        "device": {"before": {"power_mode": ""}},
    }
    return Measurement(profile, "board", "onnxruntime 1", "fp16", 10, (ms,) * 10, detail=detail)


def test_the_limit_is_held_against_a_boards_measurement_before_what_the_search_went_by(tmp_path: Path) -> None:
    asked = trained("jetson")
    name, network = asked.profile.name, asked.architecture
    with Store.write(trained_study(tmp_path / "study", target=name)) as store:
        assert latency_judged(store, asked) is None  # the search knew nothing of it
        assert store.choice is not None
        trial, told = store.choice.trial, Latency(3.0, "predicted", name, precision="fp16")
        cost = msgspec.structs.replace(trial.cost, latencies={name: told})
        store.add(msgspec.structs.replace(trial, cost=cost, number=None))
        store.number(trial.candidate.key)
        assert latency_judged(store, asked) == told
        store.put(KIND, f"reference {name}", measured(name, 1.0))
        store.put(KIND, f"{network.fingerprint} {name} fp16", measured(name, 4.0))
        known = latency_judged(store, asked)
        assert known is not None
        assert (known.ms, known.origin, known.precision) == (4.0, "measured", "fp16")
        wider = dataclasses.replace(asked, architecture=msgspec.structs.replace(network, width=24))
        assert latency_judged(store, wider) is None


@pytest.mark.parametrize("boards", [True, False])
def test_on_this_machine_the_files_own_times_count_unless_boards_measured_for_the_search(
    boards: bool, tmp_path: Path
) -> None:
    asked = trained("host-cpu")
    with Store.create(tmp_path / "study", studied(plan(boards=boards))) as store:
        store.put(KIND, "reference host-cpu", measured("host-cpu", 1.0))
        store.put(KIND, f"{asked.architecture.fingerprint} host-cpu fp32", measured("host-cpu", 4.0))
        assert (latency_judged(store, asked) is not None) is boards
