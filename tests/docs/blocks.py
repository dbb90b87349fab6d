"""The fenced blocks of the documentation, and the edgenas commands in them."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```\s*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """`language`: sh and python run in the tests; anything else is shown only. `file`: the block is a file of this name."""

    language: str
    text: str
    file: str = ""


def pages() -> list[Path]:
    """README and everything under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    found = []
    for _, language, attributes, text in FENCE.findall(page.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', attributes)
        found.append(Block(language, textwrap.dedent(text), title[1] if title else ""))
    return found


def scripts(page: Path, language: str) -> list[str]:
    """The texts of the blocks that run, in order."""
    return [block.text for block in blocks(page) if block.language == language and not block.file]


def steps(page: Path) -> list[Block]:
    """What somebody who follows a tutorial does, in order: files are written, sh blocks are run. Nothing else is a step."""
    return [block for block in blocks(page) if block.file or block.language == "sh"]


def written(page: Path, folder: Path) -> Path:
    """`folder`, with the files of a tutorial."""
    for block in blocks(page):
        if block.file:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    return folder


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `edgenas ...` line, prompts, comments and what is piped on left out; in a container, too."""
    for block in blocks(page):
        if block.language in ("python", "toml", "json"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            match = re.match(
                r"\s*(?:\$ )?(?:\w+=\S+ )*(?:python3? -m |docker compose .* run .*)?edgenas ([^|&;>]*)", line
            )
            if match:
                yield shlex.split(match[1], comments=True)


def smaller(block: Block, sizes: dict[str, str]) -> Block:
    """The block with every large size that stands in it replaced by its small one."""
    text = block.text
    for large, small in sizes.items():
        text = text.replace(large, small)
    return block._replace(text=text)
