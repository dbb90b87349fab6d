"""What can be asked of a final training, from the least to the most; what is beyond is one line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edgenas.engine.references import TrainingOfReferences
from edgenas.engine.training_asked import TrainingAsked
from edgenas.errors import EdgenasError


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        ({"budget": 1e9}, {"budget": 1.1e9}),
        ({"budget": 1e-9}, {"budget": 0.0}),
        ({"budget": 5}, {"budget": math.nan}),
        ({"epochs": 1}, {"epochs": 0}),
        ({"epochs": 100_000}, {"epochs": 100_001}),
        ({"seeds": 1}, {"seeds": 0}),
        ({"seeds": 10_000}, {"seeds": 10_001}),
        ({"workers": 1}, {"workers": 0}),
    ],
)
def test_numbers_have_a_range(within: dict[str, Any], beyond: dict[str, Any]) -> None:
    for record in (TrainingAsked, TrainingOfReferences):
        if record is TrainingOfReferences and "budget" in within:
            continue
        record(**within)
        with pytest.raises(EdgenasError, match=f"--{next(iter(beyond))} "):
            record(**beyond)


@pytest.mark.parametrize(
    ("within", "beyond", "words"),
    [
        ({"teacher_views": 0}, {"teacher_views": -1}, "--teacher-views -1: from 0 to 1,000,000"),
        ({"teacher_views": 1_000_000}, {"teacher_views": 1_000_001}, "--teacher-views 1000001: from 0 to 1,000,000"),
        ({"processes": 1}, {"processes": 0}, "--processes 0: at least one"),
        ({"checkpoint_s": 0}, {"checkpoint_s": -0.1}, "--checkpoint-s -0.1: from 0 (every epoch) to 86400"),
        ({"checkpoint_s": 86400}, {"checkpoint_s": 86401}, "--checkpoint-s 86401: from 0 (every epoch) to 86400"),
    ],
)
def test_views_of_a_teacher_processes_and_checkpoints_have_a_range(
    within: dict[str, Any], beyond: dict[str, Any], words: str
) -> None:
    TrainingAsked(teacher="t.onnx", **within)
    with pytest.raises(EdgenasError) as caught:
        TrainingAsked(teacher="t.onnx", **beyond)
    assert str(caught.value) == words
