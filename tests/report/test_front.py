"""The front by hand: score, latency, energy where a board measured it, parameters."""

from edgenas.architectures.chain import chain
from edgenas.records import Candidate, Classes, Cost, Latency, Recipe, Trial
from edgenas.report.front import front


def trial(width: int, score: float, ms: float, energy_mj: float | None, params: int = 100) -> Trial:
    architecture = chain(width, 3, (0, 0, 0), (3, 3, 3), Classes(10), 1, 8)
    cost = Cost(params, 1, 1, 0.1, 0.1, {"board": Latency(ms, "measured", "board", energy_mj=energy_mj)})
    return Trial(
        Candidate(architecture, Recipe("r", 1, 32, 0.1), "depth"), "complete", cost, 0, {"val_accuracy": score}
    )


def widths(trials: list[Trial]) -> list[int]:
    return [t.candidate.architecture.width for t in front(trials, "val_accuracy", "board")]  # type: ignore[union-attr]


def test_who_is_beaten_in_everything_is_not_on_the_front() -> None:
    assert widths([trial(1, 90, 1.0, None), trial(2, 91, 2.0, None), trial(3, 89, 3.0, None)]) == [1, 2]


def test_energy_is_an_objective_where_it_was_measured() -> None:
    slow_but_thrifty, fast_but_hungry = trial(1, 90, 2.0, 5.0), trial(2, 90, 1.0, 9.0)
    assert widths([slow_but_thrifty, fast_but_hungry]) == [2, 1]
    assert widths([trial(1, 90, 2.0, None), trial(2, 90, 1.0, None)]) == [2]
