"""Per-sample random crop, mirror and cutout as one gather on the device: no loader, no worker processes, no synchronisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenas.preprocessing import scale_and_shift
from edgenas.records import Preprocessing, Recipe
from edgenas.tasks import Split


class DeviceImages:
    """A split on the device as uint8, framed in black for random crops."""

    def __init__(self, split: Split, preprocessing: Preprocessing, device: torch.device, crop_padding: int = 0) -> None:
        images = torch.from_numpy(split.images).to(device)  # (N, H, W, C)
        p = crop_padding
        self.framed = F.pad(images, (0, 0, p, p, p, p)) if p else images  # (N, H + 2p, W + 2p, C)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.side = images.shape[1]
        scale, shift = scale_and_shift(preprocessing)
        self.scale, self.shift = torch.from_numpy(scale).to(device), torch.from_numpy(shift).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def input(self, pixels: Tensor) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, H, W) float32, normalised, channels last in memory."""
        return torch.addcmul(self.shift, pixels.float(), self.scale).permute(0, 3, 1, 2)


class Augmentation:
    """What one training draws: order of images, crop offsets, mirror, cutout; everything from one generator."""

    def __init__(self, data: DeviceImages, recipe: Recipe, generator: torch.Generator) -> None:
        self.data = data
        self.recipe = recipe
        self.generator = generator
        self.device = data.framed.device
        self.arange = torch.arange(data.side, device=self.device)
        # Alternating flip (cifar10-airbench): a coin per image once, then every image changes side every epoch.
        alternating = recipe.flip and recipe.flips == "alternating"
        self.coins = self._integers(2, len(data)) if alternating else None

    def order(self) -> Tensor:
        """A fresh permutation of all images, (N,)."""
        return torch.randperm(len(self.data), generator=self.generator, device=self.device)

    def batch(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """((B, C, H, W) float32 input, (B,) labels) of these images, drawn anew."""
        rows, columns = self._window(len(indices))  # (B, H), (B, W)
        if self.recipe.flip:
            coins = self._integers(2, len(indices)) if self.coins is None else (self.coins[indices] + epoch) % 2
            mirrored = coins == 1
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        pixels = self.data.framed[indices[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        x = self.data.input(pixels)  # (B, C, H, W)
        if self.recipe.cutout:
            x = x * self._cutout(len(indices))[:, None]
        return x, self.data.labels[indices]

    def _window(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of each sample's crop."""
        positions = 2 * self.recipe.crop_padding + 1
        top, left = self._integers(positions, count), self._integers(positions, count)
        return top[:, None] + self.arange, left[:, None] + self.arange

    def _cutout(self, count: int) -> Tensor:
        """(B, H, W): 0 in a square around a random pixel (it may hang over the edge, as published), 1 elsewhere."""
        half = self.recipe.cutout // 2
        centre_y, centre_x = self._integers(self.data.side, count), self._integers(self.data.side, count)
        inside_y = _between(self.arange, centre_y - half, self.recipe.cutout)  # (B, H)
        inside_x = _between(self.arange, centre_x - half, self.recipe.cutout)  # (B, W)
        return (~(inside_y[:, :, None] & inside_x[:, None, :])).float()

    def _integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self.generator, device=self.device)


def _between(positions: Tensor, start: Tensor, length: int) -> Tensor:
    """(B, S): start <= position < start + length."""
    offset = positions - start[:, None]
    return (offset >= 0) & (offset < length)
