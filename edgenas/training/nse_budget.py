"""Minutes -> rounds, epochs and images of an NSE search, from a throughput trial of its own first supernet.

The choice is made once and stored with the study: the search itself never looks at a clock, so it stays repeatable.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from edgenas.architectures.subspace import RoundPlan, SupernetRules
from edgenas.errors import EdgenasError
from edgenas.records import Recipe, Record
from edgenas.tasks import Task
from edgenas.training.budget import PARALLEL, least_epochs, least_images
from edgenas.training.loop import pinned_threads
from edgenas.training.memory import memory_errors
from edgenas.training.nse import SCORING_THREADS, recalibrate
from edgenas.training.supernet import draw_path
from edgenas.training.supernet_training import SupernetImages, SupernetTraining
from edgenas.training.throughput import EVALUATION_SHARE, seconds_per_image

ROUNDS_SHARE = 0.65  # of the minutes; the rest is for the final networks and their control
SAFETY = 0.9
WARMUP_STEPS, TIMED_STEPS = 2, 8
LEAST_ROUNDS, LEAST_FINALS, MOST_EPOCHS, MOST_FINAL_EPOCHS = 2, 2, 100, 60


class NseBudget(Record, frozen=True):
    """What was chosen, and from what."""

    rounds: int
    supernet_epochs: int
    search_images: int | None  # None: all
    final_epochs: int
    finals: int  # networks trained from scratch at the end, the control's with them
    predicted_seconds: float
    images_per_second: dict[str, float]  # of the supernet's training, of its scoring, of one final network


class Speeds(Record, frozen=True):
    """Seconds per image, on this machine."""

    training: float  # of the supernet: a weight step and its share of a fitness step
    scoring: float  # in one process
    final: float


def measure_speeds(plan: RoundPlan, task: Task, rules: SupernetRules, recipe: Recipe, device: str) -> Speeds:
    """Train a throw-away supernet for a few steps, score one network, train another one from scratch for a few steps.
    TrainingError where memory runs out."""
    there = torch.device(device)
    with pinned_threads(rules.recipe.threads, there), memory_errors():
        data = SupernetImages(task, rules, plan.seed, there)
        training = SupernetTraining(plan, task, rules, data, there)
        whole = training.steps
        training.steps = min(WARMUP_STEPS, whole)
        training.epoch(0)
        training.steps = min(TIMED_STEPS, whole)
        began = time.perf_counter()
        training.epoch(0)
        trained = time.perf_counter() - began
    path = draw_path(plan, training.fitness(), rules.keep, np.random.default_rng(0))
    one = data.scoring.input(data.scoring.pixels(slice(1)))  # (1, C, H, W)
    with pinned_threads(SCORING_THREADS, there), memory_errors(), torch.no_grad():
        began = time.perf_counter()
        recalibrate(training.supernet, path, data.plain, rules)
        training.supernet(one, path).sum().item()  # wait for the device
        scored = time.perf_counter() - began
    batch = training.batch_size
    batches = max(1, min(rules.calibration_batches, len(data.plain) // batch))
    final = seconds_per_image(task, plan.space.member(path), recipe, there)
    return Speeds(trained / (training.steps * batch), scored / (batches * batch), final)


def fit_nse_budget(
    seconds: float, speeds: Speeds, rounds: int, scored: int, finals: int, task: Task, rules: SupernetRules,
    steps: Callable[[int], int], workers: int, fixed: bool = False,
) -> NseBudget:  # fmt: skip
    """The most images at the preset's epochs, then more epochs; fewer rounds where not even a small subsample fits, and fewer
    final networks where they would be trained for less than LEAST_STEPS. `steps`: images -> steps of an epoch of those. `fixed`:
    are the space's channels?"""
    everything, least = len(task.train), min(len(task.train), least_images(task))
    calibration = rules.calibration_batches * rules.recipe.batch_size
    side_by_side = 1 + PARALLEL * (workers - 1)  # networks are; a supernet's epochs are not

    def round_seconds(images: int, epochs: int) -> float:
        network = calibration + images * rules.held_out / 2
        scoring = scored * network * speeds.scoring / side_by_side
        return epochs * images * (1 - rules.held_out) * speeds.training + scoring

    def final_seconds(images: int) -> float:
        """Of one epoch of one network."""
        return (images + EVALUATION_SHARE * len(task.val)) * speeds.final / side_by_side

    for count in range(rounds, min(LEAST_ROUNDS, rounds) - 1, -1):
        share, epochs = SAFETY * ROUNDS_SHARE * seconds / count, rules.recipe.epochs
        if round_seconds(least, epochs) > share:
            continue
        images = next(n for n in range(everything, 0, -max(1, everything // 200)) if round_seconds(n, epochs) <= share)
        while images == everything and epochs < MOST_EPOCHS and round_seconds(images, epochs + 1) <= share:
            epochs += 1
        spent = count * round_seconds(images, epochs)
        alone = final_seconds(images)
        few, final_epochs = _finals(SAFETY * seconds - spent, alone, finals, least_epochs(steps(images)))
        if few < min(LEAST_FINALS, finals):
            continue
        predicted = spent + few * final_epochs * alone
        speed = {"supernet": 1 / speeds.training, "scoring": 1 / speeds.scoring, "final": 1 / speeds.final}
        everyone = None if images == everything else images
        return NseBudget(count, epochs, everyone, final_epochs, few, predicted, speed)
    evolving = min(LEAST_ROUNDS, rounds) * round_seconds(least, rules.recipe.epochs)
    training = min(LEAST_FINALS, finals) * least_epochs(steps(least)) * final_seconds(least)
    needed = max(evolving / ROUNDS_SHARE, evolving + training) / SAFETY / 60
    raise EdgenasError(
        f"--budget leaves {seconds / 60:.1f} minutes and the shortest evolution of this space takes about {needed:.1f} on this "
        f"machine: allow more, or set fewer {'' if fixed else 'channels, '}networks or supernet_epochs under [rules]"
    )


def _finals(seconds: float, per_epoch: float, finals: int, least: int) -> tuple[int, int]:
    """(networks, epochs of each) that fit: all of them, or as many as can be trained for the least of epochs."""
    few = min(finals, int(seconds / (per_epoch * least)))
    epochs = int(seconds / (per_epoch * few)) if few > 0 else 0
    return few, max(least, min(MOST_FINAL_EPOCHS, epochs))
