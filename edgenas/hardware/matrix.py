"""Which versions of JetPack, TensorRT, CUDA and Python go together on which device: deploy/matrix.toml, read."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Literal

from edgenas.errors import EdgenasError
from edgenas.hardware.profile import all_profiles
from edgenas.records import Precision, Record
from edgenas.store import record_from_values, toml_values

PACKAGE = Path(__file__).parents[1]
# What `trtexec` has to be told to build a file of ours as it is. Before TensorRT 11 options allow the precision that the file's
# types ask for; from 11 on the types alone decide, and the options are gone.
OPTIONS: dict[Precision, str] = {"fp32": " --noTF32", "fp16": " --fp16", "int8": " --int8"}
STRONG_OPTIONS: dict[Precision, str] = {"fp32": " --noTF32"}


class Family(Record, frozen=True):
    """Devices that take one image. python, jetpack, l4t, cuda, tensorrt: ranges such as ">=10.13,<11"; "" = none there."""

    base_image: str
    platforms: tuple[str, ...]
    devices: tuple[str, ...]
    runtime: Literal["onnxruntime", "tensorrt"]
    requirements: str
    apt_packages: str
    venv_options: str
    compose: str
    python: str
    proved: str
    jetpack: str = ""
    l4t: str = ""
    cuda: str = ""
    tensorrt: str = ""
    tensorrt_from: Literal["", "apt", "pip"] = ""


@functools.cache
def families() -> dict[str, Family]:
    """Every family by name: inside the package in a wheel, beside it in a checkout."""
    for folder in (PACKAGE / "deploy", PACKAGE.parent / "deploy"):
        path = folder / "matrix.toml"
        if path.is_file():
            return {name: record_from_values(path, values, Family) for name, values in toml_values(path).items()}
    raise EdgenasError(f"deploy/matrix.toml is missing beside {PACKAGE}: install edgenas again")


def families_of(device: str) -> dict[str, Family]:
    """The families that a target belongs to, by name."""
    return {name: family for name, family in families().items() if device in family.devices}


def is_within(version: str, allowed: str) -> bool:
    """Is a version such as 10.16.1.11 in a range such as ">=10.13,<11"? Everything is in ""."""
    numbers = _numbers(version)
    for clause in filter(None, allowed.split(",")):
        match = re.fullmatch(r"(>=|<|==)\s*([0-9.]+)", clause.strip())
        if match is None:
            raise EdgenasError(f"{clause!r} is no range of versions: write >=, < or == and a version")
        other = _numbers(match[2])
        width = max(len(numbers), len(other))
        one, two = (tuple([*side, *[0] * width][:width]) for side in (numbers, other))
        if not {">=": one >= two, "<": one < two, "==": one == two}[match[1]]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """10.16.1.11 of "10.16.1.11.post1", 36.4.3 of "36.4.3"."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version.strip())
    if found is None:
        raise EdgenasError(f"{version!r} is no version")
    return tuple(int(part) for part in found[0].split("."))


def jetson_families(l4t: str) -> dict[str, Family]:
    """The families of a Jetson with that L4T release; {} where none runs there."""
    return {name: family for name, family in families().items() if family.l4t and is_within(l4t, family.l4t)}


def misfits(l4t: str, python: str, tensorrt: str | None) -> list[str]:
    """One line for everything on a Jetson that is outside of what goes together there; `tensorrt`: what is installed."""
    possible = jetson_families(l4t)
    if not possible:
        known = ", ".join(f"{family.l4t} (JetPack {family.jetpack})" for family in families().values() if family.l4t)
        return [f"L4T {l4t} is of no JetPack that EdgeNAS has an image for: {known}"]
    said = []
    if not any(is_within(python, family.python) for family in possible.values()):
        said.append(f"Python {python} is not what this JetPack has: {_ranges(possible, 'python')}")
    if tensorrt is not None and not any(is_within(tensorrt, family.tensorrt) for family in possible.values()):
        said.append(
            f"TensorRT {tensorrt} does not go with L4T {l4t}: {_ranges(possible, 'tensorrt')}; see deploy/matrix.toml"
        )
    return said


def _ranges(possible: dict[str, Family], what: str) -> str:
    """>=10.13,<11 (JetPack >=7,<8), or >=11.4.1,<12 (JetPack >=7.2.2,<8, on jetson-agx-thor)."""
    ranges: dict[str, str] = {}
    for family in possible.values():
        few = f", on {', '.join(family.devices)}" if len(family.devices) <= 3 else ""
        from_ = ", from JetPack itself" if what == "tensorrt" and family.tensorrt_from == "apt" else ""
        ranges.setdefault(str(getattr(family, what)), f"(JetPack {family.jetpack}{few}{from_})")
    return ", or ".join(f"{versions} {where}" for versions, where in ranges.items())


def _options(tensorrt: str) -> list[tuple[str, dict[Precision, str]]]:
    """What trtexec takes in a range such as ">=10.13,<12", which is two where it holds versions on both sides of 11."""
    least, below = tensorrt.split(",")
    if _numbers(least.removeprefix(">=")) >= (11,):
        return [(tensorrt, STRONG_OPTIONS)]
    if is_within("11", below):
        return [(f"{least},<11", OPTIONS), (f">=11,{below}", STRONG_OPTIONS)]
    return [(tensorrt, OPTIONS)]


def trtexec_lines(device: str, file: str, precision: Precision) -> list[str]:
    """How a file of that precision is built by hand on the target's JetPacks, one line per TensorRT that they bring; where there
    is no image for the device (JetPack 4 and 5), by the TensorRT of its profile."""
    there = families_of(device).values()
    lines = []
    for family in there:
        if not family.tensorrt:
            continue
        where = f"JetPack {family.jetpack}" if family.jetpack else f"CUDA {family.cuda}"
        for versions, options in _options(family.tensorrt):
            lines.append(f"{where}, TensorRT {versions}: trtexec --onnx={file}{options.get(precision, '')}")
    for known in () if there else all_profiles():
        if known.name == device and known.runtime == "tensorrt":
            options = STRONG_OPTIONS if _numbers(known.runtime_version) >= (11,) else OPTIONS
            lines.append(f"TensorRT {known.runtime_version}: trtexec --onnx={file}{options.get(precision, '')}")
    return lines
