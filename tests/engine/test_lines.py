"""Lines of progress: a latency says how sure it is."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from edgenas.architectures.chain import chain
from edgenas.cli.front_page import _origin
from edgenas.cli.progress import SearchView
from edgenas.engine.events import SearchBegins
from edgenas.engine.lines import Lines, trial_line
from edgenas.records import ACCURACY, Candidate, Classes, Cost, Decision, Latency, Recipe, Trial
from tests.report.studies import study_record


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


@pytest.mark.parametrize("said", ["in a log", "in a terminal"])
def test_what_broke_a_limit_is_said_once_and_every_other_verdict_is(said: str) -> None:
    candidate = Candidate(chain(8, 4, (0,) * 4, (3,) * 4, Classes(10)), Recipe("r", 1, 32, 0.1), "depth")
    cost = Cost(1, 1, 1, 1.0, 1.0, {"b": Latency(1.5, "measured", "b")})
    broken = "latency 1.5 ms > 1 ms on b"
    events = [
        SearchBegins(study_record(), Path("s"), None, lambda *_: None),
        Trial(candidate, "infeasible", cost, 0, error=broken),
        Decision("depth", "infeasible", broken),
        Trial(candidate, "complete", cost, 0, {"val_accuracy": 90.0}),
        Decision("depth", "reject", "-2.00 points"),
        Decision("depth", "stop", broken),
    ]
    stream = io.StringIO()
    hear = Lines(stream) if said == "in a log" else SearchView(Console(file=stream, soft_wrap=True)).hear
    for event in events:
        hear(event)
    lines = stream.getvalue().splitlines()
    assert [line.split(":")[0].split()[-1] for line in lines] == ["infeasible", "trained", "reject", "stop"]
    assert stream.getvalue().count(broken) == 2
