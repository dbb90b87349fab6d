"""A study with a plan, as `edgenas search` writes it: a tiny search on digits, by GNAS where a test does not say otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.engine.plan import Plan, plan_json
from edgenas.engine.registry import method_named
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.records import Classes, Recipe, StudyRecord
from edgenas.tasks import TaskSettings

ASKED = SearchSettings(target=("jetson-nano-4gb",), method="gnas")
RECIPE = Recipe("fast", 2, 64, 0.1)
SPACE = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=10, min_width=4, max_width=24, width_step=4)


def plan(**changes: Any) -> Plan:
    """A plan for the CPU, which knows nothing of the validation split and has no budget. The data are those of `asked`."""
    asked: SearchSettings = changes.get("asked", ASKED)
    data = TaskSettings(asked.data, asked.task, asked.data_dir, seed=asked.seed, search_images=asked.search_images)
    rules = changes.get("rules") or method_named(asked.method).rules()
    usual = Plan(asked, False, "tiny", "cpu", data, Training(RECIPE), SPACE, rules)
    return dataclasses.replace(usual, **changes)


def studied(plan: Plan, /, **changes: Any) -> StudyRecord:
    """The record of a study that goes by this plan."""
    asked = plan.asked
    fields = (asked.method, asked.task, asked.data, asked.target, asked.precision or "fp32", asked.limits, asked.seed)
    return msgspec.structs.replace(StudyRecord(*fields, plan=plan_json(plan)), **changes)
