"""Learning rates, step by step."""

from __future__ import annotations

import math

from edgenas.errors import TrainingError
from edgenas.records import Recipe


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    """One learning rate for every step of the training; linear warm-up, then down to zero.

    "cosine-epoch" changes once an epoch. The authors of GNAS and TRG-NAS step it before every epoch: the first is trained
    below the full rate, the last at zero. Raises TrainingError for one epoch alone, which would learn nothing.
    """
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule == "cosine-epoch":
        if recipe.epochs == 1:
            raise TrainingError("schedule cosine-epoch trains its last epoch at rate 0: give it two epochs or more")
        each = [
            recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2 for epoch in range(1, recipe.epochs + 1)
        ]
        return [each[step // steps_per_epoch] for step in range(total)]
    # A warm-up of its own length would eat a training of one or two epochs: a fifth of the steps at most.
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 5)
    return [recipe.lr * _factor(step, warmup, total, recipe.schedule) for step in range(total)]


def _factor(step: int, warmup: int, total: int, schedule: str) -> float:
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = (total - step) / (total - warmup)  # 1 at the peak, one step's worth at the last step
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
