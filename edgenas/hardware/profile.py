"""Hardware profiles: one TOML file per device + runtime + precision family, found by name, alias or path."""

from __future__ import annotations

import difflib
import functools
import json
import re
from pathlib import Path
from typing import Any, cast

import msgspec

from edgenas.durable import check_place, replace_file
from edgenas.errors import EdgenasError
from edgenas.records import BYTES, Calibration, HardwareProfile, Precision, StudyRecord
from edgenas.store import record_from_values, toml_values

PACKAGE = Path(__file__).parents[1]
JUDGED = ("spearman", "kendall", "mape", "within_5", "within_10", "worst_under")  # None where no row was held out
KINDS = {"whole": "whole networks", "small": "small images", "chain": "chains", "cell": "cells", "block": "blocks"}
HOST_CPU = "host-cpu"  # the profile of this machine: measured, never predicted
CALIBRATED_HOST = f"{HOST_CPU}-calibrated"  # the same where measurements of it were fitted, to predict
SUFFIX = ".toml"  # of a name that is a profile's file
UNSUPPORTED = {
    "coral-edge-tpu": "the Edge TPU compiler reads fully quantised TFLite files only; there is no path from ONNX to it",
}


def profiles_folder() -> Path:
    """Where the shipped profiles are: inside the package in a wheel, beside it in a checkout."""
    for folder in (PACKAGE / "profiles", PACKAGE.parent / "profiles"):
        if folder.is_dir():
            return folder
    raise EdgenasError(f"the profiles are missing beside {PACKAGE}: install edgenas again")


@functools.cache
def all_profiles() -> tuple[HardwareProfile, ...]:
    """Every shipped profile, by name."""
    return tuple(_profile_from_file(path) for path in sorted(profiles_folder().glob("*.toml")))


