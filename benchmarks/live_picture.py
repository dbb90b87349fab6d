"""docs/images/live*.svg: per task the retrained fronts of all searches, and the test accuracy of what each method chose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.live_summary import used

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDE, HIGH, GAP, TOP, LEGEND = 330, 260, 70, 60, 60
COLOURS = ("#8d8d8d", "#1b6ca8", "#2a8c55", "#c0392b", "#7a4fa3", "#d9822b", "#b8a000")


class Panel:
    """One task's axes: log latency and accuracy."""

    def __init__(self, place: int, members: Sequence[tuple[float, float]], limit: float) -> None:
        self.left = GAP + place * (WIDE + GAP)
        self.low, self.high = min(ms for ms, _ in members) * 0.97, limit * 1.02
        accuracies = [accuracy for _, accuracy in members]
        slack = 0.06 * (max(accuracies) - min(accuracies)) + 0.1
        self.floor, self.ceiling = min(accuracies) - slack, max(accuracies) + slack

    def x(self, ms: float) -> float:
        return self.left + WIDE * math.log(ms / self.low) / math.log(self.high / self.low)

    def y(self, accuracy: float) -> float:
        return TOP + HIGH * (self.ceiling - accuracy) / (self.ceiling - self.floor)

    def axes(self, title: str, limit: float) -> list[str]:
        bottom, middle = TOP + HIGH, self.left + WIDE / 2
        parts = [
            f'<rect x="{self.left}" y="{TOP}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#999999"/>',
            f'<text x="{middle}" y="{TOP - 14}" text-anchor="middle" font-weight="bold">{escape(title)}</text>',
            f'<line x1="{self.x(limit):.1f}" x2="{self.x(limit):.1f}" y1="{TOP}" y2="{bottom}" stroke="#555555" '
            'stroke-dasharray="4 4"/>',
            f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">predicted latency, ms (dashed: limit)</text>',
        ]
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            ms = self.low * (self.high / self.low) ** share
            accuracy = self.floor + share * (self.ceiling - self.floor)
            parts.append(f'<text x="{self.x(ms):.1f}" y="{bottom + 18}" text-anchor="middle">{ms:.3g}</text>')
            parts.append(
                f'<text x="{self.left - 6}" y="{self.y(accuracy) + 4:.1f}" text-anchor="end">{accuracy:.1f}</text>'
            )
        return parts


def draw(runs: Sequence[dict[str, Any]], tasks: dict[str, Any], name: str) -> None:
    """Write the picture of this name."""
    runs = used(runs)
    arms = sorted({f"{run['method']} {run['space']}" for run in runs})
    width, height = GAP + len(tasks) * (WIDE + GAP), TOP + HIGH + GAP + LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" '
        'role="img">',
        "<title>What searches of the same minutes found, trained alike: test accuracy over predicted latency</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, (of, task) in enumerate(tasks.items()):
        of_task = [run for run in runs if run["task"] == of]
        members = [(m["latency_ms"], m["test_accuracy"]) for run in of_task for m in (*run["front"], run["final"])]
        panel = Panel(place, members, task["box"]["limit_ms"])
        parts += panel.axes(f"{of}, {task['target']}, {task['minutes']:g} min", task["box"]["limit_ms"])
        for run in of_task:
            parts += _searched(run, panel, COLOURS[arms.index(f"{run['method']} {run['space']}") % len(COLOURS)])
    for place, arm in enumerate(arms):
        at = GAP + 170 * place
        parts.append(f'<circle cx="{at}" cy="{height - 24}" r="5" fill="{COLOURS[place % len(COLOURS)]}"/>')
        parts.append(f'<text x="{at + 10}" y="{height - 20}">{escape(arm)}</text>')
    parts.append(f'<text x="{GAP}" y="{height - 46}">small: members of a front; ringed: the choice of a search</text>')
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / f"{name}.svg").write_text("\n".join([*parts, "</svg>"]) + "\n")


def _searched(run: dict[str, Any], panel: Panel, colour: str) -> list[str]:
    parts = [
        f'<circle cx="{panel.x(m["latency_ms"]):.1f}" cy="{panel.y(m["test_accuracy"]):.1f}" r="3" fill="{colour}" '
        'fill-opacity=".6"/>'
        for m in run["front"]
    ]
    x, y = panel.x(run["final"]["latency_ms"]), panel.y(run["final"]["test_accuracy"])
    return [*parts, f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="none" stroke="{colour}" stroke-width="2"/>']
