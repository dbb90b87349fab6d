"""`edgenas classify`: pictures through a bundle's file, by the command."""

from __future__ import annotations

import json
import shutil
import sys
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
from tests.damaged_images import (
    MOST_PIXELS,
    RGB_DEEP,
    TOO_MANY_PIXELS,
    only_so_much_memory_more,
    png_of_one_colour,
    png_without_pixels,
)
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


def test_a_picture_of_too_many_pixels_is_named_and_the_rest_is_classified(pictures: list[Path], tmp_path: Path) -> None:
    most, more = tmp_path / "most.png", tmp_path / "more.png"
    most.write_bytes(png_of_one_colour(MOST_PIXELS))
    more.write_bytes(png_without_pixels(TOO_MANY_PIXELS))
    document, error = classified(digits_bundle().folder, more, most, pictures[0])
    assert document["images"][0] == {
        "image": str(more),
        "error": "more than 178 million pixels are too many: scale it down",
    }
    assert ["error" in one for one in document["images"]] == [True, False, False]
    assert f"1 of 3 images could not be read: {more}: more than 178 million pixels" in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by Linux's limit on the address space")
def test_a_picture_that_memory_does_not_hold_is_named_and_the_rest_is_classified(
    pictures: list[Path], tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png_without_pixels(MOST_PIXELS, RGB_DEEP))  # 716 MB in memory
    bundle = digits_bundle().folder
    assert classified(bundle, pictures[0])[1] is None  # with all that is imported for it
    with only_so_much_memory_more(megabytes=400):
        document, _ = classified(bundle, large, pictures[0])
    assert document["images"][0]["error"] == "there is not enough memory for it: scale it down"
    assert "error" not in document["images"][1]


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
