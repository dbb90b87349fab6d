"""The task of the tutorial, an angle, as a package outside of this one: built from the page's own blocks."""

from __future__ import annotations

import atexit
import functools
import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from edgenas.architectures.chain import chain
from edgenas.records import ChainArchitecture, Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.loop import fresh_network, train_network
from tests.docs.blocks import ROOT, blocks
from tests.packages import install

PAGE = ROOT / "docs" / "tutorials" / "new-task.md"
RECIPE = Recipe("angle", 12, 64, 0.05, nesterov=True, loss="mean-squared-error")


@functools.cache
def angle_package() -> Path:
    """The folder that goes on the path."""
    folder = Path(tempfile.mkdtemp(prefix="edgenas-angle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    points = {"edgenas.tasks": {"angle": "angle:load_angle"}}
    code = next(block.text for block in blocks(PAGE) if block.file == "angle-task/angle.py")
    return install(folder, "angle-task", "angle", code, points)


def angle_module() -> ModuleType:
    """The package's module, importable from now on."""
    folder = str(angle_package())
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("angle")


@functools.cache
def angle(**settings: Any) -> Task:
    angle_module()
    return load_task(TaskSettings("lines", "angle", **settings))


@functools.cache
def trained_angle() -> tuple[nn.Module, ChainArchitecture, Task]:
    """Within two degrees or so, after a few seconds."""
    task = angle()
    architecture = chain(8, 4, (1, 0, 0, 0), (3, 3, 3, 3), task.head, 1, 16)
    cpu = torch.device("cpu")
    trained = train_network(fresh_network(architecture, 0, cpu), task, RECIPE, 0, cpu)
    return trained.network.eval(), architecture, task
