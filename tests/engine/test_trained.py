"""What is asked of an export."""

from __future__ import annotations

import inspect

import pytest

import edgenas
from edgenas.cli.export import export
from edgenas.engine.trained import wishes_from
from edgenas.errors import EdgenasError
from tests.cli.edgenas import refusal


def test_what_a_precision_may_lose_is_the_metrics_own_unless_somebody_says_it() -> None:
    assert wishes_from("fp16").max_drop is None  # the metric's, see tests/export/test_kinds.py
    assert wishes_from("auto").max_drop is None
    assert wishes_from("fp16", max_drop=0.25).max_drop == 0.25
    assert inspect.signature(edgenas.Study.export).parameters["max_drop"].default is None
    assert inspect.signature(export).parameters["max_drop"].default.default is None


@pytest.mark.parametrize("drop", ["nan", "-0.1", "inf"])
def test_what_is_no_drop_is_refused_before_anything_is_read(drop: str) -> None:
    line = f"--max-drop {drop} was asked for: it takes a number from 0"
    assert refusal("export", "nowhere", "--out", "b", f"--max-drop={drop}") == line
    assert wishes_from("fp16", max_drop=0).max_drop == 0


def test_precisions_are_given_with_commas_or_one_by_one_and_each_counts_once() -> None:
    assert wishes_from("fp16, fp32,fp16").precisions == wishes_from(("fp16", "fp32")).precisions == ("fp16", "fp32")
    with pytest.raises(EdgenasError, match=r"precision fp8 was asked for; possible: fp32, fp16, int8, or auto"):
        wishes_from(("fp32", "fp8"))


@pytest.mark.parametrize("nothing", [(), "", " , ", ("", "")])
def test_no_precision_at_all_is_refused_before_anything_is_built(nothing: str | tuple[str, ...]) -> None:
    with pytest.raises(EdgenasError, match=r"^no precision was asked for; possible: fp32, fp16, int8, or auto$"):
        wishes_from(nothing)
    assert wishes_from("fp32").precisions == ("fp32",)
