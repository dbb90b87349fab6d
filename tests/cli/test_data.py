"""`edgenas data`, the same lines before a training, and trainings on other images than the study began with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgenas.architectures.chain import chain
from edgenas.cli.main import app
from edgenas.engine.call import Call
from edgenas.engine.data import searched_task
from edgenas.engine.decide import data_asked, decide, study_record
from edgenas.engine.plan import plan_json
from edgenas.engine.registry import method_named
from edgenas.engine.settings import settings_from
from edgenas.errors import StudyError
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.records import Ask, Candidate, Choice, Classes, Recipe
from edgenas.store import Store
from edgenas.tasks import Split, TaskSettings, load_task
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import inline_executor
from tests.cli.edgenas import refusal
from tests.image_folders import fill, picture
from tests.plans import plan, studied
from tests.training.conftest import ParameterCost


def data(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments), "--json"])
    if result.exception is not None:
        raise result.exception
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_a_folder_with_splits_is_counted_as_it_is_used(tmp_path: Path) -> None:
    fill(tmp_path / "train", each=10)
    fill(tmp_path / "valid", each=3, first=100)
    fill(tmp_path / "test", each=2, first=200)
    picture(0).save(tmp_path / "train" / "cat" / "again.png")  # cat/000.png once more
    picture(1).save(tmp_path / "train" / "dog" / "other.png")  # cat/001.png as a dog
    picture(2).save(tmp_path / "test" / "cat" / "leak.png")  # cat/002.png of train
    (tmp_path / "train" / "cat" / "notes.txt").write_text("x")
    (tmp_path / "valid" / ".hidden.png").write_bytes(b"x")
    assert data(tmp_path) == {
        "classes": {"cat": 17, "dog": 16},  # 11 + 3 + 3; 11 + 3 + 2
        "splits": {"train": 22, "val": 6, "test": 5},
        "sources": {"train": "train/", "val": "valid/", "test": "test/"},
        "image_size": 16,
        "channels": 3,
        "fit": "crop",
        "ignored": {".txt files": 1, "hidden and system files": 1},
        "duplicates": {"within": 2, "across_splits": 1, "in_training": 1, "two_labels": 1},
        "warnings": [
            "1 validation or test image is a training image, too: scores will look better than they are",
            "1 image is there under two labels: no network can tell these apart",
        ],
    }


def test_a_folder_without_splits_says_how_they_are_cut(tmp_path: Path) -> None:
    found = data(fill(tmp_path, each=10), "--image-size", 8, "--seed", 3)
    assert found["splits"] == {"train": 14, "val": 2, "test": 4}
    assert found["sources"] == {
        "train": "the class folders",
        "val": "10 % of what is left after the test images, chosen by seed 3",
        "test": "20 % of the class folders, always the same",
    }
    assert (found["image_size"], found["ignored"], found["warnings"]) == (8, {}, [])


def test_a_named_set_has_facts_too() -> None:
    found = data("digits")
    assert found["splits"] == {"train": 1295, "val": 143, "test": 359}
    assert sum(found["classes"].values()) == 1797  # type: ignore[attr-defined]


def test_people_read_the_same_as_a_table_and_lines(tmp_path: Path) -> None:
    fill(tmp_path, each=10)
    picture(0).save(tmp_path / "cat" / "again.png")
    (tmp_path / "cat" / "a.heic").write_bytes(b"x")
    text = CliRunner().invoke(app, ["data", str(tmp_path)]).stdout
    assert "cat    11\n" in text
    assert f"data {tmp_path}: 21 images in 2 classes (10 to 11 each), 16 px, RGB, cut in the centre\n" in text
    assert "  1 ignored: 1 .heic files\n" in text
    assert "  1 images repeat another: 1 within a split, 0 across splits; 0 are there under two labels\n" in text
    assert "  warning: 1 .heic files are pictures that are not read: convert them to JPEG or PNG\n" in text


def test_what_is_neither_a_folder_nor_a_name_is_refused(tmp_path: Path) -> None:
    assert "data set 'nowhere' is unknown: digits," in refusal("data", "nowhere")
    (tmp_path / "file.zip").write_bytes(b"PK")
    assert "file.zip' is a file: unpack it" in refusal("data", str(tmp_path / "file.zip"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pics/ was searched as `--data pics` on 20 of its 28 training images, by the study `first`; one candidate."""
    root = tmp_path_factory.mktemp("searched")
    fill(root / "pics", each=20)
    study = studied(plan(asked=SearchSettings(data="pics", search_images=20)), profiles=())
    before = Path.cwd()
    os.chdir(root)
    with Store.create(root / "studies" / "first", study) as store:
        executor = inline_executor(Evaluator(searched_task(store, print), 0), ParameterCost())
        net = chain(8, 3, (0,) * 3, (3,) * 3, Classes(2), image_size=16, in_channels=3)
        one = Candidate(net, Recipe("r", 1, 8, 0.1), "random")
        executor.answer(Ask((one,)), store)
        store.put("choice", "choice", Choice(store.number(one.key)))
    os.chdir(before)
    return root


