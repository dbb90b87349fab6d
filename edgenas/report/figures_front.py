"""Charts of what was found: the front, several fronts, and faces verified."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from edgenas.binomial import Interval, wilson
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import interval_words
from edgenas.records import TAR, Trial
from edgenas.report.facts import Facts
from edgenas.report.figure import Figure, View, error_words, hovered, origins, score_words


def front_figure(facts: Facts) -> Figure:
    """Error against latency on every target and against parameters; what broke a limit in a strip of its own."""
    limits = facts.study.limits
    views = [
        View(
            f"latency on {profile}",
            _front_traces(facts, profile, _latency_on(profile), " ms"),
            _front_layout(facts, f"latency, ms ({origins(facts, profile)})", limits.latency_ms),
        )
        for profile in facts.study.profiles
    ]
    views.append(
        View(
            "parameters",
            _front_traces(facts, facts.study.profiles[0], lambda trial: trial.cost.params, " parameters"),
            _front_layout(facts, "parameters", limits.params),
        )
    )
    infeasible = sum(trial.status == "infeasible" for trial in facts.trials)
    return Figure(
        "front",
        "",
        _front_caption(facts),
        f"Scatter of {len(facts.complete)} trained networks by error and cost, and {infeasible} that broke a limit.",
        tuple(views),
        height=460,
    )


def _front_caption(facts: Facts) -> str:
    text = (
        "Networks of the front (filled) are beaten by no other in error, latency and parameters at once; the line joins "
        "those that are best in the cost shown. "
    )
    if any(facts.interval(trial) for trial in facts.complete):
        text += "Bars: 95 % intervals; two networks whose bars overlap may well be equals. "
    if any(trial.status == "infeasible" for trial in facts.trials):
        text += "Crosses in the strip broke a limit and were never trained. "
    epochs = {trial.candidate.recipe.epochs for trial in facts.complete}
    if len(epochs) > 1:
        text += (
            f"Candidates were trained for {min(epochs)} to {max(epochs)} epochs, as the method schedules them: errors of "
            "different phases do not compare directly. "
        )
    if facts.comparison is not None:
        text += "Stars are searched networks and public ones (squares) after training in full, for equal seconds. "
    return text + "Click a point for its trial."


def _front_traces(facts: Facts, profile: str, cost: Callable[[Trial], float], unit: str) -> list[dict[str, Any]]:
    def points(name: str, trials: Sequence[Trial], colour: str, symbol: str, size: int, **more: Any) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [cost(trial) for trial in trials],
            "y": [_error(facts, trial) for trial in trials],
            "customdata": [trial.number for trial in trials],
            "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}},
            "text": [interval_words(_error_interval(facts, trial), facts.metric) for trial in trials],
            "hovertemplate": f"trial %{{customdata}}<br>%{{x:.4~g}}{unit}<br>{what} {there}%{{text}}<extra>{name}</extra>",
        } | more

    what, there = _error_name(facts), hovered(facts.metric)

    on_front = {trial.candidate.key for trial in facts.front(profile)}
    others = [trial for trial in facts.complete if trial.candidate.key not in on_front]
    best = sorted((t for t in facts.complete if t.candidate.key in on_front), key=cost)
    traces = [points("trained", others, "$faint", "circle", 7)]
    if facts.control:
        traces.append(points("random control", facts.control, "$third", "diamond-open", 8))
    line = {"color": "$accent", "width": 1.5, "shape": "hv"}
    traces.append(points("front", best, "$accent", "circle", 9, mode="markers", error_y=_error_bars(facts, best)))
    lowest = [t for i, t in enumerate(best) if all(facts.score(t) > facts.score(other) for other in best[:i])]
    traces.append(
        points("", lowest, "$accent", "circle", 1, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    )
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
    """Searched and public networks that were trained in full: error on validation with its interval, by latency or (unit)
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
        errors = [metric.error(mean) for mean in means]
        reach = [sorted(map(metric.error, end)) for end in ends]
        bars = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": "$third"}
        bars["array"] = [round(high - error, 4) for (_, high), error in zip(reach, errors, strict=True)]
        bars["arrayminus"] = [round(error - low, 4) for (low, _), error in zip(reach, errors, strict=True)]
        costs = [one.cost.params if "parameters" in unit else one.cost.latencies[profile].ms for one in shown]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": costs,
                "y": [round(error, 4) for error in errors],
                "text": [one.name for one in shown],
                "error_y": bars,
                "marker": {"color": "$third", "symbol": symbol, "size": 11},
                "hovertemplate": f"%{{text}}<br>%{{x:.4~g}}{unit}<br>{_error_name(facts)} {hovered(metric)}<extra>{name}</extra>",
            }
        )
    return traces


def _front_layout(facts: Facts, axis: str, limit: float | None) -> dict[str, Any]:
    has_strip = any(trial.status == "infeasible" for trial in facts.trials)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": axis}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": error_words(facts)}, "domain": [0, 0.88 if has_strip else 1]},
    }
    if has_strip:
        layout["yaxis2"] = {"domain": [0.92, 1], "showticklabels": False, "showgrid": False, "zeroline": False}
        layout["yaxis2"] |= {"fixedrange": True, "range": [-1, 1]}
    if limit is not None:
        line = {"type": "line", "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"] = [{**line, "line": {"color": "$warn", "width": 1.5, "dash": "dash"}}]
        note = {"x": limit, "yref": "paper", "y": 0.02, "text": f"limit {limit:g}", "showarrow": False}
        layout["annotations"] = [{**note, "xanchor": "right", "xshift": -4, "font": {"color": "$warn"}}]
    return layout


