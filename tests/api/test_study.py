"""`edgenas.Study` does what the commands about a study do, with the same names and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import edgenas
from edgenas.cli.compare import compare
from edgenas.cli.export import export
from edgenas.cli.train import train

SHOWN = {"study", "as_json"}  # of every command: which study, and how its result is shown


@pytest.mark.parametrize(
    ("command", "method", "flags_alone", "parameters_alone"),
    [
        # of a network without a search: `edgenas.train`
        (train, edgenas.Study.train, {"target", "task", "name"}, set()),
        (compare, edgenas.Study.compare, {"weights"}, set()),  # a word for =FILE behind the reference's name
        # other forms of a bundle that is there
        (export, edgenas.Study.export, {"input_type", "engine", "triton", "deepstream"}, {"input"}),
    ],
)
def test_a_method_has_the_flags_of_its_command(
    command: Callable[..., None], method: Callable[..., object], flags_alone: set[str], parameters_alone: set[str]
) -> None:
    flags, parameters = inspect.signature(command).parameters, inspect.signature(method).parameters
    assert set(flags) - set(parameters) == SHOWN | flags_alone
    assert set(parameters) - set(flags) == {"self"} | parameters_alone
    for name in set(flags) & set(parameters) - {"out"}:
        default, usual = flags[name].default.default, parameters[name].default
        assert default == usual or (default is None and usual == ()), name
