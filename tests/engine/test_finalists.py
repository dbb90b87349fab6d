"""A search on a board that was stopped after its choice, before its finalists were measured: the same command measures them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenas.architectures.chain import chain
from edgenas.engine.call import Where
from edgenas.engine.engine import go_on, search
from edgenas.engine.events import Event, Note
from edgenas.hardware.candidates import KIND
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.records import Candidate, Choice, Classes, Limits, Measurement, Recipe, Trial
from edgenas.remote.sparing import FINALISTS, TOLD, Told, owes_finalists
from edgenas.store import Store
from tests.plans import plan, studied
from tests.remote.conftest import listening

ASKED = SearchSettings(target=("raspberry-pi-5",), method="random", max_latency_ms=1e6)
PI = profile_from_name("raspberry-pi-5")
NETWORK = chain(4, 4, (0, 1, 0, 1), (3,) * 4, Classes(10), 1, 8)


def stopped(folder: Path, *, told: bool = True) -> Path:
    """Its only network was decided on by what a board had taught; the choice is made."""
    with Store.create(folder, studied(plan(asked=ASKED))) as store:
        cost = CostModel([PI], "fp32", Limits())(NETWORK)
        candidate = Candidate(NETWORK, Recipe("r", 1, 32, 0.1), "random")
        store.add(Trial(candidate, "complete", cost, 0, {"val_accuracy": 90.0}))
        trial = store.number(candidate.key)
        if told:
            store.put(TOLD, f"{NETWORK.fingerprint} {PI.name} fp32", Told(NETWORK, cost.latencies[PI.name]))
        store.choose(Choice(trial))
    return folder


def lines(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Note)]


def test_the_finalists_are_measured_by_the_same_command_once(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "study")
    with listening() as board:
        token = tmp_path / "token"
        token.write_text(board.token)
        token.chmod(0o600)
        where = Where(str(folder), boards=(board.url,), token_file=token)
        first: list[Event] = []
        go_on(folder, where, first.append)
        with Store.read(folder) as store:
            assert store.get(KIND, f"{NETWORK.fingerprint} {PI.name} fp32", Measurement) is not None
            assert not owes_finalists(store)
        assert any(line.startswith("trial 1: ") and line.endswith(" ms measured") for line in lines(first))
        again: list[Event] = []
        go_on(folder, where, again.append)
    assert lines(again) == [f"study {folder} is finished"]


def test_a_board_that_is_not_there_is_said_and_asked_the_next_time(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "study")
    (tmp_path / "token").write_text("0" * 64)
    (tmp_path / "token").chmod(0o600)
    heard: list[Event] = []
    go_on(folder, Where(boards=("http://127.0.0.1:9",), token_file=tmp_path / "token"), heard.append)
    assert any(
        line.startswith("warning: the finalists are not measured: no board can measure: ") for line in lines(heard)
    )
    with Store.read(folder) as store:
        assert owes_finalists(store)


@pytest.mark.parametrize("reason", ["none was told", "they were asked for"])
def test_a_search_that_owes_no_measurement_asks_no_board(reason: str, tmp_path: Path) -> None:
    folder = stopped(tmp_path / "study", told=reason != "none was told")
    if reason != "none was told":
        with Store.write(folder) as store:
            store.put(FINALISTS, FINALISTS, True)
    heard: list[Event] = []
    go_on(folder, Where(boards=("http://127.0.0.1:9",)), heard.append)
    assert lines(heard) == [f"study {folder} is finished"]


def test_without_a_board_nothing_is_said_of_finalists(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "study")
    heard: list[Event] = []
    go_on(folder, Where(), heard.append)
    assert lines(heard) == [f"study {folder} is finished"]
    search(ASKED, Where(str(folder)), heard.append)
    assert not any("finalists" in line for line in lines(heard))
