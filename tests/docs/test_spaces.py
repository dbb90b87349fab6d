"""The page on spaces, and the help of --space, name every space and the methods that search any of them."""

import inspect
import re

from edgenas.architectures.named_spaces import SPACES
from edgenas.cli.search import search
from edgenas.engine.registry import METHODS, method_named
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs/spaces.md").read_text(encoding="utf-8")
HELP = inspect.signature(search).parameters["space"].default.help
ANY = [name for name in METHODS.built_in if method_named(name).spaces is None]


def test_the_methods_of_any_space_are_named() -> None:
    footnote = re.search(r"^\\\* (.*?)\. ", PAGE, re.MULTILINE)
    assert footnote is not None
    assert sorted(footnote[1].split(", ")) == sorted(ANY)
    listed = re.search(r"darts\. (.*?):", HELP)
    assert listed is not None
    assert sorted(listed[1].split(", ")) == sorted(ANY)


def test_every_space_is_named() -> None:
    table = PAGE.split("\n\n")[2]
    assert table.startswith("| space |")
    for name in SPACES.built_in:
        assert f"`{name}`" in table, name
        assert re.search(rf"\b{name}\b", HELP), name
