"""How fast this machine trains: the base of every --budget, and of benchmarks/throughput.py."""

from __future__ import annotations

import time

import torch

from edgenas.networks import output_width
from edgenas.records import Architecture, Recipe
from edgenas.tasks import Task
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.loop import fresh_network, learner_of, loss_of, pinned_threads
from edgenas.training.memory import memory_errors
from edgenas.training.step import Step
from edgenas.training.teaching import TeacherAt, Teaching

WARMUP = 2  # steps that are not timed: memory, oneDNN's and cuDNN's choices, graph capture
LEAST_STEPS = 4
EVALUATION_SHARE = 0.35  # an evaluated image costs about this part of a trained one (forward of forward + backward)


def seconds_per_image(
    task: Task,
    architecture: Architecture,
    recipe: Recipe,
    device: torch.device,
    patience: float = 1.5,
    teacher: TeacherAt | None = None,
) -> float:
    """Median over the later half of `patience` seconds of real steps (augmentation, forward, backward, optimiser). TrainingError
    where memory runs out."""
    with pinned_threads(recipe.threads, device), memory_errors():
        data = DeviceImages(task.train, task.preprocessing, device, recipe.crop_padding)
        augmentation = Augmentation(data, recipe, torch.Generator(device).manual_seed(0))
        batch_size = min(recipe.batch_size, len(data))
        network = fresh_network(architecture, 0, device)
        teaching = None if teacher is None else Teaching(teacher, task, recipe, augmentation, output_width(network))
        learner = learner_of(network, recipe, 0, batch_size)
        loss = loss_of(task, recipe, output_width(network), 0, teaching)
        step = Step(network, loss, recipe, device, learner=learner)
        step.learner.train()
        order = augmentation.order()
        samples: list[float] = []
        started = time.perf_counter()
        while len(samples) < WARMUP + LEAST_STEPS or time.perf_counter() - started < patience:
            begun = time.perf_counter()
            chosen = order.roll(-batch_size * len(samples))[:batch_size]
            batch = augmentation.batch(chosen, 0) if teaching is None else teaching.batch(chosen, 0)
            if learner is not None:
                learner.draw(0, augmentation.generator)
            step(*batch, recipe.lr * 0.01)
            step.totals.sum().item()  # wait for the device
            samples.append(time.perf_counter() - begun)
    timed = sorted(samples[max(WARMUP, len(samples) // 2) :])  # it gets faster for a while: memory is being kept
    return timed[len(timed) // 2] / batch_size
