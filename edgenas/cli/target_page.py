"""One target as a person reads it: what it is, how far its latencies can be trusted, where every figure comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from edgenas.cli.output import table
from edgenas.hardware.profile import KINDS, trust
from edgenas.records import Calibration, HardwareProfile

UNITS = {"bandwidth_gb_s": "GB/s", "memory_mb": "MB", "usable_memory_mb": "MB", "launch_overhead_us": "us"}


def page(profile: HardwareProfile) -> str:
    """Everything that is known of the profile but its fitted numbers."""
    parts = ["\n".join(_head(profile)), _figures(profile)]
    if profile.calibration is not None:
        parts += [_judged(profile.calibration), _evidence(profile.calibration)]
    return "\n\n".join(part for part in parts if part)


def _head(profile: HardwareProfile) -> Iterable[str]:
    alias = f" ({', '.join(profile.aliases)})" if profile.aliases else ""
    yield f"{profile.name}{alias}: {profile.device}"
    yield f"  runtime    {profile.runtime} {profile.runtime_version}, ONNX opset {profile.onnx_opset}"
    others = [one for one in profile.precisions if one != profile.precision]
    also = f" (or {', '.join(others)} by --precision)" if others else ""
    yield f"  precision  {profile.precision}{also}"
    if profile.power_mode:
        modes = [one.name for one in profile.power_modes if one.name != profile.power_mode]
        yield f"  power      {profile.power_mode}" + (f" (not in its modes {', '.join(modes)})" if modes else "")
    yield f"  latencies  {trust(profile)}"
    if profile.carried_from and profile.calibration is None:
        yield f"             kernels as efficient as those measured on {profile.carried_from}"
    if profile.notes:
        yield f"  note       {profile.notes}"


def _figures(profile: HardwareProfile) -> str:
    """Each figure with its grade and source; what has none says so."""
    peaks = {f"peaks.{key}": (value, "TOPS" if key == "int8" else "TFLOP/s") for key, value in profile.peaks.items()}
    others = {key: (getattr(profile, key), unit) for key, unit in UNITS.items()}
    rows = [
        (name, f"{value:g} {unit}", profile.sources.get(name, "no source"))
        for name, (value, unit) in (peaks | others).items()
        if value is not None
    ]
    return table(("figure", "value", "source"), rows) if rows else ""


def _judged(card: Calibration) -> str:
    """Predictions against measurements of networks that the fit never saw."""
    rows = []
    for name, held in card.judged.items():
        precision, _, kind = name.partition(" ")
        interval = f"/ {held.factor:.2f} to x {held.factor:.2f}"
        rows.append((KINDS.get(kind, kind), precision, str(held.networks), f"{100 * held.error:.1f} %", interval))
    return table(("held out", "precision", "networks", "error", "9 of 10 lie within"), rows) if rows else ""


def _evidence(card: Calibration) -> str:
    """Where others published the measurements; a source once, however many rows it has."""
    known: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in card.evidence:
        known[one.source, one.what].append(f"{one.networks} in {one.precision}")
    if not known:
        return f"fitted on: {card.source}, {card.date}"
    lines = [
        f"  {source}: {', '.join(networks)}" + f"; {what}" * bool(what) for (source, what), networks in known.items()
    ]
    return "\n".join([f"fitted ({card.date}) on networks whose measurements are in:", *lines])
