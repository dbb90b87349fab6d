"""Runs the command line as a user does: in this process, or in one of its own where that is what a test is about."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.cli import output
from edgenas.cli.main import app, main
from edgenas.errors import EdgenasError
from edgenas.hardware.measure import Timing
from edgenas.records import Latency, Precision
from edgenas.runtimes.child import child_environment

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**child_environment(), "OMP_NUM_THREADS": "1"}

# A whole search in seconds: every phase of GNAS on 1,000 digits, trained just long enough to be better than chance.
BOUNDS = ["--max-depth", "6", "--min-width", "8", "--max-width", "12", "--width-step", "2"]
BRIEF = ["--search-images", "1000", "--epoch-scale", "0.35", *BOUNDS]
SMALL = ["search", "--method", "gnas", "--target", "raspberry-pi-5", *BRIEF]


def edgenas(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a process that is started in `folder` would leave, without the seconds that it takes to import torch."""
    out, said, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["edgenas", *arguments])
        patch.setattr(output, "_heard", True)
        patch.setenv("OMP_NUM_THREADS", ENVIRONMENT["OMP_NUM_THREADS"])  # of the processes that it starts
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), said.getvalue())


def edgenas_process(*arguments: str, folder: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """The finished process, with text output."""
    command = [sys.executable, "-m", "edgenas", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False
    )


def edgenas_json(*arguments: str, folder: Path) -> Any:
    """The one JSON document that a command prints; fails the test with the command's stderr otherwise."""
    done = edgenas(*arguments, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(*arguments: str) -> str:
    """The one line with which a command refuses, here in this process."""
    with pytest.raises(EdgenasError) as caught:
        app(list(arguments), standalone_mode=False)
    line = str(caught.value)
    assert "\n" not in line
    return line


def killed(folder: Path, after: Callable[[float], bool], *arguments: str, every_s: float = 0.0005) -> bool:
    """Whether the command was there to be killed when `after`, asked `every_s` with the seconds since its start, said yes. Its
    own processes are gone when this returns."""
    command = [sys.executable, "-m", "edgenas", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, start_new_session=True, **quiet)
    started = time.monotonic()
    while process.poll() is None and not after(time.monotonic() - started):
        time.sleep(every_s)
    there = process.poll() is None
    process.kill()
    process.wait()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return there
        time.sleep(0.05)
    pytest.fail("a process outlived its killed parent")


def one_millisecond(models: Mapping[Precision, bytes], timing: Timing, batch: int = 1) -> dict[Precision, Latency]:
    """In place of edgenas.export.choice.measured_latencies: every file takes as long, and nothing is measured for seconds."""
    one = Latency(1.0, "measured", "host-cpu", p90_ms=1.0, n=200)
    return {precision: msgspec.structs.replace(one, precision=precision) for precision in models}


def at(moment: float) -> Callable[[float], bool]:
    return lambda seconds: seconds > moment
