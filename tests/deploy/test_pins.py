"""Containers get exactly the files that were looked at: every list is a whole tree, pinned, with hashes."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgenas.store import toml_values

ROOT = Path(__file__).parents[2]
LISTS = sorted((ROOT / "deploy").glob("requirements-*.in"))


def requirements(path: Path) -> list[tuple[Requirement, list[str]]]:
    """Every requirement of a list, with its hashes."""
    lines = path.read_text().replace("\\\n", " ").split("\n")
    found = []
    for line in lines:
        words, *hashes = re.sub(r"(^|\s)#.*", "", line).strip().split(" --hash=")
        if words:
            found.append((Requirement(words.strip()), [text.strip() for text in hashes]))
    return found


@pytest.mark.parametrize("chosen", LISTS, ids=lambda path: path.stem)
def test_every_package_of_a_container_is_pinned_with_the_hashes_of_its_files(chosen: Path) -> None:
    pinned = requirements(chosen.with_suffix(".txt"))
    for requirement, hashes in pinned:
        assert [clause.operator for clause in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes)
    versions = {(canonicalize_name(r.name), next(iter(r.specifier)).version) for r, _ in pinned}
    for requirement, _ in requirements(chosen):  # written by hand: all of it is in the list, within what was asked
        name = canonicalize_name(requirement.name)
        assert any(n == name and requirement.specifier.contains(v) for n, v in versions), requirement


def needed(name: str, extras: set[str]) -> set[str]:
    """The names of all that an installed distribution needs here, with these extras, and they in turn."""
    found: set[tuple[str, str]] = set()
    open_ones = [(name, extra) for extra in ("", *extras)]
    while open_ones:
        name, extra = open_ones.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted = canonicalize_name(requirement.name)
                open_ones += [(wanted, more) for more in ("", *requirement.extras)]
    return {name for name, _ in found}


def test_what_the_tests_run_with_is_pinned_as_a_whole() -> None:
    pins = {
        canonicalize_name(r.name): r.specifier
        for r, _ in requirements(ROOT / "constraints.txt")
        if r.marker is None or r.marker.evaluate()
    }
    tree = needed("edgenas", {"dev"})
    assert {"torch", "jinja2", "h11", "protobuf"} <= tree
    assert tree - set(pins) == {"edgenas"}
    for requirement, _ in requirements(ROOT / "constraints.in"):
        assert requirement.specifier == pins[canonicalize_name(requirement.name)], requirement


def test_every_image_is_given_what_the_wheel_is_made_of() -> None:
    project = toml_values(ROOT / "pyproject.toml")
    sources = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert set(sources) >= {"profiles", "deploy/matrix.toml"}
    for name in ("Dockerfile", "deploy/Dockerfile"):
        lines = [line.split() for line in (ROOT / name).read_text().splitlines() if line.startswith("COPY ")]
        copied = {word for line in lines for word in line[1:-1]}
        needed = {
            "edgenas",
            "pyproject.toml",
            project["project"]["readme"],
            *project["project"]["license-files"],
            *sources,
        }
        assert needed <= copied, (name, needed - copied)
