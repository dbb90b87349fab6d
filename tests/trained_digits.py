"""A small network that really was trained, on scikit-learn's digits, in seconds; for the tests of what comes after it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from edgenas.architectures.chain import chain
from edgenas.networks import network_from_architecture
from edgenas.preprocessing import input_from_pixels
from edgenas.records import ChainArchitecture
from edgenas.tasks import Task, TaskSettings, load_task

EPOCHS = 6


@functools.cache
def digits() -> Task:
    return load_task(TaskSettings("digits"))


def small_chain(task: Task) -> ChainArchitecture:
    """Separable and dense layers, 3x3 and 5x5 kernels."""
    side, channels = task.train.images.shape[2:]
    return chain(8, 6, (0, 1, 0, 0, 0, 1), (3, 5, 3, 3, 3, 3), task.head, channels, side)


def digits_folder(folder: Path, first: int, each: int = 12) -> Path:
    """Other data for what was trained on digits: so many of each class, from the `first` on, as 8-px grey PNGs."""
    train = digits().train
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        for row in np.flatnonzero(train.labels == label)[first : first + each]:
            Image.fromarray(np.asarray(train.images[row])[:, :, 0]).save(folder / str(label) / f"{row:04d}.png")
    return folder


@functools.cache
def trained_digits() -> tuple[nn.Module, ChainArchitecture, Task]:
    """About 97 % on validation images after a few seconds."""
    task = digits()
    architecture = small_chain(task)
    torch.manual_seed(0)
    network = network_from_architecture(architecture)
    images = torch.from_numpy(input_from_pixels(task.train.images, task.preprocessing))
    labels = torch.from_numpy(task.train.labels)
    optimiser = torch.optim.SGD(network.parameters(), 0.2, momentum=0.9)
    for epoch in range(EPOCHS):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - epoch / EPOCHS)
        for batch in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
    return network.eval(), architecture, task
