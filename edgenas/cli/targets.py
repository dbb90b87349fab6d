"""`edgenas targets`: the devices that EdgeNAS knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.output import emit, table

if TYPE_CHECKING:
    from edgenas.records import Calibration


def targets(
    name: str | None = typer.Argument(None, help="One target, with all its figures and where they come from."),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """List the target devices, how far their latencies can be trusted, and the source of every figure.

    Example: edgenas targets jetson-nano
    """
    import msgspec

    from edgenas.hardware.profile import UNSUPPORTED, all_profiles, profile_from_name, toml_from_profile, trust

    if name is not None:
        profile = profile_from_name(name)
        emit([msgspec.to_builtins(profile)], as_json=json, text=toml_from_profile(profile))
        return
    profiles = all_profiles()
    keys = ("name", "aliases", "runtime", "runtime_version", "precision", "precisions", "confidence", "error_band")
    document: list[dict[str, Any]] = [
        {key: getattr(profile, key) for key in keys} | {"calibration": report_card(profile.calibration)}
        for profile in profiles
    ]
    rows = [
        (
            p.name,
            ", ".join(p.aliases),
            f"{p.runtime} {p.runtime_version}",
            "/".join(p.precisions),
            p.confidence,
            trust(p),
        )
        for p in profiles
    ]
    text = table(("target", "alias", "runtime", "precision", "confidence", "latency"), rows)
    text += "".join(f"\n{unsupported}: not supported, {reason}" for unsupported, reason in UNSUPPORTED.items())
    emit(document, as_json=json, text=text)


def report_card(calibration: Calibration | None) -> dict[str, Any] | None:
    """The calibration without its parameters."""
    import msgspec

    if calibration is None:
        return None
    return {key: value for key, value in msgspec.to_builtins(calibration).items() if key != "parameters"}
