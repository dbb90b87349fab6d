"""Runs the command line as a user does: in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.runtimes.child import child_environment

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**child_environment(), "OMP_NUM_THREADS": "1"}

# A whole search in seconds: every phase of GNAS on 1,000 digits, trained just long enough to be better than chance.
BOUNDS = ["--max-depth", "6", "--min-width", "8", "--max-width", "12", "--width-step", "2"]
SMALL = ["search", "--target", "raspberry-pi-5", "--search-images", "1000", "--epoch-scale", "0.35", *BOUNDS]


def edgenas(*arguments: str, folder: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
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
