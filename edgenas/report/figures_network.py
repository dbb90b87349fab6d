"""Charts of the chosen network and of the latency predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgenas.report.facts import Compared
from edgenas.report.figure import Figure, View
from edgenas.report.network import Stage

KINDS = {"conv": "$accent", "depthwise": "$second", "linear": "$third"}


def network_figure(stages: Sequence[Stage], precision: str) -> Figure:
    """Side of the feature maps, latency and bytes, kernel by kernel in execution order, cut into stages."""
    kernels = [kernel for stage in stages for kernel in stage.kernels]
    rows: list[tuple[str, list[float]]] = [("side, px", [max(kernel.sides) for kernel in kernels])]
    if all(kernel.ms is not None for kernel in kernels):
        rows.append(("µs", [1e3 * (kernel.ms or 0.0) for kernel in kernels]))
    rows.append((f"kB, {precision}", [kernel.kilobytes for kernel in kernels]))
    present = [*KINDS, *(["other"] if any(kernel.kind not in KINDS for kernel in kernels) else [])]
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"barmode": "stack", "bargap": 0.25, "shapes": []}
    for row, (title, values) in enumerate(rows):
        axis = "y" if row == 0 else f"y{row + 1}"
        top = 1 - row / len(rows)
        layout["yaxis" if row == 0 else f"yaxis{row + 1}"] = {
            "domain": [top - 1 / len(rows) + 0.06, top - 0.04],
            "title": {"text": title},
            "rangemode": "tozero",
            "nticks": 4,
        }
        for kind in present:
            chosen = [k.index for k in kernels if k.kind == kind or (kind == "other" and k.kind not in KINDS)]
            if not chosen:
                continue
            traces.append(
                {
                    "type": "bar",
                    "name": kind,
                    "legendgroup": kind,
                    "showlegend": row == 0,
                    "x": chosen,
                    "y": [values[i] for i in chosen],
                    "yaxis": axis,
                    "marker": {"color": KINDS.get(kind, "$faint")},
                    "text": [f"{kernels[i].words}<br>makes {kernels[i].shape}" for i in chosen],
                    "textposition": "none",
                    "hovertemplate": f"%{{text}}<br>%{{y:.4~g}} {title.split(',')[0]}<extra></extra>",
                }
            )
    edges = [stage.kernels[0].index - 0.5 for stage in stages[1:]]
    for edge in edges:
        line = {"type": "line", "x0": edge, "x1": edge, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"].append({**line, "line": {"color": "$faint", "width": 1, "dash": "dot"}})
    layout["xaxis"] = {
        "anchor": f"y{len(rows)}",
        "showgrid": False,
        "range": [-0.7, len(kernels) - 0.3],
        "title": {"text": "kernel"},
    }
    parts = [f"{stage.name}: {len(stage.kernels)} kernels" for stage in stages]
    return Figure(
        "network",
        "",
        "Every bar is one kernel as the runtime launches it, in execution order; dotted lines separate the stages.",
        f"Feature map side, latency and bytes of {len(kernels)} kernels. {'; '.join(parts)}.",
        (View("", traces, layout),),
        height=420,
        min_width=14 * len(kernels) + 120,
    )


def scatter_figure(pairs: Sequence[Compared]) -> Figure:
    """Measured against predicted latency, one point per network, with the line of perfect prediction."""
    values = [value for pair in pairs for value in (pair.predicted_ms, pair.measured_ms)]
    low, high = 0.8 * min(values), 1.25 * max(values)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "equal",
            "x": [low, high],
            "y": [low, high],
            "line": {"color": "$faint", "width": 1},
            "hoverinfo": "skip",
        }
    ]
    for profile in sorted({pair.profile for pair in pairs}):
        group = [pair for pair in pairs if pair.profile == profile]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": profile,
                "x": [pair.predicted_ms for pair in group],
                "y": [pair.measured_ms for pair in group],
                "customdata": [pair.trial for pair in group],
                "marker": {"color": "$accent", "size": 8, "opacity": 0.8},
                "hovertemplate": "trial %{customdata}<br>predicted %{x:.4~g} ms<br>measured %{y:.4~g} ms<extra></extra>",
            }
        )
    layout = {
        "xaxis": {"title": {"text": "predicted, ms"}, "type": "log"},
        "yaxis": {"title": {"text": "measured median, ms"}, "type": "log"},
    }
    return Figure(
        "scatter",
        "Measured against predicted",
        f"{len(pairs)} networks of this study that were measured on a device whose profile also predicts them.",
        f"{len(pairs)} networks by predicted and measured latency.",
        (View("", traces, layout),),
    )
