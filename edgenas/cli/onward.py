"""What is typed after a command about a study: the same commands as on its report's page."""

from __future__ import annotations

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
