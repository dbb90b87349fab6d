"""`edgenas targets`: the devices that EdgeNAS knows."""

from __future__ import annotations

import shlex

import typer

from edgenas.cli.output import BOUNDED, emit, say_next, table, write_result
from edgenas.errors import EdgenasError


def targets(
    name: str | None = typer.Argument(None, help="One target, with all its figures and where they come from."),
    toml: bool = typer.Option(False, "--toml", help="The named target's profile as a file, to begin your own from."),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """List the target devices: how far their latencies can be trusted, and the source of every figure.

    Example: edgenas targets jetson-nano

    Example: edgenas targets jetson-nano --toml > my-nano.toml
    """
    import msgspec

    from edgenas.cli.target_page import page
    from edgenas.hardware.profile import UNSUPPORTED, profile_from_name, toml_from_profile
    from edgenas.hardware.targets import targets as known

    if toml and (json or name is None):
        raise EdgenasError("--toml writes the profile of one target: name it, without --json")
    if name is not None:
        profile = profile_from_name(name)
        if toml:
            write_result(toml_from_profile(profile))
            return
        emit([msgspec.to_builtins(profile)], as_json=json, text=page(profile))
        if not json:
            say_next(f"edgenas search --target {shlex.quote(name)} --data FOLDER {BOUNDED}")
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
        say_next("edgenas targets jetson", f"edgenas search --target jetson --data FOLDER {BOUNDED}")
