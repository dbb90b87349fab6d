"""`edgenas classify`: pictures through a bundle's file, by the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgenas.bundle import sealed
from edgenas.cli.main import app
from edgenas.preprocessing import input_from_pixels, pixels_from_image
from edgenas.runtimes import open_runtime
from tests.cli.edgenas import refusal
from tests.digits_bundle import digits_bundle
from tests.picture_kinds import kinds


def classified(*arguments: object) -> tuple[dict, Exception | None]:  # type: ignore[type-arg]
    result = CliRunner().invoke(app, ["classify", *map(str, arguments), "--json"])
    return json.loads(result.stdout), result.exception  # type: ignore[return-value]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    files = [tmp_path / name for name in ("rgb.png", "turned-6.jpg", "rgba.webp", "grey.bmp")]
    for file in files:
        file.write_bytes(kinds()[file.name])
    return files


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_probabilities_are_those_of_the_file_on_the_pixels_that_training_sees(
    pictures: list[Path], precision: str
) -> None:
    document, error = classified(digits_bundle().folder, *pictures, "--precision", precision, "--top", 10)
    assert error is None
    assert [one["image"] for one in document["images"]] == list(map(str, pictures))
    how = digits_bundle().manifest.preprocessing
    for path, one in zip(pictures, document["images"], strict=True):
        with (
            Image.open(path) as image,
            open_runtime("onnxruntime", digits_bundle().path(precision), precision) as network,  # type: ignore[arg-type]
        ):
            pixels = input_from_pixels(pixels_from_image(image, how)[None], how)
            logits = network.run({"image": pixels})["logits"][0]
        shares = np.exp(logits) / np.exp(logits).sum()
        found = {likely["index"]: likely["probability"] for likely in one["classes"]}
        assert [found[i] for i in range(10)] == pytest.approx(shares.tolist(), abs=1e-5)
        assert one["label"] == str(shares.argmax())


def test_without_precision_the_bundles_own_choice_is_taken(pictures: list[Path]) -> None:
    document, _ = classified(digits_bundle().folder, pictures[0])
    assert document["precision"] == digits_bundle().manifest.chosen_precision
    assert len(document["images"][0]["classes"]) == 3


def test_what_cannot_be_read_is_named_and_the_rest_is_classified(pictures: list[Path], tmp_path: Path) -> None:
    damaged, text = tmp_path / "cut.png", tmp_path / "notes.txt"
    damaged.write_bytes(kinds()["rgb.png"][:300])
    text.write_text("no picture")
    document, error = classified(digits_bundle().folder, damaged, pictures[0], text)
    assert ["error" in one for one in document["images"]] == [True, False, True]
    assert "2 of 3 images could not be read" in str(error)
    assert str(damaged) in str(error)
    assert str(text) in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("faces", "`edgenas serve` (/embed, /identify) and `edgenas faces eval` are for faces"),
        ("generic", "`edgenas serve {folder}` answers with its outputs"),
    ],
)
def test_bundles_without_classes_are_refused_in_the_same_words_by_every_command(
    kind: str, hint: str, tmp_path: Path, pictures: list[Path]
) -> None:
    folder = Path(shutil.copytree(digits_bundle().folder, tmp_path / "bundle"))
    manifest = msgspec.structs.replace(digits_bundle().manifest, kind=kind, labels=())
    (folder / "manifest.json").write_bytes(sealed(manifest))
    line = (
        f"{folder} is no classifier's bundle but one of kind {kind}, which has no classes: {hint.format(folder=folder)}"
    )
    assert refusal("classify", str(folder), str(pictures[0])) == line
    assert refusal("evaluate", str(folder), "--data", "digits") == line


def test_the_commands_that_the_refusal_names_exist() -> None:
    assert CliRunner().invoke(app, ["faces", "eval", "--help"]).exit_code == 0


def test_a_folder_a_missing_file_and_two_precisions_are_refused(tmp_path: Path, pictures: list[Path]) -> None:
    bundle = str(digits_bundle().folder)
    assert f"{tmp_path} is a folder: name the images in it" in refusal("classify", bundle, str(tmp_path))
    assert "none.png does not exist" in refusal("classify", bundle, "none.png")
    assert "one at a time" in refusal("classify", bundle, str(pictures[0]), "--precision", "fp32,int8")


def test_a_person_sees_a_line_for_each_picture(pictures: list[Path], tmp_path: Path, monkeypatch) -> None:
    folder = digits_bundle().folder.absolute()
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["classify", str(folder), *(path.name for path in pictures)])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1 + len(pictures)
    assert [line.split()[-1] for line in result.stdout.splitlines()[1:]] == [path.name for path in pictures]
