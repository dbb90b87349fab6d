"""The loop repeats itself bit for bit, learns, fails as a trial, and rehearses without a trace."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from edgenas.errors import TaskError, TrainingError
from edgenas.image_sizes import ImageSize
from edgenas.records import Ask, Limits, Preprocessing, Recipe, StudyRecord, Trial
from edgenas.store import Store
from edgenas.tasks import Split, Task, TaskSettings, load_task
from edgenas.tasks.classification import Classification
from edgenas.training.evaluator import Evaluator, seed_of
from edgenas.training.executors import inline_executor
from edgenas.training.final import SeedTraining
from edgenas.training.loop import evaluation_batch, fresh_network, images_an_epoch, scores_of, train_network
from edgenas.training.step import Average, Step
from edgenas.training.work import Workplace
from tests.tasks.test_faces import write_people
from tests.training.conftest import ParameterCost, candidate, tiny

CPU = torch.device("cpu")
RECIPE = Recipe("test", 2, 32, 0.05, crop_padding=1, cutout=2, nesterov=True)


def trained_weights(task: Task, seed: int, recipe: Recipe = RECIPE) -> list[torch.Tensor]:
    network = fresh_network(tiny(), seed, CPU)
    return list(train_network(network, task, recipe, seed, CPU).network.state_dict().values())


def test_equal_seeds_give_equal_weights_and_others_do_not(digits: Task) -> None:
    first, again, other = (trained_weights(digits, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_global_generator_is_left_alone(digits: Task) -> None:
    before = torch.random.get_rng_state()
    trained_weights(digits, 1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_face_training_follows_its_seed_alone(tmp_path: Path) -> None:
    people = write_people(tmp_path, 12, each=4)
    faces = load_task(TaskSettings(str(people), "faces", image_size=28, settings={"far": 0.1}))
    net = msgspec.structs.replace(tiny(), head=faces.head, in_channels=1, image_size=28)
    recipe = Recipe("faces", 1, 16, 0.05, loss="arcface")

    def trained(seed: int, drawn_before: int) -> list[torch.Tensor]:
        torch.rand(drawn_before)
        state = torch.random.get_rng_state()
        weights = list(
            train_network(fresh_network(net, seed, CPU), faces, recipe, seed, CPU).network.state_dict().values()
        )
        assert torch.equal(torch.random.get_rng_state(), state)
        return weights

    first, again, other = trained(1, 0), trained(1, 5), trained(2, 0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_ten_epochs_learn_digits(digits: Task) -> None:
    trial = Evaluator(digits, 0)(candidate(8, 4, epochs=10, lr=0.1), ParameterCost()(tiny(8, 4)))
    assert trial.status == "complete"
    assert trial.scores["val_accuracy"] > 80
    others = {"val_balanced_accuracy", "val_balanced_accuracy_low", "val_balanced_accuracy_high", "val_macro_f1"}
    assert set(trial.scores) == {"val_accuracy", "val_loss", "train_accuracy", "train_loss"} | others


def test_a_search_never_looks_at_the_test_images(digits: Task) -> None:
    without: Any = dataclasses.replace(digits, test=None)
    trial = Evaluator(without, 0)(candidate(), ParameterCost()(tiny()))
    assert (trial.status, trial.error) == ("complete", "")


def test_a_diverging_candidate_is_a_failed_trial_with_its_reason(digits: Task) -> None:
    trial = Evaluator(digits, 0)(candidate(epochs=3, lr=1e30), ParameterCost()(tiny()))
    assert trial.status == "failed"
    assert trial.error.startswith("TrainingError: the loss is nan after epoch")


@dataclasses.dataclass(frozen=True)
class Rescored(Classification):
    """A task of somebody's: of so many images it gives `others` among its scores, without those that are None."""

    images: int = 0
    others: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, images: int, **others: Any) -> Rescored:
        assert isinstance(task, Classification)
        held = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
        return cls(**held, images=images, others=others)

    def scores(self, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        found = {**super().scores(outputs, labels), **(self.others if len(labels) == self.images else {})}
        return {name: value for name, value in found.items() if value is not None}


def stored(folder: Path, task: Task) -> Trial:
    """The trial of a candidate, as it is read from its study."""
    study = StudyRecord("gnas", "classification", "digits", (), "fp32", Limits(), 0)
    with Store.create(folder, study) as store:
        (trial,) = inline_executor(Evaluator(task, 0), ParameterCost()).answer(Ask((candidate(),)), store)
        store.number(trial.candidate.key)
    with Store.read(folder) as store:
        return store.ledger()[0]


@pytest.mark.parametrize(("name", "value"), [("r2", math.nan), ("r2", math.inf), ("accuracy", -math.inf)])
def test_a_score_that_is_no_finite_number_fails_the_candidate_and_not_the_study(
    tmp_path: Path, digits: Task, name: str, value: float
) -> None:
    trial = stored(tmp_path, Rescored.of(digits, len(digits.val), **{name: value}))
    assert (trial.status, trial.error) == ("failed", f"TrainingError: the score {name} is {value}")


def test_scores_are_kept_as_numbers_whatever_kind_they_come_as(tmp_path: Path, digits: Task) -> None:
    others = {"r2": np.float32(0.5), "kappa": torch.tensor(0.25), "hits": 3}
    trial = stored(tmp_path, Rescored.of(digits, len(digits.val), **others))
    assert trial.status == "complete"
    assert [trial.scores[f"val_{name}"] for name in others] == [0.5, 0.25, 3.0]


def test_a_task_that_does_not_give_its_metric_ends_the_search_and_fails_no_candidate(
    tmp_path: Path, digits: Task
) -> None:
    words = "task 'classification': its scores must hold its metric 'accuracy', and they hold balanced_accuracy, "
    with pytest.raises(TaskError, match=words):
        stored(tmp_path, Rescored.of(digits, len(digits.val), accuracy=None))
    with Store.read(tmp_path) as store:
        assert store.trials() == ()


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_final_training_whose_scores_are_no_numbers_is_no_run(tmp_path: Path, digits: Task, split: str) -> None:
    images = len(getattr(digits, split))
    assert len({len(digits.val), len(digits.test)}) == 2
    place = Workplace(Rescored.of(digits, images, r2=math.nan), CPU)
    weights, looked_at = tmp_path / "weights" / "digits-0.safetensors", split == "val"
    with pytest.raises(TrainingError, match="the score r2 is nan"):
        SeedTraining(tiny(), RECIPE, 1, weights, validated=looked_at).run(place)


def test_too_little_memory_is_a_training_error(digits: Task) -> None:
    network = fresh_network(tiny(), 0, CPU)
    too_large = torch.nn.Linear(1, 10)
    too_large.forward = lambda x: x.new_empty((1 << 60,))  # type: ignore[method-assign]
    network.kernels[0] = too_large
    with pytest.raises(TrainingError, match="out of memory"):
        train_network(network, digits, RECIPE, 0, CPU)


@pytest.mark.parametrize(
    ("size", "device", "images"),
    [
        (8, "cpu", 256),
        (127, "cpu", 256),
        (128, "cpu", 64),
        ((64, 320), "cpu", 64),  # as many pixels as 143 x 143
        (512, "cpu", 16),  # not 4
        (64, "cuda", 4096),
        (224, "cuda", 455),
    ],
)
def test_of_larger_images_fewer_are_evaluated_at_once(size: ImageSize, device: str, images: int) -> None:
    assert evaluation_batch(Preprocessing(3, size, (0.5,) * 3, (0.5,) * 3), torch.device(device)) == images


def test_a_set_smaller_than_the_batch_is_one_batch(digits: Task) -> None:
    recipe = msgspec.structs.replace(RECIPE, batch_size=1000, epochs=1)
    result = train_network(fresh_network(tiny(), 0, CPU), digits, recipe, 0, CPU)
    assert math.isfinite(result.train_loss)


@pytest.mark.parametrize(("images", "kept"), [(64, 64), (65, 64), (66, 66), (95, 95), (20, 20)])
def test_a_recipe_that_keeps_the_partial_batch_trains_on_every_image_but_one_left_alone(
    images: int, kept: int, digits: Task
) -> None:
    recipe = msgspec.structs.replace(RECIPE, partial_batch=True)
    assert images_an_epoch(images, min(32, images), recipe) == kept
    some = dataclasses.replace(digits, train=Split(digits.train.images[:images], digits.train.labels[:images]))
    result = train_network(fresh_network(tiny(), 0, CPU), some, recipe, 0, CPU)
    right = result.train_accuracy * kept / 100
    assert right == pytest.approx(round(right), abs=1e-3)  # a share of exactly these images
    dropped = train_network(fresh_network(tiny(), 0, CPU), some, RECIPE, 0, CPU)
    same = all(
        torch.equal(a, b) for a, b in zip(result.network.parameters(), dropped.network.parameters(), strict=True)
    )
    assert same == (kept in (64, 20))


def test_rehearsal_before_a_cuda_graph_leaves_no_trace(digits: Task) -> None:
    x, labels = torch.randn(32, 1, 8, 8), torch.arange(32) % 10
    plain, rehearsed = (Step(fresh_network(tiny(), 5, CPU), digits.loss(RECIPE), RECIPE, CPU) for _ in range(2))
    rehearsed.rehearse(torch.randn(32, 1, 8, 8), labels)
    for step in (plain, rehearsed):
        step(x, labels, 0.1)
        step(x, labels, 0.05)
    for a, b in zip(plain.network.state_dict().values(), rehearsed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(plain.totals, rehearsed.totals)


def test_weight_decay_spares_norms_and_biases_where_the_recipe_says_so(digits: Task) -> None:
    recipe = msgspec.structs.replace(RECIPE, decay_norm_and_bias=False, weight_decay=0.1)
    step = Step(fresh_network(tiny(), 0, CPU), digits.loss(recipe), recipe, CPU)
    decayed, plain = step.optimizer.param_groups
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in plain["params"]} == {1}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_the_average_follows_the_weights() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
        average = Average(network, decay=0.5)
        for value in (1.0, 2.0):
            network.weight.fill_(value)
            average.update()
    # decay min(.5, 1/11), then min(.5, 2/12): 10/11, then (10/11) / 6 + 2 * 5/6
    assert average.network.weight.item() == pytest.approx(10 / 66 + 10 / 6)  # type: ignore[operator, union-attr]


def test_averaged_weights_are_what_is_evaluated(digits: Task) -> None:
    recipe = msgspec.structs.replace(RECIPE, ema=0.9)
    network = fresh_network(tiny(), 1, CPU)
    averaged = train_network(network, digits, recipe, 1, CPU).network
    assert averaged is not network
    assert not torch.equal(list(averaged.parameters())[-2], list(network.parameters())[-2])  # the last layer's weights
    assert scores_of(averaged, digits, digits.val, CPU, 1)["accuracy"] >= 0


def test_a_seed_follows_the_candidate_and_not_its_place() -> None:
    one = candidate()
    assert seed_of(0, one) == seed_of(0, copy.deepcopy(one))
    others = (candidate(6), candidate(epochs=2), candidate(phase="width"), msgspec.structs.replace(one, repeat=1))
    assert len({seed_of(0, c) for c in (one, *others)} | {seed_of(1, one)}) == 6


@pytest.mark.parametrize(("clip", "clipped"), [(1e-3, True), (1e3, False), (None, False)])
def test_the_gradient_of_all_parameters_together_is_clipped_where_the_recipe_says_so(
    digits: Task, clip: float | None, clipped: bool
) -> None:
    recipe = Recipe("test", 1, 32, 1.0, momentum=0.0, weight_decay=0.0, clip_norm=clip)
    step = Step(fresh_network(tiny(), 0, CPU), digits.loss(recipe), recipe, CPU)
    before = [p.detach().clone() for p in step.parameters]
    step(torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 10, 1.0)
    moves = [p.detach() - b for p, b in zip(step.parameters, before, strict=True)]
    moved = math.sqrt(
        sum(float(move.square().sum()) for move in moves)
    )  # at a rate of 1 without momentum: the gradient
    if clipped:
        assert moved == pytest.approx(1e-3, rel=1e-2)
    else:
        assert moved > 0.1
