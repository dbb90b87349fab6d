"""Learning from a teacher: its loss by definition, on the view that the student sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, sides_of
from edgenas.networks.weights import save_weights, weights_sha256
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Embedding, Preprocessing, Recipe
from edgenas.tasks import Split, Task
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.loop import fresh_network, scores_of, train_network
from edgenas.training.teaching import Distillation, TeacherAt, Teaching, View, identities, refuse_blind
from tests.training.conftest import tiny

CPU = torch.device("cpu")
RECIPE = Recipe("test", 3, 32, 0.05, teacher="ab", teacher_weight=0.75, temperature=2.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_loss_is_hintons(digits: Task) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((4, 10)), 3 * rng.standard_normal((4, 10))
    labels = np.array([3, 0, 9, 3])
    own = -np.log(softmax(student)[np.arange(4), labels]).mean()
    p, q = softmax(teacher / 2), softmax(student / 2)
    wanted = 0.25 * own + 0.75 * 4 * (p * np.log(p / q)).sum(1).mean()
    loss = Distillation(digits.loss(RECIPE), digits, RECIPE, (10, 10))
    targets = torch.from_numpy(np.concatenate([labels[:, None], teacher], 1)).float()
    found, correct = loss(torch.from_numpy(student).float(), targets)
    assert found.item() == pytest.approx(wanted, rel=1e-5)
    assert correct is not None
    assert correct.item() == (student.argmax(1) == labels).sum()
    same, _ = loss(torch.from_numpy(teacher).float(), targets)  # a student that says what the teacher says
    assert same.item() == pytest.approx(0.25 * -np.log(softmax(teacher)[np.arange(4), labels]).mean(), rel=1e-4)


@pytest.mark.parametrize("side", [8, 16])
def test_a_teacher_sees_the_students_view_in_its_own_normalisation_and_size(side: int) -> None:
    student = Preprocessing(1, 8, (0.3,), (0.2,))
    teacher = Preprocessing(3, side, (0.5, 0.4, 0.3), (0.1, 0.2, 0.4))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    x = torch.from_numpy(input_from_pixels(pixels, student))
    found = View(student, teacher, side, CPU)(x)
    assert found.shape == (2, 3, side, side)
    wanted = (pixels.transpose(0, 3, 1, 2) / 255 - np.array([0.5, 0.4, 0.3])[:, None, None]) / np.array(
        [0.1, 0.2, 0.4]
    )[:, None, None]
    mean = found.mean((2, 3)).numpy()
    assert np.allclose(mean, wanted.mean((2, 3)), atol=0.25 if side == 16 else 1e-5)
    if side == 8:
        assert np.allclose(found.numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 20), (8, 40), (16, 40), (16, 10), 16])
def test_a_teacher_of_another_shape_sees_the_whole_view_at_its_own_size(size: ImageSize) -> None:
    student, teacher = Preprocessing(1, (8, 20), (0.0,), (1.0,)), Preprocessing(1, size, (0.0,), (1.0,))
    x = (torch.arange(8)[:, None] + 0.5) / 8 * (torch.arange(20)[None] + 0.5) / 20  # from one corner to the other
    found = View(student, teacher, size, CPU)(x[None, None])[0, 0]
    height, width = sides_of(size)
    rows, columns = ((torch.arange(side) + 0.5) / side for side in (height, width))
    assert found.shape == (height, width)
    assert (found - rows[:, None] * columns[None]).abs().max() < 0.05


def test_a_teacher_for_grey_cannot_see_colours() -> None:
    grey, colour = Preprocessing(1, 8, (0.3,), (0.2,)), Preprocessing(3, 8, (0.3,) * 3, (0.2,) * 3)
    refuse_blind(grey, colour)
    refuse_blind(grey, grey)
    with pytest.raises(EdgenasError, match="one that sees colours is needed"):
        refuse_blind(colour, grey)


def network_at(folder: Path, task: Task) -> tuple[nn.Module, TeacherAt]:
    """A trained teacher in a file."""
    architecture = chain(12, 3, (0, 1, 1), (3,) * 3, task.head, 1, 8)
    network = fresh_network(architecture, 0, CPU)
    train_network(network, task, Recipe("test", 12, 32, 0.1, label_smoothing=0.0), 0, CPU)
    path = folder / "teacher.safetensors"
    save_weights(network, path)
    return network.eval(), TeacherAt(path, weights_sha256(path), 10, architecture, task.preprocessing)


def test_its_outputs_are_those_for_the_augmented_batch_itself(digits: Task, tmp_path: Path) -> None:
    network, at = network_at(tmp_path, digits)
    recipe = Recipe("test", 1, 32, 0.1, crop_padding=2, cutout=3, flip=True, teacher="ab", teacher_weight=0.5)
    data = DeviceImages(digits.train, digits.preprocessing, CPU, 2)

    def augmentation() -> Augmentation:
        return Augmentation(data, recipe, torch.Generator().manual_seed(5))

    indices = torch.arange(16)
    x, targets = Teaching(at, digits, recipe, augmentation()).batch(indices, 0)
    same, labels = augmentation().batch(indices, 0)
    assert torch.equal(x, same)
    assert torch.equal(targets[:, 0].long(), labels)
    with torch.no_grad():
        assert torch.allclose(targets[:, 1:], network(x), atol=1e-5)
        plain = network(data.input(data.pixels(indices)))
    assert not torch.allclose(targets[:, 1:], plain, atol=0.1)  # not of the images before augmentation


def test_outputs_in_a_file_are_those_of_each_image(digits: Task, tmp_path: Path) -> None:
    outputs = np.random.default_rng(0).standard_normal((len(digits.train), 10)).astype(np.float32)
    np.savez(tmp_path / "o.npz", outputs=outputs, labels=digits.train.labels)
    at = TeacherAt(tmp_path / "o.npz", weights_sha256(tmp_path / "o.npz"), 10)
    data = DeviceImages(digits.train, digits.preprocessing, CPU)
    indices = torch.tensor([7, 3, 300])
    augmentation = Augmentation(data, Recipe("test", 1, 32, 0.1), torch.Generator().manual_seed(5))
    _, targets = Teaching(at, digits, RECIPE, augmentation).batch(indices, 0)
    assert np.array_equal(targets[:, 1:].numpy(), outputs[[7, 3, 300]])
    (tmp_path / "o.npz").write_bytes(b"another")
    with pytest.raises(EdgenasError, match="is not the file"):
        Teaching(at, digits, RECIPE, augmentation)


def test_a_student_learns_from_a_teacher_alone_what_its_labels_do_not_say(digits: Task, tmp_path: Path) -> None:
    """With the whole loss the teacher's, a student of shuffled labels knows the digits all the same."""
    _, at = network_at(tmp_path, digits)
    shuffled = np.random.default_rng(0).permutation(digits.train.labels)
    parts: Any = digits  # a dataclass
    lying = dataclasses.replace(parts, train=dataclasses.replace(digits.train, labels=shuffled))
    scores = {}
    for weight in (1.0, 0.0):
        recipe = Recipe("test", 12, 32, 0.05, teacher="ab", teacher_weight=weight, temperature=2.0)
        network = fresh_network(tiny(8), 1, CPU)
        train_network(network, lying, recipe, 1, CPU, teacher=at)
        scores[weight] = scores_of(network, digits, digits.val, CPU, 1)["accuracy"]
    assert scores[1.0] > 60
    assert scores[0.0] < 30


