"""`edgenas front`: what a search found."""

from __future__ import annotations

import typer

from edgenas.cli.onward import say_onward
from edgenas.cli.output import emit, say, write_result


def front(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    as_csv: bool = typer.Option(False, "--csv", help="Print the front as CSV, latencies of every target included."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Print a study's Pareto front: the networks that no other beats in score, latency and parameters, and in energy where a
    board measured it for all of them.

    Example: edgenas front studies/digits-jetson-orin-nano-8gb-super-gnas-1a2b3c4d

    Example: edgenas front --csv > front.csv
    """
    import msgspec

    from edgenas.cli.front_page import front_csv, front_document, front_text
    from edgenas.engine.folders import study_folder
    from edgenas.errors import EdgenasError
    from edgenas.records import Session
    from edgenas.store import Store

    if as_csv and as_json:
        raise EdgenasError("--csv and --json were asked for: the front is printed in one form")
    folder = study_folder(study, say)
    document = front_document(folder)
    if as_csv:
        write_result(front_csv(document))
        return
    with Store.read(folder) as store:
        document["sessions"] = msgspec.to_builtins(list(store.all("session", Session).values()))
    emit(document, as_json=as_json, text=front_text(document))
    if not as_json:
        say_onward(folder)
