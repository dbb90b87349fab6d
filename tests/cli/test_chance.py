"""A search on images that cannot be told apart says so, from its first line to its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgenas.records import Decision
from edgenas.store import Store
from tests.cli.edgenas import BOUNDS, edgenas, edgenas_json

SEARCH = [
    "search",
    "--target",
    "raspberry-pi-5",
    "--data",
    "../grey",
    "--epoch-scale",
    "0.2",
    "--study",
    "s",
    "--workers",
    "0",
]


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `grey`: five classes of 60 images that differ by one grey level at most, but for one of noise in each, which
    gives the pixels a deviation that those levels vanish in."""
    root, rng = tmp_path_factory.mktemp("chance"), np.random.default_rng(0)
    for label in range(5):
        (root / "grey" / f"class{label}").mkdir(parents=True)
        for index in range(60):
            low, high = (0, 256) if index == 0 else (128, 130)
            pixels = rng.integers(low, high, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "grey" / f"class{label}" / f"{index}.png")
    (root / "work").mkdir()
    return root / "work"


@pytest.fixture(scope="module")
def told(grey: Path) -> tuple[str, dict[str, Any]]:
    """(what the search says while it works, its document)."""
    done = edgenas(*SEARCH, *BOUNDS, "--max-params", "5000000", folder=grey)
    assert done.returncode == 0, done.stderr
    assert "AT CHANCE: no training of this search is better than chance" in done.stdout
    return done.stderr, edgenas_json(*SEARCH, *BOUNDS, "--max-params", "5000000", folder=grey)


def test_it_stops_after_three_results_at_chance_with_a_sentence(told: tuple[str, dict[str, Any]], grey: Path) -> None:
    lines, document = told
    assert (document["at_chance"], document["trials"]) == (True, 3)
    assert document["ended_early"].startswith("three results in a row are within two standard errors of chance")
    # always the same answer is right for one class in five
    assert lines.count("stop: three results in a row are within two standard errors of chance (20.00 %") == 1
    with Store.read(grey / "studies/s") as store:
        assert [d.verdict for d in store.all("decision", Decision).values()][-1] == "stop"
        assert len(store.ledger()) == 3


def test_the_choice_is_the_best_so_far_with_its_interval(told: tuple[str, dict[str, Any]]) -> None:
    chosen = told[1]["chosen"]
    assert chosen["val_accuracy"] == pytest.approx(20.0, abs=4.1)  # one image in 25 is four points
    low, high = chosen["val_accuracy_interval"]
    assert low < chosen["val_accuracy"] < high


def test_a_short_training_and_a_limit_that_cannot_bind_are_warned_of_once_each(
    told: tuple[str, dict[str, Any]],
) -> None:
    lines = told[0]
    assert lines.count("rank noise") == 1
    assert lines.count("--max-params 5000000 cannot bind") == 1
    assert lines.count("warning:") == 2


def test_front_and_report_say_it_too(told: tuple[str, dict[str, Any]], grey: Path) -> None:
    assert edgenas_json("front", "s", folder=grey)["at_chance"] is True
    text = edgenas("front", "s", folder=grey).stdout
    assert "AT CHANCE" in text
    assert "ended early: three results in a row" in text
    document = edgenas_json("report", "s", folder=grey)
    assert document["studies"][0]["at_chance"] is True
    page = (grey / "report.html").read_text()
    assert "at chance" in page
    assert "At chance: no network is better than chance by two standard errors (20.00 %" in page
    assert "ended early" in page


def test_a_final_training_of_such_a_choice_is_warned_of(told: tuple[str, dict[str, Any]], grey: Path) -> None:
    done = edgenas("train", "s", "--seeds", "1", "--epochs", "1", folder=grey)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: nothing in this search was better than chance") == 1
