"""Camera strips from the folder to the server: what tells the classes apart lies at their ends, and no square shows it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

import edgenas
from edgenas.cli.main import app
from tests.cli.edgenas import one_millisecond, refusal
from tests.serve.running import serving

HEIGHT, WIDTH = 40, 200
CLASSES = ("both", "left", "right")  # ends with a bright bar
EACH = 40
BOUNDS = (
    "--workers",
    "0",
    "--target",
    "raspberry-pi-5",
    "--max-depth",
    "4",
    "--max-width",
    "8",
    "--epoch-scale",
    "0.2",
)


def strip(label: str, number: int) -> Image.Image:
    """Noise, and bars of 12 pixels somewhere in the outer quarters: the middle 40 x 40 pixels never hold one."""
    rng = np.random.default_rng([CLASSES.index(label), number])
    pixels = rng.integers(0, 120, (HEIGHT, WIDTH), dtype=np.uint8)
    for side, first in (("left", 0), ("right", 3 * WIDTH // 4)):
        if label in (side, "both"):
            place = first + int(rng.integers(0, WIDTH // 4 - 12))
            pixels[:, place : place + 12] = 255
    return Image.fromarray(pixels)


def run(*arguments: str) -> Any:
    """The JSON document that a command prints."""
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the strips, a study of them, its network trained, exported, and as a Triton repository."""
    folder = tmp_path_factory.mktemp("strips")
    for label in CLASSES:
        (folder / "strips" / label).mkdir(parents=True)
        for number in range(EACH):
            strip(label, number).save(folder / "strips" / label / f"{number:03d}.png")
    (folder / "project.toml").write_text('method = "random"\nimage_size = "32x160"\n[rules]\ntrials = 1\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("edgenas.export.release.measured_latencies", one_millisecond)
        run("search", "project.toml", "--data", "strips", "--study", "one", *BOUNDS)
        run("train", "one", "--seeds", "1", "--epochs", "30")
        run("export", "one", "--out", "bundle", "--precision", "fp32", "--triton", "triton")
        run("bundle", "verify", "bundle")
    return folder


def confusion_of(folder: Path, answers: Sequence[tuple[str, str]]) -> list[list[int]]:
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    for truth, answer in answers:
        counts[CLASSES.index(truth), CLASSES.index(answer)] += 1
    found: list[list[int]] = counts.tolist()
    return found


def test_strips_are_learned_served_and_evaluated_in_their_own_shape(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    study = edgenas.open_study("one")
    assert study.best.candidate.architecture.image_size == (32, 160)
    found = run("evaluate", "bundle", "--data", "strips", "--split", "all")
    assert found["models"]["fp32"]["accuracy"] > 90  # no square's middle tells the classes apart: 33 %
    answers = []
    with serving(here / "bundle") as server:
        for label in CLASSES:
            for path in sorted((here / "strips" / label).iterdir()):
                status, answer = server.json("POST", "/classify", path.read_bytes())
                assert status == 200
                answers.append((label, answer["label"]))
        assert server.json("GET", "/v2/models/bundle")[1]["inputs"][0]["shape"] == [-1, 1, 32, 160]
    assert confusion_of(here, answers) == found["models"]["fp32"]["confusion"]


def test_the_exported_file_and_tritons_configuration_say_height_and_width(here: Path) -> None:
    model = onnx.load(here / "bundle" / "model.onnx")
    shape = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 1, 32, 160]
    assert "dims: [ 1, 32, 160 ]" in (here / "triton" / "bundle" / "config.pbtxt").read_text()
    manifest = json.loads((here / "bundle" / "manifest.json").read_text())
    assert manifest["preprocessing"]["size"] == [32, 160]


def test_the_same_search_from_python_and_from_the_command_line_is_one_study(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The finished study is found again, whichever way its size is written."""
    monkeypatch.chdir(here)
    asked = {
        "workers": 0,
        "target": "raspberry-pi-5",
        "max_depth": 4,
        "max_width": 8,
        "epoch_scale": 0.2,
        "study": "one",
    }
    for size in ((32, 160), "32x160"):
        study = edgenas.search("strips", method="random", image_size=size, rules={"trials": 1}, quiet=True, **asked)  # type: ignore[arg-type]
        assert len(study.trials) == 1
    run("search", "project.toml", "--data", "strips", "--study", "one", *BOUNDS, "--image-size", "32x160")
    line = refusal("search", "project.toml", "--data", "strips", "--study", "one", *BOUNDS, "--image-size", "160x32")
    assert "image_size is (32, 160) there, (160, 32) asked" in line


def test_the_report_draws_maps_in_their_own_shape(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    run("report", "one", "--out", "report.html")
    page = (here / "report.html").read_text()
    assert "16\u00a0×\u00a080\u00a0px" in page
    assert "8\u00a0×\u00a040\u00a0px" in page


def test_what_is_known_of_the_data_names_both_sides(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    wide, square = run("data", "strips", "--image-size", "32x160"), run("data", "strips")
    assert (wide["image_size"], wide["warnings"]) == ([32, 160], [])
    assert square["image_size"] == HEIGHT
    assert square["warnings"] == [
        "120 of 120 images are more than twice as long as wide: only their middle is seen (--fit stretch or --fit pad shows all, "
        "--image-size 40x200 keeps their shape)"
    ]
    tall = run("data", "strips", "--image-size", "64x32")
    assert "120 of 120 images are more than twice as long, or as high, as the shape of 64x32" in tall["warnings"][0]
    long = run("data", "strips", "--image-size", "16x320")  # 20 times as wide as high, and the images 5 times
    assert "120 of 120 images are more than twice as long, or as high, as the shape of 16x320" in long["warnings"][0]
    text = CliRunner().invoke(app, ["data", "strips", "--image-size", "32x160"], catch_exceptions=False).stdout
    assert "120 images in 3 classes (40 each), 32x160 px, grey, cut in the centre" in text
    caches = run("data", "strips", "--cache")[0]["pixels"]
    assert caches == ["16x320x1-crop", "32x160x1-crop", "40x1-crop", "64x32x1-crop"]


@pytest.mark.parametrize("size", ["0x32", "64x", "64x320x3", "axb", "-64", "7x64", "64x2049"])
def test_sizes_that_are_none_are_one_line_at_every_command(size: str, tmp_path: Path) -> None:
    project = tmp_path / "project.toml"
    project.write_text(f'image_size = "{size}"\n')
    for command in (
        ("search", "--data", "digits", f"--image-size={size}"),
        ("search", str(project)),
        ("data", "digits", f"--image-size={size}"),
        ("space", "chain", f"--image-size={size}"),
        ("design", f"--image-size={size}"),
    ):
        assert f"image size {size}" in refusal(*command).replace("'", "")


def test_faces_are_squares(tmp_path: Path) -> None:
    line = refusal("search", "--task", "faces", "--data", "synthetic", "--image-size", "64x96")
    assert line == "faces are squares, computed at 28, 56, 112 px, not 64x96: set --image-size"


def test_a_bundle_whose_preprocessing_has_other_sides_is_refused(here: Path, tmp_path: Path) -> None:
    for size, line in (
        ([160, 32], "its preprocessing makes images of 1 x 160 x 32, the model takes 1 x 32 x 160"),
        ([32, 32], "a square is written as one number, 32"),
        ([32, 0], "its preprocessing makes no image"),
        ([32], "Expected `array` of length >= 2"),
    ):
        copy = Path(shutil.copytree(here / "bundle", tmp_path / f"bundle-{len(line)}"))
        fields = json.loads((copy / "manifest.json").read_text())
        del fields["sha256"]
        fields["preprocessing"]["size"] = size
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        sealed = {**fields, "sha256": hashlib.sha256(canonical).hexdigest()}
        (copy / "manifest.json").write_text(json.dumps(sealed, sort_keys=True, indent=2, ensure_ascii=False) + "\n")
        assert line in refusal("bundle", "verify", str(copy))


def test_arrays_become_rectangles(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    images = np.stack([np.asarray(strip(label, number)) for label in CLASSES for number in range(EACH)])
    labels = np.repeat(CLASSES, EACH)
    study = edgenas.search(
        (images, labels), method="random", rules={"trials": 1}, image_size=(16, 80), workers=0, target="raspberry-pi-5",
        max_depth=4, max_width=8, epoch_scale=0.1, quiet=True, study="arrays",
    )  # fmt: skip
    assert study.best.candidate.architecture.image_size == (16, 80)
    final = study.train(seeds=1, epochs=1)  # the arrays kept beside the study are read at that size again
    assert (final.preprocessing.size, len(final.runs)) == ((16, 80), 1)
