"""`edgenas report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.onward import say_onward
from edgenas.cli.options import study_names
from edgenas.cli.output import emit, say
from edgenas.errors import EdgenasError

if TYPE_CHECKING:
    from edgenas.report.facts import Facts

PORT = 8010


def report(
    studies: list[str] | None = typer.Argument(
        None,
        metavar="[STUDY]...",
        autocompletion=study_names,
        help="Folders or names; several are compared on one page. The newest one if left out.",
    ),
    out: Path | None = typer.Option(None, help="The page to write. Default: report.html."),
    serve: bool = typer.Option(
        False, "--serve", help="Show the page at 127.0.0.1 instead, fresh while a search runs, until Ctrl-C."
    ),
    port: int | None = typer.Option(
        None, min=0, max=65535, help=f"Port of --serve; 0 = any free one. Default: {PORT}."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Write one HTML page about a study, readable offline.

    It says whether the limit is met and how surely, how good the network is, which one to ship and why, what more budget would
    give, and the next command; then how each number was obtained. Works while the search runs, too.

    Example: edgenas report studies/digits --out digits.html

    Example: edgenas report studies/one studies/two

    Example: edgenas report --serve --port 8010
    """
    from edgenas.engine.folders import study_folder
    from edgenas.report.write import each_once

    if serve and out is not None:
        raise EdgenasError("--serve shows the page, and --out writes it: give one of them")
    if port is not None and not serve:
        raise EdgenasError("--port is where --serve listens: add --serve, or leave it out")
    folders = each_once(study_folder(name, say) for name in (studies or (None,)))
    if serve:
        _serve(folders, PORT if port is None else port, as_json=as_json)
    else:
        _write(folders, out or Path("report.html"), as_json=as_json)


def _write(folders: list[Path], out: Path, *, as_json: bool) -> None:
    from edgenas.report.write import write_report

    facts = write_report(folders, out)
    size = round(out.stat().st_size / 1e6, 3)
    document = {"report": str(out), "size_mb": size, "studies": _summaries(facts)}
    emit(document, as_json=as_json, text=f"{out} ({size} MB): open it in a browser")
    if not as_json:
        for folder in folders:
            say_onward(folder, report=False)


def _serve(folders: list[Path], port: int, *, as_json: bool) -> None:
    from edgenas.report.live import Page, Server

    server = Server(Page(folders), port)
    document = {"url": server.url, "studies": [str(folder) for folder in folders]}
    text = f"{server.url}: open it in a browser; Ctrl-C ends it"
    server.run(lambda: emit(document, as_json=as_json, text=text))


def _summaries(facts: list[Facts]) -> list[dict[str, Any]]:
    from edgenas.engine.fronts import summary

    return [summary(one.study, str(one.folder), one.read, one.choice, one.seconds) for one in facts]
