"""Fixed sets of a flag are listed by `--help`, complete in a shell, and are those of what they set."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from edgenas.architectures.cell_space import Family
from edgenas.cli import options
from edgenas.cli.main import app
from edgenas.methods.settings import SearchSettings
from tests.cli.edgenas import edgenas, refusal

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


# Numbers that what a command calls refuses, in its own words; the other ones have a range that the command line knows.
REFUSED_LATER = {
    *(("search", name) for name in SearchSettings.__struct_fields__),
    *(("design", name) for name in ("max_latency_ms", "max_params", "max_mmacs")),
    *(("fit", name) for name in ("max_latency_ms", "max_params", "max_mmacs")),
    *(("serve", name) for name in ("port", "queue", "deadline_s", "body_mb", "stop_grace_s", "threshold")),
    *(("export", name) for name in ("trial", "max_drop", "batch", "opset")),
    *(("train", name) for name in ("trial", "budget", "checkpoint_s")),
    *(("space", name) for name in ("channels", "classes")),
    *(("describe", "trial"), ("verify", "trial"), ("calibrate", "far")),
}


def commands(group: Any) -> Iterator[Any]:
    """The functions of all commands, those of groups too."""
    yield from (inspect.unwrap(command.callback) for command in group.registered_commands)
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance)


def test_every_number_of_the_command_line_has_a_range() -> None:
    numbers = {int, float, list[int]}
    free = {
        (command.__name__, name)
        for command in commands(app)
        for name, hint in get_type_hints(command).items()
        if numbers & {hint, *get_args(hint)} and inspect.signature(command).parameters[name].default.min is None
    }
    assert free <= REFUSED_LATER


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
@pytest.mark.parametrize(
    "command",
    [
        ("design", "--n", "1"),
        ("data", "digits"),
        ("evaluate", "bundle", "--data", "digits"),
        ("faces", "eval", "--model", "a.onnx", "--data", "people"),
        ("faces", "calibrate", "--model", "bundle", "--data", "people"),
        ("nal", "fit", "--table", "t.npz", "--out", "x"),
        ("calibrate", "--board", "host-cpu", "--out", "x.toml"),
        ("search", "--data", "digits"),
    ],
)
def test_a_seed_that_seeds_nothing_is_refused_by_every_command(
    command: tuple[str, ...], seed: str, tmp_path: Path
) -> None:
    done = edgenas(*command, f"--seed={seed}", folder=tmp_path)
    assert done.returncode in (1, 2)
    assert "--seed" in done.stderr
    assert not list(tmp_path.iterdir())


def test_open_sets_are_completed(tmp_path: Any) -> None:
    assert {"gnas", "trgnas", "nse", "nal", "random"} <= set(options.method_names())
    assert {"classification", "faces"} <= set(options.task_names())
    assert {"chain", "fbnet", "darts"} <= set(options.space_names())
    assert {"jetson", "raspberry-pi-5"} <= set(options.target_names())


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            "data --cache --image-size 64",
            "--image-size says how images are read, and with --cache or --clear-cache none are",
        ),
        ("data --clear-cache --seed 1", "--seed says how images are read, and with --cache or --clear-cache none are"),
        ("data --cache --fit pad", "--fit says how images are read"),
        ("data --cache --skip-damaged", "--skip-damaged says how images are read"),
        ("data --cache --data-dir x", "--data-dir says how images are read"),
        ("design --n 1 --json --json-lines", "--json prints one document, --json-lines a line for every cell"),
        ("space --image-size 64", "--image-size is for a space, such as chain, and none is named"),
        ("space studies/one --channels 1", "--channels is for a space"),
        ("space studies/one --classes 3", "--classes is for a space"),
        ("space studies/one --preset m", "--preset is for a space"),
        ("space --target raspberry-pi-5", "--target is for a space"),
        ("search --token-file token --data no/such", "--token-file was given without --board URL: leave it out"),
        ("search --token-file token --board ssh://board", "--token-file was given, and ssh:// has keys of its own"),
    ],
)
def test_a_flag_that_would_decide_nothing_is_refused(
    command: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(*command.split()).startswith(line)
