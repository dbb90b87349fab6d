"""The chart of what was found: every trained network by score and cost, the front among them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from edgenas.binomial import wilson
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import interval_words
from edgenas.engine.verdict import Competitor, origin_words
from edgenas.records import Cost, Trial
from edgenas.report.facts import Facts
from edgenas.report.figure import Figure, View, hovered, origins, score_words

CLOSE = 0.5  # costs whose least is more than this part of the largest are shown without the axis's 0


def front_figure(facts: Facts) -> Figure:
    """Score against latency on every target and against parameters; what broke a limit in a strip of its own."""
    limits = facts.study.limits
    views = [
        View(
            f"latency on {profile}",
            _front_traces(facts, profile, _latency_on(profile), " ms"),
            _front_layout(facts, f"latency, ms ({origins(facts, profile)})", _latency_on(profile), limits.latency_ms),
        )
        for profile in facts.study.profiles
    ]
    views.append(
        View(
            "parameters",
            _front_traces(facts, facts.study.profiles[0], lambda trial: trial.cost.params, " parameters"),
            _front_layout(facts, "parameters", lambda trial: trial.cost.params, limits.params),
        )
    )
    if limits.mmacs is not None:
        traces = _front_traces(facts, facts.study.profiles[0], _mmacs, " M MACs")
        views.append(View("MACs", traces, _front_layout(facts, "multiply-accumulates, millions", _mmacs, limits.mmacs)))
    infeasible = sum(trial.status == "infeasible" for trial in facts.trials)
    return Figure(
        "front",
        "",
        _front_caption(facts),
        f"Scatter of {len(facts.complete)} trained networks by score and cost, and {infeasible} that broke a limit.",
        tuple(views),
        height=460,
    )


def _front_caption(facts: Facts) -> str:
    text = (
        "Networks of the front (filled) are beaten by no other in score, latency and parameters at once; the line joins "
        "those that are best in the cost shown. "
    )
    if any(facts.interval(trial) for trial in facts.complete):
        text += "Bars: 95 % intervals; two networks whose bars overlap may well be equals. "
    if any(trial.status == "infeasible" for trial in facts.trials):
        text += "Crosses in the strip broke a limit and were never trained. "
    epochs = {trial.candidate.recipe.epochs for trial in facts.complete}
    if len(epochs) > 1:
        text += (
            f"Candidates were trained for {min(epochs)} to {max(epochs)} epochs, as the method schedules them: scores of "
            "different phases do not compare directly. "
        )
    if facts.choice is not None and facts.choice.expected:
        text += "Short lines with thick bars: the score that the search expects, with its standard deviation, by which it chose. "
    if facts.comparison is not None:
        text += "Stars are searched networks and public ones (squares) after training in full, for equal seconds. "
    return text + "A point shows its trial: click it, or go there with the arrow keys."


def _front_traces(facts: Facts, profile: str, cost: Callable[[Trial], float], unit: str) -> list[dict[str, Any]]:
    def points(name: str, trials: Sequence[Trial], colour: str, symbol: str, size: int, **more: Any) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [cost(trial) for trial in trials],
            "y": [_score(facts, trial) for trial in trials],
            "customdata": [trial.number for trial in trials],
            "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}},
            "text": [interval_words(facts.interval(trial), facts.metric) for trial in trials],
            "hovertemplate": f"trial %{{customdata}}<br>%{{x:.4~g}}{unit}<br>{there}%{{text}}<extra>{name}</extra>",
        } | more

    there = hovered(facts.metric)

    on_front = {trial.candidate.key for trial in facts.front(profile)}
    others = [trial for trial in facts.complete if trial.candidate.key not in on_front]
    best = sorted((t for t in facts.complete if t.candidate.key in on_front), key=cost)
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
    if facts.peak is not None:
        name = "chosen" if facts.choice else "best so far"
        traces.append(points(name, [facts.peak], "$ink", "circle-open", 17))
    traces += competitor_traces(facts, profile, unit)
    broken = [t for t in facts.trials if t.status == "infeasible" and profile in t.cost.latencies]
    if broken:
        strip = {
            "y": [0] * len(broken),
            "yaxis": "y2",
            "text": [trial.error for trial in broken],
            "hovertemplate": f"trial %{{customdata}}<br>%{{x:.4~g}}{unit}<br>%{{text}}<extra>infeasible</extra>",
        }
        traces.append(points("infeasible, not trained", broken, "$warn", "x-thin", 7, **strip))
    return traces


def competitor_traces(facts: Facts, profile: str, unit: str) -> list[dict[str, Any]]:
    """Searched and public networks that were trained in full: score on validation with its interval, by latency or (unit)
    parameters."""
    found, validation = facts.comparison, validation_in(facts.study)
    if found is None:
        return []
    metric, traces = found.metric, []
    groups = (("trained in full", found.winners, "star"), ("public networks", found.references, "square-open"))
    for name, group, symbol in groups:
        shown = [one for one in group if one.validation]
        means = [statistics.fmean(one.validation) for one in shown]
        share = metric.share and validation is not None
        ends = [wilson(mean, validation.images) if share and validation else (mean, mean) for mean in means]
        bars = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": "$third"}
        bars["array"] = [round(high - mean, 4) for (_, high), mean in zip(ends, means, strict=True)]
        bars["arrayminus"] = [round(mean - low, 4) for (low, _), mean in zip(ends, means, strict=True)]
        costs = [_cost_in(unit, one.cost, profile) for one in shown]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": costs,
                "y": [round(mean, 4) for mean in means],
                "text": [_named(one, unit, profile) for one in shown],
                "error_y": bars,
                "marker": {"color": "$third", "symbol": symbol, "size": 11},
                "hovertemplate": f"%{{text}}<br>%{{x:.4~g}}{unit}<br>{hovered(metric)}<extra>{name}</extra>",
            }
        )
    return traces


def _named(one: Competitor, unit: str, profile: str) -> str:
    """Its name; over latencies also how its own came to be known, which need not be as the others' did."""
    return f"{one.name}, {origin_words(one.cost.latencies[profile])}" if unit == " ms" else one.name


