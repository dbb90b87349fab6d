"""The study database: numbering, refusals, damage, a full disk, two writers."""

import multiprocessing
import sqlite3
from pathlib import Path

import msgspec
import pytest

from edgenas.architectures.chain import chain
from edgenas.database import refuse_network_file_system
from edgenas.errors import EdgenasError, StudyError
from edgenas.methods.replay import cost_without_device
from edgenas.records import Candidate, Classes, Decision, Limits, Recipe, Trial
from edgenas.store import Store, read_json, read_toml
from tests.plans import ASKED, plan, studied

STUDY = studied(plan())


def trial(width: int) -> Trial:
    net = chain(width, 4, (0,) * 4, (3,) * 4, Classes(10), image_size=8)
    return Trial(
        Candidate(net, Recipe("fast", 2, 64, 0.1), "depth"),
        "complete",
        cost_without_device(net),
        7,
        {"val_accuracy": 90.0},
    )


def test_only_trials_that_a_decision_read_are_in_the_ledger_in_that_order(tmp_path: Path) -> None:
    first, second, third = trial(8), trial(10), trial(12)
    with Store.create(tmp_path / "s", STUDY) as store:
        for each in (first, second, third):
            store.add(each)
        assert store.number(third.candidate.key).number == 1
        assert store.number(first.candidate.key).number == 2
        assert store.number(third.candidate.key).number == 1  # asking again changes nothing
    with Store.read(tmp_path / "s") as store:
        assert [t.candidate.key for t in store.ledger()] == [third.candidate.key, first.candidate.key]
        assert len(store.trials()) == 3
        assert store.find(second.candidate.key) == second


def test_a_trial_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    with Store.create(tmp_path, STUDY) as store:
        store.add(trial(8))
        again = Trial(trial(8).candidate, "failed", trial(8).cost, 7, error="other")
        store.add(again)
        assert store.find(again.candidate.key) == trial(8)


def test_side_records_come_back_typed_and_in_order(tmp_path: Path) -> None:
    with Store.create(tmp_path, STUDY) as store:
        store.put("decision", "000001", Decision("depth", "accept", "b"))
        store.put("decision", "000000", Decision("depth", "start", "a"))
        assert [d.reason for d in store.all("decision", Decision).values()] == ["a", "b"]
        assert store.get("decision", "000009", Decision) is None


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    Store.create(tmp_path, STUDY).close()
    planned = plan(asked=msgspec.structs.replace(ASKED, seed=3))
    with pytest.raises(
        StudyError,
        match=r"limits.params is None there, 5 asked; plan.asked.seed is 0 there, 3 asked; .*seed is 0 there",
    ):
        Store.create(tmp_path, studied(planned, limits=Limits(params=5)))
    Store.create(tmp_path, STUDY).close()  # and nothing was lost or left locked


def test_a_study_that_was_planned_by_two_processes_at_once_is_the_first_ones(tmp_path: Path) -> None:
    """Under a budget each plans by its own clock."""
    first = plan(asked=ASKED)
    Store.create(tmp_path, studied(first)).close()
    with pytest.raises(StudyError, match=r"was begun by another process a moment ago: run the same command again"):
        Store.create(tmp_path, studied(plan(asked=ASKED, preset="large")))
    with Store.create(tmp_path, studied(first)) as store:
        assert store.study == studied(first)


def _hold(folder: Path, ready: "multiprocessing.Event", done: "multiprocessing.Event") -> None:
    with Store.create(folder, STUDY):
        ready.set()
        done.wait(240)


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    writer = context.Process(target=_hold, args=(tmp_path, ready, done))
    writer.start()
    try:
        assert ready.wait(120)
        with pytest.raises(StudyError, match=f"written by process {writer.pid}"):
            Store.create(tmp_path, STUDY)
        Store.read(tmp_path).close()  # readers are welcome
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_database_is_refused_in_one_line(tmp_path: Path, keep: float) -> None:
    with Store.create(tmp_path, STUDY) as store:
        for width in range(4, 24):
            store.add(trial(width))
    file = tmp_path / "study.db"
    for extra in ("-wal", "-shm"):
        Path(f"{file}{extra}").unlink(missing_ok=True)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(StudyError) as caught, Store.create(tmp_path, STUDY) as store:
        store.trials()
    assert "\n" not in str(caught.value)
    assert "restore it" in str(caught.value)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    with Store.create(tmp_path, STUDY) as store:
        store.add(trial(4))
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StudyError, match="full: make room and run the same command again"):  # noqa: PT012
            for width in range(5, 60):  # how many still fit is SQLite's business
                store.add(trial(width))
        written = len(store.trials())
    with Store.create(tmp_path, STUDY) as store:
        assert len(store.trials()) == written >= 1
        store.add(trial(100))


def test_an_unknown_schema_is_refused(tmp_path: Path) -> None:
    Store.create(tmp_path, STUDY).close()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE meta SET body = '99' WHERE name = 'schema'")
    connection.close()
    with pytest.raises(StudyError, match="schema 99, this edgenas reads 1"):
        Store.read(tmp_path)


def test_a_folder_without_a_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        Store.read(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(StudyError, match="choose a folder that can be written"):
        Store.create(Path("/proc/edgenas"), STUDY)


def test_a_local_folder_is_no_network_file_system(tmp_path: Path) -> None:
    refuse_network_file_system(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [("name = 'x'\nepohcs = 3", "epohcs"), ("name = ", "not valid TOML"), ("name = 'x'\nepochs = 'three'", "epochs")],
)
def test_toml_is_read_strictly(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(EdgenasError, match=words):
        read_toml(tmp_path / "r.toml", Recipe)


def test_json_errors_say_where(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('{"latency_ms": "fast"}')
    with pytest.raises(EdgenasError, match=r"latency_ms"):
        read_json(tmp_path / "l.json", Limits)
