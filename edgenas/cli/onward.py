"""What is typed after a command: about a study the same as on its report's page; a bundle is served."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgenas.cli.output import say_next


def say_onward(folder: Path, *, report: bool = True) -> None:
    """The next commands in the state that the study is in now; below them, unless that was the command, its report."""
    from edgenas.report.answers.onward import next_commands
    from edgenas.report.facts import read_facts

    facts = read_facts(folder)
    say_next(*(command.line for command in next_commands(facts)))
    if report:
        say_next(f"edgenas report {facts.shown_folder}")


def serve_commands(folder: Path, profile: str) -> tuple[str, ...]:
    """What serves the bundle in `folder` here, and what on the boards that it was made for, where those run TensorRT."""
    from edgenas.hardware.matrix import families_of

    line = f"edgenas serve {shlex.quote(str(folder))}"
    on_board = any(family.runtime == "tensorrt" for family in families_of(profile).values())
    return (line, f"{line} --runtime tensorrt    # on {profile}") if on_board else (line,)
