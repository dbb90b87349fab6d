"""Validation images that are trained on: all of them, once, with their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgenas.errors import EdgenasError
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.tasks.mapped import MappedImages
from edgenas.tasks.task import with_validation_in_training
from tests.image_folders import fill
from tests.tasks.test_faces import write_people


def counted(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((np.asarray(image).tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


@pytest.mark.parametrize("kind", ["arrays", "a mapped file"])
def test_training_has_the_validation_images_too_and_the_splits_stay(kind: str, tmp_path: Path) -> None:
    data = "digits" if kind == "arrays" else str(fill(tmp_path / "pics", each=20))
    before: Task = load_task(TaskSettings(data))
    task = with_validation_in_training(before)
    assert counted(np.asarray(task.train.images), task.train.labels) == sorted(
        counted(np.asarray(before.train.images), before.train.labels)
        + counted(np.asarray(before.val.images), before.val.labels)
    )
    assert isinstance(task.train.images, MappedImages) is (kind != "arrays")  # no copy where a file is mapped
    assert (task.val, task.test, task.preprocessing) == (before.val, before.test, before.preprocessing)


def test_validation_people_are_no_further_images_of_the_training_people(tmp_path: Path) -> None:
    people = write_people(tmp_path, 12, each=4)
    faces = load_task(TaskSettings(str(people), "faces", image_size=28, settings={"far": 0.1}))
    with pytest.raises(EdgenasError, match="--all-images: the validation images of task faces are no further images"):
        with_validation_in_training(faces)
