"""The preset of a search, and what becomes of its bounds beside those that were asked for: on a CPU, and where a GPU trains."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import typer

from edgenas.cli.main import app
from edgenas.engine.limits import nothing_meets
from edgenas.engine.registry import method_named
from edgenas.engine.settings import settings_from
from edgenas.engine.shape import Shape, shape_of
from edgenas.errors import EdgenasError
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.tasks import Task, TaskSettings, load_task
from tests.cli.edgenas import edgenas
from tests.docs.blocks import commands, pages

SIDES = {
    "photos": 96,
    "cells": 96,
    "strips": (64, 320),
    "my-images": 64,
    "fashion-mnist": 32,
    "lines": 16,
}  # of the pages
ELSEWHERE = {"from_study", "start", "resume", "file", "warm_start"}  # what other files decide
IN_PYTHON = [  # the settings of the pages' searches in Python and in project files, as they stand there
    {"search_images": 600, "max_depth": 5, "max_width": 12, "epoch_scale": 1.0, "max_params": 10_000},
    {"max_depth": 5, "max_width": 8, "method": "random"},
    {"target": ["raspberry-pi-5"], "search_images": 400, "max_depth": 5, "max_width": 12, "epoch_scale": 0.3},
]


@functools.cache
def task(side: int | tuple[int, int] | None = None) -> Task:
    return load_task(TaskSettings("digits", "classification", None, side, search_images=100))


def shaped(device: str, side: int | tuple[int, int] | None = None, /, **asked: Any) -> Shape:
    settings = settings_from(None, {"target": ["jetson"], "method": "gnas", **asked})
    return shape_under(settings, device, task(side))


def shape_under(settings: SearchSettings, device: str, images: Task) -> Shape:
    """The shape, of which some network is within the limits."""
    spec, profiles = method_named(settings.method), (profile_from_name("jetson"),)
    if all(not name.endswith(".toml") for name in settings.target):
        profiles = tuple(profile_from_name(name) for name in settings.target)
    shape = shape_of(settings, spec, profiles, images, device)
    assert not nothing_meets(shape.space, settings, spec, profiles, boards=False)
    return shape


def bounds(shape: Shape) -> tuple[int, int, int, int]:
    space: Any = shape.space
    return space.min_depth, space.max_depth, space.min_width, space.max_width


def documented() -> list[tuple[str, dict[str, Any]]]:
    """The settings of every search on the pages that other files do not decide."""
    found = []
    for page in pages():
        if page.name == "results.md":  # it shows a limit that is refused
            continue
        for arguments in commands(page):
            if arguments[:1] != ["search"] or "--help" in arguments:
                continue
            words = [word for word in arguments[1:] if word != "..."]
            command: Any = typer.main.get_command(app)
            context = command.commands["search"].make_context("search", words)
            given = {name: value for name, value in context.params.items() if value not in (None, (), [])}
            asked = {name: value for name, value in given.items() if name in SearchSettings.__struct_fields__}
            if not ELSEWHERE & set(given) - {"file"} and asked:
                found.append((page.name, asked))
    return found


def test_every_search_of_the_pages_has_networks_on_a_gpu_host_too() -> None:
    searches = documented()
    assert {name for name, _ in searches} >= {
        "working.md",
        "new-device.md",
        "new-task.md",
        "first_hour.md",
        "README.md",
    }
    refused = {}
    for page, asked in [*searches, *(("in Python", one) for one in IN_PYTHON)]:
        settings = settings_from(None, {name: value for name, value in asked.items() if name not in {"data", "task"}})
        for device in ("cpu", "cuda"):
            if why := refusal_of(settings, device, task(SIDES.get(str(asked.get("data"))))):
                refused[page, device, str(asked)] = why
    assert refused == {}


def refusal_of(settings: SearchSettings, device: str, images: Task) -> str:
    try:
        shape_under(settings, device, images)
    except EdgenasError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("device", "asked", "found", "lines"),
    [
        ("cuda", {}, (10, 100, 16, 64), []),
        ("cpu", {}, (4, 10, 4, 24), []),
        ("cuda", {"max_depth": 10, "max_width": 16}, (10, 10, 16, 16), []),  # the last values that hold preset t's bounds
        (
            "cuda",
            {"max_depth": 9, "max_width": 15},
            (4, 9, 4, 15),
            [
                "--max-depth 9: preset t has a depth from 10; here it is from 4 (--min-depth sets it)",
                "--max-width 15: preset t has a width from 16; here it is from 4 (--min-width sets it)",
            ],
        ),
        ("cuda", {"max_depth": 3}, (3, 3, 16, 64), ["--max-depth 3: preset t has a depth from 10; here it is from 3 "
                                                    "(--min-depth sets it)"]),
        ("cpu", {"min_depth": 11}, (11, 20, 4, 24), ["--min-depth 11: preset tiny has a depth up to 10; here it is up to 20 "
                                                     "(--max-depth sets it)"]),
        ("cpu", {"min_width": 200}, (4, 10, 200, 200), ["--min-width 200: preset tiny has a width up to 24; here it is up to "
                                                        "200 (--max-width sets it)"]),
        ("cuda", {"preset": "tiny", "max_depth": 6}, (4, 6, 4, 24), []),
    ],
)  # fmt: skip
def test_a_bound_that_was_asked_for_moves_the_presets_other_one_and_says_so(
    device: str, asked: dict[str, Any], found: tuple[int, ...], lines: list[str]
) -> None:
    shape = shaped(device, **asked)
    assert (bounds(shape), list(shape.lines)) == (found, lines)


def test_two_bounds_that_were_both_asked_for_are_not_moved() -> None:
    with pytest.raises(EdgenasError, match=r"depth bounds 7\.\.6: need 3 <= min_depth <= max_depth"):
        shaped("cuda", min_depth=7, max_depth=6)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"min_width": 200}, (200, 224, 224)),  # the next width of its ladder, and a stem as narrow as a stage can be
        ({"min_width": 40}, (40, 128, 40)),  # tiny's stem ends at 32
        ({"min_width": 32}, (32, 128, 32)),
        ({}, (8, 128, 32)),
    ],
)
def test_stages_move_theirs_too(asked: dict[str, int], found: tuple[int, int, int]) -> None:
    space: Any = shaped("cpu", 96, space="stages", method="random", **asked).space
    assert (space.min_width, space.max_width, space.max_stem) == found


def test_the_usual_preset_of_a_gpu_makes_way_for_tiny_where_it_has_no_network_within_the_limits() -> None:
    """The first hour's limit: at 96 px the smallest chain of preset t takes more than 0.45 ms."""
    shape = shaped("cuda", 96, max_latency_ms=0.45)
    assert shape.preset == "tiny"
    assert shape.lines == (
        "preset tiny: preset t, the usual one on a GPU, has no network within the limits (--preset asks for one)",
    )
    assert shaped("cuda", 96, max_latency_ms=0.6).preset == "t"
    assert shaped("cuda", 96).lines == ()


