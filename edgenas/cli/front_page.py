"""What a search found, as text, CSV and one document."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path
from typing import Any

import msgspec

from edgenas.cli.output import table
from edgenas.engine.counts import counted
from edgenas.engine.fronts import budget_words, network_words, share_words
from edgenas.engine.scores import expected_words, interval_words, unit_of_difference
from edgenas.records import Expectation, Metric

LATENCY = ("ms", "low", "high", "origin")
WIDE = 1.1  # an interval of which two digits are enough
AT_CHANCE = (
    "AT CHANCE: no training of this search is better than chance, nothing was decided: train longer (--budget, --epoch-scale), "
    "on more images, or with another --recipe"
)


def front_csv(document: dict[str, Any]) -> str:
    """A row for each network of the front: what it is, its score, its costs, the latency on every target with its interval."""
    metric, out = _metric_of(document), io.StringIO()
    name = f"val_{metric.name}"
    targets = sorted({target for item in document["front"] for target in item["latencies"]})
    latency = [f"{target} {part}" for target in targets for part in LATENCY]
    metered = [target for target in targets if any(_energy(item, target) is not None for item in document["front"])]
    energy = [f"{target} energy_mj" for target in metered]
    fields = ["trial", "phase", "epochs", name, f"{name}_low", f"{name}_high", "expected", "expected_sd"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fields, "params", "macs", *latency, *energy, "network"])
    for item in document["front"]:
        low, high = item[f"{name}_interval"] or (None, None)
        known = item["expected"] or {"mean": None, "sd": None}
        on = [item["latencies"].get(target, {}).get(part) for target in targets for part in LATENCY]
        on += [_energy(item, target) for target in metered]
        scored = [item[name], low, high, known["mean"], known["sd"], item["params"], item["macs"]]
        writer.writerow(
            [item["trial"], item["phase"], item["epochs"], *scored, *on, network_words(item["architecture"])]
        )
    return out.getvalue()


def front_document(folder: Path) -> dict[str, Any]:
    """What a study found, as `edgenas search` and `edgenas front` print it. seconds: of the search by the clock, over all
    sessions; training_seconds: the sum over the trainings that decisions have read, which workers share. A study that knows no
    time by the clock has the sum in both."""
    from edgenas.engine.fronts import summary
    from edgenas.store import Store

    with Store.read(folder) as store:
        ledger, wall = store.ledger(), store.get("clock", "wall", float)
        trained = round(sum(trial.seconds for trial in ledger), 3)
        found = summary(store.study, str(folder), ledger, store.choice, trained if wall is None else wall)
        return {**found, "training_seconds": trained}


def front_text(document: dict[str, Any]) -> str:
    """The front as a table, the choice marked with an arrow, the control's front below."""
    chosen, metric = document["chosen"], _metric_of(document)
    best = chosen[f"val_{metric.name}_trial"] if chosen else None
    shown, modelled = document["front"], bool(chosen and chosen["expected"])
    if chosen:  # a network is chosen, not one of its trials
        best = next((item["trial"] for item in shown if item["architecture"] == chosen["architecture"]), best)
    if chosen and best not in {item["trial"] for item in shown}:
        shown = [*shown, {**chosen, "trial": best}]
    text = _table(shown, metric, best, expected=modelled)
    if chosen:
        text += f"\n\n{_chosen_words(chosen, metric)}"
        text += _noise_words(document)
    if "control" in document:
        text += f"\n\nrandom members of the same space, {budget_words(document['control_share'])}:\n"
        text += _table(document["control"], metric, None)
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
        from edgenas.engine.final import began_by

        text += f"\nno choice yet: run the same `{began_by(document['method'])}` again to go on"
    return text


def _chosen_words(chosen: dict[str, Any], metric: Metric) -> str:
    """The choice's best score, and in which trial it reached it where that is not the last one."""
    name = f"val_{metric.name}"
    if chosen[name] is None:
        return f"-> trial {chosen['trial']}"
    score = f"{metric.words(chosen[name])}{interval_words(chosen[f'{name}_interval'], metric)}"
    if chosen[f"{name}_trial"] == chosen["trial"]:
        return f"-> trial {chosen['trial']}: {score} on validation after {counted(chosen['epochs'], 'epoch')}"
    return (
        f"-> trial {chosen['trial']}: its network's best score on validation is {score}, in trial {chosen[f'{name}_trial']} "
        f"after {counted(chosen[f'{name}_epochs'], 'epoch')}"
    )


def _noise_words(document: dict[str, Any]) -> str:
    """What the search has not decided: whoever wants a faster network need not take the chosen one."""
    near, shown = document["within_noise"] or [], document["front"]
    if len(near) < 2:
        return ""
    score = "expected score" if document["chosen"]["expected"] else "score"
    many = f"{_of_all(near, shown)} on the front are within the noise of the best {score}"
    fastest = shown[0]
    if fastest["trial"] not in near or fastest["architecture"] == document["chosen"]["architecture"]:
        return f"\n{many}"
    folder, trial = document["study"], fastest["trial"]
    command = f"edgenas train {shlex.quote(folder)} --trial {trial}"
    if "data" in document["objects"]:  # which no shell can name
        from edgenas.engine.again import opened

        command = f"{opened(Path(folder), ('data',))}.train(trial={trial})"
    return f"\n{many}; the fastest: `{command}`"


