"""Fixed sets of a flag are listed by `--help`, complete in a shell, and are those of what they set."""

from __future__ import annotations

import typing
from typing import Any, get_args, get_type_hints

import pytest

from edgenas.architectures.cell_space import Family
from edgenas.cli import options
from edgenas.methods.settings import SearchSettings
from tests.cli.edgenas import edgenas

SET = {
    "preset": options.Preset,
    "policy": options.Policy,
    "final_width": options.FinalWidth,
    "pool": options.Pool,
    "control": options.Control,
}


def choices(hint: Any) -> set[object]:
    """Of a Literal, alone or in a union with None."""
    return {
        value
        for part in (hint, *get_args(hint))
        if typing.get_origin(part) is typing.Literal
        for value in get_args(part)
    }


@pytest.mark.parametrize("name", SET)
def test_a_flag_can_be_what_its_setting_can_be(name: str) -> None:
    assert choices(get_type_hints(SearchSettings, include_extras=False)[name]) == choices(SET[name])


def test_cells_are_of_the_families_that_there_are() -> None:
    assert get_args(options.CellFamily) == get_args(Family)


def test_help_lists_them_and_another_value_is_wrong_usage(tmp_path: Any) -> None:
    text = edgenas("search", "--help", folder=tmp_path).stdout
    for values in ("<tiny|t|m|trg>", "<gnas|fixed|gpu-seconds>", "<matched|macro>", "<fp32|fp16|int8>", "<19|27|72>"):
        assert values in text
    wrong = edgenas("train", "--final-width", "wide", folder=tmp_path)
    assert wrong.returncode == 2
    assert "'wide' is not one of 'matched', 'macro'" in wrong.stderr


def test_open_sets_are_completed(tmp_path: Any) -> None:
    assert {"gnas", "trgnas", "nse", "nal", "random"} <= set(options.method_names())
    assert {"classification", "faces"} <= set(options.task_names())
    assert {"chain", "fbnet", "darts"} <= set(options.space_names())
    assert {"jetson", "raspberry-pi-5"} <= set(options.target_names())
