"""`kill -9` of what writes: at its place is all of the older thing or all of the newer one, and the next run leaves no trace."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgenas.bundle import read_bundle
from edgenas.cli.main import app
from edgenas.engine.teacher_outputs import TeacherOutputs, save_outputs
from edgenas.hardware.profile import profile_from_name
from edgenas.records import FinalTraining
from edgenas.store import Store
from tests.cli.edgenas import ENVIRONMENT, at, edgenas, edgenas_json, edgenas_process, killed
from tests.digits_bundle import digits_bundle
from tests.report.studies import published_study
from tests.trained_digits import digits
from tests.trained_study import trained_study

KILLS = 20  # of every command

REPLACING = """
import itertools, os, sys
from pathlib import Path
from msgspec.structs import replace
from edgenas.bundle import read_bundle, write_bundle
source, out = read_bundle(Path(sys.argv[1])), Path(sys.argv[2])
files = {name: (source.folder / name).read_bytes() for name in source.manifest.files}
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for turn in itertools.count():
            write_bundle(out, replace(source.manifest, notes=(f"{line.strip()} {turn}",)), files)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_kills_of_a_bundle_s_replacement_never_leave_nothing_at_its_place(tmp_path: Path) -> None:
    folder, out, rng = tmp_path / "here", tmp_path / "here" / "bundle", random.Random(0)
    folder.mkdir()
    shutil.copytree(digits_bundle().folder, out)
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        REPLACING,
        str(digits_bundle().folder),
        str(out),
    ]
    notes: list[str] = []
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for kill in range(200):
            writers.stdin.write(f"{kill}\n")
            child = int(writers.stdout.readline())
            time.sleep(rng.uniform(0, 0.25))
            os.kill(child, 9)
            assert writers.stdout.readline() == "gone\n"
            notes += read_bundle(out).manifest.notes  # whole, every hash right
        writers.stdin.close()
    assert len(set(notes)) > 20  # it was replaced, again and again
    manifest = read_bundle(out).manifest
    finishing = REPLACING.split("for line in")[0] + "write_bundle(out, source.manifest, files)"
    subprocess.run([*command[:-3], finishing, *command[-2:]], env=ENVIRONMENT, check=True)
    assert read_bundle(out).manifest != manifest
    assert names(folder) == {"bundle"}


