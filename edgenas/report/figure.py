"""What a chart is, and the words that charts and tables share.

A figure holds plain Plotly traces and layouts (https://plotly.com/javascript/reference). A colour that starts with $ is the
name of one of the page's own, which follow its light or dark theme. `customdata` of a point is its trial's number: a click on
it shows that trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgenas.records import TAR, Metric
from edgenas.report.facts import Facts


@dataclass(frozen=True)
class View:
    """One way to look at a figure: Plotly traces and layout."""

    label: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """`alt` says in words what the chart shows, for those who cannot see it."""

    name: str
    title: str
    caption: str
    alt: str
    views: tuple[View, ...]
    height: int = 380
    min_width: int = 0  # px; below it the chart scrolls sideways
    half: bool = False  # stands beside another where there is room


def score_name(facts: Facts) -> str:
    """What the metric is called on validation, such as "validation accuracy"."""
    if facts.metric.name != TAR.name:
        return f"validation {facts.metric.name}"
    far = next((trial.scores["val_far"] for trial in facts.complete if "val_far" in trial.scores), None)
    return "TAR" if far is None else f"TAR at FAR {far:g}"


def score_words(facts: Facts) -> str:
    """The metric with its unit and, where that is not clear, its direction, for axes and tables."""
    lower = " (lower is better)" if facts.metric.better == "lower" else ""
    return with_unit(score_name(facts), facts.metric) + lower


def with_unit(words: str, metric: Metric) -> str:
    """The words, and behind a comma the metric's unit, where it has one."""
    return f"{words}, {metric.unit}" if metric.unit else words


def hovered(metric: Metric) -> str:
    """A score in the label of a point of a chart, as Plotly formats it."""
    number = "%{y:.2f}" if metric.unit == "%" else "%{y:.4~g}"
    return f"{number} {metric.unit}".rstrip()


def origins(facts: Facts, profile: str) -> str:
    """Where the latencies on a profile come from: more than one word where they are mixed."""
    found = {t.cost.latencies[profile].origin for t in facts.trials if profile in t.cost.latencies}
    return " and ".join(sorted(found)) or "none yet"


def level(y: float) -> dict[str, Any]:
    """A horizontal line across the chart, as a layout shape."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below"}
    return {**line, "line": {"color": "$muted", "width": 1}}