def _front_layout(facts: Facts, axis: str, cost: Callable[[Trial], float], limit: float | None) -> dict[str, Any]:
    costs = [cost(trial) for trial in facts.complete]
    whole = min(costs) < CLOSE * max(costs)  # else the axis from 0 would leave most of the chart empty
    has_strip = any(trial.status == "infeasible" for trial in facts.trials)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": axis}, "rangemode": "tozero" if whole else "normal"},
        "yaxis": {"title": {"text": score_words(facts)}, "domain": [0, 0.88 if has_strip else 1]},
    }
    if has_strip:
        layout["yaxis2"] = {"domain": [0.92, 1], "showticklabels": False, "showgrid": False, "zeroline": False}
        layout["yaxis2"] |= {"fixedrange": True, "range": [-1, 1]}
    if limit is not None:
        line = {"type": "line", "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"] = [{**line, "line": {"color": "$warn", "width": 1.5, "dash": "dash"}}]
        note = {"x": limit, "yref": "paper", "y": 0.02, "text": f"limit {limit:g}", "showarrow": False}
        layout["annotations"] = [
            {**note, "xanchor": "right", "xshift": -4, "font": {"color": "$warn"}, "bgcolor": "$paper"}
        ]
    return layout


def _mmacs(trial: Trial) -> float:
    return trial.cost.macs / 1e6


def _cost_in(unit: str, cost: Cost, profile: str) -> float:
    if "MACs" in unit:
        return cost.macs / 1e6
    return cost.params if "parameters" in unit else cost.latencies[profile].ms


def _latency_on(profile: str) -> Callable[[Trial], float]:
    return lambda trial: trial.cost.latencies[profile].ms


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
