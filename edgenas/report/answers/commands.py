"""Commands about a study as they work in the state that it is in: a line for a shell, or for Python where its images are an
object of the caller's, which no shell can name. None where no command does it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib import resources

from edgenas.engine.again import BOARD, board_arguments, board_words, opened, python_arguments
from edgenas.engine.flags import arguments_of, flags_without
from edgenas.engine.plan import plan_values
from edgenas.engine.training_asked import TrainingAsked
from edgenas.hardware.candidates import BUILT
from edgenas.records import FinalTraining
from edgenas.report.facts import Facts
from edgenas.report.shown import is_another

REFERENCE = "torchvision:mobilenet_v3_small"
TEACHER = "TEACHER"  # for one whose name a study does not know
USUAL_SEEDS = TrainingAsked().seeds


def train_command(facts: Facts, flags: Sequence[str] = (), trial: int | None = None) -> str:
    """Trains the choice, or this trial."""
    words = [*([] if trial is None else ["--trial", str(trial)]), *flags]
    if _in_python(facts):
        return f"{_opened(facts)}.train({python_arguments(arguments_of(words))})"
    return shlex.join(["edgenas", "train", str(facts.folder), *words])


def in_full(facts: Facts, does: str) -> str:
    """What the command that trains the choice in full `does`; it has none before the search has ended."""
    when = "" if facts.choice is not None or facts.given else "once the search has ended, "
    return f"{when}`{train_command(facts)}` {does}"


def train_again_command(facts: Facts, final: FinalTraining, epochs: int | None = None, seeds: int | None = None) -> str:
    """Repeats a final training as it was asked for, with other epochs or seeds."""
    flags = flags_without(_flags_of(facts, final), ("--epochs", "--budget", *(("--seeds",) if seeds else ())))
    if "--recipe" not in flags and (recipe := _recipe_words(facts, final)):  # minutes chose it
        flags += recipe
    flags += ["--epochs", str(epochs or final.recipe.epochs), *(["--seeds", str(seeds)] if seeds else [])]
    if final.data != facts.study.data:
        flags += ["--data", final.data, "--from-trained"]
    known = facts.data_dir if final.data == facts.study.data else None
    if (place := known or final.data_dir) is not None:
        flags += ["--data-dir", place]
    chosen = facts.choice is not None and facts.choice.trial.number == final.trial
    return train_command(facts, flags, None if chosen else final.trial)


def export_command(facts: Facts) -> str:
    """Writes the trained network of the choice as a bundle, which serves the precision that the search was judged at."""
    number = None if facts.choice is None else facts.choice.trial.number
    several = len({final.data for final in facts.finals if final.trial == number}) > 1
    precision = facts.study.precision
    words = [
        *(["--precision", precision] if precision != "fp32" else []),
        *(["--data", facts.study.data] if several else []),
    ]
    if _in_python(facts):
        more = python_arguments(arguments_of(words))
        return f"{_opened(facts)}.export({bundle_of(facts)!r}{', ' * bool(more)}{more})"
    return shlex.join(["edgenas", "export", str(facts.folder), "--out", bundle_of(facts), *words])


def bundle_of(facts: Facts) -> str:
    """The folder that the export is written to."""
    return f"bundles/{facts.file_name}"


def compare_command(facts: Facts) -> str | None:
    """Trains a public network beside the winner, or the same ones again beside another winner; on the board, where one measured
    the candidates. None where nothing is trained that a reference could be held against."""
    if not any(final.data == facts.study.data and not final.all_images for final in facts.finals):
        return None
    boards = (facts.boards or (BOARD,)) if plan_values(facts.study).get("boards") else ()
    references = () if facts.outdated else (REFERENCE,)
    if _in_python(facts):
        words = [*map(repr, references), *([python_arguments(board_arguments(boards))] if boards else [])]
        return f"{_opened(facts)}.compare({', '.join(words)})"
    words = ["edgenas", "compare", str(facts.folder), *(word for one in references for word in ("--reference", one))]
    return shlex.join([*words, *board_words(boards)])


def verify_command(facts: Facts) -> str | None:
    """Measures on a board what would be shipped: the searched network itself; where it cannot be measured untrained, or where
    another one was trained in full, the exported files. None before these can be made."""
    if not is_another(facts) and (searched := verify_searched_command(facts)) is not None:
        return searched
    if facts.final is None:
        return None
    files = ["--bundle", bundle_of(facts), *_at(facts)]
    if is_another(facts):  # the study's limits were held against the searched one
        return shlex.join(["edgenas", "verify", *files])
    return shlex.join(["edgenas", "verify", str(facts.folder), *files, "--precision", facts.study.precision])


def verify_searched_command(facts: Facts) -> str | None:
    """Measures the choice and the front on a board, as they were searched. None at a precision that needs a trained network."""
    if facts.study.precision not in BUILT:
        return None
    return shlex.join(["edgenas", "verify", str(facts.folder), *_at(facts)])


def _at(facts: Facts) -> list[str]:
    return board_words((facts.boards or (BOARD,))[:1])


def _in_python(facts: Facts) -> bool:
    return "data" in plan_values(facts.study).get("objects", ())


def _opened(facts: Facts) -> str:
    """A finished search asks for its images alone."""
    objects = plan_values(facts.study).get("objects", ())
    return opened(facts.folder, ("data",) if facts.choice is not None else objects)


# ---------------------------------------------------------------- how a training was asked for


def _flags_of(facts: Facts, final: FinalTraining) -> Sequence[str]:
    """As they were kept; of an earlier version's training, as far as its record says them."""
    if final.flags is not None:
        return final.flags
    if facts.given and facts.training_flags:
        return facts.training_flags
    flags = [
        *([] if len(final.runs) == USUAL_SEEDS else ["--seeds", str(len(final.runs))]),
        *_recipe_words(facts, final),
    ]
    if final.recipe.teacher:
        flags += ["--teacher", facts.teachers.get(final.recipe.teacher, TEACHER)]
    if final.all_images:
        flags.append("--all-images")
    return [*flags, *(["--final-width", "macro"] if is_another(facts) and final is facts.final else [])]


def _recipe_words(facts: Facts, final: FinalTraining) -> list[str]:
    """Of another recipe than the usual one: one that comes along by its name, one of the user's by that of its file."""
    name = final.recipe.name
    if name in ("final", f"final-{facts.study.task}"):
        return []
    known = resources.files("edgenas.training").joinpath("recipes").joinpath(f"{name}.toml").is_file()
    return ["--recipe", name if known else f"{name}.toml"]
