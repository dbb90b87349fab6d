"""Per-sample random crop, mirror and cutout as one gather on the device: no loader, no worker processes, no synchronisation.

What photographs need besides is in photographs.py, two images in one in mixing.py.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgenas.preprocessing import scale_and_shift
from edgenas.records import Preprocessing, Recipe
from edgenas.tasks import Split
from edgenas.tasks.mapped import MappedImages
from edgenas.training.mixing import mixed, mixes
from edgenas.training.photographs import changed, changes, drawn_boxes, resized

ON_GPU = 0.4  # of a GPU's free memory that images may take
COPIED = 4096  # images at a time


class DeviceImages:
    """A split as uint8: on a GPU, where it has the room; else where all processes share it, and batches are copied from there."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        device: torch.device,
        crop_padding: int = 0,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """`crop_padding`: width of the black frame that `window` may reach into. `rows` (M,): only these images."""
        if isinstance(split.images, MappedImages):
            images, of_split = tensor_of(split.images.whole), split.images.rows
            chosen: NDArray[np.int64] | None = of_split if rows is None else of_split[rows]
        else:
            images, chosen = tensor_of(split.images), rows
        self.labels = tensor_of(split.labels if rows is None else split.labels[rows]).to(device)  # (M,) or (M, k)
        self.rows = None if chosen is None else torch.from_numpy(chosen)
        self.height, self.width, p = *images.shape[1:3], crop_padding
        self.padding = p
        self.framed: Tensor | None = None
        if device.type != "cpu" and self._fits(images, device):  # its memory is this process's alone: one gather a step
            self.framed = self._framed_on(images, device)
            images, self.rows = self.framed[:, p : p + self.height, p : p + self.width], None
        self.images = images  # (N, H, W, C)
        scale, shift = scale_and_shift(preprocessing)
        self.scale, self.shift = torch.from_numpy(scale).to(device), torch.from_numpy(shift).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, chosen: Tensor | slice) -> Tensor:
        """(B, H, W, C) uint8 of the chosen images."""
        if self.framed is None and isinstance(chosen, Tensor):
            chosen = chosen.to(self.images.device)
        found = self.images[chosen] if self.rows is None else self.images[self.rows[chosen]]
        return found.to(self.labels.device)

    def window(self, chosen: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """(B, H, W, C) uint8: of each chosen image these rows (B, H) and columns (B, W) of its frame."""
        if self.framed is not None:
            return self.framed[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        each = torch.arange(len(chosen), device=chosen.device)
        return self._framed(self.pixels(chosen))[each[:, None, None], rows[:, :, None], columns[:, None, :]]

    def input(self, pixels: Tensor) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, H, W) float32, normalised, channels last in memory."""
        return torch.addcmul(self.shift, pixels.float(), self.scale).permute(0, 3, 1, 2)

    def _fits(self, images: Tensor, device: torch.device) -> bool:
        """Is there room for all of them on the GPU, beside what a training needs?"""
        framed = (self.height + 2 * self.padding) * (self.width + 2 * self.padding)
        return len(self) * framed * images.shape[3] <= ON_GPU * torch.cuda.mem_get_info(device)[0]

    def _framed_on(self, images: Tensor, device: torch.device) -> Tensor:
        """All images in their frames on the GPU, copied part by part: the host never holds them twice."""
        p, channels = self.padding, images.shape[3]
        shape = (len(self), self.height + 2 * p, self.width + 2 * p, channels)
        framed = torch.zeros(shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self), COPIED):
            part = slice(start, start + COPIED)
            pixels = images[part] if self.rows is None else images[self.rows[part]]
            framed[part, p : p + self.height, p : p + self.width] = pixels.to(device)
        return framed

    def _framed(self, images: Tensor) -> Tensor:
        p = self.padding
        return F.pad(images, (0, 0, p, p, p, p)) if p else images  # (B, H + 2p, W + 2p, C)


def tensor_of(array: NDArray[Any]) -> Tensor:
    """The same memory as a tensor that nobody writes to; arrays that several processes share may be read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


class Augmentation:
    """What one training draws: order of images, crop offsets, mirror, cutout, from `generator`; what photographs.py and mixing.py
    draw from a generator on the host that begins anew every epoch, from the same seed. So `generator` is all of its state
    between epochs."""

    def __init__(self, data: DeviceImages, recipe: Recipe, generator: torch.Generator, stream: int = 0) -> None:
        """`stream`: the host's generator is another for each, where several draw for one training."""
        self.data = data
        self.recipe = recipe
        self.generator, self.stream = generator, stream
        self.device = data.labels.device
        self.rows = torch.arange(data.height, device=self.device)
        self.columns = torch.arange(data.width, device=self.device)
        # Alternating flip (cifar10-airbench): a coin per image once, then every image changes side every epoch.
        alternating = recipe.flip and recipe.flips == "alternating"
        self.coins = self._integers(2, len(data)) if alternating else None
        self.host: tuple[int, np.random.Generator] | None = None  # of this epoch
        self.classes: list[Tensor] = []  # the numbers of each class's images, where classes are balanced
        if recipe.balance == "sampling":
            self.classes = [torch.nonzero(data.labels == label).flatten() for label in torch.unique(data.labels)]

    def order(self) -> Tensor:
        """(N,): a fresh permutation of all images; where classes are balanced, as many draws of each, shuffled."""
        if self.classes:
            return self._balanced()
        return torch.randperm(len(self.data), generator=self.generator, device=self.device)

    def _balanced(self) -> Tensor:
        """(N,): every class N / K times, or once more; within a class every image equally often, or once more."""
        total, count = len(self.data), len(self.classes)
        more = set(torch.randperm(count, generator=self.generator, device=self.device)[: total % count].tolist())
        drawn = []
        for place, members in enumerate(self.classes):
            quota = total // count + (place in more)
            rounds = [self._shuffled(members) for _ in range(-(-quota // len(members)))]
            drawn.append(torch.cat(rounds)[:quota] if rounds else members[:0])
        return self._shuffled(torch.cat(drawn))

    def _shuffled(self, numbers: Tensor) -> Tensor:
        return numbers[torch.randperm(len(numbers), generator=self.generator, device=self.device)]

    def batch(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """((B, C, H, W) float32 input, (B,) labels) of these images, drawn anew; labels of mixed images as `mixed` has them."""
        if self.recipe.random_resized_crop is None:
            rows, columns = self._window(len(indices))  # (B, H), (B, W)
            mirrored = self._mirrored(indices, epoch)
            if mirrored is not None:
                columns = torch.where(mirrored[:, None], columns.flip(1), columns)
            pixels = self.data.window(indices, rows, columns)  # (B, H, W, C)
        else:
            pixels = self._resized(indices, epoch)
        if self.recipe.turns:
            pixels = self._turned(pixels)
        if changes(self.recipe):
            pixels = changed(pixels.permute(0, 3, 1, 2), self.recipe, self._host(epoch)).permute(0, 2, 3, 1)
        x = self.data.input(pixels.contiguous())  # (B, C, H, W)
        if self.recipe.cutout:
            x = x * self._cutout(len(indices))[:, None]
        labels = self.data.labels[indices]
        return mixed(x, labels, self.recipe, self._host(epoch)) if mixes(self.recipe) else (x, labels)

    def _mirrored(self, indices: Tensor, epoch: int) -> Tensor | None:
        """(B,): which of these images are to be mirrored; None where nothing is."""
        if not self.recipe.flip:
            return None
        coins = self._integers(2, len(indices)) if self.coins is None else (self.coins[indices] + epoch) % 2
        return coins == 1

    def _resized(self, indices: Tensor, epoch: int) -> Tensor:
        """(B, H, W, C) uint8: a crop of any size of each image, scaled to the whole of it."""
        pixels = self.data.pixels(indices)
        boxes = drawn_boxes(self._host(epoch), len(indices), (pixels.shape[1], pixels.shape[2]), self.recipe)
        mirrored = self._mirrored(indices, epoch)
        return resized(pixels.permute(0, 3, 1, 2), torch.from_numpy(boxes), mirrored).permute(0, 2, 3, 1)

    def _host(self, epoch: int) -> np.random.Generator:
        """This epoch's generator on the host: what is drawn there needs no waiting for a GPU."""
        if self.host is None or self.host[0] != epoch:
            self.host = epoch, np.random.default_rng([self.generator.initial_seed(), epoch, self.stream])
        return self.host[1]

    def _turned(self, pixels: Tensor) -> Tensor:
        """(B, H, W, C): each image turned left by 0 to 3 quarters of a circle."""
        quarters = self._integers(4, len(pixels))[:, None, None, None]
        # The corner that becomes the first pixel: a quarter turn is a transposition, seen in a mirror.
        pixels = torch.where(quarters >= 2, pixels.flip(1), pixels)
        pixels = torch.where((quarters == 1) | (quarters == 2), pixels.flip(2), pixels)
        return torch.where(quarters % 2 == 1, pixels.transpose(1, 2), pixels)

    def _window(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of each sample's crop."""
        positions = 2 * self.recipe.crop_padding + 1
        top, left = self._integers(positions, count), self._integers(positions, count)
        return top[:, None] + self.rows, left[:, None] + self.columns

    def _cutout(self, count: int) -> Tensor:
        """(B, H, W): 0 in a square around a random pixel (it may hang over the edge, as published), 1 elsewhere."""
        half = self.recipe.cutout // 2
        centre_y, centre_x = self._integers(self.data.height, count), self._integers(self.data.width, count)
        inside_y = _between(self.rows, centre_y - half, self.recipe.cutout)  # (B, H)
        inside_x = _between(self.columns, centre_x - half, self.recipe.cutout)  # (B, W)
        return (~(inside_y[:, :, None] & inside_x[:, None, :])).float()

    def _integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self.generator, device=self.device)


def _between(positions: Tensor, start: Tensor, length: int) -> Tensor:
    """(B, S): start <= position < start + length."""
    offset = positions - start[:, None]
    return (offset >= 0) & (offset < length)
