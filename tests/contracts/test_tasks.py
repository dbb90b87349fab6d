"""What every task must do, whatever is learned: those that come along, arrays, and one of another package."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from edgenas.architectures.chain import chain
from edgenas.binomial import Validation
from edgenas.errors import EdgenasError
from edgenas.records import Candidate, Classes, Embedding, Outputs, Preprocessing, Recipe
from edgenas.tasks import Split, Task, TaskSettings, as_searched, fingerprint, load_task, validation_of
from edgenas.tasks.arrays import task_from_arrays
from edgenas.tasks.checks import checked_task
from edgenas.tasks.faces import Faces
from edgenas.tasks.synthetic_faces import draw_faces
from edgenas.training.evaluator import Evaluator
from edgenas.training.final import SeedTraining
from edgenas.training.work import Workplace
from tests.angle import angle
from tests.tasks.test_arrays import HALVES, noise
from tests.training.conftest import ParameterCost


def faces() -> Faces:
    """Ten people or so in each split; TAR at a FAR of a tenth."""
    train, val, test = (Split(*draw_faces(people, 6, 28, 1, seed)) for people, seed in ((12, 1), (8, 2), (8, 3)))
    names = tuple(f"drawing {number}" for number in range(12))
    preprocessing = Preprocessing(1, 28, (0.5,), (0.5,), fit="stretch")
    return Faces(train, val, test, names, preprocessing, flip=True, head=Embedding(16), far=0.1)


TASKS: dict[str, Callable[[], Task]] = {
    "classification": functools.cache(lambda: load_task(TaskSettings("digits"))),
    "faces": functools.cache(faces),
    "arrays": functools.cache(lambda: task_from_arrays(noise(100), HALVES)),
    "a task of another package": angle,
}
every_task = pytest.mark.parametrize("name", TASKS)


def recipe_of(task: Task, epochs: int = 1) -> Recipe:
    return Recipe("short", epochs, 64, 0.05, loss=task.default_loss)


def architecture_of(task: Task) -> Any:
    shape = task.preprocessing
    return chain(4, 3, (0, 0, 0), (3, 3, 3), task.head, shape.channels, shape.input_size)


@every_task
def test_it_is_a_task_and_reaches_another_process_unchanged(name: str) -> None:
    task = checked_task(TASKS[name]())
    copy = checked_task(pickle.loads(pickle.dumps(task)))
    assert fingerprint(copy.train, copy.val, copy.test) == fingerprint(task.train, task.val, task.test)
    assert (copy.metric, copy.head, copy.classes, copy.chance) == (task.metric, task.head, task.classes, task.chance)


@every_task
def test_its_splits_share_no_image(name: str) -> None:
    task = TASKS[name]()
    parts = [{image.tobytes() for image in split.images} for split in (task.train, task.val, task.test)]
    # scikit-learn's digits hold no image twice; the others are drawn
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]


@every_task
def test_its_loss_is_one_finite_number_that_weights_can_follow(name: str) -> None:
    task = TASKS[name]()
    width = {Classes: "count", Outputs: "count", Embedding: "dim"}[type(task.head)]
    outputs = torch.randn(32, getattr(task.head, width), generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.from_numpy(task.train.labels[:32])
    loss, correct = task.loss(recipe_of(task))(outputs, labels)
    assert loss.shape == ()
    assert math.isfinite(loss.item())
    assert correct is None or (correct.shape == () and 0 <= correct.item() <= 32)
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0


@every_task
def test_its_scores_and_report_are_numbers_with_the_metric_among_them(name: str) -> None:
    task = TASKS[name]()
    width = task.head.dim if isinstance(task.head, Embedding) else task.head.count
    outputs = torch.randn(len(task.val), width, generator=torch.Generator().manual_seed(0))
    scores = task.scores(outputs, torch.from_numpy(task.val.labels))
    assert task.metric.name in scores
    assert all(isinstance(value, float) and math.isfinite(value) for value in scores.values())
    assert task.scores(outputs, torch.from_numpy(task.val.labels)) == scores  # nothing is drawn anew
    json.dumps(task.report(outputs[: len(task.test)], torch.from_numpy(task.test.labels[: len(outputs)])))


@every_task
def test_a_candidate_is_trained_on_it_and_its_objective_is_the_metric_made_larger_the_better(name: str) -> None:
    task = TASKS[name]()
    architecture = architecture_of(task)
    trial = Evaluator(task, 0)(Candidate(architecture, recipe_of(task), "depth"), ParameterCost()(architecture))
    assert trial.status == "complete", trial.error
    value = trial.scores[f"val_{task.metric.name}"]
    assert trial.scores[task.metric.objective] == (value if task.metric.better == "higher" else -value)
    assert ("train_accuracy" in trial.scores) == (name != "a task of another package")
    assert "train_loss" in trial.scores
    assert validation_of(task) == Validation(len(task.val), task.chance, task.metric)


@every_task
def test_a_search_takes_as_many_training_images_as_it_is_told_and_leaves_the_rest_alone(name: str) -> None:
    task = TASKS[name]()
    cut = as_searched(task, TaskSettings("x", task.name, search_images=40))
    assert abs(len(cut.train) - 40) <= len(task.classes)
    assert {image.tobytes() for image in cut.train.images} <= {image.tobytes() for image in task.train.images}
    assert cut.val is task.val
    assert cut.test is task.test
    again = as_searched(task, TaskSettings("x", task.name, search_images=40))
    assert fingerprint(cut.train) == fingerprint(again.train)


@every_task
def test_a_final_training_keeps_the_epoch_that_was_best_on_validation(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    seen: list[float] = []
    scores = type(task).scores

    def noted(self: Task, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        found = scores(self, outputs, labels)
        if len(labels) == len(task.val) and torch.equal(labels, torch.from_numpy(task.val.labels)):
            seen.append(found[task.metric.name])
        return found

    watched = dataclasses.make_dataclass("Watched", [], bases=(type(task),), frozen=True, namespace={"scores": noted})
    copy = watched(**{field.name: getattr(task, field.name) for field in dataclasses.fields(task)})
    (tmp_path / "weights").mkdir()
    weights = tmp_path / "weights" / "one.safetensors"
    asked = SeedTraining(architecture_of(task), recipe_of(task, epochs=4), 1, weights)
    run = asked.run(Workplace(copy, torch.device("cpu")))
    looks = seen[:4]
    best = max(looks) if task.metric.better == "higher" else min(looks)
    assert run.best_val[task.metric.name] == best
    assert run.best_epoch == looks.index(best) + 1
    assert run.val[task.metric.name] == looks[-1]


# ---------------------------------------------------------------- what is no task


def changed(**values: Any) -> Any:
    """The tutorial's task with other members."""
    members = {member: getattr(angle(), member) for member in (
        *("name", "kind", "metric", "chance", "head", "flip", "classes", "preprocessing", "default_loss"),
        *("train", "val", "test", "loss", "scores", "report"),
    )}  # fmt: skip
    members |= values
    return type("Changed", (), {name: value for name, value in members.items() if value is not ...})()


