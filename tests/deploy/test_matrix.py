"""What an image installs lies inside what goes together on its device (deploy/matrix.toml)."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from edgenas.cli.serve import serve
from edgenas.errors import EdgenasError
from edgenas.hardware.matrix import families, families_of, is_within, misfits, trtexec_lines
from edgenas.hardware.profile import all_profiles
from edgenas.serve.server import drain_s
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
def test_the_server_knows_when_compose_kills_it(name: str) -> None:
    text = (ROOT / "deploy" / FAMILIES[name]["compose"]).read_text()
    (seconds,) = re.findall(r'^    stop_grace_period: "\$\{STOP_GRACE_S:-(\d+)\}s"$', text, re.MULTILINE)
    options = {name: one.default for name, one in inspect.signature(serve).parameters.items()}
    assert f'    environment: ["{options["stop_grace_s"].envvar}=${{STOP_GRACE_S:-{seconds}}}"' in text
    drain_s(options["deadline_s"].default, float(seconds))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_jetsons_container_is_in_the_groups_of_its_gpu_and_sees_release_and_power_mode(name: str) -> None:
    text = (ROOT / "deploy" / FAMILIES[name]["compose"]).read_text()
    jetson = "l4t" in FAMILIES[name]
    assert ('group_add: ["44", "${RENDER_GID:?' in text) is jetson
    for path in ("/etc/nv_tegra_release", "/etc/nvpmodel.conf", "/var/lib/nvpmodel"):
        assert (f"      - {path}:{path}:ro\n" in text) is jetson


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


def test_jetpack_7_2_2_gets_the_first_tensorrt_11_that_supports_it() -> None:
    (specifier,) = wanted(FAMILIES["jp72"], "tensorrt")
    versions = ("10.16.1.11", "11.0.0.114", "11.4.0.106", "11.4.1.2", "11.5.0.1", "12.0.0.1")
    assert [version for version in versions if version in SpecifierSet(specifier)] == ["11.4.1.2", "11.5.0.1"]
    assert FAMILIES["jp72"]["devices"] == ["jetson-agx-orin-32gb", "jetson-agx-orin-64gb", "jetson-agx-thor"]


def test_every_device_of_the_matrix_is_a_target_and_every_newer_jetson_is_in_it() -> None:
    known = {profile.name: profile for profile in all_profiles()}
    named = {device for family in FAMILIES.values() for device in family["devices"]}
    assert named - {"any PC"} <= set(known)
    newer = {name for name, one in known.items() if "jetson" in name and float(one.compute_capability) >= 8.0}
    assert newer <= named


@pytest.mark.parametrize("name", FAMILIES)
def test_what_edgenas_reads_is_what_the_file_says(name: str) -> None:
    family = families()[name]
    assert msgspec.to_builtins(family, str_keys=True)["devices"] == tuple(FAMILIES[name]["devices"])
    for version in ("10.3.0.30", "10.12.0.36", "10.13.0.35", "10.16.1.11", "11.4.0.106", "11.4.1.2", "12.0.0.1"):
        assert is_within(version, family.tensorrt) is (version in SpecifierSet(family.tensorrt)), version


@pytest.mark.parametrize(
    ("l4t", "python", "tensorrt", "said"),
    [
        ("36.4.3", "3.10.12", "10.3.0", []),
        ("36.4.3", "3.10.12", None, []),
        ("36.4.3", "3.10.12", "10.4.0", [
            "TensorRT 10.4.0 does not go with L4T 36.4.3: >=10.3,<10.4 (JetPack >=6.1,<7, from JetPack"]),
        ("36.4.3", "3.11.2", "10.3.0", ["Python 3.11.2 is not what this JetPack has: >=3.10,<3.11 (JetPack >=6.1,<7)"]),
        ("38.2.1", "3.12.3", "10.13.3.9", []),
        ("38.2.1", "3.12.3", "11.4.1.2", []),
        ("38.2.1", "3.12.3", "11.4.0.106", [
            "TensorRT 11.4.0.106 does not go with L4T 38.2.1: >=10.13,<11 (JetPack >=7,<8), or >=11.4.1,<12 (JetPack >=7.2.2,<8, "
            "on jetson-agx-orin-32gb, jetson-agx-orin-64gb, jetson-agx-thor)"]),
        ("36.3.0", "3.10.12", "8.6.2", [
            "L4T 36.3.0 is of no JetPack that EdgeNAS has an image for: >=36.4,<37 (JetPack >=6.1,<7)"]),
        ("32.7.1", "3.6.9", None, ["L4T 32.7.1 is of no JetPack"]),
    ],
)  # fmt: skip
def test_a_jetson_is_told_what_does_not_go_together(
    l4t: str, python: str, tensorrt: str | None, said: list[str]
) -> None:
    found = misfits(l4t, python, tensorrt)
    assert len(found) == len(said)
    assert all(line.startswith(words) for words, line in zip(said, found, strict=True)), found


def test_trtexec_is_given_a_precision_where_it_takes_one() -> None:
    orin = trtexec_lines("jetson-agx-orin-64gb", "model.fp16.onnx", "fp16")
    assert [line.partition(": ")[2] for line in orin] == [
        "trtexec --onnx=model.fp16.onnx --fp16",  # JetPack 6: TensorRT 10.3
        "trtexec --onnx=model.fp16.onnx --fp16",  # JetPack 7: TensorRT 10
        "trtexec --onnx=model.fp16.onnx",  # JetPack 7.2.2: TensorRT 11, which has no --fp16
    ]
    assert trtexec_lines("t4", "model.fp16.onnx", "fp16") == [
        "CUDA >=13,<14, TensorRT >=10.13,<11: trtexec --onnx=model.fp16.onnx --fp16",
        "CUDA >=13,<14, TensorRT >=11,<12: trtexec --onnx=model.fp16.onnx",
    ]
    assert trtexec_lines("jetson-orin-nano-8gb", "model.int8.onnx", "int8")[0].endswith("--onnx=model.int8.onnx --int8")
    assert trtexec_lines("raspberry-pi-5", "model.onnx", "fp32") == []


def test_trtexec_has_a_line_for_every_target_of_tensorrt_those_without_an_image_too() -> None:
    without = [one.name for one in all_profiles() if one.runtime == "tensorrt" and not families_of(one.name)]
    assert without == ["jetson-agx-xavier", "jetson-nano-4gb", "jetson-tx2", "jetson-xavier-nx"]  # JetPack 4 and 5
    nano = [trtexec_lines("jetson-nano-4gb", "m.onnx", precision) for precision in ("fp32", "fp16")]
    assert nano == [
        ["TensorRT 8.2 (JetPack 4): trtexec --onnx=m.onnx --noTF32"],
        ["TensorRT 8.2 (JetPack 4): trtexec --onnx=m.onnx --fp16"],
    ]
    for profile in all_profiles():
        lines = trtexec_lines(profile.name, "m.onnx", profile.precision)
        assert bool(lines) == (profile.runtime == "tensorrt"), profile.name
    assert trtexec_lines("my-board", "m.onnx", "fp16") == []


@pytest.mark.parametrize(
    ("version", "allowed", "inside"),
    [
        ("10.3", ">=10.3,<10.4", True), ("10.4", ">=10.3,<10.4", False), ("10.3.0.30", ">=10.3,<10.4", True),
        ("10.2.9", ">=10.3", False), ("3.12.3", "==3.12.3", True), ("3.12.3.1", "==3.12.3", False), ("1", "", True),
        ("10.16.1.11.post1", "<11", True), ("11", "<11", False), ("11.0.0", "<11", False),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(version: str, allowed: str, inside: bool) -> None:
    assert is_within(version, allowed) is inside
    if allowed:
        assert (version in SpecifierSet(allowed)) is inside


def test_what_is_no_version_or_no_range_is_said() -> None:
    with pytest.raises(EdgenasError, match="'new' is no version"):
        is_within("new", ">=1")
    with pytest.raises(EdgenasError, match=r"'~=10\.1' is no range of versions"):
        is_within("10", "~=10.1")
