"""Profiles: found by name, alias and path; strictly read; every figure has a source."""

import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import (
    all_profiles,
    precision_of,
    profile_from_file,
    profile_from_name,
    relative_of,
    resolved,
    toml_from_profile,
    trust,
    write_profile,
)
from edgenas.records import Classes

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


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("jetson-orin-nano-8bg", "did you mean jetson-orin-nano-8gb"),
        ("my-orin", "`edgenas targets` lists them; leave it out for the bare datasheet"),
        ("mine.toml", "`edgenas targets` lists them"),
        ("jetson-orin-nx-8gb", "did you mean jetson-orin-nx-16gb"),  # carries efficiencies itself
        ("host-cpu", "`edgenas targets` lists them"),
    ],
)
def test_a_profile_that_carries_from_what_nobody_measured_is_refused(tmp_path: Path, named: str, said: str) -> None:
    own = msgspec.structs.replace(
        profile_from_name("jetson-orin-nano-4gb"), name="mine", aliases=(), carried_from=named
    )
    write_profile(own, tmp_path / "mine.toml")
    with pytest.raises(
        EdgenasError, match=f"carried_from of mine is '{named}', which is no calibrated .*{said}"
    ) as caught:
        profile_from_file(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)
    with pytest.raises(EdgenasError, match="carried_from of mine"):  # a record of Python's
        latency_from_workload(own, chain(8, 4, (0,) * 4, (3,) * 4, Classes(10)))


def test_a_profile_carries_from_a_calibrated_target_by_name_or_alias(tmp_path: Path) -> None:
    own = msgspec.structs.replace(profile_from_name("jetson-orin-nano-4gb"), name="mine", aliases=())
    for named, measured in (
        ("jetson", "jetson-orin-nano-8gb-super"),
        ("jetson-nano-4gb", "jetson-nano-4gb"),
        ("", None),
    ):
        write_profile(msgspec.structs.replace(own, carried_from=named), tmp_path / "mine.toml")
        relative = relative_of(profile_from_file(tmp_path / "mine.toml"))
        assert (relative.name if relative else None) == measured


def test_a_calibrated_profile_of_this_machine_is_not_named_as_what_is_measured(tmp_path: Path) -> None:
    """By that name a search measures every candidate, whatever was fitted."""
    host, fitted = profile_from_name("host-cpu"), profile_from_name("x86-avx512").calibration
    write_profile(host, tmp_path / "mine.toml")
    assert profile_from_file(tmp_path / "mine.toml") == host
    write_profile(msgspec.structs.replace(host, calibration=fitted), tmp_path / "mine.toml")
    with pytest.raises(EdgenasError, match=r"mine\.toml: by the name host-cpu .* name it host-cpu-calibrated"):
        profile_from_file(tmp_path / "mine.toml")


def test_a_fit_that_is_an_estimate_is_not_called_calibrated() -> None:
    known = profile_from_name("x86-avx512")
    assert known.calibration is not None
    assert trust(known).startswith("calibrated on 38 measured networks (held-out error: ")
    few = msgspec.structs.replace(known, confidence="estimate")
    assert trust(few).startswith("an estimate from 38 measured networks (held-out error: ")
    card = msgspec.structs.replace(known.calibration, n=3, held_out=0, mape=None, judged={})
    none = msgspec.structs.replace(few, calibration=card)
    assert trust(none) == "an estimate from 3 measured networks (no held-out rows)"


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