def other(**values: Any) -> Split:
    split = angle().val
    return Split(values.get("images", split.images), values.get("labels", split.labels))


VAL = angle().val


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"kind": ...}, "has no `kind`"),
        ({"scores": ...}, "has no method `scores`"),
        ({"loss": 1}, "has no method `loss`"),
        ({"metric": "mae"}, "`metric` is str, it must be Metric"),
        ({"head": 3}, "`head` is int, it must be Classes or Embedding or Outputs"),
        ({"chance": "no"}, "`chance` is str, it must be float or int or None"),
        ({"train": (1, 2)}, "`train` is tuple, it must be Split"),
        ({"name": "my task"}, "'my task' is not 1 to 64 letters"),
        ({"kind": "regression"}, "its kind is 'regression', possible are classification, faces, generic"),
        ({"kind": "classification"}, r"so its head must be Classes\(0\)"),
        ({"kind": "classification", "head": Classes(2), "classes": ("a",)}, r"so its head must be Classes\(1\)"),
        ({"kind": "faces"}, "so its head must be an Embedding"),
        ({"kind": "faces", "head": Embedding(8)}, "so it must have the FAR that it is judged at as `far`"),
        ({"classes": (1, 2)}, "its classes are not names"),
        ({"val": other(images=VAL.images / 255)}, r"val: images are float64 \(200, 16, 16, 1\), they must be uint8"),
        ({"val": other(images=VAL.images[:, :8])}, r"images are \(8, 16, 1\) .H, W, C., the preprocessing says \(16, 16, 1\)"),
        ({"test": other(images=VAL.images[:0], labels=VAL.labels[:0])}, "test: it has no images"),
        ({"val": other(labels=VAL.labels[:9])}, r"labels are float32 \(9,\) for 200 images"),
        ({"val": other(labels=VAL.labels.astype(np.float64))}, "labels are float64, they must be int64 .* or float32"),
        ({"val": other(labels=np.full(200, np.nan, np.float32))}, "labels hold NaN or infinity"),
        ({"val": other(labels=VAL.labels.tolist())}, "labels are list"),
        ({"head": Classes(2)}, "labels must be numbers of classes, int64 .* from 0 to 1"),
    ],
)  # fmt: skip
def test_an_object_that_is_no_task_is_refused_in_one_line_that_says_why(values: dict[str, Any], line: str) -> None:
    checked_task(changed())
    with pytest.raises(EdgenasError, match=line) as caught:
        checked_task(changed(**values))
    assert str(caught.value).startswith("task '")
    assert "\n" not in str(caught.value)


def test_a_task_of_ones_own_may_have_rectangular_images() -> None:
    how = angle().preprocessing
    wide = {
        part: Split(split.images[:, :8], split.labels)
        for part, split in (("train", angle().train), ("val", angle().val), ("test", angle().test))
    }
    task = checked_task(changed(**wide, preprocessing=msgspec.structs.replace(how, size=(8, 16))))
    assert task.preprocessing.input_size == (8, 16)
    line = r"train: images are \(8, 16, 1\) .H, W, C., the preprocessing says \(16, 8, 1\)"
    with pytest.raises(EdgenasError, match=line):
        checked_task(changed(**wide, preprocessing=msgspec.structs.replace(how, size=(16, 8))))


def test_a_metrics_name_is_a_word_that_scores_can_be_called_by() -> None:
    metric = msgspec.structs.replace(angle().metric, name="Mean error")
    with pytest.raises(EdgenasError, match="its metric is called 'Mean error'"):
        checked_task(changed(metric=metric))


def test_a_task_under_another_name_than_its_own_is_refused() -> None:
    with pytest.raises(EdgenasError, match="it calls itself 'angle': give it the name that it is registered under"):
        checked_task(angle(), "corner")


def test_a_task_that_cannot_be_cut_says_so_where_it_would_have_to_be() -> None:
    whole = changed()
    assert as_searched(whole, TaskSettings("x", "angle")) is whole
    with pytest.raises(EdgenasError, match="make it a dataclass with a field `train`, or leave out --search-images"):
        as_searched(whole, TaskSettings("x", "angle", search_images=40))
