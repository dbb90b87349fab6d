"""`edgenas front`, and the text form of what a search found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import typer

from edgenas.cli.output import emit, say, table
from edgenas.engine.fronts import network_words, share_words
from edgenas.engine.scores import expected_words, interval_words, unit_of_difference
from edgenas.records import Expectation, Metric

AT_CHANCE = (
    "AT CHANCE: no network here is better than chance, nothing was decided: train longer (--budget, --epoch-scale), on more "
    "images, or with another --recipe"
)


def front(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Print a study's Pareto front: networks that no other beats in score, latency and parameters.

    Example: edgenas front studies/digits-jetson-orin-nano-8gb-super-gnas-1a2b3c4d
    """
    from edgenas.engine.folders import study_folder
    from edgenas.records import Session
    from edgenas.store import Store

    folder = study_folder(study, say)
    document = front_document(folder)
    with Store.read(folder) as store:
        document["seconds"] = round(sum(trial.seconds for trial in store.trials()), 3)
        document["sessions"] = msgspec.to_builtins(list(store.all("session", Session).values()))
    emit(document, as_json=as_json, text=front_text(document))


def front_document(folder: Path) -> dict[str, Any]:
    """What a study found, as `edgenas search` and `edgenas front` print it; seconds: of the search, over all sessions."""
    from edgenas.engine.fronts import summary
    from edgenas.store import Store

    with Store.read(folder) as store:
        seconds = store.get("clock", "wall", float) or 0.0
        return summary(store.study, str(folder), store.ledger(), store.choice, seconds)


def front_text(document: dict[str, Any]) -> str:
    """The front as a table, the choice marked with an arrow, the control's front below."""
    chosen, metric = document["chosen"], _metric_of(document)
    best = chosen[f"val_{metric.name}_trial"] if chosen else None
    shown, modelled = document["front"], bool(chosen and chosen["expected"])
    if modelled:  # a network is chosen, not one of its trials
        best = next((item["trial"] for item in shown if item["architecture"] == chosen["architecture"]), best)
    rows = [_row(item, metric, chosen=item["trial"] == best, expected=modelled) for item in shown]
    if chosen and best not in {item["trial"] for item in shown}:
        rows.append(_row(chosen, metric, chosen=True, expected=modelled))
    told = ("score", "expected") if modelled else ("score",)
    text = table(("", "trial", "phase", "epochs", *told, "latency ms", "origin", "params", "network"), rows)
    if chosen:
        text += f"\n\n{_chosen_words(chosen, metric)}"
    if "control" in document:
        text += "\n\nrandom members of the same space at the same budget:\n"
        text += table(
            ("", "trial", "phase", "epochs", "score", "latency ms", "origin", "params", "network"),
            [_row(item, metric, chosen=False) for item in document["control"]],
        )
    if document.get("hypervolume"):
        text += f"\n\nhypervolume of (error, latency), 1 at most: {share_words(document['hypervolume'])}"
    if "serving_set" in document:
        serving = document["serving_set"]
        numbers, slack = ", ".join(map(str, serving["trials"])), 100 * (serving["latency_slack"] - 1)
        text += (
            f"\n\nfewest networks for all targets: trial {numbers} (on each target one of them is within "
            f"{serving['tolerance']:g} {unit_of_difference(metric)} of the best, and within {slack:.0f} % of the fastest that is)"
        )
    if document["uncertain"]:
        text += f"\n\n{_uncertain_words(document)}"
    counts = f"{document['trials']} trained, {document['infeasible']} infeasible, {document['failed']} failed"
    text += f"\n\n{document['study']}: {counts}"
    if document["ended_early"]:
        text += f"\nended early: {document['ended_early']}"
    if document["at_chance"]:
        text += f"\n{AT_CHANCE}"
    if chosen is None:
        text += "\nno choice yet: run the same `edgenas search` again to go on"
    return text


def _chosen_words(chosen: dict[str, Any], metric: Metric) -> str:
    """The choice's best score, and in which trial it reached it where that is not the last one."""
    name = f"val_{metric.name}"
    if chosen[name] is None:
        return f"-> trial {chosen['trial']}"
    score = f"{metric.words(chosen[name])}{interval_words(chosen[f'{name}_interval'], metric)}"
    if chosen[f"{name}_trial"] == chosen["trial"]:
        return f"-> trial {chosen['trial']}: {score} on validation after {_epochs(chosen['epochs'])}"
    return (
        f"-> trial {chosen['trial']}: its network's best score on validation is {score}, in trial {chosen[f'{name}_trial']} "
        f"after {_epochs(chosen[f'{name}_epochs'])}"
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def _metric_of(document: dict[str, Any]) -> Metric:
    return msgspec.convert(document["metric"], type=Metric)


def _origin(item: dict[str, Any]) -> str:
    """Of the latency; one beyond what its profile was fitted on says so, and one that was measured on a busy machine."""
    latency = item["latency"]
    whole = item.get("latencies", {}).get(latency["profile"], {})
    beyond = ", extrapolated" if whole.get("extrapolated", False) else ""
    return (latency["origin"] or "-") + beyond + ("" if whole.get("stable", True) else ", unstable")


def _row(item: dict[str, Any], metric: Metric, *, chosen: bool, expected: bool = False) -> tuple[str, ...]:
    name = f"val_{metric.name}"
    score, latency = item[name], item["latency"]
    return (
        "->" if chosen else "",
        str(item["trial"]),
        item["phase"],
        str(item["epochs"]),
        f"{metric.words(score).removesuffix(' %')}{interval_words(item[f'{name}_interval'], metric)}"
        if score is not None
        else "-",
        *([_expected(item, metric)] if expected else []),
        _milliseconds(latency),
        _origin(item),
        f"{item['params']:,}",
        network_words(item["architecture"]),
    )


def _expected(item: dict[str, Any], metric: Metric) -> str:
    return expected_words(msgspec.convert(item["expected"], Expectation), metric) if item["expected"] else "-"


def _milliseconds(latency: dict[str, Any]) -> str:
    """The figure, with its interval where it has one: 4.213 (3.4 to 5.2)."""
    if latency["ms"] is None:
        return "-"
    low, high = latency.get("low"), latency.get("high")
    return f"{latency['ms']:.3f}" + ("" if low is None or high is None else f" ({low:.3g} to {high:.3g})")


def _uncertain_words(document: dict[str, Any]) -> str:
    """How many of the front may break the latency limit after all, and what tells."""
    numbers, limits, many = document["uncertain"], document["limits"], len(document["front"])
    by_upper = "" if limits["margin"] else "; a search with --margin judges by the upper end"
    return (
        f"the limit of {limits['latency_ms']:g} ms lies inside the latency's interval of {len(numbers)} of {many} "
        f"networks on the front (trial {', '.join(map(str, numbers))}): `edgenas verify --board URL` measures them{by_upper}"
    )
