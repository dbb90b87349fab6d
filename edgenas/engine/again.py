"""How a study is asked for again: its settings as words of a command line, or in Python where objects of the caller's are among
them; and what goes on with its search."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgenas.engine.arrays import FILE
from edgenas.engine.plan import plan_values
from edgenas.image_sizes import size_in_words
from edgenas.methods.settings import SearchSettings, flag_of
from edgenas.records import Measurement, StudyRecord

ALWAYS = ("target", "data", "method")  # also where they are the usual ones: those of another version may be others
BOARD = "http://BOARD:8765"  # for an address that a study does not know
TOKEN = "TOKEN"  # for the file with an agent's token, which no study knows


def settings_of(study: StudyRecord) -> SearchSettings:
    """The settings as they were written by whoever asked, targets too; as the study's record has them where it has no plan."""
    limits = study.limits
    known: dict[str, Any] = {
        "target": study.profiles,
        "data": study.data,
        "task": study.task,
        "method": study.method,
        "seed": study.seed,
        "margin": limits.margin,
        **{f"max_{name}": getattr(limits, name) for name in limits.__struct_fields__ if name != "margin"},
    }
    plan = plan_values(study)
    known |= plan.get("asked", {})
    known["target"] = plan.get("targets") or [_unknown_file(name) for name in known["target"]]
    return msgspec.convert(known, SearchSettings)


def _unknown_file(target: str) -> str:
    """A target as older studies have it: of a file only the profile's name, and a hash of what it says."""
    name, _, content = target.partition(" ")
    return f"{name}.toml" if content else name


def values_asked(settings: SearchSettings) -> dict[str, Any]:
    """Every setting that is not at its default, and those that are always told."""
    usual = SearchSettings()
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return {name: value for name, value in values.items() if name in ALWAYS or value != getattr(usual, name)}


def flags_of(settings: SearchSettings) -> list[str]:
    """The flags of `edgenas search` that ask for these settings; all but the rules, which only a project file can hold."""
    words = []
    for name, value in values_asked(settings).items():
        flag = flag_of(name)
        if name == "rules":
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag.removeprefix('--')}")
        elif name == "image_size":
            words += [flag, size_in_words(value)]
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [flag, _number(one)]
    return words


def command_of(settings: SearchSettings, boards: Sequence[str], study: str) -> str:
    """The line for a shell that searches with these settings, on these boards, into the study of this name. Rules go into a
    project file beside it."""
    words = [*flags_of(settings), *board_words(boards), "--study", study]
    if not settings.rules:
        return shlex.join(["edgenas", "search", *words])
    file = f"{study}.toml"
    lines = ["[rules]", *(f"{name} = {_in_toml(value)}" for name, value in settings.rules.items())]
    write, search = shlex.join(["printf", "%s\\n", *lines]), shlex.join(["edgenas", "search", file, *words])
    return f"{write} > {shlex.quote(file)} && {search}"


def call_of(settings: SearchSettings, boards: Sequence[str], study: str, objects: Sequence[str]) -> str:
    """The same in Python, where some of data, method and space are `objects`, which no command line can name."""
    values = values_asked(settings)
    if "data" in objects:
        values.pop("task", None)  # a task of the caller's says it itself
    return f"edgenas.search({python_arguments({**values, **board_arguments(boards), 'study': study}, objects)})"


def resuming(study: StudyRecord, folder: Path, boards: Sequence[str] = (), token: str | None = TOKEN) -> str:
    """What goes on with the study's search: a line for a shell; in Python where the study was begun with objects. `boards`: those
    that are known, for a study that was begun with some. `token`: the file of their token; None where none was named."""
    plan = plan_values(study)
    at = (tuple(boards) or (BOARD,)) if plan.get("boards") else ()
    if objects := plan.get("objects", ()):
        return opened(folder, objects, at)
    return shlex.join(["edgenas", "search", "--resume", str(folder), *board_words(at, token)])


def opened(folder: Path, objects: Sequence[str], boards: Sequence[str] = ()) -> str:
    """The study in Python, gone on with, with the objects that no file holds: its search, where that has not ended."""
    given = python_arguments({**board_arguments(boards), **dict.fromkeys(objects)}, objects)
    return f"edgenas.open_study({str(folder)!r}).go_on({given})"


def boards_known(measurements: Iterable[Measurement]) -> tuple[str, ...]:
    """The addresses of the boards that measured these, as far as they say so."""
    known = (str(one.detail["board"]) for one in measurements if "board" in one.detail)
    return tuple(dict.fromkeys(known))


def objects_in(study: StudyRecord, folder: Path) -> tuple[str, ...]:
    """Which of data, method and space a new search needs as objects: arrays too, that the study itself has a copy of."""
    objects = tuple(plan_values(study).get("objects", ()))
    return objects if "data" in objects or not (folder / FILE).is_file() else ("data", *objects)


def board_words(boards: Sequence[str], token: str | None = TOKEN) -> list[str]:
    """The flags that measure on these boards. Agents at http:// and https:// ask for a token, ssh:// does not."""
    asked = ["--token-file", token] if token is not None and _agents(boards) else []
    return [*(word for board in boards for word in ("--board", board)), *asked]


def board_arguments(boards: Sequence[str]) -> dict[str, Any]:
    """The same as arguments of a call in Python."""
    given: dict[str, Any] = {"board": list(boards)} if boards else {}
    return {**given, "token_file": TOKEN} if _agents(boards) else given


def _agents(boards: Sequence[str]) -> bool:
    return any(board.startswith(("http://", "https://")) for board in boards)


def _number(value: object) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _in_toml(rule: float | tuple[int, ...]) -> str:
    return json.dumps(rule) if isinstance(rule, tuple) else _number(rule)


def python_arguments(values: Mapping[str, Any], objects: Sequence[str] = ()) -> str:
    """Of a call; what is among `objects` by its name in capitals."""
    return ", ".join(f"{name}={name.upper() if name in objects else repr(value)}" for name, value in values.items())
