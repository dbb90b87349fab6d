"""A loaded classification task, beyond its pixels."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgenas.errors import DataError
from edgenas.records import Recipe
from edgenas.tasks import TaskSettings, load_task
from edgenas.tasks.classification import Classification, load_classification, mean_and_std


@pytest.mark.parametrize(("counts", "chance"), [((100, 50, 50), 50.0), ((80, 80, 80), 100 / 3)])
def test_chance_is_what_always_answering_the_most_frequent_class_scores(
    tmp_path: Path, counts: tuple[int, ...], chance: float
) -> None:
    rng = np.random.default_rng(0)
    for label, count in enumerate(counts):
        (tmp_path / f"class{label}").mkdir()
        for index in range(count):
            image = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
            image.save(tmp_path / f"class{label}" / f"{index}.png")
    task = load_task(TaskSettings(str(tmp_path)))
    labels = task.val.labels  # stratified: the shares of the whole
    assert task.chance == pytest.approx(100 * max((labels == label).mean() for label in range(3)))
    assert task.chance == pytest.approx(chance, abs=0.01)


def unequal(tmp_path: Path, **settings: str) -> Classification:
    """80, 20 and 20 images of three classes."""
    rng = np.random.default_rng(0)
    for label, count in enumerate((80, 20, 20)):
        (tmp_path / f"class{label}").mkdir(exist_ok=True)
        for index in range(count):
            image = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
            image.save(tmp_path / f"class{label}" / f"{index}.png")
    return load_classification(TaskSettings(str(tmp_path), **settings))  # type: ignore[arg-type]


def test_the_metric_that_was_asked_for_guides_and_knows_its_chance(tmp_path: Path) -> None:
    # validation: 6, 2 and 2 images (a tenth of 64, 16 and 16)
    chances = {"accuracy": 60.0, "balanced_accuracy": 100 / 3, "macro_f1": 100 / 3}
    for name, chance in chances.items():
        task = unequal(tmp_path, metric=name)
        assert task.metric.name == name
        assert task.metric.objective == f"val_{name}"
        assert task.chance == pytest.approx(chance)
    with pytest.raises(
        DataError, match="metric 'mae' is not for classification: accuracy, balanced_accuracy, macro_f1 are"
    ):
        unequal(tmp_path, metric="mae")


def test_scores_have_all_three_metrics_and_the_interval_of_the_one_that_guides() -> None:
    task = load_classification(TaskSettings("digits", metric="macro_f1"))
    labels = torch.arange(10).repeat(20)
    outputs = torch.eye(10)[labels]
    outputs[:40] = outputs[:40].roll(1, 1)  # 40 of 200 are taken for the next class, 4 of each
    scores = task.scores(outputs, labels)
    assert scores["accuracy"] == scores["balanced_accuracy"] == pytest.approx(80)
    assert scores["macro_f1"] == pytest.approx(80)
    assert scores["macro_f1_low"] < 80 < scores["macro_f1_high"]
    assert task.metric.trial_scores(scores)["val_macro_f1_low"] == scores["macro_f1_low"]
    report = task.report(outputs, labels)
    assert report["per_class"]["3"] == pytest.approx(80)
    assert report["confusion"][3] == [0, 0, 0, 16, 4, 0, 0, 0, 0, 0]


def test_weights_make_every_class_count_alike_in_the_loss(tmp_path: Path) -> None:
    """Training has 58, 14 and 14 images (86): weights 86 / (3 * 58), 86 / (3 * 14), twice."""
    task = unequal(tmp_path, balance="weights")
    assert np.bincount(task.train.labels).tolist() == [58, 14, 14]
    weighted = task.loss(Recipe("r", 1, 8, 0.1, balance="weights"))
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 2])
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    loss, correct = weighted(logits, labels)
    assert loss.item() == pytest.approx((each[0] * 86 / 174 + each[1] * 86 / 42).item() / 2)
    assert correct.item() == 1
    plain, _ = task.loss(Recipe("r", 1, 8, 0.1))(logits, labels)
    assert plain.item() == pytest.approx(each.mean().item())
    # Over all training images, errors that are equal give the plain loss: the learning rate keeps its meaning.
    alike, truth = torch.zeros(86, 3), torch.from_numpy(task.train.labels)
    assert weighted(alike, truth)[0].item() == pytest.approx(np.log(3))


def test_mean_and_deviation_are_counted_in_parts_that_do_not_grow_with_the_images() -> None:
    images = np.random.default_rng(3).integers(0, 200, (5_000, 32, 32, 3), np.uint8)
    tracemalloc.start()
    mean, std = mean_and_std(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes  # of one channel at eight bytes a pixel: 2.7 times that
    assert np.allclose(mean, images.mean((0, 1, 2)) / 255, atol=1e-6)
    assert np.allclose(std, images.std((0, 1, 2)) / 255, atol=1e-6)
