"""Recognisers as OpenCV and InsightFace feed them: raw RGB (N, 3, 112, 112), 0..255; everything else is inside the graph."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.records import Preprocessing
from edgenas.tasks import Split

if TYPE_CHECKING:
    from edgenas.tasks import Task

SIDE = 112
RAW = Preprocessing(3, SIDE, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255), fit="stretch")  # pixels as they are
GREY = (0.299, 0.587, 0.114)


class Recogniser(nn.Module):
    """Subtract and multiply first: by the names of those two nodes InsightFace's loader knows not to normalise itself."""

    def __init__(self, network: nn.Module, channels: int, size: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.block = SIDE // size
        self.register_buffer("grey", torch.tensor(GREY).reshape(1, 3, 1, 1))
        self.grey: Tensor

    def forward(self, image: Tensor) -> Tensor:
        x = (image - 127.5) * (1 / 127.5)  # (N, 3, 112, 112)
        if self.block > 1:
            x = F.avg_pool2d(x, self.block)  # -> (N, 3, S, S)
        if self.channels == 1:
            x = (x * self.grey).sum(1, keepdim=True)  # -> (N, 1, S, S)
        embedding: Tensor = self.network(x)  # -> (N, dim)
        return embedding


def exported_form(network: nn.Module, task: Task) -> tuple[nn.Module, Task]:
    """The network as it leaves the house, and the task with images as that network takes them. Classifiers stay as they are."""
    if task.name != "faces" or task.preprocessing == RAW:
        return network, task
    shape = task.preprocessing
    splits = {name: _enlarged(getattr(task, name)) for name in ("train", "val")}
    outside = dataclasses.replace(task, preprocessing=RAW, **splits)  # type: ignore[type-var]  # tasks are dataclasses
    return Recogniser(network, shape.channels, shape.size).eval(), outside


def _enlarged(split: Split) -> Split:
    """(N, S, S, C) -> (N, 112, 112, 3) that average to the same pixels again."""
    block = SIDE // split.images.shape[1]
    images = split.images.repeat(block, axis=1).repeat(block, axis=2)
    return Split(np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images, split.labels)
