"""A latency reads the same everywhere."""

import pytest

from edgenas.hardware.words import latency_words
from edgenas.records import Latency


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        (Latency(4.2, "predicted", "b", low=3.4, high=5.2), "4.2 ms (3.4 to 5.2) predicted"),
        (
            Latency(4.2, "predicted", "b", low=2.0, high=9.0, extrapolated=True),
            "4.2 ms (2 to 9) predicted, extrapolated",
        ),
        (Latency(0.01234, "datasheet", "b", low=0.004, high=0.03), "0.0123 ms (0.004 to 0.03) from the datasheet"),
        (Latency(123.4, "measured", "b"), "123 ms measured"),
        (Latency(123.4, "measured", "b", stable=False), "123 ms measured, unstable"),
    ],
)
def test_a_latency_says_its_interval_and_its_origin(latency: Latency, words: str) -> None:
    assert latency_words(latency) == words
