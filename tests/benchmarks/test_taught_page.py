"""The figures of references and teachers on their pages are those of benchmarks/results, and mean what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.search_page import written
from benchmarks.taught_page import COMMAND, cell_rows, cell_words, difference, parts, teacher_rows, teacher_words


def network(accuracy: float, params: int, ms: float, *seconds: float) -> dict[str, Any]:
    scores = {"accuracy": accuracy, "balanced_accuracy": accuracy - 9, "macro_f1": accuracy - 7}
    return {
        **scores,
        "params": params,
        "macs": 1000 * params,
        "latency_ms": ms,
        "other_ms": 8 * ms,
        "cpu_seconds": list(seconds),
    }


def spread(mean: float, sd: float | None = 1.0) -> dict[str, Any]:
    return {"mean": mean, "sd": sd}


CELLS = {
    "over_splits": {
        "frozen": {"n": 2, **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), spread(84.2))},
        "cut taught": {
            "n": 2, "accuracy": spread(85.0), "balanced_accuracy": spread(76.0), "macro_f1": spread(78.0),
            "params": spread(100_000.0), "macs": spread(1e8), "latency_ms": spread(0.5), "other_ms": spread(4.0),
        },
    },
    "settings": {"smallest_ms": {"jetson": 0.34, "raspberry-pi-5": 0.3}},
    "splits": {
        "cut": [
            {"reference": network(84, 1_000_000, 1.0, 300), "taught": network(85, 100_000, 0.5, 120, 60)},
            {"reference": network(84, 1_000_000, 1.0, 300), "taught": network(87, 100_000, 0.5, 180, 120)},
        ]
    },
}  # fmt: skip


def test_the_pages_say_what_the_results_say() -> None:
    for page, made in parts().items():
        text = page.read_text(encoding="utf-8")
        assert written(text, made, COMMAND) == text, "run python -m benchmarks.taught_page"


def test_a_network_stands_with_its_scores_its_sizes_and_all_the_minutes_that_it_took() -> None:
    _, frozen, taught = cell_rows(CELLS)
    assert frozen[1:] == ("2", "84.2 +- 1.0", "84.2 +- 1.0", "84.2 +- 1.0", "", "", "", "", "")
    assert taught[1:] == ("2", "85.0 +- 1.0", "76.0 +- 1.0", "78.0 +- 1.0", "100,000", "100", "0.50", "4.00", "4")
    line, least = cell_words(CELLS)
    assert "+2.0 +- 1.0 points" in line
    assert "with 1/10 of its parameters, in 50 % of its predicted latency on the Jetson, 50 % on" in line
    assert "is predicted with 0.34 ms, 34 % of it" in least


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([1.0, 3.0], "+2.0 +- 1.0 points (better)"),
        ([1.0, 3.4], "+2.2 +- 1.2 points (no difference within two standard errors)"),
        ([-1.0, -3.0], "-2.0 +- 1.0 points (worse)"),
        ([-2.0], "-2.0 points (one split)"),
    ],
)
def test_a_difference_is_one_beyond_two_standard_errors(points: list[float], said: str) -> None:
    assert difference(points) == said


def test_what_a_teacher_adds_stands_beside_its_student_and_is_judged_by_its_error() -> None:
    def arm(mean: float) -> dict[str, Any]:
        return {"params": 48_000, "epochs": 9, "seconds": 300.4, "test_accuracy": {"mean": mean, "std": 0.2}}

    of = {"plain": arm(91.0), "taught": arm(91.5), "by_reference": arm(90.0), "free": arm(90.9)}
    gains = {
        "gain": {"points": 0.5, "standard_error": 0.25},
        "by_reference_gain": {"points": -1.0, "standard_error": 0.3},
        "free_gain": {"points": -0.1, "standard_error": 0.2},
    }
    found = {"data": {"cifar10": of | gains | {"compare": "Searching paid: trial 1 and lite0.onnx are equal."}}}
    _, plain, taught, by_reference, free = teacher_rows(found)
    assert plain == ("CIFAR-10", "48,000", "without a teacher", "9", "300", "91.00 +- 0.20", "")
    assert (taught[-1], by_reference[-1], free[-1]) == ("+0.50 +- 0.25", "-1.00 +- 0.30", "-0.10 +- 0.20")
    assert list(teacher_words(found)) == [
        "CIFAR-10, taught by the largest network in equal minutes: better.",
        "CIFAR-10, taught by the fine-tuned reference in equal minutes: worse.",
        "CIFAR-10, taught by the largest network in equal epochs: no difference within two standard errors.",
        'CIFAR-10, `edgenas compare`: "Searching paid: trial 1 and lite0.onnx are equal."',
    ]
