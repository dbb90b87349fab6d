"""`make bench-gpu` in calls of some minutes: interrupted and killed, its dry run ends as one that nobody disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import AGAIN, DRY, FULL, Place, main, steps
from benchmarks.reproductions import FIRST
from benchmarks.steps import Minutes, OutOfTimeError, edgenas
from edgenas.errors import EdgenasError
from tests.cli.edgenas import ENVIRONMENT, REPOSITORY

CPU = torch.device("cpu")


def test_a_step_is_begun_only_where_it_would_end_but_the_first_always() -> None:
    now = [0.0]
    minutes = Minutes(1.0, lambda: now[0])
    minutes.begin(1000.0)
    now[0] = 20.0
    minutes.begin(40.0)
    with pytest.raises(OutOfTimeError):
        minutes.begin(40.1)
    Minutes(None).begin(1e9)


def test_without_a_gpu_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert main(["--out", str(tmp_path / "out")]) == 1
    assert "no CUDA device here: run it where there is one, or add --dry-run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [DRY, FULL])
def test_its_steps_are_checks_first_and_then_the_page_s_first_settings(size: Any, tmp_path: Path) -> None:
    names = [name for name, _, _ in steps(size, Place(tmp_path, CPU, {}, Minutes(None)))]
    assert names[:2] == ["gpu-checks", "gpu-bandwidth"]
    assert [name for name in names if "-gnas-" in name and "throughput" not in name] == [
        f"gpu-{setting.name}-{command.name}" for setting in FIRST for command in setting.commands
    ]
    assert [setting.name for setting in FIRST] == ["gnas-fashion-t", "gnas-cifar10-t"]
    needs = [seconds for _, seconds, _ in steps(size, Place(tmp_path, CPU, {}, Minutes(None)))]
    assert max(needs) <= 120  # in one go: a call of nine minutes has room for each


def test_a_command_is_interrupted_when_the_minutes_end_and_keeps_what_it_had(tmp_path: Path) -> None:
    search = ("search", "--target", "jetson", "--study", "s", "--epoch-scale", "20", "--workers", "0")
    begun = time.monotonic()
    with pytest.raises(OutOfTimeError):
        edgenas(*search, minutes=Minutes(2 / 60), folder=tmp_path, environment=ENVIRONMENT)
    assert time.monotonic() - begun >= 2
    with pytest.raises(EdgenasError, match="ended with exit code 1"):
        edgenas("describe", "gnas-none", folder=tmp_path, environment=ENVIRONMENT)
    described = edgenas("describe", "gnas-cifar10-t", minutes=Minutes(5), folder=tmp_path, environment=ENVIRONMENT)
    assert described["params"] == 466_312


ONLY = ("gpu-checks", "gpu-bandwidth", "gpu-gnas-cifar10-t-search", "gpu-gnas-cifar10-t-final")


def call(folder: Path, minutes: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--out", str(folder), "--minutes", str(minutes)]
    command += ["--only", *ONLY]
    return subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL)


def outcome(folder: Path) -> dict[str, Any]:
    """What every command ended with, but for the time that it took; and the weights."""
    found: dict[str, Any] = {}
    for name in ONLY[2:]:
        document = json.loads((folder / f"{name}.json").read_text())["document"]
        kept = ("chosen", "trials", "infeasible", "failed", "params", "epochs", "test_accuracy", "val_accuracy")
        found[name] = {key: document[key] for key in kept if key in document}
    for path in sorted((folder / "studies").rglob("*.safetensors")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_dry_run_in_bounded_calls_one_of_them_killed_ends_as_one_in_one_go(tmp_path: Path) -> None:
    """A search and the training after it, in calls of a third of the time that both take."""
    begun = time.monotonic()
    assert call(tmp_path / "whole", 0).wait() == 0
    third = (time.monotonic() - begun) / 60 / 3
    parts, codes = tmp_path / "parts", []
    killed = call(parts, 0)
    while not list((parts / "studies").rglob("study.db")):
        time.sleep(0.05)
    time.sleep(3)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    while not codes or codes[-1] == AGAIN:
        codes.append(call(parts, third).wait())
        assert len(codes) < 60
    assert codes[-1] == 0
    assert AGAIN in codes
    assert outcome(parts) == outcome(tmp_path / "whole")
    assert any(name.endswith(".safetensors") for name in outcome(parts))
