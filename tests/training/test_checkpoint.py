"""A training that goes on from its checkpoint ends as one that nobody interrupted; what is damaged or another's is not used."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edgenas.errors import StudyError
from edgenas.networks.weights import load_weights, weights_sha256
from edgenas.records import FinalRun, Recipe
from edgenas.tasks import Split, Task
from edgenas.training import checkpoint
from edgenas.training.checkpoint import Checkpoints, Drawing, State, look_at
from edgenas.training.final import Best, SeedTraining
from edgenas.training.loop import fresh_network, scores_of, train_network
from edgenas.training.teaching import TeacherAt
from edgenas.training.work import Workplace
from tests.networks.test_regularised import CELLS
from tests.training.conftest import tiny

CPU = torch.device("cpu")
RECIPE = Recipe("test", 5, 32, 0.05, crop_padding=1, cutout=2, nesterov=True, ema=0.9, flip=True, balance="sampling")


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class StoppedError(Exception):
    """In place of a kill."""


class Counter:
    """A part whose state is a number; `seconds` go by while it is asked for."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock, self.seconds, self.value = clock, seconds, 0

    def state(self) -> State:
        self.clock.now += self.seconds
        return State({"value": torch.tensor(self.value)})

    def restore(self, state: State) -> None:
        self.value = int(state.tensors["value"])


def seed_training(folder: Path, recipe: Recipe = RECIPE, **how: Any) -> SeedTraining:
    network = CELLS if recipe.auxiliary else tiny()
    return SeedTraining(network, recipe, 1, folder / "weights" / "digits-0.safetensors", checkpoint_s=0.0, **how)


