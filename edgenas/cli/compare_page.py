"""Winners beside references, as text and as one document."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import msgspec

from edgenas.cli.output import table
from edgenas.engine.scores import interval_words
from edgenas.engine.verdict import Comparison, Competitor, is_learned


def document(folder: Path, comparison: Comparison) -> dict[str, Any]:
    """One JSON document."""
    found: dict[str, Any] = msgspec.to_builtins(comparison)
    for kind in ("winners", "references"):
        for told, competitor in zip(found[kind], getattr(comparison, kind), strict=True):
            told["mean"] = competitor.mean
            told["std"] = statistics.stdev(competitor.each) if len(competitor.each) > 1 else 0.0
    return {"study": str(folder), **found}


def text(folder: Path, comparison: Comparison) -> str:
    """A table, the sentences below."""
    metric = comparison.metric
    header = (
        "",
        f"test {metric.name} {metric.unit}".rstrip(),
        "ms",
        "origin",
        "params",
        "epochs",
        "seconds",
        "weights",
    )
    rows = [_row(one, comparison) for one in (*comparison.winners, *comparison.references)]
    others = [one.sentence for one in comparison.outcomes if one.sentence != comparison.sentence]
    lines = [table(header, rows), "", comparison.sentence, *others, *([comparison.advice] if comparison.advice else [])]
    lines.append(
        f"\n{folder}: latencies on {comparison.profile}; 95 % intervals over {comparison.test_images} test images"
    )
    return "\n".join(lines)


def _row(one: Competitor, comparison: Comparison) -> tuple[str, ...]:
    metric, latency = comparison.metric, one.cost.latencies[comparison.profile]
    spread = f" +- {metric.number(statistics.stdev(one.each))}" if len(one.each) > 1 else ""
    sure = "" if latency.low is None or latency.high is None else f" ({latency.low:.3g} to {latency.high:.3g})"
    return (
        one.name,
        f"{metric.number(one.mean)}{spread}{interval_words(one.interval, metric)}",
        f"{latency.ms:.3f}{sure}",
        latency.origin + ", extrapolated" * latency.extrapolated + ", learned" * is_learned(latency),
        f"{one.cost.params:,}",
        str(one.epochs),
        f"{one.seconds:.1f}",
        one.origin,
    )
