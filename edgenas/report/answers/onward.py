"""What to do next: commands that can be copied, the one that matters first."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from edgenas.engine.again import BOARD, call_of, command_of, objects_in, resuming, settings_of
from edgenas.engine.plan import plan_values
from edgenas.methods.settings import SearchSettings
from edgenas.report.answers.commands import (
    compare_command,
    export_command,
    train_again_command,
    train_command,
    verify_command,
)
from edgenas.report.answers.limit import met_limits
from edgenas.report.facts import Facts


class Command(NamedTuple):
    """A line for a shell, or for Python where the study was begun with objects, and what it does."""

    line: str
    does: str


def next_commands(facts: Facts) -> list[Command]:
    """The next one first; the others as they make sense in this state of the study."""
    if facts.choice is None:
        if facts.given:
            return [Command(_begun(facts), "goes on with the training of the given network, which has not ended")]
        resumed = resuming(facts.study, facts.folder, facts.boards)
        return [Command(resumed, "goes on with the search, which has not ended")]
    if facts.at_chance:
        if facts.given:
            final = facts.final
            longer = train_again_command(facts, final, 4 * final.recipe.epochs) if final else train_command(facts)
            return [Command(longer, "trains it four times as long: it is no better than chance")]
        return [Command(_longer(facts), "searches again with four times the time: nothing here is better than chance")]
    again = [Command(_longer(facts), "searches again with four times the time: the search itself was at chance")]
    return [*_onward(facts), *(again if facts.search_at_chance else [])]


def _onward(facts: Facts) -> Iterator[Command]:
    final, comparable = facts.final, compare_command(facts)
    if final is None:
        yield Command(
            train_command(facts), "trains the chosen network in full, over three seeds, and reads the test set once"
        )
    else:
        yield Command(export_command(facts), "writes the trained network as ONNX, with proof that it computes the same")
    measuring = verify_command(facts)
    if met_limits(facts).held in ("open", "likely") and measuring is not None:
        files = "--bundle" in measuring
        yield Command(measuring, f"measures {'the exported files' if files else 'the finalists'} on the device itself")
    if final is None or final.all_images or facts.comparison is not None or facts.study.task != "classification":
        return
    if comparable is not None:
        yield Command(comparable, "trains a public network alike, and says whether searching paid")


def _asked(facts: Facts) -> SearchSettings:
    """What the study was asked for, with its data set where it lies now."""
    asked = settings_of(facts.study)
    return msgspec.structs.replace(asked, data_dir=facts.data_dir or asked.data_dir)


def _begun(facts: Facts) -> str:
    """The command that trains a given network; NETWORK where the study does not know how it was called."""
    asked = _asked(facts)
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
    asked = _asked(facts)
    minutes = 4 * (asked.budget or math.ceil(facts.seconds / 60) or 1)
    more = msgspec.structs.replace(asked, budget=float(minutes), epoch_scale=None, search_images=None)
    boards = (facts.boards or (BOARD,)) if plan_values(facts.study).get("boards") else ()
    name = f"{facts.file_name}-longer"
    if objects := objects_in(facts.study, facts.folder):
        return call_of(more, boards, name, objects)
    return command_of(more, boards, name)
