"""The space of stages from search to bundle, as a user has it."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgenas
from edgenas.architectures.stages_bounds import TINY_BOUNDS, bounded_stages
from edgenas.records import StagesArchitecture


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random", "guided"])
def test_stages_are_searched_trained_and_exported(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = edgenas.search(
        "digits",
        target="raspberry-pi-5",
        method=method,
        space="stages",
        max_params=20_000,
        rules={"trials": 3},
        epoch_scale=0.4,
        search_images=600,
        workers=0,
        study="staged",
        quiet=True,
    )
    assert len(study.trials) <= 3
    space = bounded_stages(TINY_BOUNDS["small"], study.best.candidate.architecture.head, 1, 8)
    for trial in study.trials:
        assert isinstance(trial.candidate.architecture, StagesArchitecture)
        assert space.contains(trial.candidate.architecture)
        assert trial.cost.params <= 20_000
    study.train(seeds=1, epochs=2)
    study.export("bundle", precision=("fp32", "int8"), max_drop=100)
    assert {path.name for path in Path("bundle").iterdir()} >= {"model.onnx", "model.int8.onnx"}
    assert edgenas.predict("bundle/model.onnx", target="raspberry-pi-5").ms > 0
