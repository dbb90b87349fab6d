"""What an image installs lies inside what goes together on its device (deploy/matrix.toml)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from edgenas.store import toml_values
from tests.deploy.test_pins import requirements

ROOT = Path(__file__).parents[2]
FAMILIES: dict[str, Any] = toml_values(ROOT / "deploy" / "matrix.toml")
CUDA = ("cuda-python", "cuda-bindings")


def bounds(specifier: SpecifierSet) -> tuple[Version | None, Version | None]:
    """[lowest, below) of a set of >=, < and ==; None where it is open."""
    lowest, below = [], []
    for clause in specifier:
        version = Version(clause.version)
        if clause.operator in (">=", "=="):
            lowest.append(version)
        if clause.operator == "<":
            below.append(version)
        if clause.operator == "==":
            below.append(Version(f"{version}.post9999"))
        assert clause.operator in (">=", "<", "=="), clause
    return max(lowest, default=None), min(below, default=None)


def within(inner: str, outer: str) -> bool:
    """Does `outer` allow every version that `inner` does?"""
    (low, high), (least, limit) = bounds(SpecifierSet(inner)), bounds(SpecifierSet(outer))
    starts = least is None or (low is not None and low >= least)
    return starts and (limit is None or (high is not None and high <= limit))


@pytest.mark.parametrize(
    ("inner", "outer", "inside"),
    [
        (">=10.13,<11", ">=10.13,<11", True),
        (">=10.14,<10.16", ">=10.13,<11", True),
        ("==10.16.1.11", ">=10.13,<11", True),
        (">=10.13", ">=10.13,<11", False),  # resolves to 11.4.0.106
        (">=10.13,<12", ">=10.13,<11", False),
        (">=10.3,<11", ">=10.13,<11", False),
        ("", ">=10.13,<11", False),
        ("==11.4.0.106", ">=10.13,<11", False),
        ("<11", ">=10.13,<11", False),
    ],
)
def test_a_list_is_inside_only_with_all_its_versions(inner: str, outer: str, inside: bool) -> None:
    assert within(inner, outer) is inside


def wanted(family: dict[str, Any], *names: str) -> list[str]:
    """The specifiers of a package in all lists of a family."""
    lists = [requirements(ROOT / name) for name in family["requirements"].split()]
    return [str(r.specifier) for found in lists for r, _ in found if r.name in names]


@pytest.mark.parametrize("name", FAMILIES)
def test_cuda_and_tensorrt_of_a_family_are_those_of_its_devices(name: str) -> None:
    family = FAMILIES[name]
    assert bool(wanted(family, *CUDA)) is ("cuda" in family)
    for specifier in wanted(family, *CUDA):
        assert within(specifier, family["cuda"]), specifier
    found = wanted(family, "tensorrt")
    if family.get("tensorrt_from") != "pip":
        assert found == []  # one from pip would hide the one of JetPack
        return
    assert len(found) == 1
    assert within(found[0], family["tensorrt"]), found


def test_jetpack_7_never_gets_tensorrt_11_which_does_not_support_it() -> None:
    (specifier,) = wanted(FAMILIES["jp7"], "tensorrt")
    assert [version for version in ("10.13.0.35", "10.16.1.11") if version in SpecifierSet(specifier)] == [
        "10.13.0.35",
        "10.16.1.11",
    ]
    assert not [version for version in ("11.0.0.114", "11.4.0.106", "10.12.0.36") if version in SpecifierSet(specifier)]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_compose_file_builds_what_the_matrix_says(name: str) -> None:
    family = FAMILIES[name]
    text = (ROOT / "deploy" / family["compose"]).read_text()
    for key, argument in (
        ("base_image", "BASE_IMAGE"),
        ("requirements", "REQUIREMENTS"),
        ("apt_packages", "APT_PACKAGES"),
    ):
        stated = re.search(rf'^\s+{argument}: "?(.*?)"?$', text, re.MULTILINE)
        assert (stated[1] if stated else "") == family[key], argument


@pytest.mark.parametrize("name", FAMILIES)
def test_the_base_image_has_a_python_of_the_family(name: str) -> None:
    """Ubuntu 24.04 has 3.12, 22.04 (L4T r36) 3.10."""
    family = FAMILIES[name]
    python = re.search(r"python:(\d\.\d+)", family["base_image"])
    version = (
        python[1]
        if python
        else {"ubuntu:24.04": "3.12", "nvcr.io/nvidia/l4t-jetpack:r36.4.0": "3.10"}[family["base_image"]]
    )
    assert version in SpecifierSet(family["python"])
