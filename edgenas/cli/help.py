"""How every command explains itself in a terminal of 80 columns: a whole line in the list, and examples that can be copied."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from edgenas.cli.output import quiet

NAMES = {"help_option_names": ["-h", "--help"]}
EXAMPLE = "Example: "
WIDTH = 76  # of a line of an example, indented by two
NUMBERS = {"float": "a number such as 0.5", "int": "a whole number such as 5"}  # by the kind of pydantic's error
CONTINUED = " \\\n      "


class Explained:
    """What commands and groups say of themselves: the text, then its examples; in a list the first sentence."""

    help: str | None

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # its types are of a module that typer moved
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(text for text in paragraphs if not text.startswith(EXAMPLE))
        super().format_help_text(ctx, formatter)  # type: ignore[misc]  # of the command that this is mixed into
        self.help = "\n\n".join(paragraphs)
        examples = [" ".join(text.split()) for text in paragraphs if text.startswith(EXAMPLE)]
        if examples:
            with formatter.section("Examples" if len(examples) > 1 else "Example"):
                for text in examples:
                    formatter.write(f"  {unbroken(text.removeprefix(EXAMPLE))}\n")

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 (click gives it)
        """The first sentence, up to a colon: a whole thought, never cut off."""
        text = " ".join(inspect.cleandoc(self.help or "").split("\n\n")[0].split())
        return re.split(r"[.:](?: |$)", text)[0]


class Group(Explained, TyperGroup):
    """A group of commands, with examples."""


class Command(Explained, TyperCommand):
    """A command, with examples."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return list(super().parse_args(ctx, args if ctx.resilient_parsing else _at_home(args)))
        except typer.BadParameter as error:
            error.message = _told(error)
            raise


def _at_home(words: list[str]) -> list[str]:
    """With the homes that no shell has put in, as that of --out=~/x."""
    if not any("~" in word for word in words):
        return words
    from edgenas.files import with_homes  # loads NumPy

    return [with_homes(word) for word in words]


def _told(error: typer.BadParameter) -> str:
    """What a value cannot be, with the value itself where typer (from 0.25 on, through pydantic) leaves it out."""
    cause: Any = error.__cause__
    if not hasattr(cause, "errors"):
        return error.message
    first = cause.errors()[0]
    for kind, needed in NUMBERS.items():
        if first["type"].startswith(kind):
            return f"{str(first['input'])!r} was given: it takes {needed}"
    return error.message.removeprefix("Value error, ")


def unbroken(command: str) -> str:
    """The command, on further lines where it is too long: each but the last ends with a backslash, as a shell reads it on."""
    lines, line = [], ""
    for part in re.split(r" (?=--?[a-z])", command):  # an option stays with its value
        if line and len(line) + 1 + len(part) > WIDTH:
            lines.append(line)
            line = part
        else:
            line = f"{line} {part}" if line else part
    return CONTINUED.join([*lines, line])


def add(app: typer.Typer, *functions: Callable[..., None]) -> None:
    """Make commands of these functions, in this order; each can be told to be quiet."""
    for function in functions:
        app.command(cls=Command)(_with_quiet(function))


def _with_quiet(function: Callable[..., None]) -> Callable[..., None]:
    """The function with one more option, -q."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, be_quiet: bool, **options: Any) -> None:
        if be_quiet:
            quiet()
        function(*arguments, **options)

    option = typer.Option(False, "-q", "--quiet", help="Say nothing on stderr but warnings and errors.")
    added = inspect.Parameter("be_quiet", inspect.Parameter.KEYWORD_ONLY, default=option, annotation=bool)
    signature = inspect.signature(function)
    wrapped.__annotations__ = {**function.__annotations__, "be_quiet": bool}
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    return wrapped
