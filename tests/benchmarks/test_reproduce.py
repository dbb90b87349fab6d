"""docs/reproduce.md is made from one list, whose commands exist; a rehearsal runs a command to its last line, once."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer

from benchmarks.reproduce import HOURS, REHEARSALS, main, merged, prepared, rehearsed
from benchmarks.reproduce_page import PAGE, page, span
from benchmarks.reproductions import PAPERS, SETTINGS, Command, Setting, with_flags
from edgenas.architectures.published import PUBLISHED
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.tasks import TaskSettings, load_task
from tests.cli.edgenas import ENVIRONMENT
from tests.docs.blocks import commands

EVERY = [(setting, command) for setting in SETTINGS for command in setting.commands]
TWICE = Setting("twice", "GNAS", "", "", (), ())


def known() -> list[dict[str, dict[str, object]]]:
    return [json.loads(path.read_text())["commands"] for path in (HOURS, REHEARSALS)]


def test_the_page_s_commands_are_the_list_s() -> None:
    assert list(commands(PAGE)) == [command.arguments for _, command in EVERY]


def test_the_page_s_made_parts_are_what_is_made() -> None:
    assert page(PAGE.read_text(), *known()) == PAGE.read_text()  # type: ignore[arg-type]


def test_a_page_that_lacks_a_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="the page has no <!-- made: sum -->"):
        page("text", {}, {})


@pytest.mark.parametrize(("setting", "command"), EVERY, ids=[setting.key(command) for setting, command in EVERY])
def test_a_command_and_its_rehearsal_are_taken_by_the_command_line(setting: Setting, command: Command) -> None:
    for arguments in (command.arguments, command.rehearsed()):
        group = typer.main.get_command(app)
        group.commands[arguments[0]].make_context("edgenas", arguments[1:])  # type: ignore[attr-defined]


def test_names_are_unique_and_every_training_has_hours() -> None:
    names = [setting.key(command) for setting, command in EVERY]
    assert len(set(names)) == len(names)
    hours, _ = known()
    trains = {setting.key(command) for setting, command in EVERY if command.arguments[0] != "design"}
    assert set(hours) == trains
    assert all(0 < least <= most for least, most in hours.values())  # type: ignore[misc]


def test_every_paper_has_its_data_and_its_networks() -> None:
    assert PAPERS == ("GNAS", "TRG-NAS", "NSE", "NAL")
    typed = {argument for _, command in EVERY for argument in command.arguments}
    assert {"gnas-cifar10-t", "gnas-cifar10-m", "trgnas-cifar10", "nsenet", "nsenet-27", "nsenet-gpu"} <= typed & set(
        PUBLISHED
    )
    assert {setting.data for setting in SETTINGS} == {
        "cifar10", "cifar100", "emnist", "fashion-mnist", "kmnist", "imagenet",
    }  # fmt: skip


def test_every_command_was_rehearsed_as_the_list_is_now() -> None:
    _, ran = known()
    typed = {setting.key(command): shlex.join(["edgenas", *command.rehearsed()]) for setting, command in EVERY}
    assert {name: each["command"] for name, each in ran.items()} == typed
    assert all(each["last_line"] and each["seconds"] and each["device"] and each["date"] for each in ran.values())


def test_flags_take_their_place_or_come_behind() -> None:
    typed = ["train", "x", "--seeds", "3", "--all-images"]
    assert with_flags(typed, {"--seeds": "1", "--epochs": "6", "": "rules.toml"}) == [
        "train", "x", "--seeds", "1", "--all-images", "--epochs", "6", "rules.toml",
    ]  # fmt: skip
    assert typed[3] == "3"


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (None, "- (seconds on a CPU)"),
        ((0.01, 0.099), "under 0.1"),
        ((0.05, 0.1), "0.05 to 0.1"),
        ((3.14, 12.3), "3.1 to 12"),
        ((89.4, 347.0), "89 to 350"),
    ],
)
def test_hours_in_words(hours: tuple[float, float] | None, words: str) -> None:
    assert span(hours) == words


def test_a_command_is_run_once_and_again_where_it_is_another(tmp_path: Path) -> None:
    first, other = (Command("one", "", f"edgenas describe {name}") for name in ("gnas-cifar10-t", "gnas-kmnist-t"))
    found = rehearsed(TWICE, first, tmp_path, ENVIRONMENT)
    assert found["command"] == "edgenas describe gnas-cifar10-t"
    assert found["last_line"]
    done = tmp_path / "twice-one.json"
    done.write_text(json.dumps(found | {"seconds": -1}))
    assert rehearsed(TWICE, first, tmp_path, ENVIRONMENT)["seconds"] == -1
    again = rehearsed(TWICE, other, tmp_path, ENVIRONMENT)
    assert again["seconds"] > 0
    assert again["command"] == "edgenas describe gnas-kmnist-t"


def test_a_command_that_fails_is_named_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(EdgenasError, match=r"twice/one ended with exit code 1: .*twice-one.log"):
        rehearsed(TWICE, Command("one", "", "edgenas describe gnas-none"), tmp_path, ENVIRONMENT)
    assert "gnas-none" in (tmp_path / "twice-one.log").read_text()
    assert not (tmp_path / "twice-one.json").exists()


def test_what_is_on_record_stays_beside_what_was_run_but_for_what_is_no_longer_asked(tmp_path: Path) -> None:
    path, (first, second) = tmp_path / "r.json", (setting.key(command) for setting, command in EVERY[:2])
    path.write_text(json.dumps({"commands": {second: 2, "gone/search": 3}}))
    assert list(merged(path, {first: 1})["commands"].items()) == [(first, 1), (second, 2)]


def test_an_unknown_name_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "gnas-none"]) == 1
    assert "'gnas-none' is not on the page: gnas-fashion-t" in capsys.readouterr().err


def test_the_smallest_command_of_the_page_is_rehearsed(tmp_path: Path) -> None:
    (setting,) = (setting for setting in SETTINGS if setting.name == "nal-cifar10")
    found = rehearsed(setting, setting.commands[0], tmp_path, ENVIRONMENT)
    assert found["command"] == "edgenas design --space darts --n 1 --out designs-cifar10"
    assert (tmp_path / "designs-cifar10" / "design-0001.json").exists()


@pytest.mark.parametrize(
    ("name", "channels", "classes"),
    [
        ("fashion-mnist", 1, 10),
        ("kmnist", 1, 10),
        ("emnist", 1, 47),
        ("cifar10", 3, 10),
        ("cifar100", 3, 100),
        ("imagenet", 3, 2),
    ],
)
def test_drawn_data_are_read_as_the_published_ones_are(
    name: str, channels: int, classes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "rehearsals"
    prepared(folder)
    data = str(folder / name) if name == "imagenet" else name
    task = load_task(TaskSettings(data, data_dir=str(folder / "data")))
    assert (task.preprocessing.channels, task.head.count) == (channels, classes)  # type: ignore[union-attr]
    assert len(task.test) >= 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_paper_s_setting_is_rehearsed_to_its_last_line_and_not_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["rehearse", "nsenet-27", "--folder", str(tmp_path / "r"), "--out", str(tmp_path / "r.json")]
    assert main(asked) == 0
    ran = json.loads((tmp_path / "r.json").read_text())["commands"]
    assert list(ran) == ["nsenet-27/network", "nsenet-27/network-all-images"]
    study = tmp_path / "r" / "studies" / "nsenet-27-published"
    written = study.stat().st_mtime_ns
    capsys.readouterr()
    assert main(asked) == 0
    assert capsys.readouterr().err == ""
    assert study.stat().st_mtime_ns == written
