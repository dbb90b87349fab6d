"""What the report's charts hold."""

import pytest

from edgenas.binomial import wilson
from edgenas.records import Expectation
from edgenas.report.figures_front import front_figure
from edgenas.report.figures_more import curves_figure, progress_figure
from tests.report.answers.cases import final, run, study, trial


def test_costs_that_lie_close_together_are_drawn_without_the_axis_zero() -> None:
    def modes(*costs: float) -> list[str]:
        facts = study(*(trial(5 + place, 80.0, ms) for place, ms in enumerate(costs)), chosen=5)
        return [view.layout["xaxis"]["rangemode"] for view in front_figure(facts).views]

    assert modes(1.0, 1.99) == ["normal", "normal"]  # 500 and 600 parameters
    assert modes(1.0, 2.01) == ["tozero", "normal"]


def test_what_a_guided_search_expects_is_drawn_beside_the_scores_and_joins_the_front() -> None:
    trials = trial(1, 84.0, 0.5), trial(2, 83.0, 1.0)
    known = {one.candidate.architecture.fingerprint: Expectation(80.0 + i, 0.5) for i, one in enumerate(trials)}
    traces = front_figure(study(*trials, chosen=2, expected=known)).views[0].data
    expected = next(trace for trace in traces if trace["name"] == "expected ± sd")
    assert (expected["x"], expected["y"], expected["error_y"]["array"]) == ([0.5, 1.0], [80.0, 81.0], [0.5, 0.5])
    line = next(trace for trace in traces if trace.get("line", {}).get("shape") == "hv")
    assert line["y"] == [80.0, 81.0]  # by scores the second network would not be on it
    assert [trace["name"] for trace in front_figure(study(*trials, chosen=2)).views[0].data].count("expected ± sd") == 0


def test_the_search_is_drawn_as_its_best_score_so_far_with_its_interval() -> None:
    figure = progress_figure(study(trial(1, 80.0), trial(2, 84.0), trial(3, 82.0), chosen=2))
    assert figure is not None
    by_trainings, by_minutes = figure.views
    best = next(trace for trace in by_trainings.data if trace.get("name") == "best so far")
    assert (best["x"], best["y"]) == ([1.0, 2.0, 3.0], [80.0, 84.0, 84.0])
    assert next(trace for trace in by_minutes.data if trace.get("name") == "best so far")["x"] == [
        1.0,
        2.0,
        3.0,
    ]  # 60 s each
    low, high = by_trainings.data[:2]
    assert [low["y"][1], high["y"][1]] == pytest.approx(wilson(84.0, 1000))
    assert progress_figure(study(trial(1, 80.0))) is None


def test_each_seed_that_kept_its_looks_has_a_learning_curve() -> None:
    one = trial(1, 80.0)
    figure = curves_figure(final(one, run(curve={2: 70.0, 4: 81.5}), run(), run(curve={2: 71.0, 4: 80.0})))
    assert figure is not None
    assert [(trace["x"], trace["y"]) for trace in figure.views[0].data] == [
        ([2, 4], [70.0, 81.5]),
        ([2, 4], [71.0, 80.0]),
    ]
    assert curves_figure(final(one, run())) is None
