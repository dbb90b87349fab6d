"""Which space a search has: the one that is named, with the bounds of its preset, its data and its runtime."""

from __future__ import annotations

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.published import published_architecture
from edgenas.architectures.stages_bounds import BOUNDS, TINY_BOUNDS, bounded_stages
from edgenas.architectures.stages_space import StagesSpace
from edgenas.engine import settings as engine_settings
from edgenas.engine.plan import plan_of
from edgenas.engine.registry import method_named
from edgenas.engine.settings import PRESETS, space_asked
from edgenas.errors import EdgenasError
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.records import Classes, Embedding, Head
from tests.cli.edgenas import refusal
from tests.plans import plan, studied

TEN, FACES = Classes(10), Embedding(64)


def asked(
    made_for: tuple[Head, int, int] = (TEN, 3, 32),
    preset: str = "t",
    target: tuple[str, ...] = ("jetson",),
    method: str = "random",
    **settings: object,
) -> object:
    given = SearchSettings(method=method, target=target, **settings)  # type: ignore[arg-type]
    profiles = tuple(map(profile_from_name, target))
    return space_asked(given, method_named(method), PRESETS[preset], None, made_for, profiles)


def stages(*made_for: object, **more: object) -> StagesSpace:
    space = asked(*made_for, space="stages", **more)  # type: ignore[arg-type]
    assert isinstance(space, StagesSpace)
    return space


@pytest.mark.parametrize(
    ("made_for", "kind"),
    [((TEN, 3, 48), "small"), ((TEN, 3, 49), "photographs"), ((FACES, 3, 112), "faces"), ((FACES, 1, 28), "small")],
)
def test_data_and_preset_decide_the_bounds(made_for: tuple[Head, int, int], kind: str) -> None:
    for preset in ("t", "m", "trg"):
        assert stages(made_for, preset) == bounded_stages(BOUNDS[kind], *made_for, width_step=8)
    assert stages(made_for, "tiny") == bounded_stages(TINY_BOUNDS[kind], *made_for, width_step=8)


def test_the_runtime_decides_the_steps_of_widths_where_nobody_else_does() -> None:
    assert stages(target=("jetson",)).width_step == 8
    assert stages(target=("raspberry-pi-5",)).width_step == 4
    assert stages(target=("raspberry-pi-5", "jetson")).width_step == 8
    assert stages(target=("jetson",), width_step=4).width_step == 4
    assert stages(target=("raspberry-pi-5",), width_step=16).widths == (
        16,
        32,
        48,
        64,
        80,
        96,
        112,
        128,
        160,
        192,
        224,
        256,
    )


def test_bounds_that_are_asked_for_are_the_space_s() -> None:
    space = stages(min_width=16, max_width=64, min_depth=5, max_depth=9)
    assert (space.widths[0], space.widths[-1], space.min_depth, space.max_depth) == (16, 64, 5, 9)


def test_the_usual_space_of_each_kind_of_data_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that search chains alone keep them, and a space that is named is the one."""
    assert isinstance(asked(), ChainSpace)
    monkeypatch.setitem(engine_settings.DEFAULT_SPACES, "small", "stages")
    assert isinstance(asked(), StagesSpace)
    assert isinstance(asked((TEN, 3, 64)), ChainSpace)
    assert isinstance(asked(space="chain"), ChainSpace)
    assert isinstance(asked(method="gnas"), ChainSpace)
    monkeypatch.setitem(engine_settings.DEFAULT_SPACES, "photographs", "stages")
    assert isinstance(asked((TEN, 3, 64)), StagesSpace)
    assert isinstance(asked((FACES, 3, 64)), ChainSpace)


def test_a_method_of_chains_refuses_stages() -> None:
    with pytest.raises(EdgenasError, match="--space stages is not for --method gnas: possible are chain"):
        asked(method="gnas", space="stages")


def test_a_study_goes_on_in_the_space_of_stages_that_it_began_with() -> None:
    space = stages((TEN, 3, 96), "tiny", max_width=64)
    record = studied(plan(space=space, asked=SearchSettings(method="random", space="stages")))
    record = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    assert plan_of(record, method_named("random")).space == space


def test_the_usual_bounds_of_photographs_hold_the_published_networks_and_the_tiny_ones_do_not() -> None:
    network = published_architecture("mnasnet-a1")
    assert stages((Classes(1000), 3, 224)).contains(network)
    assert not stages((Classes(1000), 3, 224), "tiny").contains(network)


def test_an_unknown_space_lists_the_default_one_too() -> None:
    said = refusal("search", "--data", "digits", "--method", "random", "--space", "chan")
    assert "space 'chan' is unknown; possible: chain, nasbench101" in said
