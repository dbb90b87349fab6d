"""A study is asked for again with every setting that it was asked for with: what is printed, through the parser that reads it."""

from __future__ import annotations

import functools
import inspect
import shlex
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from edgenas.cli.main import app
from edgenas.cli.search import NOT_SETTINGS, search
from edgenas.engine.again import call_of, command_of, flags_of, objects_in, resuming, settings_of
from edgenas.engine.final import TrainingAsked
from edgenas.engine.flags import flags_of_training
from edgenas.engine.settings import as_asked, settings_from
from edgenas.faces.pixels import Pixels, pixels_from_text
from edgenas.hardware.profile import profile_from_name, write_profile
from edgenas.methods.settings import SearchSettings
from edgenas.records import Limits
from tests.plans import plan, studied

# One value for each setting, none of them its default.
OTHER: dict[str, Any] = {
    "target": ("raspberry-pi-5", "boards/my board.toml"),
    "data": "my photos/all",
    "data_dir": "/data sets",
    "task": "faces",
    "method": "nsga2",
    "preset": "trg",
    "min_depth": 5,
    "max_depth": 7,
    "min_width": 8,
    "max_width": 40,
    "width_step": 2,
    "recipe": "recipes/mine.toml",
    "epoch_scale": 0.1,
    "search_images": 5000,
    "budget": 7.25,
    "max_latency_ms": 1.2345678901,
    "max_params": 123_456_789,
    "max_size_mb": 0.3,
    "max_memory_mb": 8.0,
    "max_energy_mj": 2.5,
    "policy": "gpu-seconds",
    "confirm_seeds": 2,
    "control": "random",
    "image_size": (64, 320),
    "flip": False,
    "seed": 7,
    "precision": "fp16",
    "final_width": "macro",
    "pool": 27,
    "rounds": 3,
    "from_study": "an older one",
    "space": "stages",
    "far": 1e-05,
    "rules": {"trials": 30, "lr": 1e-05, "kernels": (3, 5)},
    "margin": True,
    "fit": "pad",
    "skip_damaged": True,
    "balance": "sampling",
    "metric": "macro_f1",
    "warm_start": ("one", "two"),
    "start": "nets/lite 0.onnx",
    "max_mmacs": 300.125,
}


@functools.cache
def command(name: str) -> Any:
    """The parser of `edgenas NAME`: typer's own classes, which are not public ones of click."""
    group: Any = typer.main.get_command(app)
    return group.commands[name]


def parsed(words: list[str]) -> SearchSettings:
    """What the command line's own parser makes of the words behind `edgenas search`."""
    given = command("search").make_context("search", [*words]).params
    names = set(inspect.signature(search).parameters) - NOT_SETTINGS
    return settings_from(given["file"], {name: given[name] for name in names})


def test_every_setting_has_another_value_here() -> None:
    usual = SearchSettings()
    assert set(OTHER) == set(SearchSettings.__struct_fields__)
    assert [name for name in OTHER if OTHER[name] == getattr(usual, name)] == []


@pytest.mark.parametrize("name", [name for name in OTHER if name != "rules"])
def test_each_setting_is_asked_for_again(name: str) -> None:
    settings = SearchSettings(**{name: OTHER[name]})
    assert parsed(flags_of(settings)) == settings