def test_a_teacher_that_weighs_nothing_changes_nothing(digits: Task, tmp_path: Path) -> None:
    _, at = network_at(tmp_path, digits)
    weights = []
    for teacher in (None, at):
        network = fresh_network(tiny(4), 1, CPU)
        train_network(network, digits, Recipe("test", 1, 32, 0.05), 1, CPU, teacher=teacher)
        weights.append(torch.cat([tensor.flatten().float() for tensor in network.state_dict().values()]))
    assert torch.allclose(weights[0], weights[1], atol=1e-6)


def test_embeddings_are_held_by_their_direction_through_a_layer_where_sizes_differ() -> None:
    class Margin(nn.Module):
        def forward(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, None]:
            return outputs.sum() * 0 + 2.0, None

    faces: Any = SimpleNamespace(head=Embedding(4), train=SimpleNamespace(labels=np.zeros(3, np.int64)))
    recipe = Recipe("test", 1, 8, 0.1, teacher="ab", teacher_weight=0.5)
    loss = Distillation(Margin(), faces, recipe, (4, 4))
    e = torch.eye(4)[:3]
    targets = torch.cat([torch.zeros(3, 1), e], 1)
    aligned, _ = loss(5 * e, targets)
    assert aligned.item() == pytest.approx(0.5 * 2)
    opposite, _ = loss(-e, targets)
    assert opposite.item() == pytest.approx(0.5 * 2 + 0.5 * 10 * 2)
    assert not list(loss.parameters())
    wider = Distillation(Margin(), faces, recipe, (4, 6))
    assert [p.shape for p in wider.parameters()] == [(6, 4)]
    found, _ = wider(e, torch.cat([torch.zeros(3, 1), torch.randn(3, 6)], 1))
    assert torch.isfinite(found)


def test_embeddings_in_a_file_become_targets_of_the_students_size_without_what_all_share() -> None:
    """Whoever shares a direction with everybody is told apart by the rest; what a turn leaves are the cosines."""
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(50, 3)).astype(np.float32)
    turned = np.linalg.qr(rng.normal(size=(20, 20)))[0].astype(np.float32)
    both = np.concatenate([apart, np.zeros((50, 17), np.float32)], 1) + 9 * np.eye(20, dtype=np.float32)[19]
    units = both / np.linalg.norm(both, axis=1, keepdims=True)
    wanted = units - units.mean(0)
    wanted = wanted @ wanted.T  # inner products, whatever the directions
    for width in (6, 30):  # fewer than the 20 that they have, and more
        known, further = identities(5 * both[:40] @ turned, 5 * both[40:] @ turned, width)
        assert (known.shape, further.shape) == ((40, width), (10, width))
        found = np.concatenate([known, further])
        assert np.allclose(found @ found.T, wanted, atol=1e-4)
        assert np.allclose(found.mean(0), 0, atol=1e-5)
    narrow, _ = identities(both[:40], both[40:], 1)
    spread = np.linalg.eigvalsh(np.cov((units - units.mean(0)).T, bias=True))[-1]
    assert np.mean(narrow**2) == pytest.approx(spread, rel=0.3)  # the direction of most variance, over these 40


