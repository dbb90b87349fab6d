"""A device that nobody measured is never surer of a latency than the measured one whose prices it carries."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.architectures.published import published_architecture
from edgenas.hardware.profile import all_profiles, profile_from_name, write_profile
from edgenas.records import HardwareProfile
from tests.cli.edgenas import edgenas_json

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
WHOLE = msgspec.json.encode(published_architecture("mobilenet-v2")).decode()
NETWORKS = {  # name: network, images per run (64: far more work than any network that was calibrated)
    "whole": (WHOLE, 1),
    "large": (WHOLE, 64),
    "small": ("fbnet:" + "3" * 22, 1),
    "chain": ("convnet_L4_F32_K3x3_W32", 1),
    "cell": (CELL, 1),
}
CARRIED = [profile for profile in all_profiles() if profile.carried_from and profile.calibration is None]
PAIRS = [(profile, precision) for profile in CARRIED for precision in profile.precisions]


def predicted(folder: Path, target: str, *more: str) -> dict[str, dict[str, Any]]:
    """Every network of above as `edgenas predict` tells it."""
    with (folder / "networks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("architecture", "batch"), *NETWORKS.values()])
    found = edgenas_json("predict", "networks.csv", "--target", target, *more, folder=folder)
    return dict(zip(NETWORKS, found, strict=True))


def factor(one: dict[str, Any]) -> float:
    return float(one["high"] / one["ms"])


def test_the_shipped_carried_profiles_are_those_that_this_file_is_about() -> None:
    """At least the five boards and the datasheet GPUs of today; each carries from a profile that was measured."""
    assert {"jetson-orin-nano-4gb", "jetson-orin-nx-8gb", "jetson-agx-orin-32gb", "raspberry-pi-zero-2w", "intel-n100",
            "a100", "l4"} <= {profile.name for profile in CARRIED}  # fmt: skip
    assert all(profile_from_name(profile.carried_from).calibration is not None for profile in CARRIED)


@pytest.mark.parametrize(("profile", "precision"), PAIRS, ids=lambda one: getattr(one, "name", one))
def test_a_carried_interval_is_the_relatives_times_its_own_factor(
    profile: HardwareProfile, precision: str, tmp_path: Path
) -> None:
    relative = profile_from_name(profile.carried_from)
    shared = precision in relative.precisions
    ours = predicted(tmp_path, profile.name, "--precision", precision)
    theirs = predicted(tmp_path, relative.name, *(["--precision", precision] if shared else []))
    assert profile.error_band is not None
    own = (1 + profile.error_band) * (
        1 if shared else 2
    )  # a precision that the relative lacks is doubled, as everywhere
    for name, one in ours.items():
        assert factor(one) == pytest.approx(own * factor(theirs[name])), name
        assert one["low"] == pytest.approx(one["ms"] / factor(one))
        assert one["extrapolated"] == (theirs[name]["extrapolated"] or not shared), name
        assert one["origin"] == "datasheet"
    kinds = {name: one["extrapolated"] for name, one in ours.items()}
    assert kinds["small"]  # no relative of a carried profile was ever judged on small images
    unmeasured = precision == "fp32" and relative.precision != "fp32"  # strict FP32 on a Jetson
    assert kinds["whole"] == (unmeasured or not shared)  # and on whole networks all of them were


def test_a_precision_whose_efficiencies_are_carried_is_no_surer_than_there(tmp_path: Path) -> None:
    """Strict FP32 of whole networks: nobody measured it on any board, and an Orin takes the Nano's efficiencies for it."""
    nano = predicted(tmp_path, "jetson-nano-4gb", "--precision", "fp32")
    orin = predicted(tmp_path, "jetson", "--precision", "fp32")
    assert profile_from_name("jetson").carried_from == "jetson-nano-4gb"
    for name, one in orin.items():
        assert factor(one) >= factor(nano[name]) * (1 - 1e-9), name
        assert one["extrapolated"], name
    assert factor(predicted(tmp_path, "jetson")["whole"]) < factor(nano["whole"])  # FP16 was measured there


def test_a_profile_that_carries_nothing_has_its_own_factor_alone(tmp_path: Path) -> None:
    own = msgspec.structs.replace(profile_from_name("jetson-orin-nano-4gb"), name="mine", aliases=(), carried_from="")
    write_profile(own, tmp_path / "mine.toml")
    for one in predicted(tmp_path, "mine.toml").values():
        assert factor(one) == pytest.approx(1.38)
        assert not one["extrapolated"]
    write_profile(msgspec.structs.replace(own, error_band=None), tmp_path / "mine.toml")
    assert all(one["high"] is None for one in predicted(tmp_path, "mine.toml").values())


def test_a_target_says_whose_intervals_it_has() -> None:
    def trust(name: str) -> str:
        (told,) = [one for one in edgenas_json("targets", folder=Path()) if one["name"] == name]
        return str(told["trust"])

    said = "from the datasheet; intervals are those of jetson-orin-nano-8gb, 1.38 times as wide"
    assert trust("jetson-orin-nano-4gb") == said
    assert "times as wide" not in trust("jetson-orin-nano-8gb")
