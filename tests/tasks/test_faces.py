from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from edgenas.errors import DataError
from edgenas.faces.readers import faces_from_path
from edgenas.faces.verification import normalised
from edgenas.records import Embedding, Recipe
from edgenas.tasks import TaskSettings, load_task, searched, synthetic_faces
from edgenas.tasks.faces import SYNTHETIC, network_pixels
from edgenas.tasks.synthetic_faces import draw_faces
from tests.faces.test_readers import rec_set

SMALL = {"people": 20.0, "each": 3.0}


def write_people(root: Path, people: int, each: int = 3, colour: bool = False, prefix: str = "p") -> Path:
    rng = np.random.default_rng(0)
    for person in range(people):
        folder = root / f"{prefix}{person:02d}"
        folder.mkdir(parents=True)
        for number in range(each):
            shape = (92, 80, 3) if colour else (92, 80)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return root


def test_the_procedural_task_has_over_a_hundred_unseen_people_and_400_000_impostor_pairs() -> None:
    task = load_task(TaskSettings(data="synthetic", task="faces", image_size=28, settings=SMALL))
    assert task.head == Embedding(128)
    assert task.train.images.shape == (60, 28, 28, 1)
    for split in (task.val, task.test):
        people = len(np.unique(split.labels))
        assert people > 100
        assert (len(split) ** 2 - people * 8**2) // 2 > 400_000
    recipe = Recipe("x", 1, 32, 0.1, loss="arcface")
    assert [task.loss(recipe, width).centres.shape for width in (None, 64)] == [(20, 128), (20, 64)]


def test_scores_of_perfect_and_of_meaningless_embeddings() -> None:
    task = load_task(TaskSettings(data="synthetic", task="faces", image_size=28, settings=SMALL))
    labels = torch.from_numpy(task.val.labels)
    perfect = task.scores(torch.eye(200)[labels[:480]], labels[:480])
    assert perfect["tar"] == perfect["tar_high"] == 100.0
    assert perfect["tar_low"] == pytest.approx(93.98, abs=0.01)  # Wilson's of 60 people
    half = labels[:480]
    random = task.scores(torch.randn(len(half), 64, generator=torch.Generator().manual_seed(0)), half)
    assert random["tar"] == pytest.approx(1.0, abs=1.0)  # TAR equals FAR
    assert random["auc"] == pytest.approx(0.5, abs=0.03)
    assert random["tar_low"] <= random["tar"] <= random["tar_high"]


def test_people_of_a_folder_are_split_and_never_shared(tmp_path: Path) -> None:
    folder = write_people(tmp_path, 20)
    task = load_task(TaskSettings(data=str(folder), task="faces", settings={"far": 0.1}))
    assert [len(np.unique(split.labels)) for split in (task.train, task.val, task.test)] == [12, 4, 4]
    pixels = [{image.tobytes() for image in split.images} for split in (task.train, task.val, task.test)]
    assert len(set.union(*pixels)) == 60
    other = load_task(TaskSettings(data=str(folder), task="faces", seed=1, settings={"far": 0.1}))
    assert np.array_equal(task.test.images, other.test.images)
    assert not np.array_equal(task.val.images, other.val.images)
    assert task.train.images.shape[1:] == (112, 112, 1)  # grey stays one channel


def test_given_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    write_people(tmp_path / "train", 12, colour=True)
    write_people(tmp_path / "test", 4, prefix="other")
    task = load_task(TaskSettings(data=str(tmp_path), task="faces", image_size=56, settings={"far": 0.1}))
    assert [len(split) for split in (task.train, task.val, task.test)] == [27, 9, 12]
    assert task.test.images.shape[1:] == (56, 56, 3)


