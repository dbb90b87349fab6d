"""A task as an object of the caller's, which is registered nowhere. (By its name, from a package: tests/outside.)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgenas
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
