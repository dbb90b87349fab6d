"""Where the images of a folder lie: every layout that people have is read right, or refused by a line that helps."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.preprocessing import formats_here
from edgenas.tasks import TaskSettings
from edgenas.tasks.classification import Classification, load_classification
from edgenas.tasks.layout import layout_from_folder
from tests.image_folders import fill, picture


def load(root: Path) -> Classification:
    return load_classification(TaskSettings(str(root)))


def counts(task: Classification) -> tuple[int, int, int]:
    return len(task.train), len(task.val), len(task.test)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "Test"), ("training", "testing")])
def test_a_folders_own_splits_are_used(tmp_path: Path, train: str, val: str, test: str) -> None:
    fill(tmp_path / train, each=10)
    fill(tmp_path / val, each=4, first=100)
    fill(tmp_path / test, each=3, first=200)
    task = load(tmp_path)
    assert counts(task) == (20, 8, 6)
    assert task.facts.sources == {"train": f"{train}/", "val": f"{val}/", "test": f"{test}/"}
    assert {image.tobytes() for image in task.val.images} == {picture(100 + n).tobytes() for n in range(8)}
    assert {image.tobytes() for image in task.test.images} == {picture(200 + n).tobytes() for n in range(6)}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test"), (18, 2, 6)),  # 10 % of training for validation
        (("train", "val"), (16, 6, 4)),  # 20 % of training for the test
        (("train",), (14, 2, 4)),  # both
    ],
)
def test_what_a_folder_lacks_is_cut_from_its_training_images(
    tmp_path: Path, folders: tuple[str, ...], expected: tuple[int, int, int]
) -> None:
    for number, name in enumerate(folders):
        fill(tmp_path / name, each=3 if number else 10, first=1000 * number)
    assert counts(load(tmp_path)) == expected


@pytest.mark.parametrize(
    ("full", "empty", "line"),
    [
        ("train", ["val"], "has val/ without images: put one folder of images per class into it, or remove it: it is split"),
        ("train", ["Testing"], "has Testing/ without images: put one folder of images per class into it, or remove it"),
        ("val", ["train"], "has train/ without images: put one folder of images per class into it$"),
        ("", ["train", "val"], "has train/ and val/ without images: put one folder of images per class into it$"),
    ],
)  # fmt: skip
def test_a_split_folder_without_images_is_named_as_that(tmp_path: Path, full: str, empty: list[str], line: str) -> None:
    if full:
        fill(tmp_path / full, each=10)
    for name in empty:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".DS_Store").write_bytes(b"")
    with pytest.raises(DataError, match=line):
        load(tmp_path)
    (tmp_path / empty[0] / "readme.txt").write_text("none")
    with pytest.raises(DataError, match=line):
        load(tmp_path)
    picture(1).save(tmp_path / empty[0] / "loose.png")
    with pytest.raises(DataError, match="no class folders"):
        load(tmp_path)


def test_copies_of_an_image_are_never_trained_on_and_judged_by(tmp_path: Path) -> None:
    for place, label in enumerate(("cat", "dog")):
        (tmp_path / label).mkdir()
        for index in range(40):  # five pictures, each there eight times
            picture(5 * place + index % 5).save(tmp_path / label / f"{index}.png")
    task = load(tmp_path)
    assert counts(task) == (48, 16, 16)
    assert task.facts.duplicates == {"within": 70, "across_splits": 0, "in_training": 0, "two_labels": 0}


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    for name, value in (("train", 51), ("val", 255), ("test", 102)):
        for place, label in enumerate(("cat", "dog")):
            (tmp_path / name / label).mkdir(parents=True)
            Image.new("L", (8, 8), value * place).save(tmp_path / name / label / "0.png")
    preprocessing = load(tmp_path).preprocessing
    assert (preprocessing.mean, preprocessing.std) == ((0.1,), (0.1,))  # of 0 and 51 / 255


def test_own_splits_need_one_image_of_each_class_only(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "val", "test")):
        fill(tmp_path / name, each=1, first=100 * number)
    assert counts(load(tmp_path)) == (2, 2, 2)
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(DataError, match="class 'cat' has 1 image: every class needs at least 2"):
        load(tmp_path)


def test_images_in_folders_of_a_class_folder_are_read(tmp_path: Path) -> None:
    fill(tmp_path, each=5)
    fill(tmp_path / "cat", each=5, classes=("2023", "2024"), first=100)
    assert load(tmp_path).facts.classes == {"cat": 15, "dog": 5}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert load(fill(tmp_path, classes=("bus", "car", "train"))).classes == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("x.jfif", "JPEG"), ("x.jpe", "JPEG"), ("x.JPG", "JPEG"), ("x.avif", "AVIF"), ("x.pnm", "PPM")),
        *(
            ("x.dib", "DIB"),
            ("x.apng", "PNG"),
            ("x.tif", "TIFF"),
            ("wrong.jpg", "PNG"),
            ("x", "PNG"),
            ("photo.2", "JPEG"),
        ),
    ],
)
def test_images_are_known_by_a_list_of_suffixes_and_without_one_by_content(
    tmp_path: Path, name: str, form: str
) -> None:
    if form not in formats_here():
        pytest.skip(f"this Pillow has no {form}")
    fill(tmp_path)
    picture(50).save(tmp_path / "cat" / name, format=form)
    task = load(tmp_path)
    assert (task.facts.classes, task.facts.ignored) == ({"cat": 11, "dog": 10}, {})


def test_what_is_no_image_is_left_out_and_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    fill(tmp_path / ".ipynb_checkpoints", each=2)
    for name in ("__MACOSX/cat/._000.png", "cat/.DS_Store", "cat/._001.png", "Thumbs.db", "dog/desktop.ini"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("README", "labels.csv", "cat/notes.txt", "dog/more.TXT", "cat/x.tga"):
        (tmp_path / name).write_bytes(b"P5 is no image")
    (tmp_path / "cat" / "gone.png").symlink_to("/nowhere/x.png")
    (tmp_path / "cat" / "itself.png").symlink_to("itself.png")
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "cat" / "pipe.png")
    task = load(tmp_path)
    assert task.facts.classes == {"cat": 10, "dog": 10}
    assert task.facts.ignored == {
        "hidden and system files": 9,  # 4 in .ipynb_checkpoints
        "files without suffix that are no images": 1,
        ".csv files": 1,
        ".txt files": 2,
        ".tga files": 1,
        "broken links": 2,
        "neither files nor folders": 1,
    }


def test_the_studies_of_searches_that_were_started_among_the_images_are_no_class(tmp_path: Path) -> None:
    """A class may be called so: it holds no study.db."""
    fill(tmp_path)
    (tmp_path / "studies").mkdir(parents=True)
    picture(3).save(tmp_path / "studies" / "report.png")
    assert "studies" in layout_from_folder(tmp_path).splits["train"]
    for sign in ("studies/one/study.db", "studies/.images/x", "first/study.db"):
        (tmp_path / sign).parent.mkdir(exist_ok=True)
        (tmp_path / sign).write_bytes(b"")
        found = layout_from_folder(tmp_path)
        classes = {"cat", "dog", "studies"} - {sign.partition("/")[0]}
        assert (set(found.splits["train"]), found.ignored) == (classes, {"folders of studies": 1})
        shutil.rmtree((tmp_path / sign).parent)


def test_class_folders_may_be_links_and_links_back_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    (tmp_path / "data").mkdir()
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).symlink_to(Path("..") / "store" / label)
    assert counts(load(tmp_path / "data")) == (14, 2, 4)
    (tmp_path / "store" / "cat" / "loop").symlink_to(tmp_path / "store" / "cat")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    task = load(tmp_path / "data")
    assert (counts(task), task.facts.ignored) == ((14, 2, 4), {"links to folders that are read already": 2})


def test_names_of_classes_are_kept_as_they_are(tmp_path: Path) -> None:
    names = sorted(("Käse & Brot", "日本", "a,b", "with space", "-dash", "100%", "#1", "x" * 200))
    assert load(fill(tmp_path, each=4, classes=tuple(names))).classes == tuple(names)


def beside(root: Path) -> None:
    fill(root / "train")
    fill(root / "test", each=3, first=50)
    fill(root, each=2, first=90, classes=("bird",))


def loose_beside(root: Path) -> None:
    fill(root / "train")
    picture(0).save(root / "x.png")


def two_of_one(root: Path) -> None:
    for name in ("train", "val", "valid"):
        fill(root / name)


def no_train(root: Path) -> None:
    fill(root / "test")


def flat_splits(root: Path) -> None:
    fill(root, classes=("train", "test"))


def unlabelled_test(root: Path) -> None:
    fill(root / "train")
    fill(root, classes=("test",), first=90)


def lacks(root: Path) -> None:
    fill(root / "train")
    fill(root / "test", each=3, classes=("cat",), first=90)


def other_case(root: Path) -> None:
    fill(root / "train")
    fill(root / "val", each=3, classes=("Cat", "dog"), first=90)


def other_form(root: Path) -> None:
    fill(root / "train", classes=("K\u00e4se", "dog"))
    fill(root / "test", each=3, classes=("Ka\u0308se", "dog"), first=90)


def wrapped(root: Path) -> None:
    fill(root / "my-data")


def split_in_class(root: Path) -> None:
    for place, label in enumerate(("cat", "dog")):
        fill(root / label, classes=("train", "val"), first=100 * place)


def two_levels(root: Path) -> None:
    for place, year in enumerate(("2023", "2024")):
        fill(root / year, first=100 * place)


def newline(root: Path) -> None:
    fill(root, classes=("one\ntwo", "three"))


def tab(root: Path) -> None:
    fill(root, classes=("one\ttwo", "three"))


def not_utf8(root: Path) -> None:
    fill(root)
    (root / "cat").rename(root / os.fsdecode(b"caf\xe9"))


def only_heic(root: Path) -> None:
    fill(root)
    (root / "bird").mkdir()
    (root / "bird" / "1.heic").touch()


@pytest.mark.parametrize("reason", [errno.EIO, errno.EACCES, errno.EINVAL, None])
def test_a_file_without_suffix_that_a_drive_did_not_give_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int | None
) -> None:
    root, real = fill(tmp_path / "pics", each=10), Image.open
    picture(77).save(root / "cat" / "bare", "PNG")

    def failing(file: object, **kept: object) -> Image.Image:
        if str(file).endswith("/bare"):
            raise OSError(reason, os.strerror(reason)) if reason else OSError("cannot identify image file")
        return real(file, **kept)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", failing)
    passed_over = reason in (errno.EINVAL, None)  # what bytes can cause
    assert sum(counts(load(root))) == (20 if passed_over else 21)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (beside, "has images in bird/ beside test/, train/: move that folder into a split .* or out of"),
        (loose_beside, r"has images beside train/ \(x.png\): move them into a class folder there"),
        (two_of_one, "has val/ and valid/: keep one of them"),
        (no_train, "has test but no train folder: add one"),
        (flat_splits, "test/ and train/ hold no class folders: sort their images into one folder per class"),
        (unlabelled_test, "test has no class folders, so its images have no labels: sort them .* or move it out of"),
        (lacks, r"train and test have different classes \(test/ lacks dog\): both need the same class folders"),
        (other_case, r"val/ lacks cat; val/ has Cat, which train/ lacks; .*differ \(Cat for cat\)\)"),
        (other_form, "capitals or Unicode forms differ"),
        (wrapped, r"one class folder \(my-data\): .* holds folders \(cat, dog\): is .*my-data meant\?"),
        (split_in_class, "train, val inside its class folders: put them above, as train/cat/"),
        (two_levels, r"all of 2023, 2024 hold the folders cat, dog, .*name one folder .*\(such as .*2023\)"),
        (newline, r"class folder 'one\\ntwo' in .* has control characters .*: rename it"),
        (tab, r"class folder 'one\\ttwo' in .* has control characters .*: rename it"),
        (not_utf8, r"class folder 'caf\\udce9' in .* bytes that are not UTF-8: rename it"),
        (only_heic, r"bird has no images \(PNG, .*; 1 .heic files\): fill or remove that class folder"),
    ],
)
def test_a_layout_that_is_not_clear_is_one_line(tmp_path: Path, spoil: Callable[[Path], None], complaint: str) -> None:
    spoil(tmp_path)
    with pytest.raises(DataError, match=complaint) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
