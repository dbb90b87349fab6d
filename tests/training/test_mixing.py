"""Two images in one, and the loss of both their labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgenas.errors import TrainingError
from edgenas.records import Recipe
from edgenas.tasks import Split, Task
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.mixing import MixedLoss, cut_box, mixed
from edgenas.training.teaching import Distillation, TeacherAt, Teaching


def recipe(**changes: Any) -> Recipe:
    return Recipe("test", 1, 8, 0.1, **changes)


def images(count: int = 8, sides: tuple[int, int] = (6, 10)) -> torch.Tensor:
    """(B, 1, H, W): image b is b everywhere."""
    return torch.arange(float(count))[:, None, None, None].expand(count, 1, *sides).contiguous()


def test_mixup_is_a_weighted_sum_of_two_images_with_the_same_share_in_the_targets() -> None:
    labels = torch.arange(8) + 100
    x, targets = mixed(images(), labels, recipe(mixup=1.0), np.random.default_rng(0))
    own, other, share = targets.T
    assert torch.equal(own, labels.float())
    assert sorted(other.tolist()) == labels.tolist()  # in another order
    assert len(share.unique()) == 1
    assert 0 < share[0] < 1
    wanted = share * torch.arange(8.0) + (1 - share) * (other - 100)
    assert torch.allclose(x, wanted[:, None, None, None].expand_as(x), atol=1e-5)


def test_cutmix_puts_a_rectangle_of_another_image_in_and_counts_its_pixels() -> None:
    labels = torch.arange(8)
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, targets = mixed(images(), labels, recipe(cutmix=1.0), rng)
        own, other, share = targets.T
        for index in range(8):
            if own[index] == other[index]:
                continue
            inside = x[index, 0] == other[index]
            assert (inside | (x[index, 0] == own[index])).all()
            assert inside.float().mean().item() == pytest.approx(1 - share[index].item(), abs=1e-6)
            rows, columns = np.nonzero(inside.numpy())
            if len(rows):
                assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == len(rows)
                seen.add((rows.min(), columns.min(), len(rows)))
    assert len(seen) > 10


def test_the_source_images_are_left_as_they_are() -> None:
    x = images()
    before = x.clone()
    mixed(x, torch.arange(8), recipe(cutmix=1.0), np.random.default_rng(0))
    assert torch.equal(x, before)


def test_with_both_each_batch_takes_one_of_them() -> None:
    rng, cuts = np.random.default_rng(0), 0
    for _ in range(100):
        x, _ = mixed(images(), torch.arange(8), recipe(mixup=1.0, cutmix=1.0), rng)
        cuts += bool((x == x.round()).all())
    assert 35 < cuts < 65


@pytest.mark.parametrize(("alpha", "inner"), [(0.2, (0.10, 0.30)), (1.0, (0.50, 0.70))])
def test_the_share_is_drawn_from_a_beta_distribution(alpha: float, inner: tuple[float, float]) -> None:
    """P(.2 < share < .8): .18 of Beta(.2, .2) and .6 of Beta(1, 1)."""
    rng = np.random.default_rng(0)
    shares = np.array(
        [mixed(images(2, (1, 1)), torch.arange(2), recipe(mixup=alpha), rng)[1][0, 2].item() for _ in range(600)]
    )
    assert inner[0] < ((shares > 0.2) & (shares < 0.8)).mean() < inner[1]
    assert abs(shares.mean() - 0.5) < 0.06


def test_a_rectangle_has_the_share_that_was_drawn_where_it_does_not_hang_over() -> None:
    rng = np.random.default_rng(0)
    areas = [(b - t) * (r - left) for t, left, b, r in (cut_box(rng, (40, 80), 0.75) for _ in range(500))]
    assert max(areas) == 20 * 40  # half of each side
    assert min(areas) >= 10 * 20  # a corner
    assert cut_box(rng, (40, 80), 1.0)[2] - cut_box(rng, (40, 80), 1.0)[0] <= 40


def test_the_loss_is_that_of_both_labels_by_their_shares(digits: Task) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 10))).float()
    own, other = torch.tensor([3, 0, 9, 3]), torch.tensor([3, 1, 2, 0])
    targets = torch.stack((own.float(), other.float(), torch.full((4,), 0.3)), 1)
    loss, correct = MixedLoss(digits.loss(recipe()), digits)(logits, targets)
    soft = 0.3 * F.one_hot(own, 10) + 0.7 * F.one_hot(other, 10)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, soft).item(), rel=1e-5)
    hits = 0.3 * (logits.argmax(1) == own).sum() + 0.7 * (logits.argmax(1) == other).sum()
    assert correct is not None
    assert correct.item() == pytest.approx(hits.item())


def test_labels_that_are_numbers_keep_their_shape(digits: Task) -> None:
    """Of a task whose labels are two floats each."""
    pairs = dataclasses.replace(digits, train=Split(digits.train.images[:4], np.zeros((4, 2), np.float32)))  # type: ignore[type-var]
    seen: list[torch.Tensor] = []

    class Own(torch.nn.Module):
        def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, None]:
            seen.append(labels)
            return (outputs - labels).square().mean(), None

    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    _, targets = mixed(images(2), values, recipe(mixup=1.0), np.random.default_rng(0))
    _, correct = MixedLoss(Own(), pairs)(torch.zeros(2, 2), targets)
    assert correct is None
    assert torch.equal(seen[0], values)
    assert seen[1].shape == (2, 2)


def test_a_teacher_is_asked_about_the_mixed_image(digits: Task) -> None:
    """Function matching: its term is the teacher's on what the student sees; the labels' term is both labels'."""
    asked = recipe(mixup=0.2, teacher="ab", teacher_weight=0.25, temperature=1.0)
    loss = Distillation(MixedLoss(digits.loss(asked), digits), digits, asked, (10, 10))
    rng = np.random.default_rng(0)
    logits, taught = (torch.from_numpy(rng.standard_normal((2, 10))).float() for _ in range(2))
    mix = torch.tensor([[3.0, 4.0, 0.3], [5.0, 3.0, 0.3]])
    found, _ = loss(logits, torch.cat((mix, taught), 1))
    own, _ = MixedLoss(digits.loss(asked), digits)(logits, mix)
    held = F.kl_div(logits.log_softmax(1), taught.log_softmax(1), reduction="batchmean", log_target=True)
    assert found.item() == pytest.approx((0.75 * own + 0.25 * held).item(), rel=1e-5)


def test_outputs_in_a_file_know_no_mixed_images(digits: Task, tmp_path: Any) -> None:
    at = TeacherAt(tmp_path / "outputs.npz", "ab", 10)
    data = DeviceImages(digits.train, digits.preprocessing, torch.device("cpu"))
    augmentation = Augmentation(data, recipe(), torch.Generator())
    for key in ("mixup", "cutmix"):
        with pytest.raises(
            TrainingError, match="outputs in a file do not know: leave them out, or name the teacher's network"
        ):
            Teaching(at, digits, recipe(**{key: 0.2}), augmentation)
