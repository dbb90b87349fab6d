"""`edgenas bundle verify`: is a bundle whole and safe?"""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.help import Group, add
from edgenas.cli.onward import serve_commands
from edgenas.cli.output import emit, say_next

bundle = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None)


@bundle.callback()
def group() -> None:
    """Check that a bundle is whole and safe.

    Example: edgenas bundle verify bundle
    """


def verify(
    folder: Path = typer.Argument(..., help="A folder that `edgenas export --out` wrote."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Refuse a bundle that was changed or is unsafe: one other byte, a missing file, a path out of the folder.

    Example: edgenas bundle verify bundle
    """
    from edgenas.bundle import read_bundle

    manifest = read_bundle(folder).manifest
    document = {
        "bundle": str(folder),
        "valid": True,
        "name": manifest.name,
        "task": manifest.task,
        "fingerprint": manifest.fingerprint,
        "precisions": sorted(manifest.models),
        "chosen_precision": manifest.chosen_precision,
        "files": manifest.files,
        "sha256": manifest.sha256,
    }
    text = f"{folder}: {len(manifest.files)} files and the manifest are as they were written; nothing unsafe in them"
    emit(document, as_json=as_json, text=text)
    if not as_json:
        say_next(*serve_commands(folder, manifest.profile))


add(bundle, verify)
