"""Long benchmarks: what is there is not made again, unless other settings made it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.steps import step
from edgenas.errors import EdgenasError

CPU = torch.device("cpu")


def test_a_step_that_is_there_is_read_and_one_of_other_settings_is_refused(tmp_path: Path) -> None:
    made: list[int] = []

    def run() -> dict[str, Any]:
        made.append(len(made))
        return {"tar": 80.0 + len(made)}

    path = tmp_path / "arm-0.json"
    first = step(path, "arm", run, CPU, {"epochs": 50, "network": "6x16d"})
    assert step(path, "arm", run, CPU, {"network": "6x16d", "epochs": 50}) == first
    assert first["tar"] == 81.0
    with pytest.raises(
        EdgenasError, match=r"made with .*'epochs': 50.*, and asked for is .*'epochs': 51.*: name another --folder"
    ):
        step(path, "arm", run, CPU, {"network": "6x16d", "epochs": 51})
    assert made == [0]
    plain = tmp_path / "plain.json"
    assert step(plain, "plain", run, CPU) == step(plain, "plain", run, CPU)
    assert made == [0, 1]
    with pytest.raises(EdgenasError, match="made with None"):
        step(plain, "plain", run, CPU, {"epochs": 50})
