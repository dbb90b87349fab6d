"""Small studies for the report's sentences: trials with given scores, latencies and epochs, and what follows a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgenas.architectures.chain import chain
from edgenas.binomial import Validation
from edgenas.confusion import document_of_confusion
from edgenas.engine.plan import plan_json
from edgenas.records import (
    ACCURACY,
    Candidate,
    Choice,
    Classes,
    Cost,
    FinalRun,
    FinalTraining,
    Latency,
    Limits,
    Look,
    Preprocessing,
    Trial,
)
from edgenas.report.facts import Facts
from tests.plans import ASKED, RECIPE, plan, studied

TARGET = "jetson-nano-4gb"
PREPROCESSING = Preprocessing(1, 28, (0.5,), (0.5,))


def latency(ms: float, low: float | None = None, high: float | None = None, **more: Any) -> Latency:
    return Latency(ms, more.pop("origin", "predicted"), TARGET, low=low, high=high, **more)


def trial(number: int, score: float, ms: float | Latency = 1.0, *, epochs: int = 2, **more: Any) -> Trial:
    """Trial `number`: another network for every number, with its validation accuracy."""
    there = ms if isinstance(ms, Latency) else latency(ms, 0.8 * ms, 1.25 * ms)
    network = chain(4 + number, 4, (0,) * 4, (3,) * 4, Classes(10), 1, 28)
    cost = Cost(100 * number, 1000 * number, 1, 0.4, 0.5, {TARGET: there})
    recipe = msgspec.structs.replace(RECIPE, epochs=epochs)
    found = Trial(
        Candidate(network, recipe, "random"), "complete", cost, 0, {"val_accuracy": score}, 60.0, number=number
    )
    return msgspec.structs.replace(found, **more)


def study(
    *trials: Trial, chosen: int | None = None, images: int = 1000, limits: Limits | None = None, **more: Any
) -> Facts:
    """A study of these trials, whose validation split has `images`, 10 % chance; the trial `chosen` is its choice."""
    limits = limits or Limits()
    names = {name: "margin" if name == "margin" else f"max_{name}" for name in limits.__struct_fields__}
    asked = msgspec.structs.replace(ASKED, **{names[name]: getattr(limits, name) for name in names})
    known = plan(**{"asked": asked, "validation": Validation(images, 10.0, ACCURACY), **more.pop("planned", {})})
    record = studied(known, **{"plan": plan_json(known), "limits": limits, **more.pop("record", {})})
    by_number = {one.number: one for one in trials}
    choice = None if chosen is None else Choice(by_number[chosen], expected=more.pop("expected", {}))
    return Facts(
        folder=Path("studies/a study"),
        study=record,
        trials=trials,
        decisions=(),
        choice=choice,
        rounds=(),
        finals=more.pop("finals", ()),
        measurements=more.pop("measurements", {}),
        seconds=more.pop("seconds", 600.0),
        **more,
    )


def final(
    of: Trial, *runs: FinalRun, classes: tuple[str, ...] = ("cat", "dog"), test: int = 0, val: int = 1000
) -> FinalTraining:
    """A final training of a trial on the study's data."""
    images = {"train": 100, "val": val, "test": test} if test else {"val": val}
    net, recipe = of.candidate.architecture, msgspec.structs.replace(RECIPE, epochs=40)
    return FinalTraining(
        of.number or 0,
        net,
        recipe,
        "digits",
        "accuracy",
        classes,
        PREPROCESSING,
        of.cost.params,
        runs,
        9.0,
        images=images,
    )


def run(
    test: float = 90.0, val: float = 91.0, matrix: list[list[int]] | None = None, seed: int = 1, **more: Any
) -> FinalRun:
    """One seed, with the report of this confusion matrix and the curve that `curve` gives as {epoch: accuracy}."""
    report = {} if matrix is None else document_of_confusion(np.array(matrix), ("cat", "dog"))
    looks = tuple(Look(epoch, value) for epoch, value in more.pop("curve", {}).items())
    scores = {"accuracy": test}, {"accuracy": val}
    return FinalRun(seed, f"{seed}.safetensors", *scores, 3, {}, {}, 5.0, report=report, curve=looks, **more)
