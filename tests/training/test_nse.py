"""Supernets on digits: trained, stopped, gone on with, scored."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgenas.architectures.multibranch import CellOps, MultiBranchSpace
from edgenas.architectures.subspace import AdditiveCost, Fitness, RoundPlan, SupernetRules
from edgenas.errors import StudyError, TrainingError
from edgenas.records import Limits, Recipe, StudyRecord
from edgenas.store import Store
from edgenas.tasks import Task
from edgenas.tasks.splits import part
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import CrewExecutor, inline_executor, local_executor
from edgenas.training.nse import InheritedErrors, NseSupernets, SupernetEpoch, recalibrate
from edgenas.training.supernet import Supernet
from edgenas.training.supernet_training import SupernetImages, epochs_in
from edgenas.training.work import Workplace
from tests.training.conftest import ParameterCost
from tests.training.test_executors import DeadlyTask

STUDY = StudyRecord("nse", "classification", "digits", (), "fp32", Limits(), 0)
RECIPE = Recipe("supernet", 3, 64, 0.1, nesterov=True, decay_norm_and_bias=False, warmup_epochs=1.0, crop_padding=1)
RULES = SupernetRules(RECIPE, fitness_lr=0.3, drop_below=-0.5, calibration_batches=2)
SUBSPACE: CellOps = ((0, 3, 9), (1, 13, 4))
NETWORKS: tuple[CellOps, ...] = (((), (1,)), ((0, 3), (4, 13)), ((9,), (1, 4, 13)))


class StoppedError(Exception):
    """As if the process had been killed."""


def plan(task: Task) -> RoundPlan:
    side, head = task.preprocessing.input_size, task.head
    space = MultiBranchSpace(19, "NR", (4, 8), head, 1, side, stem_stride=1, tail_channels=16)
    cost = AdditiveCost(0.1, ((0.1, 0.2, 0.9), (0.1, 0.2, 0.9)))
    return RoundPlan(1, 5, space, SUBSPACE, ((9,), ()), cost, 0.4, "M MACs")


def play(
    task: Task,
    folder: Path,
    stop_after: str = "never",
    rules: SupernetRules = RULES,
    workers: int = 0,
    processes: int = 1,
) -> tuple[Fitness, tuple[float, ...]]:
    """Train and score one round; `stop_after`: part of the progress line after which the process is gone."""

    with local_executor(Evaluator(task, 0), ParameterCost(), workers) as executor:
        return play_with(executor, task, folder, stop_after, rules, processes)


def play_with(
    executor: CrewExecutor,
    task: Task,
    folder: Path,
    stop_after: str = "never",
    rules: SupernetRules = RULES,
    processes: int = 1,
) -> tuple[Fitness, tuple[float, ...]]:
    """The same with the executor's crew."""

    def tell(line: str) -> None:
        if stop_after in line:
            raise StoppedError

    with Store.create(folder, STUDY) as store:
        supernets = NseSupernets(rules, store, 0, executor.results, tell, processes)
        fitness = supernets.train(plan(task))
        return fitness, supernets.errors(plan(task), NETWORKS)


def test_training_that_is_stopped_after_any_epoch_goes_on_to_the_same_end(tmp_path: Path, digits: Task) -> None:
    whole = play(digits, tmp_path / "whole")
    for epoch in (1, 2, 3):
        folder = tmp_path / f"stopped-{epoch}"
        with pytest.raises(StoppedError):
            play(digits, folder, f"epoch {epoch}/3")
        assert play(digits, folder) == whole
    assert not list(tmp_path.glob("*/supernet/*.partial"))