def faces_task(task: Task) -> Any:
    """The digits as people, so that embeddings are learned."""

    class People(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[int, list[int]]] = []

        def forward(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, None]:
            self.seen.append((len(outputs), labels.tolist()))
            return outputs.sum() * 0, None

    loss = People()
    return SimpleNamespace(
        head=Embedding(4), train=task.train, preprocessing=task.preprocessing, loss=lambda *_: loss, people=loss
    )


def test_further_images_are_seen_beside_the_labelled_and_only_the_teacher_speaks_of_them(
    digits: Task, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    images = np.stack([np.full((8, 8, 1), 10 * i, np.uint8) for i in range(20)])
    theirs = rng.normal(size=(20, 4)).astype(np.float32)
    outputs = rng.normal(size=(len(digits.train), 4)).astype(np.float32)
    np.savez(tmp_path / "o.npz", outputs=outputs, labels=digits.train.labels, images=images, image_outputs=theirs)
    at = TeacherAt(tmp_path / "o.npz", weights_sha256(tmp_path / "o.npz"), 4, further=20)
    task = faces_task(digits)
    data = DeviceImages(digits.train, digits.preprocessing, CPU)
    augmentation = Augmentation(data, RECIPE, torch.Generator().manual_seed(5))
    teaching = Teaching(at, task, RECIPE, augmentation, 4)
    x, targets = teaching.batch(torch.arange(6), 0)
    assert (x.shape, targets.shape) == ((12, 1, 8, 8), (12, 5))
    wanted, further = identities(outputs, theirs, 4)
    assert np.allclose(targets[:6, 1:].numpy(), wanted[:6], atol=1e-6)
    numbers = [round(float(value)) for value in _pixels(x[6:], digits)[:, 0, 0, 0] / 10]
    assert np.allclose(targets[6:, 1:].numpy(), further[numbers], atol=1e-6)  # each with its own image's outputs
    assert len(set(numbers)) > 1

    loss = Distillation(task.loss(), task, RECIPE, (4, teaching.width), further=True)
    perfect, _ = loss(3 * targets[:, 1:], targets)
    assert task.people.seen == [(6, digits.train.labels[:6].tolist())]
    assert perfect.item() == pytest.approx(0, abs=1e-5)
    half = torch.cat([targets[:6, 1:], -targets[6:, 1:]])
    found, _ = loss(half, targets)
    assert found.item() == pytest.approx(0.75 * 10 * 1.0, rel=1e-4)  # the further half is all wrong: (0 + 2) / 2


@pytest.mark.parametrize("drawn", [{"random_resized_crop": (0.3, 0.6)}, {"color": (0.9, 0.0, 0.0, 0.0)}])
def test_further_images_are_drawn_anew_at_every_step_and_alike_whenever_an_epoch_begins_again(
    drawn: dict[str, Any], digits: Task, tmp_path: Path
) -> None:
    """One further image: how often it was chosen does not matter, only what was drawn for it."""
    rng = np.random.default_rng(0)
    image = rng.integers(64, 192, (1, 8, 8, 1), dtype=np.uint8)
    outputs = rng.normal(size=(len(digits.train), 10)).astype(np.float32)
    np.savez(tmp_path / "o.npz", outputs=outputs, labels=digits.train.labels, images=image, image_outputs=outputs[:1])
    at = TeacherAt(tmp_path / "o.npz", weights_sha256(tmp_path / "o.npz"), 10, further=1)
    recipe = Recipe("test", 3, 32, 0.05, teacher="ab", teacher_weight=0.5, **drawn)
    data = DeviceImages(digits.train, digits.preprocessing, CPU)

    def epoch(number: int) -> list[Tensor]:
        """The further halves of four batches of a training that begins with this epoch."""
        augmentation = Augmentation(data, recipe, torch.Generator().manual_seed(5))
        teaching = Teaching(at, digits, recipe, augmentation)
        return [teaching.batch(torch.arange(6), number)[0][6:] for _ in range(4)]

    first, again, second = epoch(0), epoch(0), epoch(1)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    for place, step in enumerate(first):
        others = [*first[place + 1 :], *second]
        assert not any(torch.allclose(step, other, atol=1e-3) for other in others)
    same = DeviceImages(Split(np.repeat(image, 2, 0), np.zeros(2, np.int64)), digits.preprocessing, CPU)
    as_labelled, _ = Augmentation(same, recipe, torch.Generator().manual_seed(5)).batch(torch.zeros(6).long(), 0)
    assert not torch.allclose(first[0], as_labelled, atol=1e-3)  # not what the labelled half has drawn at the same step


def _pixels(x: Tensor, task: Task) -> Tensor:
    mean, std = task.preprocessing.mean[0], task.preprocessing.std[0]
    return 255 * (x * std + mean)
