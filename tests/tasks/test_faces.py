from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from edgenas.errors import DataError
from edgenas.faces.verification import normalised
from edgenas.records import Embedding, Recipe
from edgenas.tasks import TaskSettings, load_task, searched
from edgenas.tasks.faces import network_pixels

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
    assert perfect["tar"] == perfect["tar_low"] == 100.0
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
