"""The chart of what was found: every trained network by score and cost, the front among them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgenas.binomial import wilson
from edgenas.engine.fronts import energy_counts
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import interval_words
from edgenas.engine.verdict import Competitor, origin_words
from edgenas.records import Cost, Trial
from edgenas.report.facts import Facts
from edgenas.report.figure import Figure, View, hovered, origins, score_words

CLOSE = 0.5  # costs whose least is more than this part of the largest are shown without the axis's 0


@dataclass(frozen=True)
class Axis:
    """A cost that scores are drawn over. `profile`: whose front is shown; `cost`: None where it is not known, as a board
    measures nothing that breaks another limit."""

    label: str
    title: str
    unit: str  # behind a value, such as " ms"
    profile: str
    cost: Callable[[Cost], float | None]
    limit: float | None

    def of(self, trial: Trial) -> float | None:
        return self.cost(trial.cost)

    def place(self, trial: Trial) -> float:
        """From left to right."""
        cost = self.of(trial)
        return math.inf if cost is None else cost


def front_figure(facts: Facts) -> Figure:
    """Score against latency on every target, energy where it counts, and parameters; what broke a limit in a strip of its own."""
    infeasible = sum(trial.status == "infeasible" for trial in facts.read)
    return Figure(
        "front",
        "",
        _front_caption(facts),
        f"Scatter of {len(facts.complete)} trained networks by score and cost, and {infeasible} that broke a limit.",
        tuple(View(axis.label, _front_traces(facts, axis), _front_layout(facts, axis)) for axis in _axes(facts)),
        height=460,
    )


def _axes(facts: Facts) -> list[Axis]:
    limits, targets = facts.study.limits, facts.study.profiles
    axes = [
        Axis(f"latency on {n}", f"latency, ms ({origins(facts, n)})", " ms", n, _latency_on(n), limits.latency_ms)
        for n in targets
    ]
    axes += [
        Axis(f"energy on {n}", "energy of an inference, mJ (measured)", " mJ", n, _energy_on(n), limits.energy_mj)
        for n in _metered(facts)
    ]
    axes.append(
        Axis("parameters", "parameters", " parameters", targets[0], lambda cost: cost.params, limits.params),
    )
    if limits.mmacs is not None:
        title = "multiply-accumulates, millions"
        axes.append(Axis("MACs", title, " M MACs", targets[0], lambda cost: cost.macs / 1e6, limits.mmacs))
    return axes


def _metered(facts: Facts) -> list[str]:
    """The targets on whose front energy counts."""
    return [name for name in facts.study.profiles if energy_counts(facts.complete, name)]


def _front_caption(facts: Facts) -> str:
    metered = _metered(facts)
    where = "" if len(metered) == len(facts.study.profiles) else f" (on {' and '.join(metered)})"
    text = (
        f"Networks of the front (filled) are beaten by no other in score, latency{f', energy{where}' if metered else ''} and "
        "parameters at once; the line joins those that are best in the cost shown. "
    )
    if any(facts.interval(trial) for trial in facts.complete):
        text += "Bars: 95 % intervals; two networks whose bars overlap may well be equals. "
    text += _broken_words(facts)
    epochs = {trial.candidate.recipe.epochs for trial in facts.complete}
    if len(epochs) > 1:
        text += (
            f"Candidates were trained for {min(epochs)} to {max(epochs)} epochs, as the method schedules them: scores of "
            "different phases do not compare directly. "
        )
    if facts.choice is not None and facts.choice.expected:
        text += "Short lines with thick bars: the score that the search expects, with its standard deviation, by which it chose. "
    if facts.comparison is not None:
        text += "Stars are searched networks and public ones (squares) after training in full. "
    return text + "A point shows its trial: click it, or go there with the arrow keys."


def _broken_words(facts: Facts) -> str:
    broken = [trial for trial in facts.read if trial.status == "infeasible"]
    if not broken:
        return ""
    text = "Crosses in the strip broke a limit and were never trained. "
    for name in facts.study.profiles:
        if unmeasured := sum(name not in trial.cost.latencies for trial in broken):
            which = "1 of them is" if unmeasured == 1 else f"{unmeasured} of them are"
            text += f"{which} not in the picture of {name}: what breaks another limit is not measured. "
    return text


def _front_traces(facts: Facts, axis: Axis) -> list[dict[str, Any]]:
    def points(name: str, trials: Sequence[Trial], colour: str, symbol: str, size: int, **more: Any) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [axis.of(trial) for trial in trials],
            "y": [_score(facts, trial) for trial in trials],
            "customdata": [trial.number for trial in trials],
            "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}},
            "text": [interval_words(facts.interval(trial), facts.metric) for trial in trials],
            "hovertemplate": f"trial %{{customdata}}<br>%{{x:.4~g}}{axis.unit}<br>{there}%{{text}}<extra>{name}</extra>",
        } | more

    there = hovered(facts.metric)

    front = facts.front(axis.profile)
    on_front = {trial.candidate.key for trial in front}
    others = [trial for trial in facts.complete if trial.candidate.key not in on_front]
    best = sorted((t for t in facts.complete if t.candidate.key in on_front), key=axis.place)
    traces = [points("trained", others, "$faint", "circle", 7)]
    if facts.control:
        traces.append(points("random control", facts.control, "$third", "diamond-open", 8))
    line = {"color": "$accent", "width": 1.5, "shape": "hv"}
    traces.append(points("front", best, "$accent", "circle", 9, mode="markers", error_y=_bars(facts, best)))
    lowest = [t for i, t in enumerate(best) if all(facts.level(t) > facts.level(other) for other in best[:i])]
    heights = [round(facts.metric.gain(facts.level(trial)), 4) for trial in lowest]
    joined = {"mode": "lines", "line": line, "y": heights, "hoverinfo": "skip", "showlegend": False}
    traces.append(points("", lowest, "$accent", "circle", 1, **joined))
    if any(facts.expected(trial) for trial in best):
        traces.append(points("expected ± sd", best, "$accent", "line-ew", 12, **_expected(facts, best)))
    if (chosen := facts.best_on(front)) is not None:
        name = "chosen" if facts.choice else "best so far"
        traces.append(points(name, [chosen], "$ink", "circle-open", 17))
    traces += competitor_traces(facts, axis)
    broken = _broken(facts, axis)
    if broken:
        strip = {
            "y": [0] * len(broken),
            "yaxis": "y2",
            "text": [trial.error for trial in broken],
            "hovertemplate": f"trial %{{customdata}}<br>%{{x:.4~g}}{axis.unit}<br>%{{text}}<extra>infeasible</extra>",
        }
        traces.append(points("infeasible, not trained", broken, "$warn", "x-thin", 7, **strip))
    return traces


def _broken(facts: Facts, axis: Axis) -> list[Trial]:
    """What broke a limit, as far as this cost of it is known."""
    return [trial for trial in facts.read if trial.status == "infeasible" and axis.of(trial) is not None]


def competitor_traces(facts: Facts, axis: Axis) -> list[dict[str, Any]]:
    """Searched and public networks that were trained in full: score on validation with its interval."""
    found, validation = facts.comparison, validation_in(facts.study)
    if found is None:
        return []
    metric, traces = found.metric, []
    groups = (("trained in full", found.winners, "star"), ("public networks", found.references, "square-open"))
    for name, group, symbol in groups:
        shown = [one for one in group if one.validation and axis.cost(one.cost) is not None]
        means = [statistics.fmean(one.validation) for one in shown]
        share = metric.share and validation is not None
        ends = [wilson(mean, validation.images) if share and validation else (mean, mean) for mean in means]
        bars = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": "$third"}
        bars["array"] = [round(high - mean, 4) for (_, high), mean in zip(ends, means, strict=True)]
        bars["arrayminus"] = [round(mean - low, 4) for (low, _), mean in zip(ends, means, strict=True)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [axis.cost(one.cost) for one in shown],
                "y": [round(mean, 4) for mean in means],
                "text": [_named(one, axis) for one in shown],
                "error_y": bars,
                "marker": {"color": "$third", "symbol": symbol, "size": 11},
                "hovertemplate": f"%{{text}}<br>%{{x:.4~g}}{axis.unit}<br>{hovered(metric)}<extra>{name}</extra>",
            }
        )
    return traces


def _named(one: Competitor, axis: Axis) -> str:
    """Its name; over latencies also how its own came to be known, which need not be as the others' did."""
    return f"{one.name}, {origin_words(one.cost.latencies[axis.profile])}" if axis.unit == " ms" else one.name


