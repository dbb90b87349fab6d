"""Runs the command line in a terminal of so many columns."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tests.cli.edgenas import ENVIRONMENT

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(*arguments: str, folder: Path, columns: int = 80) -> list[str]:
    """The lines that a person sees, results and what is said, in their order. Fails where the command does."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgenas", *arguments],
        cwd=folder,
        env={**ENVIRONMENT, "COLUMNS": str(columns), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 65536):
            found += part
    except OSError:  # Linux's way to say that nobody holds the other end any more
        pass
    os.close(ours)
    assert process.wait(timeout=240) == 0, found.decode()
    return CONTROL.sub("", found.decode()).splitlines()
