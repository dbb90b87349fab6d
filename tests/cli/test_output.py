"""Where results go: closed, full and narrow outputs, and names that no output can hold, each end in one line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.cli.main import app
from edgenas.cli.output import fitted
from edgenas.errors import EdgenasError
from tests.cli.edgenas import ENVIRONMENT
from tests.image_folders import fill, picture

ONE_LINE = "the result cannot be written to standard output: No space left on device"
CLOSED = "standard output is closed, so the result cannot be shown"


def shell(command: str, folder: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `edgenas COMMAND` with its redirections."""
    whole = f"exec {sys.executable} -m edgenas {command}"
    done = subprocess.run(
        ["bash", "-c", whole], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("targets --json >/dev/full", ONE_LINE),
        ("targets >/dev/full", ONE_LINE),
        ("--version >/dev/full", ONE_LINE),
        ("--help >/dev/full", "No space left on device"),
        ("targets --json >&-", CLOSED),
        ("targets >&-", CLOSED),
        ("--version >&-", CLOSED),
    ],
)
def test_an_output_that_takes_nothing_is_one_line_and_exit_code_1(tmp_path: Path, command: str, complaint: str) -> None:
    code, out, said = shell(command, tmp_path)
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert said.startswith(f"edgenas: {complaint}")


@pytest.mark.parametrize("nowhere", ["2>&-", "2>/dev/full"])
def test_results_come_out_where_nobody_hears_what_is_said(tmp_path: Path, nowhere: str) -> None:
    code, out, _ = shell(f"targets --json {nowhere}", tmp_path)
    assert code == 0
    assert len(json.loads(out)) > 20
    assert shell(f"targets nonsense {nowhere}", tmp_path)[:2] == (1, "")


def test_who_reads_one_line_only_ends_the_command_quietly(tmp_path: Path) -> None:
    whole = f"{sys.executable} -m edgenas targets -q | head -n 1"
    done = subprocess.run(["bash", "-c", whole], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=False)
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


def test_a_line_of_80_columns_stays_and_one_of_81_is_broken_between_words_and_set_in() -> None:
    fits, breaks = "  " + "word " * 15 + "end", "  " + "word " * 15 + "ends"
    assert (len(fits), len(breaks)) == (80, 81)
    assert fitted(fits, 80) == fits
    assert fitted(f"{fits}\n{breaks}\n\nend", 80).splitlines() == [fits, breaks[:-5], "    ends", "", "end"]


def test_commands_and_words_that_are_too_long_are_left_whole() -> None:
    command, path = "next: edgenas search " + "--x " * 30, "  " + "/folder" * 20
    assert fitted(command, 80) == command
    assert fitted(f"{path}: no such file", 80).splitlines() == [f"{path}:", "    no such file"]
    assert fitted("a b", 1).split() == ["a", "b"]


class Narrow(io.TextIOWrapper):
    """A standard output of one encoding."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors="strict")


@pytest.fixture
def cheese(tmp_path: Path) -> str:
    return str(fill(tmp_path, classes=("K\u00e4se", "日本")))


def test_json_is_the_same_document_in_an_output_without_its_characters(
    cheese: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Narrow("ascii"))
    app(["data", cheese, "--json"], standalone_mode=False)
    assert isinstance(sys.stdout, Narrow)
    assert json.loads(sys.stdout.bytes.getvalue().decode("ascii"))["classes"] == {"K\u00e4se": 10, "日本": 10}


@pytest.mark.parametrize(("encoding", "lacks"), [("ascii", r"'\\xe4'"), ("latin-1", r"'\\u65e5'"), ("utf-8", None)])
def test_text_with_characters_that_the_output_lacks_is_refused(
    cheese: str, encoding: str, lacks: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Narrow(encoding))
    if lacks is None:
        app(["data", cheese], standalone_mode=False)
        return
    with pytest.raises(EdgenasError, match=f"has no {lacks}: set PYTHONIOENCODING=utf-8"):
        app(["data", cheese], standalone_mode=False)


RUN = "import sys; sys.argv = ['edgenas', *ARGUMENTS]; from edgenas.cli.main import main; main()"


@pytest.mark.parametrize("arguments", [["front", "a\0b"], ["search", "--data", "d\udcff"], ["data", "d\udcff"]])
def test_arguments_that_can_name_nothing_are_one_line(tmp_path: Path, arguments: list[str]) -> None:
    code = RUN.replace("ARGUMENTS", ascii(arguments))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    name = ascii(arguments[-1])
    expected = f"edgenas: the argument {name} has a NUL or bytes that are not UTF-8: rename what it names\n"
    assert done.stderr == expected


def test_file_names_with_line_breaks_colours_and_broken_characters_stay_in_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "pics")
    for name in ("a\nb.b\x1b[31m", os.fsdecode(b"caf\xe9.caf\xe9"), os.fsdecode(b"caf\xe9.png")):
        picture(99).save(tmp_path / "pics" / "cat" / name, format="PNG")
    narrow = Narrow("utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", narrow)
        app(["data", str(tmp_path / "pics"), "--json"], standalone_mode=False)
        narrow.flush()
    assert json.loads(narrow.bytes.getvalue())["ignored"] == {r".b\x1b[31m files": 1, r".caf\udce9 files": 1}
    (tmp_path / "pics" / "cat" / "a\nb\x1b[31m.png").write_bytes(b"x")
    code, _, said = shell("data pics", tmp_path)
    assert code == 1
    *before, last = said.splitlines()
    assert all("pixels" in line for line in before)  # of the images that are decoded
    assert r"cat/a\nb\x1b[31m.png (no PNG" in last
