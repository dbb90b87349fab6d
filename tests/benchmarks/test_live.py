"""The live evidence's arithmetic by hand, and which arms are left to run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.live import left
from benchmarks.live_arms import Arm, thinned
from benchmarks.live_summary import Box, difference, lines, spread, summary, used, worth_of_macs
from edgenas.errors import EdgenasError


def item(ms: float, accuracy: float) -> dict[str, Any]:
    return {"latency": {"ms": ms}, "val_accuracy": accuracy}


def run(seed: int = 0, disturbed: bool = False, **other: Any) -> dict[str, Any]:
    return {
        "task": "cifar10",
        "space": "chain",
        "method": "random",
        "seed": seed,
        "disturbed": disturbed,
        **other,
    }


def test_a_thinned_front_has_the_members_nearest_to_equal_steps_of_log_latency() -> None:
    # steps from 1 to 8 ms: 1, 2, 4, 8; 2.5 is nearer to 2 than 3.1 is, and to 4 the nearest is 3.1
    front = [item(1, 50), item(2.5, 60), item(3.1, 61), item(6, 62), item(8, 63)]
    assert [m["latency"]["ms"] for m in thinned(front, 4)] == [1, 2.5, 3.1, 8]


def test_what_another_beats_in_accuracy_and_latency_is_no_member_even_where_it_is_smaller() -> None:
    front = [item(1, 50), item(2, 49), item(2, 55), item(4, 55), item(8, 54)]
    assert [(m["latency"]["ms"], m["val_accuracy"]) for m in thinned(front, 4)] == [(1, 50), (2, 55)]


def test_a_front_of_one_stays_one() -> None:
    assert thinned([item(1, 50)], 4) == [item(1, 50)]


def test_the_share_of_the_box_by_hand() -> None:
    box = Box(fastest_ms=1.0, limit_ms=16.0, reference_accuracy=60.0)
    assert box.share([]) == 0
    assert box.share([(1.0, 100.0)]) == pytest.approx(1.0)
    assert box.share([(4.0, 80.0)]) == pytest.approx(0.25)  # half of the way up, over half of the log latencies
    # from 2 ms 10 of 40 points over three quarters, from 8 ms 20 more over a quarter
    assert box.share([(8.0, 90.0), (2.0, 70.0)]) == pytest.approx(0.25 * 0.75 + 0.5 * 0.25)


def test_what_lies_outside_of_the_box_adds_nothing() -> None:
    box = Box(fastest_ms=1.0, limit_ms=16.0, reference_accuracy=60.0)
    assert box.share([(16.0, 99.0), (20.0, 99.0), (2.0, 60.0), (3.0, 10.0)]) == 0
    assert box.share([(0.5, 80.0)]) == box.share([(1.0, 80.0)]) == pytest.approx(0.5)
    assert box.share([(2.0, 80.0), (4.0, 70.0)]) == box.share([(2.0, 80.0)])


def test_a_spread_has_the_standard_error_of_the_mean_and_a_difference_that_of_both_and_that_over_common_seeds() -> None:
    one = {"seeds": [0, 1, 2], "accuracy": spread([1.0, 2.0, 3.0])}
    other = {"seeds": [1, 0], "accuracy": spread([0.0, 4.0])}
    values = one["accuracy"]
    assert (values["mean"], values["sd"], values["se"]) == (2.0, 1.0, pytest.approx(1 / math.sqrt(3)))
    # by seed: 1 - 4 and 2 - 0, which deviate by 2.5 from their mean: the deviation is 2.5 sqrt(2), its share of two seeds 2.5
    assert difference(one, other, "accuracy") == {
        "mean": 0.0,
        "se": pytest.approx(math.sqrt(1 / 3 + 4)),
        "pairs": 2,
        "paired_mean": -0.5,
        "paired_se": pytest.approx(2.5),
    }


def test_one_run_has_no_standard_error() -> None:
    one, other = {"seeds": [0], "accuracy": spread([5.0])}, {"seeds": [1, 2], "accuracy": spread([1.0, 3.0])}
    found = difference(one, other, "accuracy")
    assert (found["mean"], found["se"], found["pairs"], found["paired_se"]) == (3.0, None, 0, None)


def searched(method: str, seed: int, accuracy: float, front: list[tuple[float, float]]) -> dict[str, Any]:
    def member(ms: float, test_accuracy: float) -> dict[str, Any]:
        return {"latency_ms": ms, "test_accuracy": test_accuracy, "params": 10, "val_accuracy": 50.0, "macs": 10**6}

    known = {"minutes": 5.0, "target": "jetson", "limit_ms": 16.0, "steps": 500, "batch": 64, "device": "any"}
    spent = {
        "wall_seconds": 285.0,
        "cpu_seconds": 280.0,
        "search_images": 1000,
        "images_per_second": 1000.0,
        "load": [1.0, 2.0],
        "networks": 9,
    }
    said = {"at_chance": False, "versions": {"edgenas": "abc"}, "method": method, "seed": seed}
    return run(**known, **spent, **said, final=member(8.0, accuracy), front=[member(*one) for one in front])


def test_a_summary_has_every_method_with_its_spread_and_its_distance_from_random_search() -> None:
    runs = [
        searched("random", 0, 70.0, [(4.0, 80.0)]),
        searched("random", 1, 74.0, [(4.0, 80.0)]),
        searched("guided", 0, 75.0, [(1.0, 80.0)]),
        searched("guided", 1, 77.0, [(1.0, 80.0)]),
    ]
    task = summary(runs, lambda _: Box(1.0, 16.0, 60.0))["cifar10"]
    assert list(task["arms"]) == ["guided chain", "random chain"]
    guided, rand = task["arms"].values()
    assert (rand["test_accuracy"]["mean"], rand["test_accuracy"]["se"]) == (72.0, pytest.approx(2.0))
    assert rand["hypervolume"]["each"] == pytest.approx([0.25, 0.25])
    assert guided["share_of_budget"]["mean"] == pytest.approx(0.95)
    above = guided["above_random"]["test_accuracy"]
    assert (above["mean"], above["paired_mean"], above["paired_se"]) == (4.0, 4.0, pytest.approx(1.0))
    assert guided["above_random"]["hypervolume"]["mean"] == pytest.approx(0.25)
    assert "above_random" not in rand
    assert any(
        "test_accuracy above random +4.00 +- 2.24 (by seed +4.00 +- 1.00)" in line for line in lines({"cifar10": task})
    )


def test_a_method_in_stages_stands_beside_itself_in_chains_and_beside_random_in_stages() -> None:
    runs = [
        searched("random", 0, 70.0, [(4.0, 80.0)]) | {"space": "stages"},
        searched("guided", 0, 73.0, [(4.0, 80.0)]) | {"space": "stages"},
        searched("guided", 0, 75.0, [(1.0, 80.0)]),
    ]
    arms = summary(runs, lambda _: Box(1.0, 16.0, 60.0))["cifar10"]["arms"]
    assert arms["guided stages"]["above_random"]["test_accuracy"]["mean"] == 3.0
    assert arms["guided stages"]["above_chain"]["test_accuracy"]["mean"] == -2.0
    assert arms["guided stages"]["above_chain"]["hypervolume"]["mean"] == pytest.approx(-0.25)
    assert not {"above_chain", "above_random"} & {*arms["guided chain"], *arms["random stages"]}


def test_what_short_trainings_overlook_is_what_macs_bring_at_equal_score() -> None:
    def found(networks: int, noise: float = 0.0) -> dict[str, float | int] | None:
        members = [
            {"val_accuracy": 40.0 + i % 5, "macs": math.exp(i % 7),
             "test_accuracy": 50.0 + 0.5 * (i % 5) + 2.0 * (i % 7) + noise * (-1) ** i}
            for i in range(networks)
        ]  # fmt: skip
        half = networks // 2
        runs = [
            {"seed": 0, "search_images": 1000, "front": members[:half]},
            {"seed": 1, "search_images": 2000, "front": members[half:]},
        ]
        return worth_of_macs({"random stages": runs, "random chain": runs[:1]}, "stages")

    assert found(19) is None
    exact, noisy = found(20), found(40, noise=1.0)
    assert exact is not None
    assert noisy is not None
    assert (exact["networks"], exact["points"], exact["se"]) == (20, pytest.approx(2.0), pytest.approx(0.0, abs=1e-9))
    assert noisy["se"] > 0.05
    assert abs(noisy["points"] - 2.0) < 3 * noisy["se"]


def test_of_the_runs_of_an_arm_the_last_that_nobody_disturbed_counts() -> None:
    runs = [run(at=1), run(disturbed=True, at=2), run(1, disturbed=True, at=3), run(1, disturbed=True, at=4)]
    assert [one["at"] for one in used(runs)] == [1, 4]
    assert [one["at"] for one in used([run(disturbed=True, at=1), run(at=2)])] == [2]


def test_the_arms_left_are_those_listed_without_an_undisturbed_run_and_tried_fewer_than_twice(tmp_path: Path) -> None:
    arms = [f"cifar10 chain random {seed}" for seed in range(5)]
    (tmp_path / "arms").write_text("# first a comment\n" + "\n".join(arms[:4]) + "\n\n" + arms[4] + "   # later\n")
    assert left(tmp_path) == arms
    runs = [run(0), run(1, disturbed=True), run(2, disturbed=True), run(2, disturbed=True)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in runs))
    assert left(tmp_path) == [arms[1], arms[3], arms[4]]


@pytest.mark.parametrize("words", ["cifar10 chain random", "cifar11 chain random 0", "cifar10 chain random x"])
def test_an_arm_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(EdgenasError, match="TASK SPACE METHOD SEED"):
        Arm.from_words(words)
    assert Arm.from_words("cifar10 chain random 3").name == "cifar10-chain-random-3"
