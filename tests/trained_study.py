"""A study on disk whose chosen network was trained: tests/trained_digits.py as `edgenas train` leaves it, in a second."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from edgenas.methods.settings import SearchSettings
from edgenas.networks.weights import save_weights, weights_sha256
from edgenas.records import Candidate, Choice, FinalRun, FinalTraining, Limits, Recipe, Trial
from edgenas.store import Store
from edgenas.training.loop import scores_of
from tests.plans import plan, studied
from tests.trained_digits import trained_digits
from tests.training.conftest import ParameterCost

WEIGHTS = "weights/digits-0.safetensors"


def trained_study(
    folder: Path,
    *,
    change: Callable[[nn.Module], None] = lambda _: None,
    hashed: bool = True,
    recorded: float = 0.0,
    limits: Limits | None = None,
    target: str = "host-cpu",
) -> Path:
    """`folder`, with the trained network after `change`, and its scores before; with the hash of its weights, or as the first
    version left it.

    `recorded`: points by which the noted validation score differs from the real one.
    """
    network, architecture, task = trained_digits()
    scores = scores_of(network, task, task.val, torch.device("cpu"), 1)  # `change` may leave none
    network = copy.deepcopy(network)
    with torch.no_grad():
        change(network)
    save_weights(network, folder / WEIGHTS)
    noted = {task.metric.name: scores[task.metric.name] + recorded}
    searched = {f"val_{name}": value for name, value in noted.items()}
    recipe = Recipe("test", 6, 64, 0.2)
    trial = Trial(
        Candidate(architecture, recipe, "depth"), "complete", ParameterCost()(architecture), 0, searched, number=1
    )
    sha256 = weights_sha256(folder / WEIGHTS) if hashed else ""
    run = FinalRun(0, WEIGHTS, noted, noted, 6, noted, noted, 1.0, weights_sha256=sha256)
    final = FinalTraining(
        1, architecture, recipe, "digits", task.metric.name, task.classes, task.preprocessing, 1, (run,), 1.0
    )
    record = studied(plan(asked=SearchSettings(target=(target,))), limits=limits or Limits())
    with Store.create(folder, record) as store:
        store.choose(Choice(trial, {}))
        store.put("final", trial.candidate.key, final)
    return folder