def test_a_checkpoint_of_another_training_is_not_gone_on_with(tmp_path: Path, digits: Task) -> None:
    other = msgspec.structs.replace(RULES, fitness_lr=0.1)
    expected = play(digits, tmp_path / "fresh")
    play(digits, tmp_path / "study", rules=other)
    with Store.write(tmp_path / "study") as store:  # its scores are told apart by what no 30 images give
        scored = store.all("inherited", float)
        assert len(scored) == len(NETWORKS)
        for key in scored:
            store.put("inherited", key, 12.5)
    assert play(digits, tmp_path / "study") == expected


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, digits: Task) -> None:
    play(digits, tmp_path)
    checkpoint = tmp_path / "supernet" / "round-01.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(StudyError, match=r"round-01\.safetensors is damaged .* remove it"):
        play(digits, tmp_path)


@pytest.mark.parametrize(
    "metadata", [None, {"training": "this"}, {"epochs_done": "2"}, {"training": "this", "epochs_done": "two"}]
)
def test_a_file_that_is_no_checkpoint_is_one_line(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "round-01.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"training": "this", "epochs_done": "2"})
    assert epochs_in(path, "this") == 2
    assert epochs_in(path, "that") == 0
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(StudyError, match=r"round-01\.safetensors is damaged .* remove it, and its round starts over"):
        epochs_in(path, "this")


def test_unfit_operations_are_dropped_but_protected_ones_stay(tmp_path: Path, digits: Task) -> None:
    fitness, _ = play(digits, tmp_path, rules=msgspec.structs.replace(RULES, cost_weight=50.0))
    assert fitness[0][2] is not None  # dear, but of the previous front
    assert fitness[0][2] < -0.5
    assert sum(alpha is not None for alpha in fitness[1]) == 2  # an R cell keeps two
    assert fitness[1][2] is None


@contextlib.contextmanager
def trained(task: Task, folder: Path) -> Iterator[NseSupernets]:
    executor = inline_executor(Evaluator(task, 0), ParameterCost())
    with Store.create(folder, STUDY) as store:
        supernets = NseSupernets(RULES, store, 0, executor.results)
        supernets.train(plan(task))
        yield supernets


def test_a_networks_score_does_not_depend_on_what_was_scored_before(tmp_path: Path, digits: Task) -> None:
    with trained(digits, tmp_path / "a") as supernets:
        forwards = supernets.errors(plan(digits), NETWORKS)
    with trained(digits, tmp_path / "b") as supernets:
        backwards = supernets.errors(plan(digits), NETWORKS[::-1])
    assert forwards == backwards[::-1]
    assert all(0 <= error <= 100 for error in forwards)


def test_large_images_are_scored_in_the_batches_of_every_evaluation(
    digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgenas.training.loop.EVALUATION_SIDE", 2
    )  # the digits' 8 px are 16 times as many: batches of 16
    place = Workplace(digits, torch.device("cpu"))
    rules = msgspec.structs.replace(RULES, recipe=msgspec.structs.replace(RECIPE, epochs=1))
    checkpoint, _ = SupernetEpoch(plan(digits), rules, 0, 0, None).run(place)
    training = place.kept["supernet"]
    batches: list[int] = []

    def note(network: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if not network.training:
            batches.append(len(inputs[0]))

    training.supernet.register_forward_pre_hook(note)
    InheritedErrors(plan(digits), rules, 0, checkpoint, NETWORKS[:1]).run(place)
    assert sum(batches) == len(training.data.scoring)
    assert {*batches[:-1]} == {16}


def test_networks_that_were_scored_are_not_scored_again(tmp_path: Path, digits: Task) -> None:
    with trained(digits, tmp_path) as supernets:
        first = supernets.errors(plan(digits), NETWORKS[:2])
        known = supernets.store.all("inherited", float)
        supernets.store.put("inherited", next(iter(known)), 12.5)  # would be overwritten
        again = supernets.errors(plan(digits), NETWORKS)
    assert len(known) == 2
    assert 12.5 in again[:2]
    assert sum(old == new for old, new in zip(first, again[:2], strict=True)) == 1


@pytest.mark.parametrize(
    "workers", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_any_number_of_workers_gives_the_same_fitness_and_the_same_scores(
    workers: int, tmp_path: Path, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenas.training.nse.TOGETHER", 1)  # so that every worker has something to score
    assert play(digits, tmp_path / "workers", workers=workers) == play(digits, tmp_path / "inline")


def test_two_processes_train_the_supernet_that_one_trains(tmp_path: Path, digits: Task) -> None:
    """Paths, images and dropped operations are the same; weights, statistics and fitness to rounding. A killed search goes on."""
    rules = msgspec.structs.replace(
        RULES, recipe=msgspec.structs.replace(RECIPE, batch_size=31, epochs=2, clip_norm=1.0)
    )
    fitness, errors = play(digits, tmp_path / "one", rules=rules)
    with local_executor(Evaluator(digits, 0), ParameterCost(), 2) as executor:
        with pytest.raises(StoppedError):
            play_with(executor, digits, tmp_path / "two", "epoch 1/2", rules, processes=2)
        others, scored = play_with(executor, digits, tmp_path / "two", rules=rules, processes=2)
    assert [[alpha is None for alpha in cell] for cell in others] == [
        [alpha is None for alpha in cell] for cell in fitness
    ]
    for cell, other in zip(fitness, others, strict=True):
        assert [alpha or 0.0 for alpha in other] == pytest.approx([alpha or 0.0 for alpha in cell], abs=1e-5)
    one, two = (load_file(tmp_path / name / "supernet" / "round-01.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()  # of the same operations, those that no path has met without momentum
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=2e-5, atol=2e-5, msg=name)  # 6e-7 was seen
    assert scored == pytest.approx(errors, abs=4)  # of 30 images one may fall on the other side


def test_a_process_that_dies_while_others_train_with_it_ends_the_search(tmp_path: Path, digits: Task) -> None:
    deadly = DeadlyTask.of(digits, tmp_path / "log", deaths=2)
    with pytest.raises(
        TrainingError, match=r"^the search cannot go on: its worker process died \(exit code -9\): free memory"
    ):
        play(deadly, tmp_path / "study", workers=2, processes=2)


def test_a_supernet_that_is_begun_here_is_gone_on_with_by_workers(tmp_path: Path, digits: Task) -> None:
    whole = play(digits, tmp_path / "whole")
    with pytest.raises(StoppedError):
        play(digits, tmp_path / "part", "epoch 1/3")
    assert play(digits, tmp_path / "part", workers=1) == whole


def test_recalibrated_statistics_are_the_average_over_the_batches(digits: Task) -> None:
    data = SupernetImages(digits, RULES, 0, torch.device("cpu")).plain
    torch.manual_seed(0)
    supernet = Supernet(plan(digits))
    with torch.no_grad():
        recalibrate(supernet, ((), (1,)), data, RULES)
        stem = [
            supernet.stem.conv(data.input(data.pixels(slice(i * 64, i * 64 + 64)))).mean((0, 2, 3)) for i in range(2)
        ]
    torch.testing.assert_close(supernet.stem.norm.running_mean, sum(stem) / 2)


def test_statistics_are_taken_of_images_of_all_classes_though_a_folder_has_them_class_after_class(digits: Task) -> None:
    rows = np.argsort(digits.train.labels, kind="stable")
    by_class = dataclasses.replace(digits, train=part(digits.train, rows))  # type: ignore[type-var]
    first = SupernetImages(by_class, RULES, 0, torch.device("cpu")).plain.labels[:64]
    assert len(first.unique()) == 10
    assert first.bincount().max() < 20  # of 64
    again = SupernetImages(by_class, RULES, 0, torch.device("cpu")).plain.labels[:64]
    assert torch.equal(again, first)


def test_a_loss_that_is_no_number_stops_the_search(tmp_path: Path, digits: Task) -> None:
    hot = msgspec.structs.replace(RECIPE, lr=1e30, warmup_epochs=0.0)
    with pytest.raises(TrainingError, match=r"the supernet's loss is (nan|inf) in round 1, epoch"):
        play(digits, tmp_path, rules=msgspec.structs.replace(RULES, recipe=hot))
