"""Profiles: found by name, alias and path; strictly read; every figure has a source."""

import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.profile import (
    all_profiles,
    precision_of,
    profile_from_file,
    profile_from_name,
    resolved,
    toml_from_profile,
    write_profile,
)

ROOT = Path(__file__).parents[2]


def test_jetson_stands_for_the_orin_nano_super_and_says_so() -> None:
    profile = profile_from_name("jetson")
    assert profile.name == "jetson-orin-nano-8gb-super"
    assert resolved("jetson", profile).startswith("jetson = jetson-orin-nano-8gb-super: ")


def test_every_name_and_alias_is_unique_and_is_its_file_s_name() -> None:
    names = [name for profile in all_profiles() for name in (profile.name, *profile.aliases)]
    assert len(names) == len(set(names)) > 20
    assert {profile.name for profile in all_profiles()} == {path.stem for path in (ROOT / "profiles").glob("*.toml")}


@pytest.mark.parametrize("profile", all_profiles(), ids=lambda profile: profile.name)
def test_every_figure_says_how_it_is_known(profile) -> None:
    figures = [f"peaks.{precision}" for precision in profile.peaks]
    figures += [k for k in ("bandwidth_gb_s", "memory_mb", "launch_overhead_us") if getattr(profile, k) is not None]
    for figure in figures:
        grade = profile.sources[figure].split(":")[0]
        assert grade in ("published", "derived", "recalled"), figure
    if profile.peaks:
        assert set(profile.precisions) == set(profile.peaks)


def test_a_profile_written_as_toml_reads_back_the_same(tmp_path: Path) -> None:
    for profile in all_profiles():
        write_profile(profile, tmp_path / f"{profile.name}.toml")
        assert profile_from_name(str(tmp_path / f"{profile.name}.toml")) == profile


def test_an_unknown_target_names_near_ones() -> None:
    with pytest.raises(EdgenasError, match=r"jetson-orin-nan0.*jetson-orin-nano-8gb"):
        profile_from_name("jetson-orin-nan0")


def test_the_coral_edge_tpu_is_refused_with_the_reason() -> None:
    with pytest.raises(EdgenasError, match="no path from ONNX"):
        profile_from_name("coral-edge-tpu")


def test_a_precision_that_the_device_lacks_is_an_error_that_lists_its_own() -> None:
    nano = profile_from_name("jetson-nano")
    assert precision_of(nano, None) == "fp32"
    with pytest.raises(EdgenasError, match="no int8: choose --precision fp32 or fp16"):
        precision_of(nano, "int8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("precision = 'fp64'\n", "fp64"),
        ("colour = 'red'\n", "colour"),
        ("name = \n", "not valid TOML"),
        ("bandwidth_gb_s = -1\n", "must be positive"),
    ],
)
def test_a_broken_profile_is_one_line(tmp_path: Path, change: str, message: str) -> None:
    key = change.split(" ")[0]
    lines = toml_from_profile(profile_from_name("jetson-nano")).splitlines(keepends=True)
    path = tmp_path / "mine.toml"
    path.write_text(change + "".join(line for line in lines if not line.startswith(f"{key} =")))
    with pytest.raises(EdgenasError, match=message) as caught:
        profile_from_file(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(EdgenasError, match=r"nowhere\.toml"):
        profile_from_name("nowhere.toml")


@pytest.mark.slow
def test_a_wheel_carries_the_profiles_inside_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=ROOT, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    script = (
        "from edgenas.hardware import profile as p;"
        "print(p.profiles_folder(), len(p.all_profiles()), p.profile_from_name('jetson').name)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    folder, count, name = told.stdout.split()
    assert folder == str(tmp_path / "site" / "edgenas" / "profiles"), told.stderr
    assert int(count) == len(all_profiles())
    assert name == "jetson-orin-nano-8gb-super"


def test_profiles_are_records_of_fitted_numbers_only() -> None:
    for profile in all_profiles():
        assert len(msgspec.json.encode(profile)) < 20_000
