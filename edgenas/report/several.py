"""Several studies on one page: what may be compared of them, their fronts in one figure, the best of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgenas.engine.scores import unit_of_difference
from edgenas.hardware.words import latency_words
from edgenas.records import Trial
from edgenas.report.answers.ship import epochs_apart, noise_of_scores, not_known
from edgenas.report.facts import Facts
from edgenas.report.figure import Figure, View, hovered, origins, score_words
from edgenas.report.shown import cost_shown
from edgenas.report.tables import Table
from edgenas.report.values import data_words, duration

COLOURS = ("$accent", "$second", "$third", "$warn", "$muted")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")


@dataclass(frozen=True)
class Compared:
    """`figure`: None where the scores may not share an axis."""

    sentences: tuple[str, ...]
    table: Table
    figure: Figure | None


def compared_studies(studies: Sequence[Facts]) -> Compared:
    """Fronts are laid over each other where data and metric agree, on the targets that all have."""
    shared = [name for name in studies[0].study.profiles if all(name in one.study.profiles for one in studies)]
    return Compared(
        tuple(_sentences(studies, shared)), _table(studies), _figure(studies, shared) if not _apart(studies) else None
    )


def told_apart(studies: Sequence[Facts]) -> list[Facts]:
    """Studies whose folders have one name are called by their whole path."""
    names = Counter(one.name for one in studies)
    return [replace(one, called=str(one.folder)) if names[one.name] > 1 else one for one in studies]


def _apart(studies: Sequence[Facts]) -> str:
    """In what the studies differ so that their scores cannot be compared; "" where they can."""
    places = [one.data_places or frozenset({one.study.data}) for one in studies]
    one_data = all(places[0] & other for other in places[1:])  # in one folder, however it is written
    asked = {
        "task": [one.study.task for one in studies],
        "data": [] if one_data else [one.study.data for one in studies],
        "metric": [score_words(one) for one in studies],
    }
    if not one_data and len(set(asked["data"])) == 1:  # folders of one name
        asked["data"] = [", ".join(sorted(each)) for each in places]
    return "; ".join(
        f"{name}: {', '.join(dict.fromkeys(values))}" for name, values in asked.items() if len(set(values)) > 1
    )


def _sentences(studies: Sequence[Facts], shared: Sequence[str]) -> list[str]:
    apart = _apart(studies)
    if apart:
        return [
            f"Their scores cannot be compared ({apart}), so their fronts are not drawn into one figure: each has its own below."
        ]
    told = []
    if not shared:
        targets = "; ".join(f"{one.name}: {', '.join(one.study.profiles)}" for one in studies)
        told.append(
            f"They have no target in common ({targets}), so their latencies cannot share an axis: only parameters do."
        )
    elif len({one.study.precision for one in studies}) > 1:
        told.append(
            "Their latencies are at different precisions: "
            + ", ".join(f"{one.name} {one.study.precision}" for one in studies)
            + "."
        )
    if len({one.study.seed for one in studies}) > 1:
        told.append("Their seeds differ, so they were judged on other validation images.")
    return [*told, *_best_of(studies)]


def _best_of(studies: Sequence[Facts]) -> list[str]:
    """Which one scores best, and whether the next one is inside its noise."""
    ranked = [(one, one.peak) for one in studies]
    known = sorted(((one, peak) for one, peak in ranked if peak is not None), key=lambda pair: -pair[0].score(pair[1]))
    if len(known) < 2:
        return ["Fewer than two of them have trained a network."]
    (first, best), (second, other) = known[:2]
    away = abs(first.value(best) - second.value(other))
    bars = (
        noise_of_scores(first, best, other),
        noise_of_scores(second, best, other),
    )  # each by its own validation images
    bar = None if None in bars else max(one for one in bars if one is not None)
    unit, number = unit_of_difference(first.metric), first.metric.number
    told = f"{first.name} scores best on validation: {first.words(best)}; next is {second.name}, {second.words(other)}"
    told += epochs_apart(other, best)
    if bar is None:
        lacks = first if bars[0] is None else second
        return [f"{told}. Whether {number(away)} {unit} are more than noise is {not_known(lacks)}."]
    apart = "the same" if number(away) == number(0.0) else f"{number(away)} {unit} worse"
    if away <= bar:
        return [f"{told}: {apart}, inside the noise of ±{number(bar)}, so neither is shown to be better."]
    return [f"{told}: {apart}, more than the noise of ±{number(bar)}."]


def _table(studies: Sequence[Facts]) -> Table:
    """The best of each, one line per study."""
    header = [
        "study",
        "method",
        "data",
        "best score on validation",
        "target",
        "latency",
        "parameters",
        "trained",
        "time",
        "state",
    ]
    rows = []
    for facts in studies:
        study, cost, peak = facts.study, cost_shown(facts), facts.peak
        latency = cost.latencies.get(study.profiles[0]) if cost and study.profiles else None
        rows.append(
            [
                facts.name,
                "none (given)" if facts.given else study.method,
                data_words(study.data),
                facts.words(peak) if peak else "-",
                ", ".join(study.profiles),
                latency_words(latency) if latency else "-",
                f"{cost.params:,}" if cost else "-",
                str(sum(one.status == "complete" for one in facts.read)),
                duration(facts.seconds),
                "finished" if facts.choice else "not finished",
            ]
        )
    return {"header": header, "rows": rows}


def _figure(studies: Sequence[Facts], shared: Sequence[str]) -> Figure:
    """One line per study over the latency on every shared target, and over parameters."""
    score = {"title": {"text": score_words(studies[0])}}

    def view(label: str, axis: str, profile: str | None, cost: Callable[[Trial], float], unit: str) -> View:
        lines = [
            trace
            for place, one in enumerate(studies)
            for trace in _front(place, one, profile or one.study.profiles[0], cost, unit)
        ]
        return View(label, lines, {"xaxis": {"title": {"text": axis}, "rangemode": "tozero"}, "yaxis": score})

    views = [
        view(f"latency on {name}", f"latency on {name}, ms ({_origins(studies, name)})", name, _latency_on(name), " ms")
        for name in shared
    ]
    views.append(view("parameters", "parameters", None, lambda trial: trial.cost.params, " parameters"))
    return Figure(
        "compared",
        "Fronts of all studies",
        "Networks of each study's own front; lines join those that are best in the cost shown. Bars: 95 % intervals.",
        f"Fronts of {len(studies)} studies by score and cost.",
        tuple(views),
        height=460,
    )


def _origins(studies: Sequence[Facts], profile: str) -> str:
    return " and ".join(sorted({word for one in studies for word in origins(one, profile).split(" and ")}))


def _latency_on(profile: str) -> Callable[[Trial], float]:
    return lambda trial: trial.cost.latencies[profile].ms


def _front(
    place: int, facts: Facts, profile: str, cost: Callable[[Trial], float], unit: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The networks of a study's front, and the line through those that are best in this cost."""
    colour, symbol = COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)]
    trials = sorted(facts.front(profile), key=cost)
    ends = [(facts.interval(trial), facts.value(trial)) for trial in trials]
    bars = {"type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 3}
    bars["array"] = [interval and round(interval[1] - score, 4) for interval, score in ends]
    bars["arrayminus"] = [interval and round(score - interval[0], 4) for interval, score in ends]
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": facts.name,
        "legendgroup": str(place),
        "x": [cost(trial) for trial in trials],
        "y": [facts.value(trial) for trial in trials],
        "error_y": bars,
        "text": [f"trial {trial.number}" for trial in trials],
        "marker": {"color": colour, "symbol": symbol, "size": 8},
        "hovertemplate": f"%{{text}}<br>%{{x:.4~g}}{unit}<br>{hovered(facts.metric)}",
    }
    best = [t for i, t in enumerate(trials) if all(facts.score(t) > facts.score(other) for other in trials[:i])]
    line = {"type": "scatter", "mode": "lines", "legendgroup": str(place), "showlegend": False, "hoverinfo": "skip"}
    line |= {"x": [cost(trial) for trial in best], "y": [facts.value(trial) for trial in best]}
    return points, line | {"line": {"color": colour, "width": 1, "dash": "dot", "shape": "hv"}}
