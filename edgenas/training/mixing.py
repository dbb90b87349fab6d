"""Two images in one: mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899).

As published: one share for the whole batch, whose images are mixed with themselves in another order. Labels stay as they are;
the loss is that of the first image's label and of the second one's, by their shares. A teacher sees the mixed image, too, which
makes of distillation what Beyer et al. 2022 (arXiv 2106.05237) call function matching.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgenas.records import Recipe
from edgenas.tasks import Task


def mixes(recipe: Recipe) -> bool:
    """Does it put two images into one?"""
    return bool(recipe.mixup or recipe.cutmix)


def mixed(x: Tensor, labels: Tensor, recipe: Recipe, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) and labels (B,) or (B, k) -> mixed images, and (B, 2k + 1) float32: own labels, the second image's, and the
    first one's share. Whole numbers up to 2^24 stay exact."""
    order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    cuts = bool(recipe.cutmix) and (not recipe.mixup or rng.random() < 0.5)
    share = float(rng.beta(*(2 * (recipe.cutmix if cuts else recipe.mixup,))))
    if cuts:
        top, left, bottom, right = cut_box(rng, (x.shape[2], x.shape[3]), share)
        other = x[order, :, top:bottom, left:right]
        x = x.clone()
        x[:, :, top:bottom, left:right] = other
        share = 1 - (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])
    else:
        x = torch.lerp(x[order], x, share)
    columns = labels.reshape(len(labels), -1).float()
    targets = torch.cat((columns, columns[order], columns.new_full((len(labels), 1), share)), 1)
    return x.contiguous(memory_format=torch.channels_last), targets


def cut_box(rng: np.random.Generator, sides: tuple[int, int], share: float) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a rectangle of 1 - share of the image, around a random pixel; what hangs over is cut off."""
    height, width = sides
    scale = (1 - share) ** 0.5
    half_height, half_width = int(height * scale) // 2, int(width * scale) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    return (
        max(0, y - half_height), max(0, x - half_width),
        min(height, y + half_height), min(width, x + half_width),
    )  # fmt: skip


class MixedLoss(nn.Module):
    """(outputs (N, D), targets of `mixed`) -> what the task's `loss` gives for both labels, by their shares."""

    def __init__(self, loss: nn.Module, task: Task) -> None:
        super().__init__()
        self.loss = loss
        self.shape = task.train.labels.shape[1:]  # of a label
        self.values = int(np.prod(self.shape, dtype=int))
        self.whole = task.train.labels.dtype.kind == "i"  # numbers of classes

    def forward(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        share = targets[0, 2 * self.values]
        first, correct = self.loss(outputs, self._labels(targets[:, : self.values]))
        second, other = self.loss(outputs, self._labels(targets[:, self.values : 2 * self.values]))
        loss = share * first + (1 - share) * second
        return loss, None if correct is None else share * correct + (1 - share) * other

    def _labels(self, columns: Tensor) -> Tensor:
        labels = columns.reshape(len(columns), *self.shape)
        return labels.round().long() if self.whole else labels
