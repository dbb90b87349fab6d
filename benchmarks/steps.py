"""What long benchmarks share: resumable steps whose results are files, and our own commands."""

from __future__ import annotations

import json
import math
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.throughput import device_name
from edgenas.errors import EdgenasError


def step(
    path: Path,
    name: str,
    run: Callable[[], dict[str, Any]],
    device: torch.device,
    asked: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The step's result, from its file where it is there. `asked`: what decides it; EdgenasError where the file was made by other
    settings."""
    if path.exists():
        sys.stderr.write(f"{name}: there already ({path})\n")
        known: dict[str, Any] = json.loads(path.read_text())
        if asked is not None and known.get("asked") != asked:
            raise EdgenasError(
                f"{path} was made with {known.get('asked')}, and asked for is {asked}: name another --folder"
            )
        return known
    return record(path, name, lambda: {**run(), **({} if asked is None else {"asked": dict(asked)})}, device)


def record(path: Path, name: str, run: Callable[[], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """Run, and write the result with device and versions, whole or not at all."""
    sys.stderr.write(f"{name} ...\n")
    result = {
        "benchmark": name,
        "device": device_name(device),
        "versions": {"torch": str(torch.__version__), "cuda": torch.version.cuda, "python": platform.python_version()},
        **run(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)
    return result


class OutOfTimeError(Exception):
    """The minutes of this call are over; the same call goes on."""


class Minutes:
    """How long this call may take, from now on; one step at least is done in it."""

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.end = math.inf if minutes is None else clock() + 60 * minutes
        self.begun = 0

    def left(self) -> float:
        """Seconds."""
        return self.end - self.clock()

    def begin(self, seconds: float) -> None:
        """Before a step that cannot be interrupted and takes so long. OutOfTimeError where it would not end in time, unless it is
        the first: every call gets on."""
        if self.begun and self.left() < seconds:
            raise OutOfTimeError
        self.begun += 1


GRACE_S = 30.0  # for a command to end after it was interrupted


def edgenas(
    *arguments: str,
    minutes: Minutes | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The document of one of our commands; its progress goes to stderr as it comes. Where the minutes end before it does it is
    interrupted as by Ctrl-C, which keeps what it has finished: OutOfTimeError."""
    command = [sys.executable, "-m", "edgenas", *arguments, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment) as process:
        try:
            out, _ = process.communicate(
                timeout=None if minutes is None or math.isinf(minutes.end) else max(0.0, minutes.left())
            )
        except subprocess.TimeoutExpired:
            _interrupt(process)
            raise OutOfTimeError from None
        except BaseException:
            _interrupt(process)
            raise
    if process.returncode:
        raise EdgenasError(f"edgenas {' '.join(arguments)} ended with exit code {process.returncode}: see above")
    document: dict[str, Any] = json.loads(out)
    return document


def _interrupt(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C does; what does not end then is killed, which costs what it was doing."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
