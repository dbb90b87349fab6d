"""Learning from a teacher: its outputs for the very views that the student sees, and the loss that holds the student to them.

Classes: (1 - w) cross-entropy + w T^2 KL(teacher / T || student / T) (Hinton et al. 2015, arXiv 1503.02531), the teacher on the
same augmented image as the student (Beyer et al. 2022, arXiv 2106.05237: consistent views). Embeddings: (1 - w) margin loss + w
SCALE (1 - cosine), through a linear layer where the teacher's have another size; it is learned along, and thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.errors import EdgenasError, TrainingError
from edgenas.image_sizes import ImageSize, sides_of
from edgenas.networks.weights import check_weights, load_weights
from edgenas.preprocessing import scale_and_shift
from edgenas.records import Architecture, Embedding, Preprocessing, Recipe
from edgenas.tasks import Task
from edgenas.training.augmentation import Augmentation
from edgenas.training.mixing import mixes

SCALE = 10.0  # of 1 - cosine: as large as margin losses are at first
OUTPUTS = "outputs"  # of an .npz: (N, D), in the order of the training images


@dataclass(frozen=True)
class TeacherAt:
    """Where a teacher is: weights of a network, or (architecture None) its outputs for each training image as .npz.

    `preprocessing`: what its input is made by. `width`: numbers that it gives for an image.
    """

    path: Path
    sha256: str
    width: int
    architecture: Architecture | None = None
    preprocessing: Preprocessing | None = None


class Teaching:
    """Gives every batch its targets. Outputs are read, or computed for the batch as the student sees it."""

    def __init__(self, at: TeacherAt, task: Task, recipe: Recipe, device: torch.device) -> None:
        self.device, self.recipe, self.width = device, recipe, at.width
        self.outputs: Tensor | None = None
        self.network: nn.Module = nn.Identity()
        if at.architecture is None:
            if mixes(recipe):
                raise TrainingError(
                    f"recipe {recipe.name}: mixup and cutmix make images that a teacher's outputs in a file do not know: leave "
                    "them out, or name the teacher's network"
                )
            check_weights(at.path, at.sha256)
            with np.load(at.path, allow_pickle=False) as held:
                self.outputs = torch.from_numpy(held[OUTPUTS].astype(np.float32)).to(device)
            return
        assert at.preprocessing is not None
        network = load_weights(at.architecture, at.path, at.sha256).requires_grad_(False)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.view = View(task.preprocessing, at.preprocessing, at.architecture.image_size, device)

    @torch.no_grad()
    def batch(
        self, augmentation: Augmentation, indices: Tensor, epoch: int, part: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """The student's batch (B, C, H, W), and its labels with the teacher's outputs beside them, (B, k + D) float32: one
        tensor, as a CUDA graph has one buffer for them. Whole numbers up to 2^24 stay exact. `part`: only these rows of it."""
        x, labels = (whole[part] for whole in augmentation.batch(indices, epoch))
        if self.outputs is not None:
            taught = self.outputs[indices[part]]
        else:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                taught = self.network(self.view(x)).float()
        return x, torch.cat([labels.float().reshape(len(labels), -1), taught], 1)


class View:
    """What the student sees, as the teacher takes it: (B, C, H, W) in the student's normalisation -> (B, C', H', W') in the
    teacher's."""

    def __init__(self, student: Preprocessing, teacher: Preprocessing, size: ImageSize, device: torch.device) -> None:
        refuse_blind(student, teacher)
        self.sides = sides_of(size)
        (scale, shift), (to_scale, to_shift) = (scale_and_shift(one) for one in (student, teacher))
        factor = to_scale / scale  # x = p scale + shift, y = p to_scale + to_shift
        self.factor = torch.from_numpy(factor.astype(np.float32)).to(device)[:, None, None]
        self.shift = torch.from_numpy((to_shift - shift * factor).astype(np.float32)).to(device)[:, None, None]

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.addcmul(
            self.shift, x, self.factor
        )  # a grey channel becomes as many as the teacher's normalisation has
        have = (y.shape[2], y.shape[3])
        if have != self.sides:
            smaller = any(side < before for side, before in zip(self.sides, have, strict=True))
            y = F.interpolate(y, size=self.sides, mode="bilinear", antialias=smaller)
        return y.contiguous(memory_format=torch.channels_last)


def refuse_blind(student: Preprocessing, teacher: Preprocessing) -> None:
    """Raise EdgenasError where a teacher cannot be shown what the student sees."""
    if student.channels > teacher.channels:
        raise EdgenasError(
            f"the teacher takes images of {teacher.channels} channel, and these have {student.channels}: one that sees "
            "colours is needed"
        )
    if student.channels < teacher.channels and student.channels != 1:
        raise EdgenasError(
            f"the teacher takes images of {teacher.channels} channels, and these have {student.channels}"
        )


class Distillation(nn.Module):
    """(outputs (N, D), labels and the teacher's outputs side by side) -> what the task's `loss` gives, held to the teacher."""

    def __init__(self, loss: nn.Module, task: Task, recipe: Recipe, widths: tuple[int, int]) -> None:
        """`widths`: of the student's outputs, of the teacher's."""
        super().__init__()
        self.loss, self.recipe = loss, recipe
        self.embeds = isinstance(task.head, Embedding)
        self.whole = task.train.labels.dtype.kind == "i" and not mixes(recipe)  # numbers of classes
        self.values = int(np.prod(task.train.labels.shape[1:], dtype=int))  # of a label
        if mixes(recipe):  # the task's loss takes what `mixed` makes of them
            self.values = 2 * self.values + 1
        student, self.taught = widths
        self.project: nn.Module = nn.Identity()
        if self.embeds and student != self.taught:
            self.project = nn.Linear(student, self.taught, bias=False)

    def forward(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        labels, taught = targets[:, : self.values], targets[:, self.values :]
        labels = labels[:, 0].round().long() if self.whole else labels
        own, correct = self.loss(outputs, labels)
        held = self._embeddings(outputs, taught) if self.embeds else self._classes(outputs, taught)
        weight = self.recipe.teacher_weight
        return (1 - weight) * own + weight * held, correct

    def _classes(self, outputs: Tensor, taught: Tensor) -> Tensor:
        t = self.recipe.temperature
        student, teacher = F.log_softmax(outputs / t, 1), F.log_softmax(taught / t, 1)
        return t * t * F.kl_div(student, teacher, reduction="batchmean", log_target=True)

    def _embeddings(self, outputs: Tensor, taught: Tensor) -> Tensor:
        return SCALE * (1 - F.cosine_similarity(self.project(outputs), taught)).mean()
