"""Which file systems are mounted where, as Linux tells it."""

from __future__ import annotations

import re
from pathlib import Path


def mounts_here() -> str:
    """The text of /proc/self/mounts; nothing where there is none (no Linux)."""
    try:
        return Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except OSError:
        return ""


def mounts_in(text: str) -> list[tuple[str, str]]:
    """(place, kind of file system) of each line of such a text; the last of one place lies on top of those before."""
    fields = (line.split(" ") for line in text.split("\n") if line)
    return [(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point), kind) for _, point, kind, *_ in fields]
