"""The fenced blocks of the documentation, and the edgenas commands in them."""

import re
import shlex
import subprocess
import sys
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


def installed(page: Path, folder: Path) -> list[Path]:
    """What goes on the path where the page's files are a package: that package, built and installed by pip in `folder`."""
    files = {block.file: block.text for block in blocks(page) if block.file}
    if "pyproject.toml" not in files:
        return []
    source, target = folder / "source", folder / "installed"
    source.mkdir(parents=True)
    for name, text in files.items():
        (source / name).write_text(text)
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [target]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `edgenas ...` line, prompts, comments and what is piped on left out."""
    for block in blocks(page):
        if block.language in ("python", "toml", "json"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(?:python3? -m )?edgenas ([^|&;>]*)", line)
            if match:
                yield shlex.split(match[1], comments=True)
