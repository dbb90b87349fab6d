"""A space of one's own: as an object, and from somebody else's package. Its studies can be used where its code is not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgenas
from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.own import Choices
from edgenas.engine.taught import KIND, Teacher
from edgenas.records import OwnArchitecture
from edgenas.runtimes.child import child_environment
from edgenas.store import Store
from tests.docs.blocks import ROOT, written
from tests.packages import install, pip_install, wheel

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


TAKEN = ("chain", "stages", "multibranch", "fbnet", "cells", "cuts", "darts", "nasbench101", "nasbench201")


@pytest.mark.parametrize("name", TAKEN)
def test_a_space_that_is_called_like_one_of_ours_is_refused_before_there_is_a_study(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = edgenas.OwnSpace(name, {"width": (4, 8)}, lambda net, choices: net.conv(-1, choices["width"], 3))

    def harmless(*made_for: Any) -> Any:
        return mine(*made_for)

    for own in (mine, harmless):  # a study knows it by the name of what it makes
        with pytest.raises(edgenas.EdgenasError, match=f"space '{name}' comes with edgenas, and .* another"):
            edgenas.search("digits", space=own, **QUICK)
    assert not (tmp_path / "studies" / "mine").exists()


def test_a_function_of_any_name_may_make_one_of_our_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def narrow(head: Any, channels: int, size: Any) -> ChainSpace:
        return ChainSpace(head, channels, size, min_depth=4, max_depth=5, min_width=4, max_width=8, width_step=4)

    study = edgenas.search("digits", space=narrow, **QUICK)
    assert len(study.trials) == 2
    assert study.plan.space.name == "chain"


def test_of_a_package_s_space_both_names_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from edgenas import OwnSpace\n\n\ndef build(net, choices):\n    return net.conv(-1, choices['width'], 3)\n\n\n"
        "THIN = OwnSpace('thin', {'width': (4, 8)}, build)\nSTAGES = OwnSpace('stages', {'width': (4, 8)}, build)\n"
    )
    points = {"thin": "thinner:THIN", "thick": "thinner:THIN", "odd": "thinner:STAGES", "chain": "thinner:THIN"}
    monkeypatch.syspath_prepend(install(tmp_path / "site", "thinner", "thinner", code, {"edgenas.spaces": points}))
    monkeypatch.chdir(tmp_path)
    refusals = {
        "thick": "space 'thick' of a package calls itself 'thin', by which no study could find it",
        "odd": "space 'stages' comes with edgenas, and this is another: give it another name",
        "chain": "space 'chain' comes with edgenas, and package thinner .thinner:THIN. names another one so",
    }
    for name, words in refusals.items():
        with pytest.raises(edgenas.EdgenasError, match=words):
            edgenas.search("digits", space=name, **QUICK)
    assert not (tmp_path / "studies" / "mine").exists()
    assert len(edgenas.search("digits", space="thin", **QUICK).trials) == 2
    assert len(edgenas.search("digits", **{**QUICK, "study": "usual"}).trials) == 2  # the usual space: ours


def test_the_largest_network_of_a_space_of_one_s_own_teaches_and_without_the_object_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = edgenas.search("digits", space=space(), **QUICK)
    final = study.train(teacher="largest", seeds=1, epochs=1)
    with Store.read(study.folder) as store:
        teacher = store.all(KIND, Teacher)["largest"]
    assert final.recipe.teacher == teacher.sha256
    assert isinstance(teacher.architecture, OwnArchitecture)
    assert teacher.architecture.choices == {"depth": 3, "width": 12}
    reopened = edgenas.open_study("mine", quiet=True)
    with pytest.raises(edgenas.EdgenasError, match=r"begun with an object for its space, .*go_on\(space=\.\.\.\)"):
        reopened.train(teacher="largest", seeds=1, epochs=1)
    assert reopened.go_on(space=space()).train(teacher="largest", seeds=1, epochs=1) == final


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