def _front_layout(facts: Facts, axis: Axis) -> dict[str, Any]:
    costs = [cost for trial in facts.complete if (cost := axis.of(trial)) is not None]
    whole = not costs or min(costs) < CLOSE * max(costs)  # else the axis from 0 would leave most of the chart empty
    has_strip, limit = bool(_broken(facts, axis)), axis.limit
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": axis.title}, "rangemode": "tozero" if whole else "normal"},
        "yaxis": {"title": {"text": score_words(facts)}, "domain": [0, 0.88 if has_strip else 1]},
    }
    if has_strip:
        layout["yaxis2"] = {"domain": [0.92, 1], "showticklabels": False, "showgrid": False, "zeroline": False}
        layout["yaxis2"] |= {"fixedrange": True, "range": [-1, 1]}
    if limit is not None:
        line = {"type": "line", "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"] = [{**line, "line": {"color": "$warn", "width": 1.5, "dash": "dash"}}]
        note = {"x": limit, "yref": "paper", "y": 0.02, "text": f"limit {limit:.12g}", "showarrow": False}
        layout["annotations"] = [
            {**note, "xanchor": "right", "xshift": -4, "font": {"color": "$warn"}, "bgcolor": "$paper"}
        ]
    return layout


def _latency_on(profile: str) -> Callable[[Cost], float | None]:
    return lambda cost: cost.latencies[profile].ms if profile in cost.latencies else None


def _energy_on(profile: str) -> Callable[[Cost], float | None]:
    return lambda cost: cost.latencies[profile].energy_mj if profile in cost.latencies else None


def _expected(facts: Facts, trials: Sequence[Trial]) -> dict[str, Any]:
    """What the search's model expects of the front's networks: by that they are on it."""
    known = [facts.expected(trial) for trial in trials]
    bars = {"type": "data", "thickness": 3, "width": 0, "color": "$accent"}
    return {
        "y": [one and round(one.mean, 4) for one in known],
        "text": [one and f" expected, ± {facts.metric.number(one.sd)}" for one in known],
        "error_y": bars | {"array": [one and round(one.sd, 4) for one in known]},
    }


def _score(facts: Facts, trial: Trial) -> float | None:
    return round(facts.value(trial), 4) if trial.status == "complete" else None


def _bars(facts: Facts, trials: Sequence[Trial]) -> dict[str, Any]:
    """95 % intervals of the scores, as bars; none where they are not known."""
    ends = [(facts.interval(trial), facts.value(trial)) for trial in trials]
    bars = {"type": "data", "symmetric": False, "color": "$accent", "thickness": 1, "width": 3}
    return bars | {
        "array": [interval and round(interval[1] - score, 4) for interval, score in ends],
        "arrayminus": [interval and round(score - interval[0], 4) for interval, score in ends],
    }
