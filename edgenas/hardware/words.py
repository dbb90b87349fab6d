"""A latency in words: the same line wherever one is shown."""

from __future__ import annotations

from edgenas.records import Latency

ORIGINS = {"measured": "measured", "predicted": "predicted", "datasheet": "from the datasheet"}
LEARNED = "learned from"  # in the detail of a latency predicted by what its own study has measured


def latency_words(latency: Latency) -> str:
    """A latency with its interval and its origin, such as "4.2 ms (3.4 to 5.2) predicted" or "4.2 ms measured, unstable"."""
    sure = "" if latency.low is None or latency.high is None else f" ({latency.low:.3g} to {latency.high:.3g})"
    beyond = ", extrapolated" if latency.extrapolated else ""
    shaky = "" if latency.stable else ", unstable"
    return f"{latency.ms:.3g} ms{sure} {ORIGINS[latency.origin]}{beyond}{shaky}"
