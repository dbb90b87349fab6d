"""docs/images/boards.svg: predicted by a fit that never saw the design, against measured; every board, both in logarithms."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.boards import Judged

PATH = Path(__file__).parents[1] / "docs" / "images" / "boards.svg"
SIDE, MARGIN, LEGEND = 640, 64, 230
RANGE = (0.3, 20_000.0)  # ms
COLOURS = ("#1b6ca8", "#7a4fa3", "#2a8c55", "#c0392b", "#8d8d8d", "#d9822b", "#b8a000")


def draw(judged: Mapping[str, Judged]) -> None:
    """Write the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE + 2 * MARGIN + LEGEND} {SIDE + 2 * MARGIN}" '
        'font-family="sans-serif" font-size="13" role="img">',
        "<title>Predicted against measured latency of whole networks on all boards, designs held out</title>",
        f'<rect width="{SIDE + 2 * MARGIN + LEGEND}" height="{SIDE + 2 * MARGIN}" fill="white"/>',
        *axes(),
    ]
    for place, (name, one) in enumerate(judged.items()):
        colour = COLOURS[place % len(COLOURS)]
        predicted = one.held_out["design"]
        for row, ms in zip(one.rows, predicted, strict=True):
            if row.device in one.boards.profiles and not np.isnan(ms):
                parts.append(
                    f'<circle cx="{x(row.ms):.1f}" cy="{y(float(ms)):.1f}" r="3" fill="{colour}" fill-opacity=".45"/>'
                )
        down = MARGIN + 20 + 22 * place
        parts.append(f'<circle cx="{SIDE + MARGIN + 24}" cy="{down - 4}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{SIDE + MARGIN + 36}" y="{down}">{escape(name)}</text>')
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text("\n".join([*parts, "</svg>"]) + "\n")


def x(ms: float) -> float:
    low, high = np.log(RANGE)
    return float(MARGIN + SIDE * (np.log(ms) - low) / (high - low))


def y(ms: float) -> float:
    return SIDE + 2 * MARGIN - x(ms)


def axes() -> list[str]:
    """Grid, the diagonal, and a factor of 1.5 on each side of it."""
    lines = []
    for ms in (1, 10, 100, 1000, 10_000):
        lines.append(f'<line x1="{x(ms):.1f}" x2="{x(ms):.1f}" y1="{MARGIN}" y2="{SIDE + MARGIN}" stroke="#dddddd"/>')
        lines.append(f'<line y1="{y(ms):.1f}" y2="{y(ms):.1f}" x1="{MARGIN}" x2="{SIDE + MARGIN}" stroke="#dddddd"/>')
        lines.append(f'<text x="{x(ms):.1f}" y="{SIDE + MARGIN + 18}" text-anchor="middle">{ms:,}</text>')
        lines.append(f'<text x="{MARGIN - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms:,}</text>')
    low, high = RANGE
    for share, dash in ((1.0, ""), (1.5, "4 4"), (1 / 1.5, "4 4")):
        start, end = max(low, low / share), min(high, high / share)
        lines.append(
            f'<line x1="{x(start):.1f}" y1="{y(start * share):.1f}" x2="{x(end):.1f}" y2="{y(end * share):.1f}" stroke="#555555" '
            f'stroke-dasharray="{dash}"/>'
        )
    middle = MARGIN + SIDE / 2
    lines.append(
        f'<text x="{middle}" y="{SIDE + MARGIN + 42}" text-anchor="middle">measured, ms (dashed: 1.5 times off)</text>'
    )
    lines.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">predicted, ms</text>')
    return lines
