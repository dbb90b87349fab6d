"""Learning from a teacher: its outputs for the very views that the student sees, and the loss that holds the student to them.

Classes: (1 - w) cross-entropy + w T^2 KL(teacher / T || student / T) (Hinton et al. 2015, arXiv 1503.02531), the teacher on the
same augmented image as the student (Beyer et al. 2022, arXiv 2106.05237: consistent views). Embeddings: (1 - w) margin loss + w
SCALE (1 - cosine), through a linear layer where the teacher's have another size; it is learned along, and thrown away. Embeddings
in a file are brought to the student's size instead, so that its own cosines become the teacher's.

Outputs may come with further images and the teacher's outputs for those: then every step sees as many of them as of the labelled
ones, and only the teacher speaks of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgenas.errors import EdgenasError, TrainingError
from edgenas.image_sizes import ImageSize, sides_of
from edgenas.networks.weights import check_weights, load_weights
from edgenas.preprocessing import scale_and_shift
from edgenas.records import Architecture, Embedding, Preprocessing, Recipe
from edgenas.tasks import Split, Task
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.mixing import mixes

SCALE = 10.0  # of 1 - cosine: as large as margin losses are at first
Floats = NDArray[np.float32]
OUTPUTS = "outputs"  # of an .npz: (N, D), in the order of the training images
FURTHER, FURTHER_OUTPUTS = "images", "image_outputs"  # of an .npz, where there are any: (M, H, W, C) uint8 and (M, D)


@dataclass(frozen=True)
class TeacherAt:
    """Where a teacher is: weights of a network, or (architecture None) its outputs for each training image as .npz.

    `preprocessing`: what its input is made by. `width`: numbers that it gives for an image. `further`: images without labels that
    come with its outputs.
    """

    path: Path
    sha256: str
    width: int
    architecture: Architecture | None = None
    preprocessing: Preprocessing | None = None
    further: int = 0


class Teaching:
    """Gives every batch its targets. Outputs are read, or computed for the batch as the student sees it."""

    def __init__(
        self, at: TeacherAt, task: Task, recipe: Recipe, augmentation: Augmentation, student: int | None = None
    ) -> None:
        """`augmentation`: the student's. `student`: numbers that it gives for an image, None = as many as the teacher. `width` is
        what its targets have."""
        device = augmentation.device
        self.augmentation, self.device, self.recipe, self.width = augmentation, device, recipe, at.width
        self.outputs: Tensor | None = None
        self.network: nn.Module = nn.Identity()
        self.further: Further | None = None
        if at.architecture is None:
            if mixes(recipe):
                raise TrainingError(
                    f"recipe {recipe.name}: mixup and cutmix make images that a teacher's outputs in a file do not know: leave "
                    "them out, or name the teacher's network"
                )
            check_weights(at.path, at.sha256)
            with np.load(at.path, allow_pickle=False) as held:
                outputs = held[OUTPUTS].astype(np.float32)
                theirs = held[FURTHER_OUTPUTS].astype(np.float32) if at.further else outputs[:0]
                if isinstance(task.head, Embedding):
                    self.width = student or at.width
                    outputs, theirs = identities(outputs, theirs, self.width)
                self.outputs = torch.from_numpy(outputs).to(device)
                if at.further:
                    self.further = Further(held[FURTHER], theirs, task, recipe, augmentation)
            return
        assert at.preprocessing is not None
        network = load_weights(at.architecture, at.path, at.sha256).requires_grad_(False)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.view = View(task.preprocessing, at.preprocessing, at.architecture.image_size, device)

    @torch.no_grad()
    def batch(self, indices: Tensor, epoch: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """The student's batch (B, C, H, W), and its labels with the teacher's outputs beside them, (B, k + D) float32: one
        tensor, as a CUDA graph has one buffer for them. Whole numbers up to 2^24 stay exact. Behind them as many further images,
        where there are any, with labels of 0 that nobody reads. `part`: only these rows of the batch, and of the further ones."""
        x, labels = (whole[part] for whole in self.augmentation.batch(indices, epoch))
        if self.outputs is not None:
            taught = self.outputs[indices[part]]
        else:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                taught = self.network(self.view(x)).float()
        targets = torch.cat([labels.float().reshape(len(labels), -1), taught], 1)
        if self.further is None:
            return x, targets
        more, their_outputs = (whole[part] for whole in self.further.batch(len(indices), epoch))
        unread = torch.zeros((len(more), targets.shape[1] - self.width), device=self.device)
        return torch.cat([x, more]), torch.cat([targets, torch.cat([unread, their_outputs], 1)])


def identities(outputs: Floats, further: Floats, width: int) -> tuple[Floats, Floats]:
    """Embeddings (N, D) and (M, D) as targets of so many numbers: of length one, less what all have in common, which says
    nothing of who somebody is (Mu and Viswanath 2018, arXiv 1702.01417, for words), along the directions in which they differ
    most; zeros where those are fewer."""
    both = np.concatenate([outputs, further])
    units = both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
    units -= units.mean(axis=0)
    _, directions = np.linalg.eigh(units.T.astype(np.float64) @ units)  # the last vary most
    turned = units @ directions[:, ::-1][:, :width].astype(np.float32)
    turned = np.pad(turned, ((0, 0), (0, width - turned.shape[1])))
    return turned[: len(outputs)], turned[len(outputs) :]


class Further:
    """Images without labels, and a teacher's outputs for them: drawn at random, and augmented by the recipe as the labelled ones
    are, by draws of their own from the same seed."""

    def __init__(
        self, images: NDArray[np.uint8], outputs: Floats, task: Task, recipe: Recipe, labelled: Augmentation
    ) -> None:
        device, generator = labelled.device, labelled.generator
        self.outputs = torch.from_numpy(outputs).to(device)
        recipe = msgspec.structs.replace(recipe, flips="independent", balance="none")
        split = Split(images, np.zeros(len(images), np.int64))
        data = DeviceImages(split, task.preprocessing, device, recipe.crop_padding)
        self.augmentation = Augmentation(data, recipe, generator, stream=labelled.stream + 1)

    def batch(self, count: int, epoch: int) -> tuple[Tensor, Tensor]:
        """(count, C, H, W) and (count, D)."""
        generator, device = self.augmentation.generator, self.outputs.device
        drawn = torch.randint(len(self.outputs), (count,), generator=generator, device=device)
        x, _ = self.augmentation.batch(drawn, epoch)
        return x, self.outputs[drawn]


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

    def __init__(
        self, loss: nn.Module, task: Task, recipe: Recipe, widths: tuple[int, int], *, further: bool = False
    ) -> None:
        """`widths`: of the student's outputs, of the teacher's. `further`: the second half of every batch has no labels."""
        super().__init__()
        self.loss, self.recipe, self.further = loss, recipe, further
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
        known = len(labels) // 2 if self.further else len(labels)
        own, correct = self.loss(outputs[:known], labels[:known])
        held = self._embeddings(outputs, taught) if self.embeds else self._classes(outputs, taught)
        weight = self.recipe.teacher_weight
        return (1 - weight) * own + weight * held, correct

    def _classes(self, outputs: Tensor, taught: Tensor) -> Tensor:
        t = self.recipe.temperature
        student, teacher = F.log_softmax(outputs / t, 1), F.log_softmax(taught / t, 1)
        return t * t * F.kl_div(student, teacher, reduction="batchmean", log_target=True)

    def _embeddings(self, outputs: Tensor, taught: Tensor) -> Tensor:
        return SCALE * (1 - F.cosine_similarity(self.project(outputs), taught)).mean()
