"""Searches on real digits through the command line: the same for any number of workers, under limits, after kill -9."""

import contextlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgenas.engine.settings import PRESETS
from edgenas.errors import StudyError
from edgenas.hardware.candidates import KIND
from edgenas.records import Decision, Measurement
from edgenas.store import Store
from tests.cli.edgenas import BOUNDS, BRIEF, SMALL, edgenas, edgenas_json, edgenas_process, killed, refusal

FEWER = (*SMALL, "--search-images", "500")  # half of the trials


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished small search named `one`, made without any worker."""
    folder = tmp_path_factory.mktemp("searched")
    edgenas_json(*SMALL, "--study", "one", "--workers", "0", folder=folder)
    return folder


def ledger(folder: Path) -> list[Any]:
    """Everything a search decided on and by, without times."""
    with Store.read(folder) as store:
        trials = [
            (t.number, t.candidate.key, t.status, t.scores, t.seed, t.cost, t.candidate.phase) for t in store.ledger()
        ]
        return [trials, list(store.all("decision", Decision).values())]


def test_the_document_has_what_programs_rely_on(searched: Path) -> None:
    document = edgenas_json(*SMALL, "--study", "one", folder=searched)
    assert document["study"] == "studies/one"
    assert document["method"] == "gnas"
    assert document["trials"] == len(ledger(searched / "studies/one")[0])
    chosen = document["chosen"]
    assert chosen["architecture"]["type"] == "chain"
    assert chosen["latency"]["profile"] == "raspberry-pi-5"
    assert chosen["latency"]["origin"] in ("predicted", "datasheet")
    assert chosen["latencies"]["raspberry-pi-5"]["ms"] == chosen["latency"]["ms"] > 0
    assert 0 < chosen["val_accuracy"] <= 100
    assert document["front"]


@pytest.mark.slow  # two workers do, where they are killed
def test_four_workers_speculate_and_decide_alike(searched: Path) -> None:
    edgenas_json(*SMALL, "--study", "four", "--workers", "4", folder=searched)
    assert ledger(searched / "studies/four") == ledger(searched / "studies/one")


def test_the_front_of_a_study_is_printed_by_name_by_folder_and_by_default(searched: Path) -> None:
    by_name = edgenas_json("front", "one", folder=searched)
    by_folder = edgenas_json("front", "studies/one", folder=searched)
    assert by_name == by_folder
    text = edgenas("front", folder=searched)
    assert "->" in text.stdout
    assert text.stderr.startswith("study studies/")


def test_a_latency_limit_gives_another_network_within_it_and_trains_nothing_above(searched: Path) -> None:
    free = edgenas_json(*SMALL, "--study", "one", folder=searched)["chosen"]
    slowest = max(item["latency"]["ms"] for item in edgenas_json("front", "one", folder=searched)["front"])
    limit = max(free["latency"]["ms"], slowest) * 0.9
    limited = (*SMALL, "--study", "limited", "--max-latency-ms", f"{limit:.6f}", "--workers", "0")
    document = edgenas_json(*limited, folder=searched)
    assert document["chosen"]["latency"]["ms"] <= limit
    assert document["infeasible"] > 0
    with Store.read(searched / "studies/limited") as store:
        for trial in store.trials():
            latency = trial.cost.latencies["raspberry-pi-5"].ms
            assert (trial.status == "infeasible") == (latency > limit)
            if trial.status == "infeasible":
                assert (trial.seconds, trial.scores) == (0.0, {})


def test_random_control_spends_what_the_search_spent(searched: Path) -> None:
    controlled = (*FEWER, "--study", "control", "--control", "random", "--workers", "0")
    document = edgenas_json(*controlled, folder=searched)
    assert document["control"]
    assert set(document["hypervolume"]) == {"search", "control"}
    assert 0 < max(document["hypervolume"].values()) <= 1
    with Store.read(searched / "studies/control") as store:
        spent = {True: 0.0, False: 0.0}
        for trial in store.ledger():
            work = trial.candidate.recipe.epochs * trial.cost.bytes_moved
            spent[trial.candidate.phase == "control"] += work
            last = work
    assert spent[False] <= spent[True] <= spent[False] + last


def test_a_project_file_says_the_same_as_flags(searched: Path) -> None:
    (searched / "project.toml").write_text(
        'target = "raspberry-pi-5"\nmax-depth = 6\nmin_width = 8\nmax_width = 12\nwidth_step = 2\n'
        "search_images = 1000\nepoch_scale = 0.35\nmethod = 'gnas'\n"
    )
    document = edgenas_json("search", "project.toml", "--study", "one", folder=searched)
    assert document["study"] == "studies/one"  # other settings would have been refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "jetsn-nano"], "did you mean jetson-nano"),
        (["--data", "fashion"], "fashion-mnist"),
        (["--target", "missing.toml"], "cannot be read"),
        (["--max-latency-ms", "0.0001"], "its smallest member (depth 4, width 8, dense) has latency"),
        (["--max-params", "10"], "parameters > 10"),
        (["--max-mmacs", "0.001"], "M MACs > 0.001 M MACs: raise the limit"),
        (["--max-mmacs", "0"], "--max-mmacs 0.0 was asked for"),
        (["--study", "one", "--seed", "5"], "seed is 0 there, 5 asked"),
        (["--min-depth", "9"], "depth bounds 9..6"),
        (["--recipe", "quick"], "fast"),
        (
            ["--recipe", "paper-darts"],
            "recipe paper-darts: drop_path = 0.2 needs paths that an identity shortcut leads around",
        ),
        (["--target", "jetson-nano", "--precision", "int8"], "fp16"),
        (["project.toml"], "unknown setting epochs"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    searched: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    before = sorted(path.name for path in (searched / "studies").iterdir()), ledger(searched / "studies/one")
    (searched / "project.toml").write_text("epochs = 3\n")
    assert words in refusal("search", *BOUNDS, *arguments)
    assert (sorted(path.name for path in (searched / "studies").iterdir()), ledger(searched / "studies/one")) == before


def test_a_mistake_ends_the_process_with_1_and_one_line_on_stderr(searched: Path) -> None:
    done = edgenas_process("search", "--target", "nonsense", folder=searched)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("edgenas: unknown target 'nonsense'")


def test_wrong_usage_ends_the_process_with_2(searched: Path) -> None:
    assert edgenas_process("search", "--seed", "x", folder=searched).returncode == 2


def test_every_candidate_is_measured_on_this_machine(searched: Path) -> None:
    (searched / "host.toml").write_text("[rules]\ntrials = 2\n")
    host = ["search", "host.toml", "--method", "random", "--target", "host-cpu", *BRIEF]
    edgenas_json(*host, "--study", "host", "--workers", "0", folder=searched)
    with Store.read(searched / "studies/host") as store:
        latencies = [trial.cost.latencies["host-cpu"] for trial in store.ledger()]
    assert len(latencies) == 2
    assert {latency.origin for latency in latencies} == {"measured"}
    assert all(latency.n and latency.n >= 50 for latency in latencies)


@pytest.mark.usefixtures("times_at_once")
def test_a_latency_that_nothing_reaches_here_is_refused_after_the_smallest_networks_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    host = ("search", "--method", "random", "--target", "host-cpu", *BRIEF, "--workers", "0")
    line = refusal(*host, "--max-latency-ms", "0.000001", "--study", "never")
    assert "no network of this space meets the limit: its smallest member (depth " in line
    with Store.read(tmp_path / "studies/never") as store:
        assert store.trials() == ()
        # the reference network, the smallest members, separable and dense, and the better one with one other layer at a time
        assert len(store.all(KIND, Measurement)) == 3 + PRESETS["tiny"].min_depth


def trials_in(study: Path) -> int:
    with contextlib.suppress(StudyError), Store.read(study) as store:  # there may be none yet
        return len(store.trials())
    return 0


def after_trials(study: Path, more: int, late: float) -> Callable[[float], bool]:
    """Says yes `late` seconds after so many more trials were stored there; looks every 50 ms."""
    before, looked, reached = trials_in(study), [0.0], [float("inf")]

    def says(seconds: float) -> bool:
        if seconds >= looked[0] + 0.05 and reached[0] > seconds:
            looked[0] = seconds
            if trials_in(study) >= before + more:
                reached[0] = seconds
        return seconds >= reached[0] + late

    return says


def check_kills(
    folder: Path, kills: int, search: Sequence[str], expected: list[Any], workers: str = "2", most: int = 4
) -> None:
    """So many kills of searches that were at work, each after `most` more trials or fewer; one that ends before its kill is
    compared, and another one begun."""
    rng, hits, begun = random.Random(kills), 0, 1
    while hits < kills:
        study = f"killed-{kills}-{begun}"
        after = after_trials(folder / "studies" / study, rng.randint(1, most), rng.uniform(0, 0.3))
        if killed(folder, after, *search, "--study", study, "--workers", workers, every_s=0.01):
            hits += 1
        else:
            assert ledger(folder / "studies" / study) == expected
            begun += 1
    edgenas_json(*search, "--study", f"killed-{kills}-{begun}", "--workers", workers, folder=folder)
    assert ledger(folder / "studies" / f"killed-{kills}-{begun}") == expected


def test_two_kills_leave_the_same_ledger(tmp_path: Path) -> None:
    edgenas_json(*FEWER, "--study", "whole", "--workers", "0", folder=tmp_path)
    check_kills(tmp_path, 2, FEWER, ledger(tmp_path / "studies/whole"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_in_all_phases_leave_the_same_ledger(searched: Path) -> None:
    expected = ledger(searched / "studies/one")
    assert {phase for *_, phase in expected[0]} == {"depth", "width", "ops", "kernels"}
    check_kills(searched, 20, SMALL, expected)
