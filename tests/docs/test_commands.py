"""Every edgenas command in the documentation exists, with its options."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from edgenas.cli.main import app
from tests.docs.blocks import ROOT, commands, name, pages


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


def asks_an_agent_without_a_token(text: str) -> bool:
    """Is a command or a call whole, with the address of an agent, and without what the agent asks for?"""
    board = re.search(r"""(edgenas \w+.* --(board|target) |board=|verify\()["']?https?://""", text)
    return board is not None and "token" not in text


def test_every_command_that_asks_an_agent_has_its_token() -> None:
    assert asks_an_agent_without_a_token("edgenas verify x --board http://BOARD:8765")
    assert asks_an_agent_without_a_token('study.compare("x", board="https://b:8765")')
    assert not asks_an_agent_without_a_token("edgenas verify x --board http://BOARD:8765 --token-file token")
    assert not asks_an_agent_without_a_token("edgenas bench x --target ssh://board")
    for page in pages():
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        shown = [*text.splitlines(), *re.findall(r"`([^`]+)`", text.replace("\n", " "))]
        assert [line for line in shown if asks_an_agent_without_a_token(line)] == [], name(page)


def test_every_command_but_serve_has_json() -> None:
    """As README and the first page say."""
    group: Any = typer.main.get_command(app)
    tops = group.commands.items()
    ends = [(f"{top} {sub}", one) for top, command in tops for sub, one in getattr(command, "commands", {}).items()]
    ends += [(top, command) for top, command in tops if not hasattr(command, "commands")]
    assert len(ends) > 25
    assert [name for name, end in ends if "--json" not in {o for one in end.params for o in one.opts}] == ["serve"]
    for page in ("README.md", "docs/index.md"):
        assert "all but `serve` have `--json`" in (ROOT / page).read_text(encoding="utf-8")