@pytest.fixture
def copy(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same somewhere else, as the working folder."""
    root = tmp_path / "copy"
    shutil.copytree(searched, root)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("which", range(3), ids=["searched on", "left out of the search", "test"])
def test_a_training_on_other_images_is_refused(copy: Path, which: int) -> None:
    few, whole = load_task(TaskSettings("pics", search_images=20)), load_task(TaskSettings("pics"))
    seen = {image.tobytes() for image in few.train.images}
    left_out = [image for image in whole.train.images if image.tobytes() not in seen]
    target = (few.train.images, left_out, whole.test.images)[which][0].tobytes()
    (changed,) = [path for path in Path("pics").glob("*/*.png") if pixels(path) == target]
    picture(999).save(changed)
    line = refusal("train", "first", "--seeds", "1", "--epochs", "1")
    assert "first began with other images or labels in pics (then" in line
    assert f"; since then 1 changed ({changed.relative_to('pics')}): restore them" in line


def test_a_removed_and_a_new_image_are_named(copy: Path) -> None:
    (copy / "pics" / "cat" / "007.png").unlink()
    picture(500).save(copy / "pics" / "dog" / "zz.png")
    line = refusal("train", "first", "--seeds", "1", "--epochs", "1")
    assert "since then 1 removed (cat/007.png), 1 new (dog/zz.png): restore them" in line


def test_a_search_begins_with_what_it_learns_from(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "pics" / "cat" / "notes.txt").touch()
    refusal(
        "search", "--target", "raspberry-pi-5", "--data", "pics", "--max-latency-ms", "0.0001"
    )  # after the data are read
    said = capsys.readouterr().err
    assert "data pics: 40 images in 2 classes (20 each), 16 px, RGB, cut in the centre\n" in said
    assert "  1 ignored: 1 .txt files\n" in said


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def test_another_folder_of_the_same_name_is_refused_with_where_the_right_one_was(copy: Path, searched: Path) -> None:
    shutil.rmtree("pics")
    fill(copy / "pics", each=20, first=500)
    assert f"images or labels in pics (then {searched / 'pics'}); since then 40 changed (" in refusal("train", "first")


def test_a_folder_that_is_not_here_is_read_from_where_it_was(copy: Path, searched: Path) -> None:
    shutil.rmtree("pics")
    result = CliRunner().invoke(app, ["train", "first", "--seeds", "1", "--epochs", "1"])
    assert result.exception is None, result.exception
    assert f"data pics: not here, read from {searched / 'pics'}\n" in result.stderr
    said = "data pics: 40 images in 2 classes (20 each), 16 px, RGB, cut in the centre\n  train 28 (the class folders)"
    assert said in result.stderr


def test_a_folder_that_is_nowhere_any_more_is_refused(copy: Path) -> None:
    with Store.write(copy / "studies" / "first") as store:
        store.put("data", "folder", "/gone/pics")
    shutil.rmtree("pics")
    assert "began with the images in /gone/pics, and there is no such folder now" in refusal("train", "first")


def test_a_search_that_goes_on_refuses_images_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pets")
    flags = {"data": "pets", "target": ["raspberry-pi-5"], "method": "random"}
    settings = settings_from(None, flags)
    profiles = (profile_from_name("raspberry-pi-5"),)
    whole = load_task(data_asked(settings))
    decided = decide(settings, method_named("random"), profiles, whole, Call())
    study = msgspec.structs.replace(study_record(settings, profiles), plan=plan_json(decided))
    with Store.create(tmp_path / "s", study) as store:
        searched_task(store, print)
        searched_task(store, print)  # the same images: nothing is refused
    picture(99).save(tmp_path / "pets" / "cat" / "000.png")
    again = ("search", "--data", "pets", "--target", "raspberry-pi-5", "--method", "random", "--study", "./s")
    assert "s began with other images or labels in pets; since then 1 changed (cat/000.png): restore them" in refusal(
        *again
    )


def test_a_study_whose_images_another_pillow_reads_says_that_no_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pets")
    picture(99).save(tmp_path / "pets" / "cat" / "new.webp")
    flags = {"data": "pets", "target": ["raspberry-pi-5"], "method": "random", "skip_damaged": True}
    settings = settings_from(None, flags)
    profiles = (profile_from_name("raspberry-pi-5"),)
    with monkeypatch.context() as without:
        without.delitem(Image.OPEN, "WEBP")
        decided = decide(settings, method_named("random"), profiles, load_task(data_asked(settings)), Call())
        study = msgspec.structs.replace(study_record(settings, profiles), plan=plan_json(decided))
        with Store.create(tmp_path / "s", study) as store:
            searched_task(store, print)
            searched_task(store, print)  # the same images: nothing is refused
    said = refusal("search", "--resume", "./s")
    assert "images or labels in pets; since then no file changed, but what reads them did (now EdgeNAS " in said


def test_decoded_images_are_listed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENAS_CACHE", str(tmp_path / "cache"))
    pics, other = fill(tmp_path / "pics", each=10), fill(tmp_path / "other", each=5)
    data(pics)
    data(other)
    (found,) = data(pics, "--cache")
    assert (found["folder"], found["images"], found["pixels"]) == (str(pics), 20, ["16x3-crop"])
    assert len(data("--cache")) == 2
    text = CliRunner().invoke(app, ["data", "--cache"]).stdout
    assert str(other) in text
    assert f"in {tmp_path / 'cache'}" in text
    assert [one["folder"] for one in data(other, "--clear-cache")] == [str(other)]
    assert [one["folder"] for one in data("--cache")] == [str(pics)]
    data("--clear-cache")
    assert data("--cache") == []
    assert "no data was named" in refusal("data")


def test_decoded_images_lie_beside_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDGENAS_CACHE")
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pics", each=10)
    asked = ["search", "--target", "raspberry-pi-5", "--data", "pics", "--max-latency-ms", "0.0001"]
    refusal(*asked)  # after the data are read
    assert "take 15.4 kB as pixels: kept in studies/.images (" in capsys.readouterr().err
    assert len(list((tmp_path / "studies" / ".images").glob("*/*/pixels"))) == 1
    refusal(*asked, "--study", str(tmp_path / "elsewhere" / "mine"))
    assert len(list((tmp_path / "elsewhere" / ".images").glob("*/*/pixels"))) == 1


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_how_squares_are_made_and_damaged_files_are_asked_for_by_flags(tmp_path: Path, fit: str) -> None:
    fill(tmp_path, each=10)
    Image.new("RGB", (90, 30), (9, 9, 9)).save(tmp_path / "cat" / "wide.png")
    (tmp_path / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert "1 of 22 images cannot be read: dog/broken.jpg" in refusal("data", str(tmp_path), "--fit", fit)
    found = data(tmp_path, "--fit", fit, "--skip-damaged")
    assert (found["fit"], found["ignored"]) == (fit, {"damaged images": 1})
    assert found["warnings"] == (
        [
            "1 of 21 images are more than twice as long as wide: only their middle is seen (--fit stretch or --fit pad shows "
            "all, --image-size 32x96 keeps their shape)"
        ]
        if fit == "crop"
        else []
    )


@pytest.mark.parametrize(
    "flags", [("--fit", "pad"), ("--skip-damaged",), ("--balance", "weights"), ("--metric", "macro_f1")]
)
def test_what_is_for_classes_is_refused_for_faces(flags: tuple[str, ...]) -> None:
    assert f"{flags[0]} is for --task classification: leave it out" in refusal("search", "--task", "faces", *flags)


def test_a_study_of_before_images_were_cached_is_held_against_the_hash_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pics", each=20)
    settings = TaskSettings("pics", search_images=20)
    whole = load_task(TaskSettings("pics"))
    study = studied(plan(asked=SearchSettings(data="pics", search_images=20), task=settings), profiles=())
    with Store.create(tmp_path / "s", study) as store:
        store.put("data", "sha256", sha256_of_bytes(load_task(settings).train, whole.val))
        store.put("data", "whole", sha256_of_bytes(whole.train, whole.val, whole.test))
        assert len(searched_task(store, print).train) == 20
        assert store.get("data", "digests", str) is None
        picture(99).save(tmp_path / "pics" / "cat" / "000.png")
        with pytest.raises(StudyError, match="began with other images or labels in pics: restore them"):
            searched_task(store, print)


def sha256_of_bytes(*splits: Split) -> str:
    """As every version has it: the pixels and the labels of each split."""
    return hashlib.sha256(b"".join(s.images[:].tobytes() + s.labels.tobytes() for s in splits)).hexdigest()