def _latency_on(profile: str) -> Callable[[Trial], float]:
    return lambda trial: trial.cost.latencies[profile].ms


def _error_name(facts: Facts) -> str:
    """What the vertical axis holds, in a word for a point's label."""
    return facts.metric.name if facts.metric.better == "lower" else "error"


def _error(facts: Facts, trial: Trial) -> float | None:
    return round(facts.metric.error(facts.value(trial)), 4) if trial.status == "complete" else None


def _error_interval(facts: Facts, trial: Trial) -> Interval | None:
    """The 95 % interval of a point's error."""
    interval = facts.interval(trial)
    if interval is None:
        return None
    low, high = sorted(map(facts.metric.error, interval))
    return low, high


def _error_bars(facts: Facts, trials: Sequence[Trial]) -> dict[str, Any]:
    """95 % intervals of the errors, as bars; none where they are not known."""
    ends = [(_error_interval(facts, trial), facts.metric.error(facts.value(trial))) for trial in trials]
    bars = {"type": "data", "symmetric": False, "color": "$accent", "thickness": 1, "width": 3}
    return bars | {
        "array": [interval and round(interval[1] - error, 4) for interval, error in ends],
        "arrayminus": [interval and round(error - interval[0], 4) for interval, error in ends],
    }


def compared_fronts(studies: Sequence[Facts]) -> Figure:
    """The fronts of several studies over the latency on each one's first target, and over parameters."""
    by_latency = [
        _front_line(index, facts, _latency_on(facts.study.profiles[0]), " ms") for index, facts in enumerate(studies)
    ]
    by_params = [
        _front_line(index, facts, lambda t: t.cost.params, " parameters") for index, facts in enumerate(studies)
    ]
    named = {error_words(facts) for facts in studies}
    error = {"title": {"text": named.pop() if len(named) == 1 else "validation error, in each study's own metric"}}
    latency = {"title": {"text": "latency on each study's first target, ms"}}
    return Figure(
        "compared",
        "Fronts side by side",
        "Only studies on the same data and split can be compared in error.",
        f"Fronts of {len(studies)} studies by error and cost.",
        (
            View("latency", by_latency, {"xaxis": latency, "yaxis": error}),
            View("parameters", by_params, {"xaxis": {"title": {"text": "parameters"}}, "yaxis": error}),
        ),
    )


def _front_line(index: int, facts: Facts, cost: Callable[[Trial], float], unit: str) -> dict[str, Any]:
    colour = ("$accent", "$second", "$third", "$warn", "$muted")[index % 5]
    symbol = ("circle", "square", "diamond", "triangle-up", "cross")[index % 5]
    trials = sorted(facts.front(facts.study.profiles[0]), key=cost)
    return {
        "type": "scatter",
        "mode": "markers+lines",
        "name": facts.name,
        "x": [cost(trial) for trial in trials],
        "y": [_error(facts, trial) for trial in trials],
        "marker": {"color": colour, "symbol": symbol, "size": 8},
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "hovertemplate": f"%{{x:.4~g}}{unit}<br>{_error_name(facts)} {hovered(facts.metric)}",
    }


def tar_figure(facts: Facts) -> Figure | None:
    """Faces: TAR of every trained network with its interval, by latency."""
    name = facts.objective
    trials = [trial for trial in facts.complete if f"{name}_low" in trial.scores]
    if facts.metric.name != TAR.name or not trials:
        return None
    profile = facts.study.profiles[0]
    on_front = {trial.candidate.key for trial in facts.front(profile)}
    traces = []
    for label, colour, chosen in (("others", "$faint", False), ("front", "$accent", True)):
        group = [trial for trial in trials if (trial.candidate.key in on_front) == chosen]
        scores = [facts.score(trial) for trial in group]
        error_bars = {
            "type": "data",
            "symmetric": False,
            "array": [t.scores[f"{name}_high"] - s for t, s in zip(group, scores, strict=True)],
            "arrayminus": [s - t.scores[f"{name}_low"] for t, s in zip(group, scores, strict=True)],
            "color": colour,
            "thickness": 1,
            "width": 3,
        }
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": [trial.cost.latencies[profile].ms for trial in group],
                "y": scores,
                "error_y": error_bars,
                "customdata": [trial.number for trial in group],
                "marker": {"color": colour, "size": 8},
                "hovertemplate": "trial %{customdata}<br>%{x:.4~g} ms<br>TAR %{y:.1f} %<extra></extra>",
            }
        )
    axis = f"latency on {profile}, ms ({origins(facts, profile)})"
    layout = {"xaxis": {"title": {"text": axis}}, "yaxis": {"title": {"text": score_words(facts)}}}
    return Figure(
        "tar",
        "Verification of unseen people",
        "Bars: 95 % intervals from drawing the people again. Overlapping intervals are a tie, which the faster network wins.",
        f"TAR with intervals of {len(trials)} networks.",
        (View("", traces, layout),),
    )