@pytest.mark.parametrize("seed", [999_999, 1_000_000, 2**32 - 1_000_001, 2**32 - 1_000_000])
def test_drawn_people_are_of_one_split_whatever_the_seed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Under one condition without noise, so that two images of somebody are equal. Torch takes seeds modulo 2**32."""
    means = {name: 0.0 if name == "noise" else mean for name, (mean, _) in synthetic_faces.CONDITION.items()}
    monkeypatch.setattr(synthetic_faces, "CONDITION", {name: (mean, 0.0) for name, mean in means.items()})
    settings = TaskSettings(data="synthetic", task="faces", image_size=28, settings=SMALL, seed=seed)
    task = load_task(settings)
    people = [{image.tobytes() for image in split.images} for split in (task.train, task.val, task.test)]
    assert [len(faces) for faces in people] == [20, 120, 150]
    assert len(set.union(*people)) == 20 + 120 + 150
    before = draw_faces(*SYNTHETIC["val"], 28, 1, 2_000_003 + seed)[0]
    assert np.array_equal(task.val.images, before) == (seed not in (1_000_000, 2**32 - 1_000_000))


@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
@pytest.mark.parametrize("test", [True, False])
def test_a_folders_own_validation_people_are_used(tmp_path: Path, name: str, test: bool) -> None:
    """Whatever the seed; the other people of train/ are trained on, less a fifth for a test that is not there."""
    write_people(tmp_path / "train", 15, colour=True)
    own = faces_from_path(write_people(tmp_path / name, 5, each=4, prefix="other"))
    if test:
        write_people(tmp_path / "testing", 4, prefix="third")
    for seed in (0, 1):
        task = load_task(TaskSettings(str(tmp_path), task="faces", image_size=56, seed=seed, settings={"far": 0.1}))
        assert np.array_equal(task.val.images, network_pixels(own.images, 56, 3))
        assert np.array_equal(task.val.labels, np.arange(5).repeat(4))
        assert (len(task.train), len(task.test)) == ((45, 12) if test else (36, 9))
        assert len(task.classes) == len(task.train) / 3


def test_only_given_splits_leave_all_people_of_train_to_be_trained_on(tmp_path: Path) -> None:
    """Two are enough then; of less than ten none can be cut."""
    write_people(tmp_path / "train", 2)
    write_people(tmp_path / "test", 4, prefix="other")
    settings = TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1})
    with pytest.raises(DataError, match=r"has 2 people; training, validation and test need 10 different ones or more$"):
        load_task(settings)
    write_people(tmp_path / "val", 4, prefix="third")
    assert load_task(settings).classes == ("p00", "p01")


def test_ten_people_can_be_cut_and_nine_cannot(tmp_path: Path) -> None:
    write_people(tmp_path, 9, each=4)
    settings = TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1})
    with pytest.raises(DataError, match=r"has 9 people; training, validation and test need 10 different ones or more$"):
        load_task(settings)
    write_people(tmp_path, 1, each=4, prefix="x")
    assert len(load_task(settings).classes) == 6  # two of ten test, two of eight validate


def test_a_person_may_be_called_as_a_split(tmp_path: Path) -> None:
    write_people(tmp_path, 19)
    write_people(tmp_path, 1, prefix="x")
    (tmp_path / "x00").rename(tmp_path / "Val")
    task = load_task(TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1}))
    assert [len(np.unique(split.labels)) for split in (task.train, task.val, task.test)] == [12, 4, 4]


def test_a_split_folder_without_people_is_named_as_that(tmp_path: Path) -> None:
    write_people(tmp_path / "train", 12)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / ".DS_Store").write_bytes(b"")
    with pytest.raises(DataError, match=r"has val/ without people: put one folder for each into it, or remove it$"):
        load_task(TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1}))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ("train/a test/b val/c valid/d", "has val/ and valid/: keep one of them$"),
        ("val/c test/b", "has test/, val/ but no train folder: add one$"),
        (
            "train/a test/b val",
            "val has no folders of people: sort its images into one folder per person, or move it out",
        ),
        ("train test", "test has no folders of people"),
        ("train/a test/b more/c", "has images in more/ beside test/, train/: move its people into one of these, or it"),
        ("train/a test/b more", "has images in more/ beside test/, train/: "),
    ],
)
def test_split_folders_that_leave_a_question_are_refused(tmp_path: Path, folders: str, message: str) -> None:
    for folder in folders.split():
        if "/" in folder:
            write_people(tmp_path / folder.split("/")[0], 12, prefix=folder[-1])
        else:
            write_people(tmp_path, 1, prefix="x")
            (tmp_path / "x00").rename(tmp_path / folder)
    with pytest.raises(DataError, match=message) as caught:
        load_task(TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1}))
    assert "\n" not in str(caught.value)


def test_a_folder_without_faces_beside_the_split_folders_is_left_alone(tmp_path: Path) -> None:
    write_people(tmp_path / "train", 12)
    write_people(tmp_path / "test", 4, prefix="other")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("aligned in May")
    assert len(load_task(TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1})).test) == 12


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("val", "test")])
def test_somebody_in_validation_and_in_another_split_is_refused(tmp_path: Path, one: str, other: str) -> None:
    for name in ("train", "val", "test"):
        write_people(tmp_path / name, 12, prefix="same" if name in (one, other) else "else")
    with pytest.raises(DataError, match=rf"12 people are in {one} and in {other} \(same00, same01, same02, \.\.\)"):
        load_task(TaskSettings(str(tmp_path), task="faces", settings={"far": 0.1}))


def test_insightface_sets_are_splits_whose_numbers_say_nothing_of_who_it_is(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / name).mkdir()
        rec_set(tmp_path / name)
    task = load_task(TaskSettings(str(tmp_path), task="faces", settings={"far": 0.3}))
    assert [len(split) for split in (task.train, task.val, task.test)] == [4, 4, 4]
    assert task.classes == ("10", "30")


def test_somebody_in_train_and_in_test_is_refused(tmp_path: Path) -> None:
    write_people(tmp_path / "train", 12)
    write_people(tmp_path / "test", 4)
    with pytest.raises(DataError, match=r"4 people are in train and in test \(p00, p01, p02, \.\.\)") as caught:
        load_task(TaskSettings(data=str(tmp_path), task="faces", settings={"far": 0.1}))
    assert "\n" not in str(caught.value)


def test_fewer_search_images_keep_every_person(tmp_path: Path) -> None:
    settings = TaskSettings(data="synthetic", task="faces", image_size=28, settings=SMALL, search_images=40)
    task = load_task(settings)
    assert len(task.train) == 40
    assert len(np.unique(task.train.labels)) == 20
    whole = load_task(msgspec.structs.replace(settings, search_images=None))
    assert np.array_equal(searched(whole.train, settings).images, task.train.images)


def test_pixels_are_averaged_as_the_exported_graph_does() -> None:
    image = np.zeros((1, 112, 112, 3), np.uint8)
    image[0, 0, 0] = image[0, 0, 1] = [200, 100, 40]
    assert network_pixels(image, 56, 3)[0, 0, 0].tolist() == [100, 50, 20]
    luma = (0.299 * 200 + 0.587 * 100 + 0.114 * 40) / 2
    assert network_pixels(image, 56, 1)[0, 0, 0].tolist() == [round(luma)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "no-such-folder"}, "unknown: synthetic, or a folder"),
        ({"data": "synthetic", "image_size": 64}, "computed at 28, 56, 112 px, not 64"),
        ({"data": "synthetic", "settings": {"far": 1e-6}, "image_size": 28}, "too few for FAR 1e-06"),
        ({"data": "synthetic", "settings": {"people": 1.0}}, "two people or more"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_task(TaskSettings(task="faces", **settings))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 4 people; training, validation and test need 10"):
        load_task(TaskSettings(data=str(write_people(tmp_path, 4)), task="faces"))


def test_embeddings_on_a_network_input_keep_unit_length() -> None:
    assert np.allclose(np.linalg.norm(normalised(np.random.default_rng(0).normal(size=(5, 8))), axis=1), 1)


def test_the_report_stands_beside_pixels_and_an_lda_of_the_training_people(tmp_path: Path) -> None:
    folder = write_people(tmp_path, 20)
    task = load_task(TaskSettings(data=str(folder), task="faces", image_size=28, settings={"far": 0.1}))
    labels = torch.from_numpy(task.test.labels)
    report = task.report(torch.eye(8)[labels], labels)
    assert report["auc"] == 1.0
    assert report["pairs"] == {"genuine": 4 * 3, "impostor": 6 * 9}
    assert report["baselines"]["lda"]["fitted_on"] == "training identities"
    assert 0 <= report["baselines"]["pixels"]["auc"] <= 1


@pytest.mark.parametrize("each", [1, 2])
def test_one_image_each_of_the_training_people_is_reported_without_an_lda(tmp_path: Path, each: int) -> None:
    """What can be loaded and trained on is not refused after the training."""
    write_people(tmp_path / "train", 12, each)
    write_people(tmp_path / "val", 6, each=5, prefix="other")
    write_people(tmp_path / "test", 6, each=5, prefix="third")
    task = load_task(TaskSettings(str(tmp_path), task="faces", image_size=28, settings={"far": 0.1}))
    labels = torch.from_numpy(task.test.labels)
    report = task.report(torch.eye(8)[labels], labels)
    assert report["auc"] == 1.0
    assert report["baselines"]["pixels"] is not None
    assert (report["baselines"]["lda"] is None) == (each == 1)
