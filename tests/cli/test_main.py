"""The last net: what no command turned into a line of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.cli import main
from edgenas.runtimes.child import child_environment


def test_a_file_that_cannot_be_opened_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "app", tmp_path.read_bytes)
    with pytest.raises(SystemExit, match="1"):
        main.main()
    assert capsys.readouterr().err == f"edgenas: {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("error", [OSError("no file in it"), BrokenPipeError(32, "Broken pipe", "pipe")])
def test_other_errors_of_the_system_are_left_as_they_are(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(type(error)) as caught:
        main.main()
    assert caught.value is error


@pytest.mark.parametrize(("number", "code"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_sigterm_ends_the_first_process_of_a_container_too(number: int, code: int) -> None:
    """The kernel spares process 1 a signal that it has no handler for; for others it is the end, as ever."""
    program = f"""
import os, time
from edgenas.cli import main
os.getpid = lambda: {number}
main.app = lambda: (print("working", flush=True), time.sleep(60))
main.main()
"""
    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=child_environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=55) == ("", "")
    assert process.returncode == code
