"""Lines of progress: a latency says how sure it is."""

import msgspec
import pytest

from edgenas.architectures.chain import chain
from edgenas.cli.front import _origin
from edgenas.engine.lines import trial_line
from edgenas.records import ACCURACY, Candidate, Classes, Cost, Latency, Recipe, Trial


@pytest.mark.parametrize(
    ("latency", "line", "column"),
    [
        (Latency(1.5, "measured", "b"), "1.5 ms measured  not trained", "measured"),
        (Latency(1.5, "measured", "b", stable=False), "1.5 ms measured, unstable  not trained", "measured, unstable"),
        (
            Latency(1.5, "predicted", "b", low=1.25, high=2.0),
            "1.5 ms (1.25 to 2) predicted  not trained",
            "predicted",
        ),
        (
            Latency(1.5, "predicted", "b", low=0.5, high=4.5, extrapolated=True),
            "1.5 ms (0.5 to 4.5) predicted, extrapolated  not trained",
            "predicted, extrapolated",
        ),
        (Latency(1.5, "datasheet", "b"), "1.5 ms from the datasheet  not trained", "datasheet"),
    ],
)
def test_a_latency_says_its_interval_and_what_is_doubtful_about_it(latency: Latency, line: str, column: str) -> None:
    candidate = Candidate(chain(8, 4, (0,) * 4, (3,) * 4, Classes(10)), Recipe("r", 1, 32, 0.1), "depth")
    cost = Cost(1, 1, 1, 1.0, 1.0, {"b": latency})
    assert trial_line(Trial(candidate, "complete", cost, 0, {"val_accuracy": 90.0}), ACCURACY).endswith(line)
    told = {"ms": latency.ms, "origin": latency.origin, "profile": "b"}
    assert _origin({"latency": told, "latencies": {"b": msgspec.to_builtins(latency)}}) == column
    assert _origin({"latency": told}) == latency.origin
