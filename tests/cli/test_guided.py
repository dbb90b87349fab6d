"""`--method guided` through the command line: the same for any number of workers, after kill -9, and with a warm start."""

import shutil
from pathlib import Path

import pytest

from edgenas.store import Store
from tests.cli.edgenas import BRIEF, SMALL, edgenas, edgenas_json, killed, refusal
from tests.cli.test_search import after_trials, check_kills, ledger

PROJECT = 'method = "guided"\n[rules]\ntrials = 7\nepochs = 6\npool = 60\nfresh = 10\nrepeats = 0.2\n'
GUIDED = ["search", "project.toml", "--target", "raspberry-pi-5", *BRIEF, "--search-images", "500"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished guided search named `one`, made without any worker."""
    folder = tmp_path_factory.mktemp("guided")
    (folder / "project.toml").write_text(PROJECT)
    edgenas_json(*GUIDED, "--study", "one", "--workers", "0", folder=folder)
    return folder


def test_four_workers_decide_as_none_does(searched: Path) -> None:
    edgenas_json(*GUIDED, "--study", "four", "--workers", "4", folder=searched)
    assert ledger(searched / "studies/four") == ledger(searched / "studies/one")
    with Store.read(searched / "studies/four") as store, Store.read(searched / "studies/one") as other:
        assert store.choice is not None
        assert other.choice is not None
        assert store.choice.expected == other.choice.expected


def test_two_kills_leave_the_same_ledger(searched: Path) -> None:
    check_kills(searched, 2, GUIDED, ledger(searched / "studies/one"), workers="0")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_leave_the_same_ledger(searched: Path) -> None:
    check_kills(searched, 20, GUIDED, ledger(searched / "studies/one"))


def test_fronts_show_what_is_expected_beside_the_scores(searched: Path) -> None:
    document = edgenas_json("front", "one", folder=searched)
    with Store.read(searched / "studies/one") as store:
        assert store.choice is not None
        expected, trials = store.choice.expected, store.ledger()
    of_trial = {trial.number: expected[trial.candidate.architecture.fingerprint] for trial in trials}
    shown = [*document["front"], document["chosen"]]
    assert {tuple(item["expected"].values()) for item in shown} == {
        (of_trial[item["trial"]].mean, of_trial[item["trial"]].sd) for item in shown
    }
    assert document["chosen"]["expected"]["mean"] == max(one.mean for one in expected.values())
    networks = [str(item["architecture"]) for item in document["front"]]
    assert len(networks) == len(set(networks))  # a repeat is no second network
    text = edgenas("front", "one", folder=searched).stdout
    chosen = document["chosen"]["expected"]
    assert f"{chosen['mean']:.2f} +- {chosen['sd']:.2f}" in text
    row = next(line for line in text.splitlines() if line.startswith("->"))
    assert f"{chosen['mean']:.2f} +- {chosen['sd']:.2f}" in row


def test_a_warm_start_holds_what_it_learned_and_decides_otherwise(searched: Path, tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_text(PROJECT)
    shutil.copytree(searched / "studies/one", tmp_path / "studies/other")
    cold = [*GUIDED, "--seed", "1", "--workers", "0"]
    warm = [*cold, "--warm-start", "other"]
    edgenas_json(*cold, "--study", "cold", folder=tmp_path)
    edgenas_json(*warm, "--study", "warm", folder=tmp_path)
    assert ledger(tmp_path / "studies/warm") != ledger(tmp_path / "studies/cold")
    again = tmp_path / "studies/again"
    while not killed(tmp_path, after_trials(again, 3, 0.0), *warm, "--study", "again"):
        shutil.rmtree(again)  # it ended before it was killed: once more
    shutil.rmtree(tmp_path / "studies/other")
    edgenas_json("search", "--resume", "again", "--workers", "0", folder=tmp_path)
    assert ledger(tmp_path / "studies/again") == ledger(tmp_path / "studies/warm")


def test_a_warm_start_from_another_space_or_for_another_method_is_refused(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    narrow = [*SMALL, "--method", "guided", "--max-depth", "5", "--warm-start", "one"]
    assert "it searched another space (max_depth 6 there, 5 here): give a study with the same --space" in refusal(
        *narrow
    )
    cells = ["search", "--method", "guided", "--space", "nasbench201", "--warm-start", "one"]
    assert "it searched another space (space chain there, cells here)" in refusal(*cells)
    assert "--warm-start is for --method guided: leave it out with random" in refusal(
        *SMALL, "--method", "random", "--warm-start", "one"
    )
    assert "no study 'none'" in refusal(*SMALL, "--method", "guided", "--warm-start", "none")


def test_what_a_guided_search_would_ignore_is_refused() -> None:
    line = refusal("search", "--method", "guided", "--confirm-seeds", "2")
    assert line == "--confirm-seeds is for --method gnas, trgnas: leave it out with guided"
