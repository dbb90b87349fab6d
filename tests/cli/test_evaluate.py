"""`edgenas evaluate`: a bundle's files on labelled images, through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix
from typer.testing import CliRunner

from edgenas.cli.main import app
from edgenas.preprocessing import input_from_pixels
from edgenas.records import FinalTraining
from edgenas.runtimes import open_runtime
from edgenas.store import Store
from edgenas.tasks import TaskSettings, load_task
from tests.cli.edgenas import refusal
from tests.digits_bundle import digits_bundle
from tests.image_folders import fill, picture


def evaluated(*arguments: object) -> dict:  # type: ignore[type-arg]
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
    if result.exception is not None:
        raise result.exception
    found: dict = json.loads(result.stdout)  # type: ignore[type-arg]
    return found


def digits_folder(root: Path, classes: tuple[str, ...] = tuple("0123456789"), each: int = 6) -> Path:
    """Images of the digits' test split as PNG files, 8 px, in one folder per class."""
    task = load_task(TaskSettings("digits"))
    for name in classes:
        (root / name).mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(task.test.labels == int(name))[:each]):
            Image.fromarray(task.test.images[row, ..., 0]).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_figures_are_those_of_the_file_of_each_precision(precision: str) -> None:
    document = evaluated(digits_bundle().folder, "--data", "digits", "--split", "test")
    assert (document["images"], document["split"], document["metric"]) == (359, "test", "accuracy")
    task, bundle = load_task(TaskSettings("digits")), digits_bundle()
    with open_runtime("onnxruntime", bundle.path(precision), precision) as runtime:  # type: ignore[arg-type]
        logits = runtime.run({"image": input_from_pixels(task.test.images[:], task.preprocessing)})["logits"]
    truth = confusion_matrix(task.test.labels, logits.argmax(1), labels=range(10))
    found = document["models"][precision]
    assert found["confusion"] == truth.tolist()
    assert found["accuracy"] == pytest.approx(100 * np.trace(truth) / 359)
    assert found["accuracy_interval"][0] < found["accuracy"] < found["accuracy_interval"][1]
    assert [one["name"] for one in found["classes"]] == list("0123456789")


def test_a_folder_is_judged_by_its_classes_names_whatever_their_order(tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "few", ("9", "3", "7"))
    result = CliRunner().invoke(app, ["evaluate", str(digits_bundle().folder), "--data", str(folder), "--json"])
    found = json.loads(result.stdout)["models"]["fp32"]
    assert [sum(row) for row in found["confusion"]] == [0, 0, 0, 6, 0, 0, 0, 6, 0, 6]
    assert found["accuracy"] > 80  # names taken for numbers would be at chance
    assert "has no images of 0, 1, 2, 4, 5, ..: the figures are over the other 3 classes" in result.stderr
    assert "all 18 images of" in result.stderr  # and that this may be no test
    assert found["classes"][0]["recall"] is None


def test_a_folder_with_its_own_test_images_is_judged_by_those(tmp_path: Path) -> None:
    digits_folder(tmp_path / "train", each=4)
    digits_folder(tmp_path / "test", each=2)
    document = evaluated(digits_bundle().folder, "--data", tmp_path, "--precision", "int8")
    assert (document["images"], document["split"], list(document["models"])) == (20, "test", ["int8"])
    assert evaluated(digits_bundle().folder, "--data", tmp_path, "--split", "all")["images"] == 60


def test_a_folder_without_test_images_is_judged_by_its_own_validation_images_and_says_so(tmp_path: Path) -> None:
    digits_folder(tmp_path / "train", each=5)
    digits_folder(tmp_path / "valid", each=2)
    flags = ["--data", str(tmp_path), "--precision", "fp32", "--json"]
    result = CliRunner().invoke(app, ["evaluate", str(digits_bundle().folder), *flags])
    document = json.loads(result.stdout)
    assert (document["images"], document["split"]) == (20, "val")
    assert f"{tmp_path} has no test images, so its 20 validation images (valid/) are judged" in result.stderr
    whole = CliRunner().invoke(app, ["evaluate", str(digits_bundle().folder), *flags, "--split", "all"])
    assert json.loads(whole.stdout)["images"] == 70
    assert "are judged" not in whole.stderr  # it is what was asked for