def _of_all(some: list[int], shown: list[dict[str, Any]]) -> str:
    """All 7 networks, or 3 of 7 networks."""
    return f"all {len(shown)} networks" if len(some) == len(shown) > 1 else f"{len(some)} of {len(shown)} networks"


def _metric_of(document: dict[str, Any]) -> Metric:
    return msgspec.convert(document["metric"], type=Metric)


def _origin(item: dict[str, Any]) -> str:
    """Of the latency; one beyond what its profile was fitted on says so, and one that was measured on a busy machine."""
    latency = item["latency"]
    whole = item.get("latencies", {}).get(latency["profile"], {})
    beyond = ", extrapolated" if whole.get("extrapolated", False) else ""
    return (latency["origin"] or "-") + beyond + ("" if whole.get("stable", True) else ", unstable")


def _about(item: dict[str, Any]) -> tuple[str, ...]:
    """How its score and its latency came about, fact by fact."""
    latency = (f"latency {_origin(item)}",) if item["latency"]["origin"] else ()
    return (item["phase"], counted(item["epochs"], "epoch"), *latency)


def _table(shown: list[dict[str, Any]], metric: Metric, best: int | None, *, expected: bool = False) -> str:
    """The networks with their costs; `best` is marked. What all of them share is said once below."""
    told = ("score", "expected") if expected else ("score",)
    metered = any(_energy(item, item["latency"]["profile"]) is not None for item in shown)
    costs = ("latency ms", "energy mJ", "params") if metered else ("latency ms", "params")
    header = ("   trial", *told, *costs, "network")
    rows = [
        (
            f"{'->' if item['trial'] == best else '  '} {item['trial']}",
            _score(item, metric),
            *([_expected(item, metric)] if expected else []),
            _milliseconds(item["latency"]),
            *([_millijoules(item)] if metered else []),
            f"{item['params']:,}",
            network_words(item["architecture"]),
        )
        for item in shown
    ]
    about = [_about(item) for item in shown]
    alike = [fact for fact in about[0] if all(fact in facts for facts in about)] if about else []
    apart = [", ".join(fact for fact in facts if fact not in alike) for facts in about]
    each = f"\n   each: {', '.join(alike)}" if alike else ""
    if not any(apart):
        return table(header, rows) + each
    return table((*header, "how"), [(*row, how) for row, how in zip(rows, apart, strict=True)]) + each


def _score(item: dict[str, Any], metric: Metric) -> str:
    """Without its unit, with its interval where it has one."""
    score = item[f"val_{metric.name}"]
    if score is None:
        return "-"
    return metric.words(score).removesuffix(" %") + interval_words(item[f"val_{metric.name}_interval"], metric)


def _expected(item: dict[str, Any], metric: Metric) -> str:
    return expected_words(msgspec.convert(item["expected"], Expectation), metric) if item["expected"] else "-"


def _energy(item: dict[str, Any], target: str) -> float | None:
    """Of an inference on this target, mJ; None where no board measured it."""
    known: float | None = item.get("latencies", {}).get(target, {}).get("energy_mj")
    return known


def _millijoules(item: dict[str, Any]) -> str:
    energy = _energy(item, item["latency"]["profile"])
    return "-" if energy is None else f"{energy:.3g}"


def _milliseconds(latency: dict[str, Any]) -> str:
    """The figure, with its interval where it has one: 4.213 (3.4 to 5.2)."""
    if latency["ms"] is None:
        return "-"
    low, high = latency.get("low"), latency.get("high")
    if low is None or high is None:
        return f"{latency['ms']:.3f}"
    digits = 2 if high > WIDE * low else 3
    return f"{latency['ms']:.3f} ({low:.{digits}g} to {high:.{digits}g})"


def _uncertain_words(document: dict[str, Any]) -> str:
    """How many of the front may break the latency limit after all, and what tells."""
    from edgenas.hardware.candidates import BUILT

    numbers, limits, shown = document["uncertain"], document["limits"], document["front"]
    more = "; a search with --margin judges by the upper end" if document["within_by_upper_end"] else ""
    if not more and all("extrapolated" in _origin(item) for item in shown if item["trial"] in numbers):
        more = " (their intervals are wide, since nothing like them was measured: `edgenas calibrate --board URL` narrows them)"
    which = "" if len(numbers) == len(shown) > 1 else f" (trial {', '.join(map(str, numbers))})"
    measuring = "`edgenas verify --board URL` measures them"
    if document["precision"] not in BUILT:
        measuring = "trained in full and exported, they can be measured (`edgenas verify --bundle`)"
    return (
        f"the limit of {limits['latency_ms']:.12g} ms lies inside the latency's interval of {_of_all(numbers, shown)} on the "
        f"front{which}: {measuring}{'' if limits['margin'] else more}"
    )
