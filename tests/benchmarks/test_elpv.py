"""The solar cells' benchmark: means over the splits that are done, and settings that do not change on the way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import teachers
from benchmarks.elpv import files, over_splits, shown, summary
from edgenas.errors import EdgenasError
from edgenas.store import read_toml


def test_means_are_over_the_splits_that_are_done_and_say_how_many() -> None:
    found = over_splits([{"accuracy": 84.0, "cpu_seconds": [3, 4]}, {"accuracy": 87.0, "cpu_seconds": [3, 4]}])
    assert found == {"n": 2, "accuracy": {"mean": 85.5, "sd": pytest.approx(4.5**0.5)}}
    assert over_splits([{"accuracy": 84.0}]) == {"n": 1, "accuracy": {"mean": 84.0, "sd": None}}
    split = {arm: {"accuracy": 80.0} for arm in ("reference", "plain", "taught")}
    assert summary({"cut": [split], "fresh": []}, [{"accuracy": 83.0}]).keys() == {
        "frozen", "cut reference", "cut plain", "cut taught"
    }  # fmt: skip


def test_a_network_is_shown_with_its_scores_sizes_and_seconds() -> None:
    latency = {"ms": 0.5, "low": 0.4, "high": 0.7}
    cost = {"params": 9, "macs": 99, "latencies": {"jetson": latency}}
    competitor = {"scores": {"accuracy": [84.0], "loss": [1.0]}, "cost": cost, "epochs": 8}
    assert shown(competitor, {"cpu_seconds": 3.0}, {"cpu_seconds": 4.0}) == {
        "accuracy": 84.0, "params": 9, "macs": 99, "latency_ms": 0.5, "latency_interval": [0.4, 0.7], "epochs": 8,
        "cpu_seconds": [3.0, 4.0],
    }  # fmt: skip


def test_project_and_recipe_are_those_of_the_benchmark_or_it_refuses_the_folder(tmp_path: Path) -> None:
    project, recipe = files(tmp_path, "cut", Path("/weights/lite0.onnx"))
    assert files(tmp_path, "cut", Path("/weights/lite0.onnx")) == (project, recipe)
    settings = read_toml(project, dict[str, object])
    assert (settings["start"], settings["max-params"]) == ("/weights/lite0.onnx", 300_000)
    assert "start" not in read_toml(files(tmp_path, "fresh", Path("lite0.onnx"))[0], dict[str, object])
    recipe.write_text("epochs = 1\n")
    with pytest.raises(
        EdgenasError, match=r"cells\.toml has other settings than this benchmark: name another --folder"
    ):
        files(tmp_path, "cut", Path("/weights/lite0.onnx"))


@pytest.mark.slow
def test_teachers_are_measured_by_epochs_beside_other_work_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--folder", str(tmp_path / "arms"), "--result", str(tmp_path / "result.json")]
    alike = ["--epochs", "2", "--epoch-scale", "0.35", "--seeds", "2", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["teachers", "--data", "digits", *alike, *where])
    teachers.main()
    found = json.loads((tmp_path / "result.json").read_text())["data"]["digits"]
    assert found.keys() == {"plain", "free", "free_gain"}
    assert found["plain"]["epochs"] == found["free"]["epochs"] == 2
    each = [found[arm]["test_accuracy"]["each"] for arm in ("plain", "free")]
    assert found["free_gain"]["points"] == pytest.approx(sum(each[1]) / 2 - sum(each[0]) / 2)
    (tmp_path / "arms" / "digits-free.json").unlink()
    teachers.main()  # the training is found again in the study
    assert (
        json.loads((tmp_path / "result.json").read_text())["data"]["digits"]["free"]["test_accuracy"]
        == found["free"]["test_accuracy"]
    )


def test_a_gain_has_the_standard_error_of_a_difference_of_means() -> None:
    def arm(*each: float) -> dict[str, dict[str, list[float]]]:
        return {"test_accuracy": {"each": list(each)}}

    gain = teachers.gain(arm(80, 82, 84), arm(83, 84, 85))
    assert gain == {"points": 2.0, "standard_error": pytest.approx((4 / 3 + 1 / 3) ** 0.5)}
