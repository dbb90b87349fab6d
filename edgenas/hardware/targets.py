"""The devices that EdgeNAS knows, as records: behind `edgenas targets` and `edgenas.targets`."""

from __future__ import annotations

from typing import Any

import msgspec

from edgenas.hardware.profile import all_profiles, trust
from edgenas.records import Calibration, Confidence, HardwareProfile, Precision, Record


class Target(Record, frozen=True):
    """One target, how far its latencies can be trusted (`trust`: in words), and its report card without fitted numbers."""

    name: str
    aliases: tuple[str, ...]
    device: str
    runtime: str
    runtime_version: str
    precision: Precision  # the default one
    precisions: tuple[Precision, ...]
    confidence: Confidence
    error_band: float | None
    trust: str
    calibration: dict[str, Any] | None


def targets() -> tuple[Target, ...]:
    """Every shipped target, by name."""
    return tuple(target_from_profile(profile) for profile in all_profiles())


def target_from_profile(profile: HardwareProfile) -> Target:
    """What a person wants to know of a profile before choosing it."""
    return Target(
        name=profile.name,
        aliases=profile.aliases,
        device=profile.device,
        runtime=profile.runtime,
        runtime_version=profile.runtime_version,
        precision=profile.precision,
        precisions=profile.precisions,
        confidence=profile.confidence,
        error_band=profile.error_band,
        trust=trust(profile),
        calibration=None if profile.calibration is None else card_of(profile.calibration),
    )


def card_of(calibration: Calibration) -> dict[str, Any]:
    """The calibration without its parameters."""
    return {key: value for key, value in msgspec.to_builtins(calibration).items() if key != "parameters"}