def kill_all(folder: Path, place: str, check: Callable[[], object], *arguments: str) -> int:
    """KILLS tries: half of them at any moment of a run, half while something lies beside `place`. How many hit."""
    rng = random.Random(place)
    started = time.monotonic()
    done = edgenas_process(*arguments, folder=folder)
    assert done.returncode in (0, 3), done.stderr
    whole = time.monotonic() - started
    where = (folder / place).parent
    before = f".{Path(place).name}."
    hits = 0
    for kill in range(KILLS):
        moment, late = rng.uniform(0.2, 1) * whole, rng.uniform(0, 0.01)

        def beside(_: float, late: float = late) -> bool:
            if any(name.startswith(before) for name in names(where)):
                time.sleep(late)
                return True
            return False

        hits += killed(folder, beside if kill % 2 else at(moment), *arguments)
        check()
    done = edgenas_process(*arguments, folder=folder)
    assert done.returncode in (0, 3), done.stderr
    check()
    assert [name for name in names(where) if name.startswith(before)] == []
    return hits


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_export_leaves_a_whole_bundle(tmp_path: Path) -> None:
    trained_study(tmp_path / "study")
    shutil.copytree(digits_bundle().folder, tmp_path / "bundle")
    arguments = ("export", "study", "--out", "bundle", "--precision", "fp32,fp16", "--max-drop", "100")
    assert kill_all(tmp_path, "bundle", lambda: read_bundle(tmp_path / "bundle"), *arguments) >= KILLS // 2
    assert names(tmp_path) == {"study", "bundle"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_report_leaves_a_whole_page(tmp_path: Path) -> None:
    published_study(tmp_path / "cifar10")
    page = tmp_path / "page.html"

    def check() -> None:
        text = page.read_text(encoding="utf-8")
        assert text.startswith("<!doctype html>")
        assert text.rstrip().endswith("</html>")

    assert kill_all(tmp_path, "page.html", check, "report", "cifar10", "--out", "page.html") >= KILLS // 2
    assert names(tmp_path) == {"cifar10", "page.html"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_calibration_leaves_a_whole_profile(tmp_path: Path) -> None:
    rows = [f"fbnet:{np.base_repr(row, 9):0>22},{1 + row / 100}" for row in range(1, 40)]
    (tmp_path / "table.csv").write_text("\n".join(["architecture,latency_ms", *rows]) + "\n")
    arguments = ("calibrate", "--new", "board", "--runtime", "tflite", "--precision", "fp32")
    arguments += ("--measurements", "table.csv", "--out", "board.toml")

    def check() -> None:
        assert profile_from_name(str(tmp_path / "board.toml")).calibration is not None

    assert kill_all(tmp_path, "board.toml", check, *arguments) >= KILLS // 2
    assert names(tmp_path) == {"table.csv", "board.toml"}


def trained(study: Path) -> list[tuple[int, str, dict[str, float]]]:
    with Store.read(study) as store:
        (final,) = store.all("final", FinalTraining).values()
    return [(run.seed, run.weights_sha256, run.test) for run in final.runs]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """A training that ends before it is killed is compared, and another one begun."""
    trained_study(tmp_path / "untouched")
    shutil.copytree(tmp_path / "untouched", tmp_path / "whole")
    more = ("--seeds", "2", "--epochs", "3")
    started = time.monotonic()
    edgenas_process("train", "whole", *more, folder=tmp_path)
    duration, rng = time.monotonic() - started, random.Random(1)
    study, hits = tmp_path / "killed", 0
    while hits < KILLS // 2:
        if not study.exists():
            shutil.copytree(tmp_path / "untouched", study)
        if killed(tmp_path, at(rng.uniform(0.3, 1) * duration), "train", "killed", *more):
            hits += 1
            for weights in (study / "weights").glob("*.safetensors"):
                assert load_file(weights)
        else:
            assert trained(study) == trained(tmp_path / "whole")
            shutil.rmtree(study)
    edgenas_json("train", "killed", *more, folder=tmp_path)
    assert trained(study) == trained(tmp_path / "whole")
    assert [name for name in names(study / "weights") if name.startswith(".")] == []


def after_checkpoints(folder: Path, count: int, late: float) -> Callable[[float], bool]:
    """Says yes when so many more checkpoints were written there, and `late` seconds later."""
    seen: set[int] = {path.stat().st_mtime_ns for path in folder.glob("*.checkpoint")}
    there, reached = len(seen), [0.0]

    def says(seconds: float) -> bool:
        for path in folder.glob("*.checkpoint"):
            with contextlib.suppress(FileNotFoundError):
                seen.add(path.stat().st_mtime_ns)
        if len(seen) - there >= count and not reached[0]:
            reached[0] = seconds
        return bool(reached[0]) and seconds >= reached[0] + late

    return says


def kill_within_one_run(folder: Path, kills: int, epochs: int, *how: str) -> None:
    """One run of `edgenas train`, killed so often between its checkpoints, against one that nobody interrupts."""
    rng = random.Random(kills)
    trained_study(folder / "untouched")
    for name in ("whole", "killed"):
        shutil.copytree(folder / "untouched", folder / name)
    more = ("--seeds", "1", "--epochs", str(epochs), "--checkpoint-s", "0", *how)
    app(["train", str(folder / "whole"), *more], standalone_mode=False)
    weights, each, hits = folder / "killed" / "weights", epochs // (kills + 2), 0
    while hits < kills:
        after = after_checkpoints(weights, rng.randint(1, each), rng.uniform(0, 0.1))
        there = killed(folder, after, "train", "killed", *more)
        hits += 1
        assert there or trained(folder / "killed") == trained(folder / "whole")
        if not there or [path for path in weights.glob("*-0.safetensors") if path.name != "digits-0.safetensors"]:
            shutil.rmtree(folder / "killed")  # its training ended before it was killed: once more
            shutil.copytree(folder / "untouched", folder / "killed")
            hits = 0
    last = edgenas("train", "killed", *more, folder=folder)
    assert last.returncode == 0, last.stderr
    assert re.search(rf"goes on after epoch \d+ of {epochs}, from killed/weights/\w+-0.checkpoint", last.stderr)
    assert trained(folder / "killed") == trained(folder / "whole")
    assert contents(weights) == contents(folder / "whole" / "weights")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_is_killed_twice_goes_on_within_itself_to_the_same_bytes(tmp_path: Path) -> None:
    kill_within_one_run(tmp_path, 2, epochs=8)


@pytest.mark.slow
@pytest.mark.timeout(2400)  # each of its eleven processes imports torch: ten minutes where ten others want the core
def test_a_run_that_is_killed_ten_times_goes_on_within_itself_to_the_same_bytes(tmp_path: Path) -> None:
    kill_within_one_run(tmp_path, 10, epochs=80)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_with_further_images_of_a_teacher_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    labels, rng = digits().train.labels, np.random.default_rng(0)
    outputs = 8 * np.eye(10, dtype=np.float32)
    images = rng.integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
    theirs = outputs[rng.integers(0, 10, 50)]
    save_outputs(tmp_path / "o.npz", digits(), TeacherOutputs(outputs[labels], (images, theirs)))
    recipe = "epochs = 1\nbatch_size = 64\nlr = 0.05\nrandom_resized_crop = [0.5, 1.0]\ntrivial_augment = true\n"
    (tmp_path / "mine.toml").write_text(recipe)
    how = ("--teacher", str(tmp_path / "o.npz"), "--recipe", str(tmp_path / "mine.toml"))
    kill_within_one_run(tmp_path, 2, 16, *how)
