"""Charts of a search as it happened: ladders, micro decisions, rounds, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgenas.engine.counts import counted
from edgenas.engine.noise import Noise
from edgenas.engine.plan import plan_values, validation_in
from edgenas.engine.scores import decision_words, unit_of_difference
from edgenas.records import Decision
from edgenas.report.facts import Facts
from edgenas.report.figure import Figure, View, hovered, level, score_words, with_unit

VERDICTS = {  # verdict: (colour, marker)
    "start": ("$accent", "circle"),
    "accept": ("$accent", "circle"),
    "neutral": ("$muted", "circle-open"),
    "reject": ("$warn", "x-thin"),
}


def ladder_figure(facts: Facts, phase: str) -> Figure | None:
    """Score over depth or width, by verdict; None where the method has no such phase."""
    decided = [d for d in facts.decisions if d.phase == phase and d.score is not None and d.verdict in VERDICTS]
    if not decided:
        return None
    traces = [_path(facts, decided, phase)]
    for verdict, (colour, symbol) in VERDICTS.items():
        group = [d for d in decided if d.verdict == verdict]
        if group:
            there = [facts.metric.gain(d.score or 0.0) for d in group]
            traces.append(_decided(facts, verdict, group, [getattr(d, phase) for d in group], there))
            traces[-1]["marker"] = {
                "color": colour,
                "symbol": symbol,
                "size": 10,
                "line": {"width": 2, "color": colour},
            }
    axis: dict[str, Any] = {
        "title": {"text": f"{phase}, {'layers' if phase == 'depth' else 'channels'}"},
        "dtick": None,
    }
    if phase == "width":
        axis |= {"autorange": "reversed", "tickvals": sorted({d.width for d in decided if d.width is not None})}
    else:
        axis |= {"dtick": 1 if len(decided) < 16 else 5}
    captions = {
        "depth": "One layer more as long as it pays. The line joins the accepted networks.",
        "width": "Fewer channels as long as the network is no worse. The line joins the accepted networks.",
    }
    accepted = sum(d.verdict == "accept" for d in decided)
    return Figure(
        phase,
        f"{phase.capitalize()} ladder",
        captions[phase],
        f"{len(decided)} networks by {phase} and score; {accepted} steps accepted.",
        (View("", traces, {"xaxis": axis, "yaxis": {"title": {"text": score_words(facts)}}}),),
        height=320,
        half=True,
    )


def _path(facts: Facts, decided: Sequence[Decision], phase: str) -> dict[str, Any]:
    taken = [d for d in decided if d.verdict in ("start", "accept")]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [getattr(d, phase) for d in taken],
        "y": [facts.metric.gain(d.score or 0.0) for d in taken],
        "line": {"color": "$accent", "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _decided(facts: Facts, name: str, group: Sequence[Decision], x: list[Any], y: list[Any]) -> dict[str, Any]:
    numbers = {trial.candidate.key: trial.number for trial in facts.trials}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "customdata": [numbers.get(d.key) for d in group],
        "text": [decision_words(d, validation_in(facts.study), facts.metric) for d in group],
        "hovertemplate": f"trial %{{customdata}}<br>{hovered(facts.metric)}<br>%{{text}}<extra></extra>",
    }


def micro_figure(facts: Facts, noise: Noise | None) -> Figure | None:
    """Gain of every operation and kernel change over the best at its time, with the band of what another training changes."""
    decided = [
        d
        for d in facts.decisions
        if d.phase in ("ops", "kernels") and d.score is not None and d.best is not None and d.verdict in VERDICTS
    ]
    if not decided:
        return None
    labels = [d.reason.split(",", 1)[0].replace(" at layer ", " @ ") for d in decided]
    traces = []
    for verdict in ("accept", "reject"):
        chosen = [i for i, d in enumerate(decided) if d.verdict == verdict]
        group = [decided[i] for i in chosen]
        gains = [round((d.score or 0.0) - (d.best or 0.0), 4) for d in group]
        colour, symbol = VERDICTS[verdict]
        trace = _decided(facts, verdict, group, chosen, gains)
        traces.append(
            trace | {"marker": {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}}}
        )
    ticks = {"tickvals": list(range(len(labels))), "ticktext": labels, "tickangle": -60, "showgrid": False}
    layout: dict[str, Any] = {
        "xaxis": {**ticks, "range": [-0.7, len(labels) - 0.3]},
        "yaxis": {"title": {"text": f"gain over the best so far, {unit_of_difference(facts.metric)}"}},
        "shapes": [level(0)],
    }
    if noise is not None:
        band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "layer": "below", "line": {"width": 0}}
        spread = noise.of_a_difference
        layout["shapes"].append({**band, "y0": -spread, "y1": spread, "fillcolor": "$band"})
    accepted = sum(d.verdict == "accept" for d in decided)
    return Figure(
        "micro",
        "Micro decisions",
        _noise_words(facts, noise, decided),
        f"{len(decided)} changes of one operation or kernel by their gain; {accepted} kept.",
        (View("", traces, layout),),
        height=400,
        min_width=22 * len(labels) + 100,
    )


def _noise_words(facts: Facts, noise: Noise | None, decided: Sequence[Decision]) -> str:
    told = "Each layer once dense instead of separable, then once with each larger kernel, at matched size. "
    if noise is None:
        return told + (
            "The seed noise of these gains was not measured: no network was trained twice. `--confirm-seeds 2` measures it, "
            "and keeps a change only where it is larger."
        )
    inside = sum(d.verdict == "accept" and (d.score or 0.0) - (d.best or 0.0) <= noise.of_a_difference for d in decided)
    differ = "seed and in the cut of their training and validation images" if noise.cuts else "seed alone"
    told += (
        f"Band: ± {facts.metric.number(noise.of_a_difference)} {unit_of_difference(facts.metric)}, one standard deviation of "
        f"the difference of two trainings that differ in their {differ} "
        f"({counted(noise.trainings, 'training')} of {counted(noise.networks, 'network')}). "
    )
    confirm = plan_values(facts.study).get("asked", {}).get("confirm_seeds") or 0
    if confirm:
        told += f"A change was kept only where its mean gain over {confirm} more seed{'s' * (confirm > 1)} exceeded its error. "
    return told + f"{inside} of the kept changes gained less than the band."


def rounds_figure(facts: Facts) -> Figure | None:
    """NSE: the surviving networks of every round, and all that the last one scored."""
    if not facts.rounds:
        return None
    last = facts.rounds[-1]
    colours = ("$faint", "$third", "$second", "$accent")
    shown = [n for n in last.networks if n.band != "cheap"]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"round {last.plan.number}, all scored",
            "x": [network.cost for network in shown],
            "y": [network.error for network in shown],
            "marker": {"color": "$faint", "size": 5},
            "hovertemplate": f"%{{x:.4~g}}<br>error {hovered(facts.metric)}",
        }
    ]
    for index, played in enumerate(facts.rounds):
        colour = colours[max(0, len(colours) - len(facts.rounds) + index)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+lines",
                "name": f"round {played.plan.number}, front",
                "x": [network.cost for network in played.survivors],
                "y": [network.error for network in played.survivors],
                "marker": {"color": colour, "size": 8},
                "line": {"color": colour, "width": 1.5, "dash": "solid" if played is last else "dot"},
                "hovertemplate": f"%{{x:.4~g}}<br>error {hovered(facts.metric)}",
            }
        )
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": f"cost, {last.plan.unit}"}},
        "yaxis": {"title": {"text": with_unit("error with inherited weights", facts.metric)}},
    }
    return Figure(
        "rounds",
        "Rounds of space evolution",
        "Each round trains one supernet on its part of the space and scores networks with its weights. These errors rank "
        "networks within a round; they are not what a network reaches when it is trained alone.",
        f"Fronts of {len(facts.rounds)} rounds by cost and error.",
        (View("", traces, layout),),
    )
