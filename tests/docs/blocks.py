"""The fenced blocks of the documentation, and the edgenas commands in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```\s*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """`language`: sh and python run in the tests; anything else is shown only."""

    language: str
    text: str


def pages() -> list[Path]:
    """README and everything under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    return [Block(language, text) for _, language, text in FENCE.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `edgenas ...` line, prompts, comments and what is piped on left out."""
    for block in blocks(page):
        if block.language in ("python", "toml", "json"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(?:python3? -m )?edgenas ([^|&;>]*)", line)
            if match:
                yield shlex.split(match[1], comments=True)
