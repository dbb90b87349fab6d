"""What long benchmarks share: resumable steps whose results are files, and our own commands."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.throughput import device_name
from edgenas.errors import EdgenasError


def step(path: Path, name: str, run: Callable[[], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """The step's result, from its file where it is there."""
    if path.exists():
        sys.stderr.write(f"{name}: there already ({path})\n")
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    return record(path, name, run, device)


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


def edgenas(*arguments: str) -> dict[str, Any]:
    """The document of one of our commands; its progress goes to stderr as it comes."""
    done = subprocess.run(
        [sys.executable, "-m", "edgenas", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise EdgenasError(f"edgenas {' '.join(arguments)} ended with exit code {done.returncode}: see above")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
