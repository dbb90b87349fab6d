"""The Python reference shows every record that the API gives, with all of its fields."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from edgenas.api.devices import calibrate, describe, targets
from edgenas.api.study import Study
from edgenas.engine.events import Event
from edgenas.hardware.prediction import Prediction
from edgenas.methods.spec import MethodSpec, Search
from edgenas.records import Ask, Measurement
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "reference.md"
NOT_SHOWN = {"Record"}  # the base of all


def hook() -> Any:
    spec = importlib.util.spec_from_file_location("fields", ROOT / "scripts" / "fields.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHOWN = hook().on_page_markdown(PAGE.read_text(encoding="utf-8"))


def record_types(hint: Any) -> Iterator[type]:
    """The records and dataclasses of edgenas in a type."""
    if isinstance(hint, type) and hint.__module__.startswith("edgenas."):
        if issubclass(hint, msgspec.Struct) or dataclasses.is_dataclass(hint):
            yield hint
        return
    for part in typing.get_args(hint):
        yield from record_types(part)


def returned() -> Iterator[type]:
    """What the functions and properties of the API return, what it calls with events, and what plug-ins are made of."""
    import edgenas.architectures.named_spaces
    import edgenas.bundle
    import edgenas.remote.verification
    import edgenas.tasks

    names = {
        "Bundle": edgenas.bundle.Bundle,
        "Verified": edgenas.remote.verification.Verified,
        "Task": edgenas.tasks.Task,
        "SpaceForData": edgenas.architectures.named_spaces.SpaceForData,
    }
    members = [member.fget if isinstance(member, property) else member for member in vars(Study).values()]
    for function in (*members, calibrate, describe, targets):
        if callable(function) and "return" in getattr(function, "__annotations__", {}):
            told = function.__annotations__["return"]
            if not re.search(r"pandas|nn\.", told):  # not ours
                yield from record_types(eval(told, vars(importlib.import_module(function.__module__)) | names))
    yield from record_types(Event)
    yield from (Prediction, MethodSpec, Search, Ask, Measurement)


def met() -> dict[str, type]:
    """Those, and all that their fields hold."""
    found: dict[str, type] = {}
    waiting = list(returned())
    while waiting:
        kind = waiting.pop()
        if kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += [other for hint in hints(kind).values() for other in record_types(hint)]
    return {name: kind for name, kind in found.items() if name not in NOT_SHOWN}


def hints(kind: type) -> dict[str, Any]:
    module = vars(importlib.import_module(kind.__module__))
    told = {
        name: hint for base in reversed(kind.__mro__) for name, hint in vars(base).get("__annotations__", {}).items()
    }
    return {name: evaluated(hint, module) if isinstance(hint, str) else hint for name, hint in told.items()}


def evaluated(hint: str, module: dict[str, Any]) -> Any:
    try:
        return eval(hint, module, {})
    except NameError:  # of a module that is only imported for types: an object with methods
        return None


MET = met()


def test_many_records_are_met() -> None:
    named = {
        "StudyRecord",
        "Trial",
        "FinalRun",
        "Metric",
        "WrittenPlan",
        "SearchSettings",
        "KernelDescription",
        "Target",
    }
    assert named | {"Manifest", "Verified", "Calibrated", "MethodSpec", "Kernel", "SearchBegins"} <= MET.keys()


@pytest.mark.parametrize("name", sorted(MET))
def test_every_record_of_the_api_is_shown_with_its_fields(name: str) -> None:
    kind = MET[name]
    module = re.sub(r"^edgenas\.records\..*", "edgenas.records", kind.__module__)  # where it is imported from
    sections = SHOWN.split(f"### `{module}.{name}`\n")
    assert len(sections) == 2, f"write `fields {module}: {name}` into docs/reference.md"
    section = re.split(r"\n#|\n:::", sections[1])[0]
    assert kind.__doc__
    assert kind.__doc__.split("\n")[0].strip() in section
    shown = re.findall(r"^\| `(\w+)` \| `", section, re.MULTILINE)
    fields = [
        field.name
        for field in (dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else msgspec.structs.fields(kind))
    ]
    assert shown[: len(fields)] == fields


def test_a_field_is_told_with_its_type_default_and_comment() -> None:
    assert r"| `p90_ms` | `float \| None` | `None` |  |" in SHOWN
    assert "| `cutout` | `int` | `0` | side in pixels |" in SHOWN
    assert "| `key` | `str` | *computed* |  |" in SHOWN


def test_a_class_that_is_gone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"edgenas\.records has no class Traill"):
        hook().on_page_markdown("fields edgenas.records: Traill")
