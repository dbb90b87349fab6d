"""`edgenas targets` lists devices, tells of one what a person asks, and writes its profile as a file to begin from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgenas.hardware.profile import all_profiles, profile_from_file, profile_from_name
from tests.cli.edgenas import edgenas, refusal
from tests.cli.terminal import shown


def test_one_target_is_a_page_with_every_figures_source_and_not_the_fitted_numbers(tmp_path: Path) -> None:
    done = edgenas("targets", "jetson", folder=tmp_path)
    lines = done.stdout.splitlines()
    profile = profile_from_name("jetson")
    assert lines[0] == "jetson-orin-nano-8gb-super (jetson): NVIDIA Jetson Orin Nano 8GB, Super mode"
    assert "  precision  fp16 (or fp32, int8, tf32 by --precision)" in lines
    assert len(lines) < 50
    for figure, source in profile.sources.items():
        assert any(line.startswith(f"{figure} ") for line in lines)
        assert source in done.stdout
    assert profile.calibration is not None
    held = profile.calibration.judged["fp16 whole"]
    row = next(line.split() for line in lines if line.startswith("whole networks  fp16"))
    assert row[3] == str(held.networks)
    assert row[4] == f"{100 * held.error:.1f}"
    for one in profile.calibration.evidence:
        assert done.stdout.count(one.source) == 1
    assert "prices" not in done.stdout
    assert done.stderr == "next: edgenas search --target jetson --data FOLDER --max-latency-ms MS --budget 10\n"


@pytest.mark.parametrize("name", [profile.name for profile in all_profiles()])
def test_the_page_of_every_target_is_made(name: str) -> None:
    from edgenas.cli.target_page import page

    profile = profile_from_name(name)
    text = page(profile)
    borrowed = profile.carried_from if profile.calibration is None else ""
    assert text.startswith(name)
    assert ("kernels as efficient as those measured on" in text) == bool(borrowed)
    assert ("held out" in text) == bool(profile.calibration and profile.calibration.judged)


def test_the_profile_as_a_file_is_read_back_as_the_same_target(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(edgenas("targets", "jetson-nano", "--toml", folder=tmp_path).stdout)
    assert profile_from_file(file) == profile_from_name("jetson-nano")


@pytest.mark.parametrize("arguments", [["--toml"], ["jetson", "--toml", "--json"]])
def test_a_file_of_no_target_or_as_json_is_refused(arguments: list[str]) -> None:
    assert refusal("targets", *arguments) == "--toml writes the profile of one target: name it, without --json"


def test_json_is_the_whole_profile(tmp_path: Path) -> None:
    (told,) = json.loads(edgenas("targets", "jetson", "--json", folder=tmp_path).stdout)
    assert told["calibration"]["parameters"]["kernels"]["prices"]


def test_a_terminal_of_80_columns_breaks_no_word(tmp_path: Path) -> None:
    for arguments in ((), ("jetson",)):
        lines = shown("targets", *arguments, folder=tmp_path)
        wide = [line for line in lines if len(line) > 80]
        assert all(line.startswith("next: ") or len(line.split()) == 1 for line in wide)
        piped = edgenas("targets", *arguments, folder=tmp_path).stdout
        assert " ".join(piped.split()) in " ".join(" ".join(lines).split())
    assert max(map(len, piped.splitlines())) > 100  # what is piped on stays in its lines
