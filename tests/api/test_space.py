"""A space of one's own: as an object, and from somebody else's package. Its studies can be used where its code is not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgenas
from edgenas.architectures.own import Choices
from edgenas.runtimes.child import child_environment
from tests.docs.blocks import ROOT, written
from tests.packages import pip_install, wheel

PAGE = ROOT / "docs" / "tutorials" / "new-space.md"
QUICK: dict[str, Any] = {
    "target": "raspberry-pi-5",
    "method": "random",
    "rules": {"trials": 2},
    "epoch_scale": 0.1,
    "search_images": 100,
    "study": "mine",
    "workers": 0,
    "quiet": True,
}


def layers(net: edgenas.Tracer, choices: Choices) -> int:
    here = -1
    for _ in range(choices["depth"]):
        here = net.conv(here, choices["width"], 3, norm=True, activation="relu")
    return here


def space(widths: range = range(4, 13, 4)) -> edgenas.OwnSpace:
    return edgenas.OwnSpace("plain", {"depth": (1, 2, 3), "width": widths}, layers)


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> edgenas.Study:
    """A study in a space of one's own, as if killed before it could choose."""
    monkeypatch.chdir(tmp_path)
    study = edgenas.search("digits", space=space(), **QUICK)
    with sqlite3.connect(tmp_path / "studies" / "mine" / "study.db") as connection:
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
    connection.close()
    return study


def test_a_space_is_searched_as_an_object_and_its_study_goes_on_with_it(unfinished: edgenas.Study) -> None:
    made = space()(unfinished.best.candidate.architecture.head, 1, 8)
    before = [trial.candidate.key for trial in unfinished.trials]
    assert len(before) == 2
    assert all(made.contains(trial.candidate.architecture) for trial in unfinished.trials)
    again = edgenas.search("digits", space=space(), **QUICK)
    assert [trial.candidate.key for trial in again.trials] == before


def test_a_study_does_not_go_on_in_a_space_of_other_choices(unfinished: edgenas.Study) -> None:
    del unfinished
    with pytest.raises(
        edgenas.EdgenasError,
        match=r"space plain is another than this study began with \(width: 4, 8, 12 there, 4 to 16 in steps of 4 here\)",
    ):
        edgenas.search("digits", space=space(range(4, 17, 4)), **QUICK)


def run(*command: str, cwd: Path, package: Path | None = None) -> str:
    """What `edgenas` prints, with a package on its path or without."""
    environment = {**child_environment(), "OMP_NUM_THREADS": "1"}
    if package is not None:
        paths = filter(None, (str(package), environment.get("PYTHONPATH")))
        environment["PYTHONPATH"] = ":".join(paths)
    done = subprocess.run(
        [sys.executable, "-m", "edgenas", *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_tutorial_s_space_is_searched_by_its_name_and_its_networks_outlive_the_package(tmp_path: Path) -> None:
    package = pip_install([wheel(written(PAGE, tmp_path) / "two-stages", tmp_path)], tmp_path / "site")
    found = run("search", "project.toml", "--study", "s", "--workers", "2", cwd=tmp_path, package=package)
    assert "two-stages: width " in found
    for command in (
        ("front", "s"),
        ("describe", "s"),
        ("report", "s"),
        ("train", "s", "--seeds", "1", "--epochs", "1"),
        ("export", "s", "--out", "bundle"),
        ("bundle", "verify", "bundle"),
    ):
        run(*command, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nasbench101", "nasbench201", "darts", "multibranch", "fbnet"])
def test_the_named_spaces_are_searched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    size = {"image_size": 32} if name == "fbnet" else {}
    study = edgenas.search("digits", space=name, **{**QUICK, "search_images": 20, "rules": {"trials": 1}}, **size)
    assert study.best.status == "complete"
