"""What to do next: commands that can be copied, the one that matters first."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from edgenas.engine.plan import plan_values
from edgenas.report.answers.limit import met_limits
from edgenas.report.facts import Facts


class Command(NamedTuple):
    """A line for a shell, and what it does."""

    line: str
    does: str


def next_commands(facts: Facts) -> list[Command]:
    """The next one first; the others as they make sense in this state of the study."""
    folder = facts.shown_folder
    if facts.choice is None:
        if facts.given:
            return [
                Command(_begun(facts), "goes on with the training of the given network, NETWORK, which has not ended")
            ]
        return [Command(f"edgenas search --resume {folder}", "goes on with the search, which has not ended")]
    if facts.at_chance:
        if facts.given:
            epochs = 4 * (facts.final.recipe.epochs if facts.final else 1)
            longer = f"edgenas train {folder} --epochs {epochs}"
            return [Command(longer, "trains it four times as long: it is no better than chance")]
        return [Command(_longer(facts), "searches again with four times the time: nothing here is better than chance")]
    return [*_onward(facts, folder)]


def _onward(facts: Facts, folder: str) -> Iterator[Command]:
    if facts.final is None:
        yield Command(
            f"edgenas train {folder}",
            "trains the chosen network in full, over three seeds, and reads the test set once",
        )
    else:
        bundle = shlex.quote(f"bundles/{facts.name}")
        yield Command(
            f"edgenas export {folder} --out {bundle}",
            "writes the trained network as ONNX, with proof that it computes the same",
        )
    if met_limits(facts).held in ("open", "likely"):
        yield Command(
            f"edgenas verify {folder} --board http://BOARD:8765", "measures the finalists on the device itself"
        )
    if facts.final is not None and facts.comparison is None and facts.study.task == "classification":
        yield Command(
            f"edgenas compare {folder} --reference torchvision:mobilenet_v3_small",
            "trains a public network alike, and says whether searching paid",
        )


def _begun(facts: Facts) -> str:
    """The command that trains a given network, whose name or file the study does not know."""
    study = facts.study
    words = ["edgenas", "train", "NETWORK", "--data", study.data]
    if study.task != "classification":
        words += ["--task", study.task]
    for profile in study.profiles:
        words += ["--target", profile]
    return shlex.join([*words, "--study", str(facts.folder)])


def _longer(facts: Facts) -> str:
    """The same question with four times the minutes, as another study."""
    study, asked = facts.study, plan_values(facts.study).get("asked", {})
    minutes = 4 * (asked.get("budget") or math.ceil(facts.seconds / 60) or 1)
    words = ["edgenas", "search", "--data", study.data]
    if study.task != "classification":
        words += ["--task", study.task]
    for profile in study.profiles:
        words += ["--target", profile]
    if study.limits.latency_ms is not None:
        words += ["--max-latency-ms", f"{study.limits.latency_ms:g}"]
    if study.limits.params is not None:
        words += ["--max-params", str(study.limits.params)]
    return shlex.join([*words, "--method", study.method, "--budget", f"{minutes:g}", "--study", f"{facts.name}-longer"])
