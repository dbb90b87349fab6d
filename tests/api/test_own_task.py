"""A task as an object of the caller's, which is registered nowhere. (By its name, from a package: tests/outside.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import edgenas
from edgenas.report.answers.more import more_budget
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import read_facts
from tests.angle import angle

FEW: dict[str, Any] = {
    **{"target": "raspberry-pi-5", "method": "random", "max_depth": 4, "max_width": 8, "width_step": 4},
    **{"rules": {"trials": 3}, "epoch_scale": 0.4, "workers": 0, "quiet": True},
}


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("cwd")
def test_it_is_searched_and_trained_and_the_smallest_error_is_the_best() -> None:
    study = edgenas.search(angle(), study="own", **FEW)
    scores = [trial.scores for trial in study.trials if trial.status == "complete"]
    assert len(scores) == 3
    assert study.best.scores["val_mae"] == min(each["val_mae"] for each in scores)
    final = study.train(seeds=1, epochs=2)
    assert final.metric == "mae"


@pytest.mark.usefixtures("cwd")
@pytest.mark.slow  # a search, two trainings and an export
def test_the_commands_that_its_report_names_work_where_they_are_typed_with_the_task() -> None:
    """No shell can name it: each line is one of Python, with DATA in its place."""
    task = angle()
    study, names = edgenas.search(task, study="own", **FEW), {"edgenas": edgenas, "DATA": task}
    assert next_commands(read_facts(study.folder))[0].line == (
        "edgenas.open_study('studies/own').go_on(data=DATA).train()"
    )
    study.train(seeds=1, epochs=1)
    facts = read_facts(study.folder)
    (longer,) = re.findall(r"`(edgenas\.[^`]*)`", " ".join(more_budget(facts)))
    assert longer.endswith(".train(seeds=1, epochs=2)")
    assert eval(longer, names).recipe.epochs == 2
    (export,) = next_commands(facts)  # its kind of network has no public one beside it
    assert eval(export.line, names).folder == Path("bundles/own").resolve()
