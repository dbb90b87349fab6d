"""Learning rates, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgenas.errors import TrainingError
from edgenas.records import Recipe


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    """One learning rate for every step of the training; linear warm-up, then down to zero.

    "cosine-epoch" changes once an epoch. The authors of GNAS and TRG-NAS step it before every epoch: the first is trained
    below the full rate, the last at zero. Raises TrainingError for one epoch alone, which would learn nothing.
    "cosine-by-epoch" and "exponential-by-epoch" begin at the full rate, as DARTS's trainings did (its schedulers' first step,
    in PyTorch 0.3, gave the first epoch the full rate); both have no warm-up.
    """
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule in BY_EPOCH:
        factor = BY_EPOCH[recipe.schedule]
        return [recipe.lr * factor(step // steps_per_epoch, recipe) for step in range(total)]
    if recipe.schedule == "cosine-epoch":
        if recipe.epochs == 1:
            raise TrainingError("schedule cosine-epoch trains its last epoch at rate 0: give it two epochs or more")
        each = [
            recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2 for epoch in range(1, recipe.epochs + 1)
        ]
        return [each[step // steps_per_epoch] for step in range(total)]
    # A warm-up of its own length would eat a training of one or two epochs: a fifth of the steps at most.
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 5)
    if recipe.warmup_start:
        begun = [recipe.warmup_start + (1 - recipe.warmup_start) * step / warmup for step in range(warmup)]
    else:
        begun = [(step + 1) / (warmup + 1) for step in range(warmup)]
    factors = begun + [_factor(step, warmup, total, recipe.schedule) for step in range(warmup, total)]
    return [recipe.lr * factor for factor in factors]


BY_EPOCH: dict[str, Callable[[int, Recipe], float]] = {
    "cosine-by-epoch": lambda epoch, recipe: (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2,
    "exponential-by-epoch": lambda epoch, recipe: recipe.gamma**epoch,
}


def _factor(step: int, warmup: int, total: int, schedule: str) -> float:
    left = (total - step) / (total - warmup)  # 1 at the peak, one step's worth at the last step
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