def profile_from_name(name: str) -> HardwareProfile:
    """The profile of that name or alias, or read from that file (a path that ends in .toml)."""
    if name.endswith(SUFFIX):
        return profile_from_file(Path(name))
    names: dict[str, HardwareProfile] = {}
    for profile in all_profiles():
        names |= dict.fromkeys((profile.name, *profile.aliases), profile)
    if name in names:
        return names[name]
    if name in UNSUPPORTED:
        raise EdgenasError(f"target {name!r} is not supported: {UNSUPPORTED[name]}")
    if all(one.strip() in names or one.strip().endswith(".toml") for one in name.split(",")):
        flags = " ".join(f"--target {one.strip()}" for one in name.split(","))
        raise EdgenasError(f"target {name!r}: several targets are given one by one: {flags}")
    near = difflib.get_close_matches(name, names, n=4, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise EdgenasError(f"unknown target {name!r}: {hint}`edgenas targets` lists all; a path to a .toml file works too")


def profiles_of(study: StudyRecord) -> tuple[HardwareProfile, ...]:
    """The profiles that a study decides by, as they were when it began; by name for studies that do not hold them."""
    return study.hardware or tuple(profile_from_name(name) for name in study.profiles)


def relative_of(profile: HardwareProfile) -> HardwareProfile | None:
    """The measured target whose efficiencies the datasheet's latencies use; None where they use none. Raises EdgenasError where
    `carried_from` is no shipped target, or one that was not measured itself."""
    if not profile.carried_from:
        return None
    measured = [known for known in all_profiles() if known.calibration is not None]
    found = next((known for known in measured if profile.carried_from in (known.name, *known.aliases)), None)
    if found is None:
        near = difflib.get_close_matches(profile.carried_from, [known.name for known in measured], n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise EdgenasError(
            f"carried_from of {profile.name} is {profile.carried_from!r}, which is no calibrated target: {hint}`edgenas targets` "
            "lists them; leave it out for the bare datasheet"
        )
    return found


def profile_from_file(path: Path) -> HardwareProfile:
    """The profile in a TOML file, strictly read."""
    profile = _profile_from_file(path)
    if profile.name == HOST_CPU and profile.calibration is not None:
        raise EdgenasError(
            f"{path}: by the name {HOST_CPU} this machine is measured, not predicted: name it {CALIBRATED_HOST}"
        )
    try:
        relative_of(profile)
    except EdgenasError as error:
        raise EdgenasError(f"{path}: {error}") from error
    return profile


def _profile_from_file(path: Path) -> HardwareProfile:
    values = toml_values(path)
    if isinstance(card := values.get("calibration"), dict):  # TOML has no null: what was not judged is not written
        values["calibration"] = {**dict.fromkeys(JUDGED), **card}
    numbers = {key: values.get(key) for key in ("bandwidth_gb_s", "memory_mb")}
    for key, value in {**numbers, **(values["peaks"] if isinstance(values.get("peaks"), dict) else {})}.items():
        if isinstance(value, int | float) and not value > 0:
            raise EdgenasError(f"{path}: {key} is {value}, it must be positive")
    profile = record_from_values(path, values, HardwareProfile)
    if profile.precision not in profile.precisions:
        raise EdgenasError(f"{path}: precision {profile.precision!r} is not one of its precisions {profile.precisions}")
    return profile


def precision_of(profile: HardwareProfile, precision: Precision | None) -> Precision:
    """The precision asked for, the profile's own where None is. Raises EdgenasError where the device cannot do it."""
    if precision is None:
        return profile.precision
    if precision not in profile.precisions:
        raise EdgenasError(f"{profile.name} has no {precision}: choose --precision {' or '.join(profile.precisions)}")
    return precision


def resolved(name: str, profile: HardwareProfile) -> str:
    """One line that says which profile a name stands for and how far its latencies can be trusted."""
    alias = "" if name == profile.name else f"{name} = "
    return f"{alias}{profile.name}: {profile.device}, {profile.runtime} {profile.runtime_version}, {trust(profile)}"


def trust(profile: HardwareProfile) -> str:
    """How far the profile's latencies can be trusted, in words."""
    if profile.runtime == "onnxruntime" and profile.name == HOST_CPU:
        return "measured on this machine"
    if profile.calibration is not None:
        card = profile.calibration
        by = "networks that others measured" if profile.confidence == "published" else "measured networks"
        how = "an estimate from" if profile.confidence == "estimate" else "calibrated on"
        return f"{how} {card.n} {by} ({held_out_words(card)})"
    if not profile.error_band:
        return "from the datasheet"
    if profile.carried_from:
        wider = f"intervals are those of {profile.carried_from}, {1 + profile.error_band:g} times as wide"
        return f"from the datasheet; {wider}"
    return f"from the datasheet, within a factor of {1 + profile.error_band:g}"


def held_out_words(card: Calibration) -> str:
    """Errors on networks that the fit never saw, by kind of network, such as "held-out error: cells in fp32 3.1 %"."""
    if not card.judged:
        return "no held-out rows" if card.mape is None else f"held-out error {100 * card.mape:.1f} %"
    each = [(name.split(" ", 1), held.error) for name, held in card.judged.items()]
    return "held-out error: " + ", ".join(f"{KINDS.get(kind, kind)} in {at} {100 * e:.1f} %" for (at, kind), e in each)


def check_profile_file(path: Path) -> None:
    """Raise EdgenasError, before anything is measured, for a file that could not be written or that no --target could name."""
    if not path.name.endswith(SUFFIX):
        raise EdgenasError(
            f"--out {path}: a profile's file is known by its name's end, {SUFFIX}, where it is used as --target: name it "
            f"{path}{SUFFIX}"
        )
    check_place(path)


def write_profile(profile: HardwareProfile, path: Path) -> None:
    """Write a profile as TOML that `profile_from_file` reads back to the same record."""
    replace_file(path, toml_from_profile(profile).encode())


def toml_from_profile(profile: HardwareProfile) -> str:
    """TOML of everything that is known; plain values first, tables after them."""
    required = {field.name for field in msgspec.structs.fields(HardwareProfile) if field.required}
    values = {k: v for k, v in msgspec.to_builtins(profile).items() if k in required or v not in (None, "", [], (), {})}
    return "\n".join(_lines(values, "")).strip() + "\n"


def _lines(values: dict[str, Any], path: str) -> list[str]:
    tables = {k: v for k, v in values.items() if isinstance(v, dict)}
    records = {k: v for k, v in values.items() if isinstance(v, list | tuple) and v and isinstance(v[0], dict)}
    plain = {k: v for k, v in values.items() if k not in tables and k not in records}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in plain.items() if v is not None]
    for key, table in tables.items():
        lines += ["", f"[{path}{_key(key)}]", *_lines(table, f"{path}{_key(key)}.")]
    for key, entries in records.items():
        for entry in entries:
            lines += ["", f"[[{path}{_key(key)}]]", *_lines(entry, f"{path}{_key(key)}.")]
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _value(value: Any) -> str:
    """A JSON literal is a TOML literal for strings, numbers, booleans and arrays of them."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def checked_precision(precision: str | None) -> Precision | None:
    """A precision as typed by a person. Raises EdgenasError for anything but fp32, fp16, int8 and tf32."""
    if precision is not None and precision not in BYTES:
        raise EdgenasError(f"precision {precision!r} is not known: choose {', '.join(BYTES)}")
    return cast("Precision | None", precision)
