"""Values with their units, as a report prints them."""

from __future__ import annotations

from pathlib import PurePath

from edgenas.ranges import beside
from edgenas.records import TAR, Latency, Metric

Pairs = list[tuple[str, str]]


def data_words(data: str) -> str:
    """Data as a sentence names them: of a folder's whole path the last two parts; the evidence has all of it."""
    parts = PurePath(data).parts
    return "/".join(parts[-2:]) if PurePath(data).is_absolute() and len(parts) > 2 else data


def metric_words(metric: Metric) -> str:
    """A metric as a sentence names it."""
    return "TAR" if metric.name == TAR.name else metric.name


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def three_digits(value: float) -> str:
    """Three significant digits, zeros kept: 0.200, 12.3, 123."""
    return f"{value:#.3g}".rstrip(".")


def digits_beside(value: float, bar: float) -> str:
    """Three significant digits, or as many more as it takes to be on its side of `bar`."""
    text = three_digits(value)
    same_side = (float(text) > bar) == (value > bar) and (float(text) < bar) == (value < bar)
    return text if same_side else beside(value, bar)


def interval(low: float, high: float) -> str:
    """The ends of an interval, such as "3.40 to 5.20"."""
    return f"{three_digits(low)} to {three_digits(high)}"


def milliseconds(latency: Latency) -> str:
    """A latency with its interval, its origin and, where it was measured, its spread."""
    sure = "" if latency.low is None or latency.high is None else interval(latency.low, latency.high) + ", "
    text = f"{three_digits(latency.ms)} ms ({sure}{latency.origin}{', extrapolated' * latency.extrapolated}"
    if latency.n is not None:
        text += f", n {latency.n}"
    if latency.p90_ms is not None:
        text += f", p90 {three_digits(latency.p90_ms)} ms"
    return text + ")"
