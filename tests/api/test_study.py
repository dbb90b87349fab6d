"""`edgenas.Study` does what the commands about a study do, with the same names and defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import edgenas
from edgenas.cli.compare import compare
from edgenas.cli.export import export
from edgenas.cli.train import train
from tests.report.studies import published_study

SHOWN = {"study", "as_json"}  # of every command: which study, and how its result is shown


@pytest.mark.parametrize(
    ("command", "method", "flags_alone", "parameters_alone"),
    [
        # of a network without a search: `edgenas.train`
        (train, edgenas.Study.train, {"target", "task", "name"}, set()),
        (compare, edgenas.Study.compare, {"weights"}, set()),  # a word for =FILE behind the reference's name
        # other forms of a bundle that is there
        (export, edgenas.Study.export, {"input_type", "engine", "triton", "deepstream"}, {"input"}),
    ],
)
def test_a_method_has_the_flags_of_its_command(
    command: Callable[..., None], method: Callable[..., object], flags_alone: set[str], parameters_alone: set[str]
) -> None:
    flags, parameters = inspect.signature(command).parameters, inspect.signature(method).parameters
    assert set(flags) - set(parameters) == SHOWN | flags_alone
    assert set(parameters) - set(flags) == {"self"} | parameters_alone
    for name in set(flags) & set(parameters) - {"out"}:
        default, usual = flags[name].default.default, parameters[name].default
        assert default == usual or (default is None and usual == ()), name


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> edgenas.Study:
    """The study `one` of the working folder, by its name; `elsewhere` is a folder beside its `studies`."""
    published_study(tmp_path / "studies/one", finished=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    return edgenas.open_study("one", quiet=True)


def test_a_study_is_the_same_when_the_program_changes_its_folder(
    study: edgenas.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study.folder == Path("studies/one")
    there, trials = study.folder.resolve(), study.trials
    monkeypatch.chdir("elsewhere")
    assert study.folder == there
    assert study.trials == trials
    assert f"<Study {there}: gnas on cifar10" in repr(study)
    published_study(Path("studies/one"))  # another study, which is called so here
    assert study.trials == trials
    monkeypatch.chdir("..")
    assert study.folder == Path("studies/one")


def test_a_report_shows_each_study_once(study: edgenas.Study) -> None:
    published_study(Path("studies/two"))

    def page(*others: edgenas.Study | str | Path) -> str:
        return re.sub(r"\d\d:\d\d:\d\d", "", study.report("page.html", *others).read_text())  # when it was written

    alone, both = page(), page("two")
    assert page(study, "one", study.folder.resolve()) == alone != both
    assert page("two", study, "studies/two") == both


def test_homes_are_found_in_paths_of_every_kind(study: edgenas.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path().resolve()
    monkeypatch.setenv("HOME", str(here))
    assert edgenas.open_study("~/studies/one", quiet=True).folder == here / "studies/one"
    assert edgenas.open_study(Path("~/studies/one"), quiet=True).trials == study.trials
    assert study.report("~/home.html", "~/studies/one") == here / "home.html"
    assert not Path("~").exists()
    for called, words in (
        (lambda: edgenas.search("~/cells", target="jetson", quiet=True), f"there is no folder {here}/cells"),
        (lambda: edgenas.predict(["~/a.onnx"], "jetson"), f"{here}/a.onnx"),
        (lambda: edgenas.network_from_onnx("~/a.onnx"), f"{here}/a.onnx"),
    ):
        with pytest.raises(edgenas.EdgenasError, match=re.escape(words)):
            called()
