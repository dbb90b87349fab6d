"""What to do next: commands that can be copied, the one that matters first."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from edgenas.engine.again import BOARD, call_of, command_of, objects_in, resuming, settings_of
from edgenas.engine.given import flags_without
from edgenas.engine.plan import plan_values
from edgenas.report.answers.limit import met_limits
from edgenas.report.facts import Facts


class Command(NamedTuple):
    """A line for a shell, or for Python where the study was begun with objects, and what it does."""

    line: str
    does: str


def next_commands(facts: Facts) -> list[Command]:
    """The next one first; the others as they make sense in this state of the study."""
    folder = facts.shown_folder
    if facts.choice is None:
        if facts.given:
            return [Command(_begun(facts), "goes on with the training of the given network, which has not ended")]
        resumed = resuming(facts.study, facts.folder, facts.boards)
        return [Command(resumed, "goes on with the search, which has not ended")]
    if facts.at_chance:
        if facts.given:
            epochs = 4 * (facts.final.recipe.epochs if facts.final else 1)
            kept = flags_without(facts.training_flags, ("--epochs", "--budget"))
            longer = shlex.join(["edgenas", "train", str(facts.folder), *kept, "--epochs", str(epochs)])
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
            f"edgenas export {folder} --out {bundle}{_served(facts)}",
            "writes the trained network as ONNX, with proof that it computes the same",
        )
    if met_limits(facts).held in ("open", "likely"):
        yield Command(verify_command(facts), "measures the finalists on the device itself")
    if facts.final is not None and facts.comparison is None and facts.study.task == "classification":
        yield Command(
            compare_command(facts),
            "trains a public network alike, and says whether searching paid",
        )


def compare_command(facts: Facts) -> str:
    """The command that trains a public network beside the winner; on the board, where one measured the candidates."""
    boards = (facts.boards or (BOARD,)) if plan_values(facts.study).get("boards") else ()
    words = ["edgenas", "compare", str(facts.folder), "--reference", "torchvision:mobilenet_v3_small"]
    return shlex.join([*words, *(word for board in boards for word in ("--board", board))])


def verify_command(facts: Facts) -> str:
    """The command that measures the finalists on one board: one that measured before, where the study knows it."""
    return shlex.join(["edgenas", "verify", str(facts.folder), "--board", (facts.boards or (BOARD,))[0]])


def _served(facts: Facts) -> str:
    """The precision that the search was judged at: the first one that an export is asked for is what is served."""
    precision = facts.study.precision
    return "" if precision == "fp32" else f" --precision {precision}"


def _begun(facts: Facts) -> str:
    """The command that trains a given network; NETWORK where the study does not know how it was called."""
    asked = settings_of(facts.study)
    words = ["edgenas", "train", facts.network or "NETWORK", "--data", asked.data]
    if asked.data_dir is not None:
        words += ["--data-dir", asked.data_dir]
    if asked.task != "classification":
        words += ["--task", asked.task]
    for target in asked.target:
        words += ["--target", target]
    return shlex.join([*words, *facts.training_flags, "--study", str(facts.folder)])


def _longer(facts: Facts) -> str:
    """The same question with four times the minutes, as another study. The minutes decide on epochs and images again."""
    asked = settings_of(facts.study)
    minutes = 4 * (asked.budget or math.ceil(facts.seconds / 60) or 1)
    more = msgspec.structs.replace(asked, budget=float(minutes), epoch_scale=None, search_images=None)
    boards = (facts.boards or (BOARD,)) if plan_values(facts.study).get("boards") else ()
    name = f"{facts.name}-longer"
    if objects := objects_in(facts.study, facts.folder):
        return call_of(more, boards, name, objects)
    return command_of(more, boards, name)