def stopped_after(epochs: int, item: SeedTraining, place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an item until it has written so many epochs."""

    def ends(kept: Checkpoints, done: int) -> None:
        whole(kept, done)
        if done == epochs:
            raise StoppedError

    whole = Checkpoints.epoch_ends
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "epoch_ends", ends)
        with pytest.raises(StoppedError):
            item.run(place)


PHOTOGRAPHS = "what photographs and cells need"
RECIPES = {
    PHOTOGRAPHS: msgspec.structs.replace(
        RECIPE,
        balance="none",
        epochs=3,
        random_resized_crop=(0.5, 1.0),
        trivial_augment=True,
        mixup=0.2,
        cutmix=1.0,
        drop_path=0.3,
        auxiliary=0.4,
    ),
    "all that is drawn": RECIPE,
    "plain": Recipe("test", 4, 32, 0.05),
    "two flips": msgspec.structs.replace(RECIPE, flips="independent", partial_batch=True, balance="weights", ema=None),
}


@pytest.mark.parametrize(
    ("name", "epochs"), [*itertools.product(("all that is drawn", "plain", "two flips"), (1, 3)), (PHOTOGRAPHS, 2)]
)
def test_a_training_that_goes_on_ends_with_the_same_bytes_and_scores(
    name: str, epochs: int, digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, recipe = Workplace(digits, CPU), RECIPES[name]
    whole = seed_training(tmp_path / "whole", recipe).run(place)
    torch.rand(7)  # another state of torch's own generator than in the process that began
    item = seed_training(tmp_path / "stopped", recipe)
    stopped_after(epochs, item, place, monkeypatch)
    assert not item.weights.exists()
    found = checkpoint.read(item.checkpoint)
    assert found is not None
    assert found.epochs == epochs
    again = item.run(place)
    assert item.weights.read_bytes() == (tmp_path / "whole" / "weights" / "digits-0.safetensors").read_bytes()
    assert msgspec.structs.replace(again, seconds=whole.seconds) == whole  # the best epoch and its scores, too


def test_a_training_with_further_images_of_a_teacher_goes_on_to_the_same_bytes(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "o.npz"
    images = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    outputs = rng.normal(size=(len(digits.train) + 40, 10)).astype(np.float32)
    known, theirs = outputs[:-40], outputs[-40:]
    np.savez(path, outputs=known, labels=digits.train.labels, images=images, image_outputs=theirs)
    teacher = TeacherAt(path, weights_sha256(path), 10, further=40)
    recipe = msgspec.structs.replace(
        RECIPES[PHOTOGRAPHS], mixup=0, cutmix=0, drop_path=0, auxiliary=0, teacher=teacher.sha256, teacher_weight=0.5
    )
    place = Workplace(digits, CPU)
    seed_training(tmp_path / "whole", recipe, teacher=teacher).run(place)
    item = seed_training(tmp_path / "stopped", recipe, teacher=teacher)
    stopped_after(1, item, place, monkeypatch)
    item.run(place)
    assert item.weights.read_bytes() == (tmp_path / "whole" / "weights" / "digits-0.safetensors").read_bytes()


def test_what_a_network_draws_itself_goes_on_too(tmp_path: Path, digits: Task) -> None:
    """Dropout draws from torch's own generator."""

    def weights(folder: Path, stop: bool) -> list[torch.Tensor]:
        torch.manual_seed(5)
        kept = Checkpoints(folder / "one.checkpoint", "one", digits, {}, 0.0)
        for last in (False, True) if stop else (True,):
            network = nn.Sequential(nn.Dropout(0.3), fresh_network(tiny(), 1, CPU))
            network.workload = network[1].workload  # type: ignore[assignment]

            def after(epoch: int, _: nn.Module, *, last: bool = last) -> None:
                if epoch == 3 and not last:
                    raise StoppedError

            try:
                train_network(network, digits, RECIPE, 1, CPU, after, checkpoints=kept)
            except StoppedError:
                torch.manual_seed(6)
        return list(network.state_dict().values())

    with torch.random.fork_rng(devices=[]):
        whole, again = weights(tmp_path / "whole", False), weights(tmp_path / "stopped", True)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


def test_a_generator_goes_on_where_it_was() -> None:
    drawing = Drawing(torch.Generator().manual_seed(3))
    torch.rand(3, generator=drawing.generator)
    with torch.random.fork_rng(devices=[]):
        state = drawing.state()
        wanted = torch.rand(4, generator=drawing.generator), torch.rand(4)
        drawing.restore(state)
        assert torch.equal(torch.rand(4, generator=drawing.generator), wanted[0])
        assert torch.equal(torch.rand(4), wanted[1])


def test_the_seconds_of_a_run_are_those_of_all_processes_that_trained_it(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, place = seed_training(tmp_path), Workplace(digits, CPU)
    stopped_after(2, item, place, monkeypatch)
    found = checkpoint.read(item.checkpoint)
    assert found is not None
    item.checkpoint.write_bytes(checkpoint.content_of(found._replace(seconds=1000.0)))
    run = item.run(place)
    assert isinstance(run, FinalRun)
    assert 1000 < run.seconds < 1060


def test_a_best_epoch_before_the_interruption_stays_the_best(digits: Task) -> None:
    networks = [fresh_network(tiny(), seed, CPU) for seed in (0, 1)]
    worse, better = sorted(networks, key=lambda net: scores_of(net, digits, digits.val, CPU, 1)["accuracy"])
    before = Best(digits, RECIPE, CPU, worse)
    before(1, better)
    after = Best(digits, RECIPE, CPU, worse)
    after.restore(before.state())
    after(2, worse)
    assert (after.epoch, after.scores) == (1, before.scores)
    assert [look.epoch for look in after.looks] == [1, 2]
    kept, wanted = after.network.state_dict(), better.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in wanted.items())


# ---------------------------------------------------------------- how often


def checkpoints(folder: Path, task: Task, clock: Clock, part: Counter, every_s: float = 30.0) -> Checkpoints:
    return Checkpoints(folder / "one.checkpoint", "one", task, {"part": part}, every_s, clock)


def written_after(kept: Checkpoints, clock: Clock, epoch_s: float, epochs: int) -> list[int]:
    """The epochs after which a file was written, each of which takes `epoch_s`."""
    written, before = [], None
    for epoch in range(1, epochs + 1):
        clock.now += epoch_s
        kept.epoch_ends(epoch)
        now = kept.path.stat().st_mtime_ns if kept.path.exists() else None
        if now != before:
            written.append(epoch)
        before = now
    return written


@pytest.mark.parametrize(
    ("epoch_s", "writing_s", "every_s", "wanted"),
    [
        (10.0, 0.0, 30.0, [3, 6, 9]),  # not more often than every 30 s
        (9.99, 0.0, 30.0, [4, 8]),
        (45.0, 0.0, 30.0, [1, 2, 3, 4]),  # an epoch each where they take longer
        (1.0, 0.9, 0.0, [1, 2, 3, 4]),
        (20.0, 1.0, 30.0, [2, 5, 8]),  # a file that takes 1 s: not more often than every 50 s
        (20.0, 0.5, 30.0, [2, 4, 6]),
    ],
)
def test_checkpoints_are_written_by_time(
    epoch_s: float, writing_s: float, every_s: float, wanted: list[int], digits: Task, tmp_path: Path
) -> None:
    clock = Clock()
    kept = checkpoints(tmp_path, digits, clock, Counter(clock, writing_s), every_s)
    assert written_after(kept, clock, epoch_s, wanted[-1]) == wanted


def test_the_time_of_earlier_processes_is_added_up(digits: Task, tmp_path: Path) -> None:
    clock = Clock()
    kept = checkpoints(tmp_path, digits, clock, Counter(clock))
    written_after(kept, clock, 40.0, 2)
    clock.now += 1000  # nobody trains
    again = checkpoints(tmp_path, digits, clock, Counter(clock))
    assert again.restore({}) == 2
    assert again.seconds_before == 80
    written_after(again, clock, 35.0, 1)
    found = checkpoint.read(again.path)
    assert found is not None
    assert found.seconds == 115


# ---------------------------------------------------------------- damaged, or another's


@pytest.fixture
def written(digits: Task, tmp_path: Path) -> Path:
    clock = Clock()
    kept = checkpoints(tmp_path, digits, clock, Counter(clock))
    written_after(kept, clock, 40.0, 2)
    return kept.path


def test_a_damaged_file_is_removed_and_that_is_said(written: Path, digits: Task) -> None:
    content = written.read_bytes()
    rng = np.random.default_rng(0)
    places = [0, 20, len(content) - 1, *rng.integers(0, len(content), 20).tolist()]
    changed = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in places]
    for other in [*changed, content[:-1], content[: len(content) // 2], content + b"\0", b"", b"text"]:
        written.write_bytes(other)
        (written.parent / f".{written.name}.0123abcd").write_bytes(b"of a killed writer")
        line = look_at(written, "one", digits, 9)
        assert line == f"{written} was damaged (its SHA-256 differs) and is removed: this training starts anew"
        assert list(written.parent.iterdir()) == []


def test_a_whole_file_is_said_and_used(written: Path, digits: Task) -> None:
    assert look_at(written, "one", digits, 9) == f"goes on after epoch 2 of 9, from {written}"
    assert written.exists()
    assert look_at(written.with_name("none"), "one", digits, 9) is None


def other_images(task: Task) -> Task:
    images = np.array(task.train.images)
    images[0, 0, 0, 0] ^= 1
    return dataclasses.replace(task, train=Split(images, task.train.labels))  # type: ignore[type-var]


def test_the_checkpoint_of_another_training_is_refused_and_kept(
    written: Path, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(training: str, task: Task) -> str:
        kept = Checkpoints(written, training, task, {"part": Counter(Clock())})
        with pytest.raises(StudyError) as caught:
            look_at(written, training, task, 9)
        with pytest.raises(StudyError, match="go on as it was begun, or remove the file to train anew"):
            kept.restore({})
        assert written.exists()
        return str(caught.value).split(": ")[0].removeprefix(f"{written} holds 2 epochs of a training with ")

    assert refused("other", digits) == "another network, recipe or start"
    assert refused("one", other_images(digits)) == "other images or labels"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 2)
        assert refused("one", digits) == "another version of edgenas"
    here = ".".join(torch.__version__.split(".")[:2])
    monkeypatch.setattr(torch, "__version__", "1.9.7")
    assert refused("one", digits) == f"torch {here}, and this is 1.9"
    monkeypatch.setattr(torch, "__version__", f"{here}.99+cpu")  # a mended torch is the same
    assert look_at(written, "one", digits, 9) is not None


def test_weights_of_a_training_that_went_on_are_those_on_record(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, place = seed_training(tmp_path), Workplace(digits, CPU)
    stopped_after(5, item, place, monkeypatch)  # the last epoch: nothing is left but the scores
    run = item.run(place)
    assert run.weights_sha256 == weights_sha256(item.weights)
    assert load_weights(item.architecture, item.weights, run.weights_sha256)