@pytest.mark.parametrize("asked", [{"preset": "t", "max_latency_ms": 0.45}, {"max_latency_ms": 0.01}])
def test_a_preset_that_was_asked_for_stays_and_so_does_one_that_tiny_cannot_replace(asked: dict[str, Any]) -> None:
    settings = settings_from(None, {"target": ["jetson"], "method": "gnas", **asked})
    profiles = (profile_from_name("jetson"),)
    shape = shape_of(settings, method_named("gnas"), profiles, task(96), "cuda")
    assert (shape.preset, shape.lines) == ("t", ())
    assert nothing_meets(shape.space, settings, method_named("gnas"), profiles, boards=False)


def test_a_search_says_which_bound_made_way(tmp_path: Path) -> None:
    """Nothing is trained: one parameter is too few for any network."""
    asked = ("search", "--method", "random", "--preset", "t", "--max-params", "1")
    lowered = edgenas(*asked, "--max-depth", "6", folder=tmp_path).stderr.splitlines()
    assert "--max-depth 6: preset t has a depth from 10; here it is from 4 (--min-depth sets it)" in lowered
    assert lowered[-1].startswith(
        "edgenas: no network of this space meets the limit: its smallest member (depth 4, width 16, separable)"
    )
    within = edgenas(*asked, "--max-depth", "12", folder=tmp_path).stderr
    assert "makes way" not in within
    assert "preset t has" not in within
    assert "(depth 10, width 16, separable)" in within
