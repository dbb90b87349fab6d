"""What a search's settings decided, for these data and this machine. Written into the study before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.cuts import CutSpace
from edgenas.architectures.fbnet import FbnetSpace
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.named_spaces import SPACES, SpaceForData, space_for
from edgenas.architectures.space import Space, values_in_words
from edgenas.architectures.stages_space import StagesSpace
from edgenas.binomial import Validation
from edgenas.errors import EdgenasError, StudyError
from edgenas.image_sizes import ImageSize
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import MethodSpec
from edgenas.records import Head, Record, StudyRecord
from edgenas.tasks import TaskSettings

# Spaces that are records are written as they are; those of other packages by their name.
KINDS: dict[str, type[ChainSpace | MultiBranchSpace | CellSpace | FbnetSpace | StagesSpace | CutSpace]] = {
    "chain": ChainSpace,
    "multibranch": MultiBranchSpace,
    "cells": CellSpace,
    "fbnet": FbnetSpace,
    "stages": StagesSpace,
    "cuts": CutSpace,
}

NONE = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Plan:
    """`asked`: the settings, targets by the content of their profiles. `boards`: are latencies measured while it searches?
    `validation`: what the validation split can tell. `budget`: what fits the minutes, where they
    are limited; None in a plan that is read again where the method fits budgets itself.
    `objects`: which of data, method and space were objects of the caller's, not names. `targets`: as they were written.
    `contents`: of the files that settings name, see engine/contents.py."""

    asked: SearchSettings
    boards: bool
    preset: str
    device: str
    task: TaskSettings
    training: Training
    space: Space
    rules: Record
    validation: Validation | None = None
    budget: Record | None = None
    objects: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    contents: dict[str, str] = field(default_factory=dict)


class WrittenSpace(Record, frozen=True):
    """A space in JSON: the name of its kind, and its fields; of one of another package its own name, and what it was made for."""

    name: str
    fields: msgspec.Raw


class MadeFor(Record, frozen=True):
    """The data that a space was made for: the network's head, channels, and the size of its input. `choices`: what could be
    chosen, by name, in words: a study does not go on in a space that has come to mean another."""

    head: Head
    in_channels: int
    image_size: ImageSize
    choices: dict[str, str] = {}


class WrittenPlan(Record, frozen=True):
    """A plan in JSON. Space, rules and budget are of the types that their method says: see `plan_of`."""

    asked: SearchSettings
    boards: bool
    preset: str
    device: str
    task: TaskSettings
    training: Training
    space: WrittenSpace
    rules: msgspec.Raw
    validation: Validation | None = None
    budget: msgspec.Raw = NONE  # msgspec takes no Raw in a union
    objects: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    contents: dict[str, str] = {}


class _Validated(msgspec.Struct, frozen=True):
    validation: Validation | None = None


def plan_json(plan: Plan) -> msgspec.Raw:
    """The plan as a study holds it."""
    written = WrittenPlan(
        plan.asked,
        plan.boards,
        plan.preset,
        plan.device,
        plan.task,
        plan.training,
        written_space(plan.space),
        _json(plan.rules),
        plan.validation,
        _json(plan.budget),
        plan.objects,
        plan.targets,
        plan.contents,
    )
    return _json(written)


def written_plan(study: StudyRecord) -> WrittenPlan:
    """What is written down of the plan. StudyError where the study was not made by `edgenas search`."""
    try:
        return msgspec.json.decode(study.plan, type=WrittenPlan)
    except msgspec.ValidationError as error:
        raise StudyError(
            f"this study does not say how it was searched ({error}): it is no study of `edgenas search`, or one of another "
            f"version than {study.versions.get('edgenas', 'this')}"
        ) from error


def plan_of(study: StudyRecord, spec: MethodSpec, space: SpaceForData | None = None) -> Plan:
    """The plan as the study's method has it. `space`: of a study whose space is an object of the caller's, that object."""
    written = written_plan(study)
    try:
        searched = _space(written.space, space)
        rules = msgspec.json.decode(written.rules, type=spec.rules)
        budget = None if written.budget == NONE or spec.fit is not None else _budget(written.budget)
    except msgspec.ValidationError as error:
        raise StudyError(
            f"the plan of this study is not one of method {spec.name} as it is here ({error}): go on with the edgenas "
            f"{study.versions.get('edgenas', '')} that began it"
        ) from error
    return Plan(
        written.asked,
        written.boards,
        written.preset,
        written.device,
        written.task,
        written.training,
        searched,
        rules,
        written.validation,
        budget,
        written.objects,
        written.targets,
        written.contents,
    )


def space_in(study: StudyRecord, own: SpaceForData | None = None) -> Space:
    """The space that the study searched. `own`: of one whose space is an object of the caller's, that object."""
    return _space(written_plan(study).space, own)


def refuse_missing_object(study: StudyRecord, what: str) -> None:
    """Raise StudyError where the study was begun with an object of the caller's for this (data, method or space)."""
    if what in plan_values(study).get("objects", ()):
        raise StudyError(
            f"this study was begun with an object for its {what}, which is in no file: go on in Python, with "
            f"edgenas.search(...) as before or edgenas.open_study(...).go_on({what}=...)"
        )


def plan_values(study: StudyRecord) -> dict[str, Any]:
    """The plan as plain values, to be shown; {} where there is none."""
    values: dict[str, Any] = msgspec.json.decode(study.plan)
    return values


def validation_in(study: StudyRecord) -> Validation | None:
    """What the study's validation split can tell; None in a study that did not write it down."""
    return msgspec.json.decode(study.plan, type=_Validated).validation


def refuse_unwritable(space: Space, named: str | None) -> None:
    """Raise EdgenasError for a space of a package (then `named` in its entry point) or of the caller's whose own name is none
    that a study could find it by."""
    if isinstance(space, tuple(KINDS.values())):
        return
    if space.name in KINDS:
        raise EdgenasError(f"space {space.name!r} comes with edgenas, and this is another: give it another name")
    SPACES.refuse_taken(space.name)
    if named is not None and space.name != named:
        raise EdgenasError(
            f"space {named!r} of a package calls itself {space.name!r}, by which no study could find it: have that package give "
            "it one name"
        )


def written_space(space: Space) -> WrittenSpace:
    """The space as a study holds it."""
    for name, kind in KINDS.items():
        if isinstance(space, kind):
            return WrittenSpace(name, _json(space))
    member = space.smallest()
    made_for = MadeFor(member.head, member.in_channels, member.image_size, _choices_of(space))
    return WrittenSpace(space.name, _json(made_for))


def _space(written: WrittenSpace, own: SpaceForData | None) -> Space:
    if written.name in KINDS:
        return msgspec.json.decode(written.fields, type=KINDS[written.name])
    made_for = msgspec.json.decode(written.fields, type=MadeFor)
    make = SPACES.load(written.name) if own is None else own
    space = space_for(make, made_for.head, made_for.in_channels, made_for.image_size)
    there, here = made_for.choices, _choices_of(space)
    if there and there != here:
        name = next(name for name in (*there, *here) if there.get(name) != here.get(name))
        raise StudyError(
            f"space {written.name} is another than this study began with ({name}: {there.get(name, 'no such choice')} there, "
            f"{here.get(name, 'no such choice')} here): restore it, or use another --study"
        )
    return space


def _choices_of(space: Space) -> dict[str, str]:
    return {name: values_in_words(values) for name, values in space.choices().items()}


def _budget(written: msgspec.Raw) -> Record:
    from edgenas.training.budget import Budget

    return msgspec.json.decode(written, type=Budget)


def _json(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
