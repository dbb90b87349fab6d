"""Every edgenas command in the documentation exists, with its options."""

from pathlib import Path

import pytest
import typer

from edgenas.cli.main import app
from tests.docs.blocks import commands, name, pages


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    for arguments in commands(page):
        command, rest = typer.main.get_command(app), [argument for argument in arguments if argument != "..."]
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        if hasattr(command, "commands"):  # no command was named: only an option of edgenas itself may stand there
            assert rest == [] or rest[0].startswith("--"), f"edgenas {' '.join(arguments)}: no such command"
        elif "--help" not in rest:
            command.make_context("edgenas", rest)  # raises where an option is unknown or a value is of the wrong type
