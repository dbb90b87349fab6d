"""`edgenas report`."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.output import emit


def report(
    studies: list[str] | None = typer.Argument(
        None, metavar="[STUDY]...", help="Folders or names; several stand side by side. The newest one if left out."
    ),
    out: Path = typer.Option(Path("report.html"), help="The page to write."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Write one HTML page about a study, readable offline: front, search, chosen network, and how each number was obtained.

    Works while the search runs, too.

    Example: edgenas report studies/digits --out digits.html
    """
    from edgenas.durable import replace_file
    from edgenas.engine.folders import study_folder
    from edgenas.engine.fronts import summary
    from edgenas.report.facts import read_facts
    from edgenas.report.html import html_from_studies

    facts = [read_facts(study_folder(name)) for name in (studies or (None,))]
    page = html_from_studies(facts)
    replace_file(out, page.encode())
    document = {
        "report": str(out),
        "size_mb": round(out.stat().st_size / 1e6, 3),
        "studies": [summary(f.study, str(f.folder), f.read, f.choice, f.seconds) for f in facts],
    }
    emit(document, as_json=as_json, text=f"{out} ({document['size_mb']} MB): open it in a browser")
