"""Charts of what more budget would give: the best score so far over trainings and time, learning curves of final trainings."""

from __future__ import annotations

import itertools
from typing import Any

from edgenas.engine.scores import interval_words, metric_of
from edgenas.records import FinalTraining, Trial
from edgenas.report.answers.more import best_so_far
from edgenas.report.facts import Facts
from edgenas.report.figure import Figure, View, hovered, score_words, with_unit
from edgenas.report.values import metric_words

SEEDS = ("$accent", "$second", "$third", "$warn", "$muted")


def progress_figure(facts: Facts) -> Figure | None:
    """Every training in the order of decisions, and the best so far with its 95 % interval, over trainings and over minutes."""
    trials = facts.complete
    if len(trials) < 2:
        return None
    best = best_so_far(facts)
    numbers = [float(place) for place in range(1, len(trials) + 1)]
    spent = [round(seconds / 60, 3) for seconds in itertools.accumulate(trial.seconds for trial in trials)]
    banded = all(facts.interval(trial) for trial in best)
    caption = "Points: trainings as the method read them. Line: the best score so far. "
    if banded:
        caption += "Band: its 95 % interval; a gain inside it may be luck. "
    return Figure(
        "progress",
        "The search: best score so far",
        caption + "Minutes are those of the trainings, added up.",
        f"Best score so far over {len(trials)} trainings: from {facts.words(best[0])} to {facts.words(best[-1])}.",
        tuple(
            View(label, _progress(facts, trials, best, x), _layout(facts, axis))
            for label, axis, x in (
                ("trainings", "trainings", numbers),
                ("minutes", "minutes of training, added up", spent),
            )
        ),
        height=320,
    )


def _progress(facts: Facts, trials: tuple[Trial, ...], best: list[Trial], x: list[float]) -> list[dict[str, Any]]:
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "training",
        "x": x,
        "y": [facts.value(trial) for trial in trials],
        "customdata": [trial.number for trial in trials],
        "text": [interval_words(facts.interval(trial), facts.metric) for trial in trials],
        "marker": {"color": "$faint", "size": 8},
        "hovertemplate": f"trial %{{customdata}}<br>{hovered(facts.metric)}%{{text}}<extra></extra>",
    }
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "name": "best so far", "x": x}
    line |= {"y": [facts.value(trial) for trial in best], "hoverinfo": "skip"}
    line |= {"line": {"color": "$accent", "width": 2, "shape": "hv"}}
    intervals = [facts.interval(trial) for trial in best]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(best):
        return [points, line]
    edge: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": x, "hoverinfo": "skip", "showlegend": False}
    edge |= {"line": {"width": 0, "shape": "hv", "color": "$accent"}}
    low = edge | {"y": [end[0] for end in known]}
    high = edge | {"y": [end[1] for end in known], "fill": "tonexty", "fillcolor": "$band"}
    return [low, high, points, line]


def _layout(facts: Facts, axis: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": axis}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": score_words(facts)}},
    }


def curves_figure(final: FinalTraining) -> Figure | None:
    """The metric on validation over the epochs of a final training, one line for each seed that kept its looks."""
    runs = [run for run in final.runs if len(run.curve) > 1]
    if not runs:
        return None
    metric = metric_of(final)
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"seed {place}",
            "x": [look.epoch for look in run.curve],
            "y": [look.value for look in run.curve],
            "line": {"color": SEEDS[place % len(SEEDS)], "width": 1.5, "dash": ("solid", "dot", "dash")[place % 3]},
            "marker": {"color": SEEDS[place % len(SEEDS)], "size": 6},
            "hovertemplate": f"epoch %{{x}}<br>{hovered(metric)}<extra>seed {place}</extra>",
        }
        for place, run in enumerate(runs)
    ]
    name = with_unit(f"validation {metric_words(metric)}", metric)
    ends = ", ".join(metric.words(run.curve[-1].value) for run in runs)
    return Figure(
        "curves",
        f"The final training of trial {final.trial}: validation over epochs",
        f"{len(runs[0].curve)} looks at validation in {final.recipe.epochs} epochs.",
        f"Learning curves of {len(runs)} seeds; at the end {ends} on validation.",
        (View("", traces, {"xaxis": {"title": {"text": "epochs"}}, "yaxis": {"title": {"text": name}}}),),
        height=320,
    )