@pytest.mark.parametrize("rules", [{}, OTHER["rules"]])
def test_all_settings_at_once_come_back_from_the_line_that_a_shell_runs(
    rules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = SearchSettings(**{**OTHER, "rules": rules})
    line = command_of(settings, ("http://board:8765",), "it's longer")
    # a shell writes the project file, if there is one, and hands its words to a command that only tells them
    told = subprocess.run(
        ["sh", "-c", f"edgenas() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, text=True, check=True
    ).stdout
    first, *words = told.split("\0")[:-1]
    assert first == "search"
    assert parsed(words) == settings
    params = command("search").make_context("search", [*words]).params
    assert (list(params["board"]), params["study"]) == (["http://board:8765"], "it's longer")
    assert Path("it's longer.toml").exists() == bool(rules)


def test_python_asks_for_objects_by_name_and_for_the_rest_by_value() -> None:
    settings = SearchSettings(("jetson",), "arrays-1", method="random", budget=8.0, rules={"trials": 30})
    asked: dict[str, Any] = {}
    held = {"DATA": object(), "METHOD": object()}
    call = call_of(settings, (), "a-longer", ("data", "method"))
    eval(call.removeprefix("edgenas."), {"search": lambda **words: asked.update(words), **held})
    assert asked == {
        "target": ("jetson",), "data": held["DATA"], "method": held["METHOD"], "budget": 8.0, "rules": {"trials": 30},
        "study": "a-longer",
    }  # fmt: skip
    own_task = msgspec.structs.replace(settings, task="mine")
    assert "task" not in call_of(own_task, (), "a", ("data",))  # `edgenas.search` refuses it beside a task
    assert "task='mine'" in call_of(own_task, (), "a", ())


def test_a_target_is_asked_for_as_it_was_written(tmp_path: Path) -> None:
    file = str(tmp_path / "own.toml")
    write_profile(profile_from_name("jetson-nano-4gb"), Path(file))
    settings = SearchSettings(target=(file,), method="random")
    profiles = tuple(profile_from_name(name) for name in settings.target)
    asked = as_asked(settings, profiles)
    assert asked.target[0].startswith("jetson-nano-4gb ")  # which no command line takes
    known = studied(plan(asked=asked, targets=settings.target))
    assert settings_of(known).target == (file,)
    before = studied(plan(asked=asked))  # an older version kept no more than the profile's name
    assert settings_of(before).target == ("jetson-nano-4gb.toml",)
    assert settings_of(studied(plan())).target == ("jetson-nano-4gb",)


def test_a_study_without_a_plan_is_asked_for_by_its_record() -> None:
    limits = Limits(latency_ms=1.5, params=7, size_mb=2.0, memory_mb=3.0, energy_mj=4.0, margin=True, mmacs=5.0)
    record = msgspec.structs.replace(studied(plan()), plan=msgspec.Raw(b"{}"), limits=limits, seed=9, data="x")
    settings = settings_of(record)
    assert settings.limits == limits
    assert (settings.seed, settings.data, settings.method, settings.target) == (9, "x", "gnas", record.profiles)


def test_what_goes_on_names_the_board_and_is_python_where_objects_are_needed(tmp_path: Path) -> None:
    folder = tmp_path / "a study"
    shown = shlex.quote(str(folder))
    assert resuming(studied(plan()), folder) == f"edgenas search --resume {shown}"
    assert resuming(studied(plan()), folder, ("http://b:1",)) == f"edgenas search --resume {shown}"
    boards = studied(plan(boards=True))
    assert resuming(boards, folder) == f"edgenas search --resume {shown} --board http://BOARD:8765 --token-file TOKEN"
    assert resuming(boards, folder, ("ssh://b",)) == f"edgenas search --resume {shown} --board ssh://b"
    line = f"edgenas search --resume {shown} --board ssh://a --board https://b:1"
    assert resuming(boards, folder, ("ssh://a", "https://b:1")) == f"{line} --token-file TOKEN"
    assert resuming(boards, folder, ("ssh://a", "https://b:1"), "a token") == f"{line} --token-file 'a token'"
    assert resuming(boards, folder, ("ssh://a", "https://b:1"), None) == line  # the token is in the environment
    objects = studied(plan(boards=True, objects=("space",)))
    at = "board=['http://b:1'], token_file='TOKEN', space=SPACE"
    assert resuming(objects, folder, ("http://b:1",)) == f"edgenas.open_study({str(folder)!r}).go_on({at})"
    at = "board=['ssh://b'], space=SPACE"
    assert resuming(objects, folder, ("ssh://b",)) == f"edgenas.open_study({str(folder)!r}).go_on({at})"


def test_arrays_are_an_object_for_a_new_search_and_none_for_the_study_that_keeps_them(tmp_path: Path) -> None:
    record = studied(plan(objects=("method",)))
    assert objects_in(record, tmp_path) == ("method",)
    (tmp_path / "data.npz").touch()
    assert objects_in(record, tmp_path) == ("data", "method")
    assert objects_in(studied(plan(objects=("data",))), tmp_path) == ("data",)


OF_TRAINING: dict[str, Any] = {
    "seeds": 2,
    "epochs": 9,
    "recipe": "paper",
    "budget": 1.5,
    "teacher": "big net.onnx",
    "processes": 2,
    "teacher_views": 5,
    "all_images": True,
    "teacher_pixels": Pixels((123.7, 116.3, 103.5), (58.0,)),
    "final_width": "macro",
}
# what is on the training's own record, is asked for apart, or does not decide what is trained
NOT_OF_IT = {
    "trial", "data", "data_dir", "from_trained", "workers", "started", "start", "start_pixels", "checkpoint_s",
}  # fmt: skip


def test_every_flag_of_a_training_is_known_or_left_out_on_purpose() -> None:
    assert set(TrainingAsked.__dataclass_fields__) == {*OF_TRAINING} | NOT_OF_IT


@pytest.mark.parametrize("name", OF_TRAINING)
def test_each_flag_of_a_training_is_asked_for_again(name: str) -> None:
    more = {"teacher": "t"} if name.startswith("teacher_") else {}
    values = {**more, name: OF_TRAINING[name]}
    words = list(flags_of_training(TrainingAsked(**values)))
    params = command("train").make_context("train", words).params
    if name == "teacher_pixels":
        assert pixels_from_text(params["teacher_mean"], params["teacher_std"]) == OF_TRAINING[name]
    else:
        assert params[name] == OF_TRAINING[name]
    usual = command("train").make_context("train", []).params
    changed = {key for key in params if params[key] != usual[key]}
    assert changed == {*more} | ({"teacher_mean", "teacher_std"} if name == "teacher_pixels" else {name})