def test_people_read_figures_classes_and_mistakes(tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "few", ("1", "8"), each=20)
    (folder / "1").rename(folder / "x")
    (folder / "8").rename(folder / "1")  # every 8 is there as a 1
    (folder / "x").rename(folder / "8")
    text = (
        CliRunner()
        .invoke(app, ["evaluate", str(digits_bundle().folder), "--data", str(folder), "--precision", "fp32"])
        .stdout
    )
    assert f"{folder} (all): 40 images\n\nfp32\n  accuracy " in text
    assert "balanced accuracy" in text
    assert "\nclass  images  recall %" in text
    assert " of 20 1 are called 8\n" in text


def test_what_cannot_be_evaluated_is_one_line(tmp_path: Path) -> None:
    bundle = digits_bundle().folder
    strange = digits_folder(tmp_path / "strange", ("1", "2"))
    (strange / "2").rename(strange / "two")
    line = refusal("evaluate", str(bundle), "--data", str(strange))
    assert "has images of two, which this network does not know: its classes are 0, 1, 2," in line
    (tmp_path / "flat").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "flat" / "a.png")
    assert "has images outside class folders (a.png)" in refusal(
        "evaluate", str(bundle), "--data", str(tmp_path / "flat")
    )
    assert "data set 'nowhere' is unknown" in refusal("evaluate", str(bundle), "--data", "nowhere")
    assert "no tf32 model" in refusal("evaluate", str(bundle), "--data", "digits", "--precision", "tf32")
    (strange / "two").rename(strange / "2")
    (strange / "2" / "cut.png").write_bytes(b"\x89PNG")
    assert "1 of 13 images cannot be read" in refusal("evaluate", str(bundle), "--data", str(strange))
    assert evaluated(bundle, "--data", strange, "--skip-damaged")["ignored"] == {"damaged images": 1}


def test_torch_is_not_needed(tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "few", ("1", "8"))
    program = "import sys; sys.modules['torch'] = None; from edgenas.cli.main import main; main()"
    command = [sys.executable, "-c", program, "evaluate", str(digits_bundle().folder), "--data", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 12


@pytest.mark.usefixtures("times_nothing")
def test_what_a_training_reports_of_its_test_images_is_what_its_exported_file_scores_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder of unequal classes and odd shapes to a bundle, by another metric, with padding and balanced classes."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pics", each=40, classes=("cat",))
    fill(tmp_path / "pics", each=10, classes=("dog",), first=500)
    for number in range(4):
        picture(900 + number).resize((60, 12)).save(tmp_path / "pics" / "dog" / f"wide{number}.png")
    (tmp_path / "pics" / "cat" / "broken.png").write_bytes(b"\x89PNG")
    Path("project.toml").write_text(
        'data = "pics"\ntarget = ["raspberry-pi-5"]\nmethod = "random"\nmax_depth = 4\nmax_width = 8\nfit = "pad"\n'
        'skip_damaged = true\nbalance = "sampling"\nmetric = "macro_f1"\nepoch_scale = 1.0\n[rules]\ntrials = 1\nepochs = 1\n'
    )
    steps = (
        ("search", "project.toml", "--study", "s", "--workers", "0"),
        ("train", "s", "--seeds", "1", "--epochs", "1"),
        ("export", "s", "--out", "bundle"),
        ("evaluate", "bundle", "--data", "pics", "--split", "test", "--skip-damaged"),
    )
    found = []
    for step in steps:
        result = CliRunner().invoke(app, [*step, "--json"])
        assert result.exception is None, result.stderr
        found.append(json.loads(result.stdout))
    with Store.read(tmp_path / "studies" / "s") as store:
        (trial,) = store.ledger()
        assert store.study.metric.name == "macro_f1"
        assert trial.candidate.recipe.balance == "sampling"
        assert trial.scores["val_macro_f1_low"] <= trial.scores["val_macro_f1"] <= trial.scores["val_macro_f1_high"]
        (final,) = store.all("final", FinalTraining).values()
        assert final.recipe.balance == "sampling"
    trained, evaluated_again = found[1], found[3]
    report = trained["test_report"]
    assert (evaluated_again["metric"], evaluated_again["fit"]) == ("macro_f1", "pad")
    assert evaluated_again["ignored"] == {"damaged images": 1}
    assert evaluated_again["models"]["fp32"] == {name: value for name, value in report.items() if name != "seed"}
    assert evaluated_again["images"] == sum(map(sum, report["confusion"])) == 11  # a fifth of 40, of 14
    assert trained["test_macro_f1"]["mean"] == report["macro_f1"]
    assert trained["test_accuracy"]["mean"] == report["accuracy"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert trained[f"test_{name}_interval"] == pytest.approx(report[f"{name}_interval"])
