"""`edgenas front`, and the text form of what a search found."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from edgenas.cli.output import emit, table
from edgenas.report.front import network_words, share_words


def front(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Print a study's Pareto front: networks that no other beats in score, latency and parameters.

    Example: edgenas front studies/digits-jetson-orin-nano-8gb-super-gnas-1a2b3c4d
    """
    from edgenas.cli.studies import study_folder
    from edgenas.records import Session
    from edgenas.report.front import summary
    from edgenas.store import Store

    folder = study_folder(study)
    with Store.read(folder) as store:
        ledger = store.ledger()
        choice = store.choice
        seconds = sum(trial.seconds for trial in store.trials())
        document = summary(store.study, str(folder), ledger, choice, seconds)
        document["sessions"] = msgspec.to_builtins(list(store.all("session", Session).values()))
    emit(document, as_json=as_json, text=front_text(document))


def front_text(document: dict[str, Any]) -> str:
    """The front as a table, the choice marked with an arrow, the control's front below."""
    chosen = document["chosen"]
    rows = [_row(item, chosen) for item in document["front"]]
    if chosen and chosen["trial"] not in {item["trial"] for item in document["front"]}:
        rows.append(_row(chosen, chosen))
    text = table(("", "trial", "phase", "epochs", "score", "latency ms", "origin", "params", "network"), rows)
    if "control" in document:
        text += "\n\nrandom members of the same space at the same budget:\n"
        text += table(
            ("", "trial", "phase", "epochs", "score", "latency ms", "origin", "params", "network"),
            [_row(item, None) for item in document["control"]],
        )
    if document.get("hypervolume"):
        text += f"\n\nhypervolume of (error, latency), 1 at most: {share_words(document['hypervolume'])}"
    if "serving_set" in document:
        serving = document["serving_set"]
        numbers, slack = ", ".join(map(str, serving["trials"])), 100 * (serving["latency_slack"] - 1)
        text += (
            f"\n\nfewest networks for all targets: trial {numbers} (on each target one of them is within "
            f"{serving['tolerance']:g} points of the best, and within {slack:.0f} % of the fastest that is)"
        )
    counts = f"{document['trials']} trained, {document['infeasible']} infeasible, {document['failed']} failed"
    text += f"\n\n{document['study']}: {counts}"
    if chosen is None:
        text += "\nno choice yet: run the same `edgenas search` again to go on"
    return text


def _row(item: dict[str, Any], chosen: dict[str, Any] | None) -> tuple[str, ...]:
    score = item.get("val_accuracy", item.get("val_tar"))
    latency = item["latency"]
    return (
        "->" if chosen and item["trial"] == chosen["trial"] else "",
        str(item["trial"]),
        item["phase"],
        str(item["epochs"]),
        f"{score:.2f}" if score is not None else "-",
        f"{latency['ms']:.3f}" if latency["ms"] is not None else "-",
        latency["origin"] or "-",
        f"{item['params']:,}",
        network_words(item["architecture"]),
    )
