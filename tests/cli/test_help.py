"""What every command says of itself: help that fits 80 columns, examples that can be copied, quiet, and the next command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edgenas.cli import output
from edgenas.cli.help import unbroken
from edgenas.cli.main import app
from tests.cli.edgenas import edgenas
from tests.digits_bundle import digits_bundle

GROUP: Any = typer.main.get_command(app)
COMMANDS = {
    name: command
    for name, top in GROUP.commands.items()
    for name, command in (
        [(f"{name} {sub}", one) for sub, one in top.commands.items()] if hasattr(top, "commands") else [(name, top)]
    )
}


HELP_ALONE = """
try:
    main()
except SystemExit:
    assert not {"numpy", "torch", "onnx", "onnxruntime", "PIL", "sqlite3"} & set(sys.modules), sorted(sys.modules)
"""
GROUPS = sorted(name for name, top in GROUP.commands.items() if hasattr(top, "commands"))


def helped(*words: str) -> list[str]:
    result = CliRunner().invoke(app, [*words], env={"COLUMNS": "80"}, terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_help_loads_nothing_that_computes() -> None:
    """It answers before a person waits; a command loads what it needs when it runs."""
    program = "import sys\nfrom edgenas.cli.main import main\n" + HELP_ALONE
    subprocess.run([sys.executable, "-c", program, "search", "--help"], check=True, capture_output=True, timeout=240)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_fits_80_columns_and_its_examples_can_be_copied(name: str) -> None:
    lines = helped(*name.split(), "--help")
    assert max(map(len, lines)) <= 80
    assert helped(*name.split(), "-h") == lines
    start = next(i for i, line in enumerate(lines) if line in ("Example:", "Examples:"))
    end = lines.index("", start)
    shown = "\n".join(lines[start + 1 : end])
    typed = [shlex.split(line) for line in shown.replace("\\\n", " ").splitlines()]
    documented = re.findall(r"Example: (.+?)(?:\n\n|$)", re.sub(r"\n +", "\n", COMMANDS[name].help), re.DOTALL)
    assert typed == [shlex.split(" ".join(text.split())) for text in documented]
    assert all(words[: len(name.split()) + 1] == ["edgenas", *name.split()] for words in typed if "|" not in words)
    agents = [words for words in typed if {"--board", "--target"} & {*words} and "//" in " ".join(words)]
    assert [words for words in agents if "--token-file" not in words and "ssh://" not in " ".join(words)] == []


FRAGMENTS = ("Of ", "That ", "The same", "Or ", "As ", "Default:", "So ", "From ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_an_option_says_what_it_is_about(name: str) -> None:
    said = {option.name: getattr(option, "help", "") or "" for option in COMMANDS[name].params}
    assert [option for option, words in said.items() if words.startswith(FRAGMENTS)] == []


def test_the_list_of_commands_is_in_the_order_of_the_work() -> None:
    lines = helped("--help")
    names = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]]
    order = ["targets", "data", "search", "front", "train", "compare", "export", "classify", "serve"]
    assert [name for name in names if name in order] == order


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_group_has_an_example_and_lists_each_command_in_one_whole_line(group: str) -> None:
    lines = helped(*group.split(), "--help")
    assert max(map(len, lines)) <= 80
    start = next(i for i, line in enumerate(lines) if line in ("Example:", "Examples:"))
    assert lines[start + 1].startswith(f"  edgenas {group}".rstrip() + " ")
    assert not [line for line in lines if line.lstrip().startswith("Example: ")]  # they stand there alone
    commands = GROUP.commands[group].commands if group else GROUP.commands
    listed = lines[lines.index("Commands:") + 1 :]
    assert [line.split()[0] for line in listed] == list(commands)  # no line goes on in a second one
    assert not [line for line in listed if "..." in line]


def test_an_option_stays_with_its_value_where_an_example_is_broken() -> None:
    words = "edgenas search --data " + "x" * 50 + " --target jetson --budget 4"
    assert unbroken(words).splitlines() == [
        "edgenas search --data " + "x" * 50 + " \\",
        "      --target jetson --budget 4",
    ]
    assert unbroken("edgenas search --budget 4") == "edgenas search --budget 4"


def test_quiet_leaves_the_result_warnings_and_errors(tmp_path: Path) -> None:
    command = ("evaluate", str(digits_bundle().folder), "--data", "digits", "--split", "test")
    told, quiet = (edgenas(*command, *more, folder=tmp_path) for more in ((), ("-q",)))
    assert told.returncode == quiet.returncode == 0
    assert told.stdout == quiet.stdout
    assert "next: edgenas serve" in told.stderr
    assert quiet.stderr == ""
    refused = edgenas("front", "-q", str(tmp_path), folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("edgenas: ")


def test_a_warning_is_heard_by_whoever_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(output, "_heard", True)
    output.quiet()
    matter = [
        "warning: anybody may use",
        "  warning: 4 images repeat another",
        "error: no int8",
        "edgenas: no such study",
    ]
    for line in ("data digits: 1,797 images", *matter, "the threshold: a warning: few pairs"):
        output.say(line)
    assert capsys.readouterr().err.splitlines() == matter


QUICK = (
    *(
        "search",
        "one.toml",
        "--target",
        "raspberry-pi-5",
        "--method",
        "random",
        "--search-images",
        "100",
        "--study",
        "s",
    ),
    *("--max-depth", "4", "--max-width", "6", "--workers", "0"),
)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_search_and_a_training_show_whoever_is_quiet_no_trial_no_run_and_no_panel(
    quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    (tmp_path / "one.toml").write_text("[rules]\ntrials = 1\nepochs = 1\n")
    for command, shown in ((QUICK, " predicted"), (("train", "s", "--seeds", "1", "--epochs", "1"), "test accuracy")):
        done = edgenas(*command, "--json", *(["-q"] if quiet else []), folder=tmp_path)
        assert done.returncode == 0, done.stderr
        others = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
        assert (others == []) is quiet
        assert (shown in done.stderr) is ("\x1b[" in done.stderr) is not quiet


def test_columns_of_a_table_beyond_80_stand_below_their_row() -> None:
    header = ("name", "n", "words")
    short, wide = ("a", "1", "x" * 70), ("b", "22", "word " * 20)
    assert output.table(header, [short]).splitlines() == ["name  n  words", "a     1  " + "x" * 70]
    assert len("a     1  " + "x" * 70) == 79
    lines = output.table(header, [short, wide]).splitlines()
    assert lines[0] == "name  n"
    assert lines[1] == "      words"
    assert lines[2] == "a     1"
    assert lines[4] == "b     22"
    assert " ".join(" ".join(lines[5:]).split()) == ("word " * 20).strip()
    assert max(map(len, lines)) <= 80


def test_a_row_of_80_columns_is_left_as_it_is_and_one_of_81_is_not() -> None:
    assert len(output.table(("a", "b"), [("x" * 30, "y" * 48)]).splitlines()) == 2
    assert len(output.table(("a", "b"), [("x" * 30, "y" * 49)]).splitlines()) == 4
