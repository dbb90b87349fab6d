"""What messages tell a user to type."""

import re
from pathlib import Path

import tomli

from edgenas.errors import pip_line

ROOT = Path(__file__).parents[1]


def test_an_extra_is_installed_from_the_clone() -> None:
    assert pip_line("report") == "pip install '.[report]' in your clone of EdgeNAS"
    assert pip_line("cpu", "cuda") == "pip install '.[cpu]' or '.[cuda]' in your clone of EdgeNAS"


def test_every_extra_that_a_message_names_exists() -> None:
    extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = "".join(file.read_text() for file in (ROOT / "edgenas").rglob("*.py"))
    named = {name for names in re.findall(r"pip_line\(('[^)]*')\)", sources) for name in re.findall(r"'(\w+)'", names)}
    assert len(named) > 7
    assert named - extras.keys() == set()
