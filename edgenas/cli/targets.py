"""`edgenas targets`: the devices that EdgeNAS knows."""

from __future__ import annotations

import typer

from edgenas.cli.output import emit, say_next, table


def targets(
    name: str | None = typer.Argument(None, help="One target, with all its figures and where they come from."),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """List the target devices: how far their latencies can be trusted, and the source of every figure.

    Example: edgenas targets jetson-nano
    """
    import msgspec

    from edgenas.hardware.profile import UNSUPPORTED, profile_from_name, toml_from_profile
    from edgenas.hardware.targets import targets as known

    if name is not None:
        profile = profile_from_name(name)
        emit([msgspec.to_builtins(profile)], as_json=json, text=toml_from_profile(profile))
        return
    found = known()
    rows = [
        (
            one.name,
            ", ".join(one.aliases),
            one.confidence,
            "/".join(one.precisions),
            f"{one.runtime} {one.runtime_version}",
            one.trust,
        )
        for one in found
    ]
    text = table(("target", "alias", "confidence", "precision", "runtime", "latency"), rows)
    text += "".join(f"\n{unsupported}: not supported, {reason}" for unsupported, reason in UNSUPPORTED.items())
    emit(found, as_json=json, text=text)
    if not json:
        say_next("edgenas search --target jetson --data FOLDER --max-latency-ms 2 --budget 10")
