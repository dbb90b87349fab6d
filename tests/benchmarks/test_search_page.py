"""The figures of docs/search.md are those of benchmarks/results, and mean what is said of them."""

from typing import Any

import pytest

from benchmarks.search_page import (
    COMMAND,
    END,
    MARK,
    PAGE,
    live_rows,
    live_words,
    markdown,
    parts,
    photos_words,
    slower_words,
    table_rows,
    table_words,
    written,
)


def figures(hypervolume: float, beats: float, **other: Any) -> dict[str, Any]:
    return {"n": 50, "hypervolume": hypervolume, "sd": 0.01, "beats_random": beats, **other}


def table(beats: float, guided: float = 0.8) -> dict[str, Any]:
    """One table at a cost of 25: random and GP at .70, guided where it is said to be."""
    return {
        "random": {"25": figures(0.7, 0.0, regret=1.5)},
        "gp": {"25": figures(0.7, 0.5) | {"n": 4}},
        "guided": {"25": figures(guided, beats, regret=0.4)},
    }


def row(accuracy: float, seeds: int = 5, above: tuple[float, float | None] | None = None) -> dict[str, Any]:
    """One method of a live task; `above`: random, with its standard error, in accuracy and in hypervolume."""
    found: dict[str, Any] = {key: {"mean": 1.0, "se": None} for key in ("hypervolume", "networks", "latency_ms")}
    found |= {"seeds": list(range(seeds)), "test_accuracy": {"mean": accuracy, "se": 0.25}}
    if above is not None:
        one = {"paired_mean": above[0], "paired_se": above[1], "pairs": seeds}
        found["above_random"] = {"test_accuracy": one, "hypervolume": one}
    return found


def live(above: tuple[float, float | None], seeds: int = 5) -> dict[str, Any]:
    return {"cifar10": {"arms": {"guided chain": row(62.6, seeds, above), "random chain": row(61.0, seeds)}}}


def test_the_page_says_what_the_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, parts()) == page, "run python -m benchmarks.search_page"


@pytest.mark.parametrize(("slow", "told"), [(810.0, False), (790.0, True)])
def test_searches_on_machines_of_other_speeds_are_no_equal_chances(slow: float, told: bool) -> None:
    of = live((1.0, 0.1))
    for arm, speed in (("guided chain", 1000.0), ("random chain", slow)):
        of["cifar10"]["arms"][arm]["speed"] = {"each": [1000.0, speed]}
    assert any("equal minutes were no equal chances" in line for line in live_words(of)) is told
    assert len(list(live_words(live((1.0, 0.1))))) == 1


def test_what_nsga2_comes_to_is_said_too_and_how_fast_its_machine_was() -> None:
    of, above = live((1.6, 0.5)), live((1.6, 0.5))
    of["cifar10"]["arms"]["nsga2 chain"] = row(59.0, 5, (-2.0, 0.9))
    for tasks, speed in ((of, 1_230.0), (above, 2_470.0)):
        tasks["cifar10"]["arms"]["random chain"]["images_per_second"] = {"mean": speed}
    guided, nsga2 = live_words(of)
    assert "guided against random: hypervolume higher" in guided
    assert nsga2 == "CIFAR-10, 5 seeds of both, NSGA-II against random: hypervolume lower, accuracy lower."
    assert list(slower_words(of, above)) == [
        "CIFAR-10: 1,230 images a second in random search's trainings, 2,470 in those above."
    ]


def test_a_part_replaces_what_was_there_and_nothing_else() -> None:
    page = f"before\n{MARK.format('one', COMMAND)}old\n{END}\nbetween\n{MARK.format('two', COMMAND)}{END}\nafter\n"
    made = written(page, {"one": lambda: "new\n"})
    assert (
        made == f"before\n{MARK.format('one', COMMAND)}new\n{END}\nbetween\n{MARK.format('two', COMMAND)}{END}\nafter\n"
    )
    with pytest.raises(ValueError, match="three has 0 places on the page"):
        written(page, {"three": lambda: ""})


GP_RUNS = (("10", 50), ("25", 50), ("50", 10), ("100", 10))  # (trainings, seeds)


def test_a_table_names_itself_and_its_axis_and_says_how_often_guided_is_above_random() -> None:
    head, one = table_rows({"nasbench201 cifar10 help_pixel3": table(0.9)})
    assert dict(zip(head, one, strict=True)) == {
        "table, axis": "NAS-Bench-201 CIFAR-10, Pixel 3",
        "random": ".70",
        "evolution": "",
        "NSGA-II": "",
        "TPE": "",
        "GP": ".70",
        "guided": ".80",
        "seeds in which guided is above random, %": "90",
        "regret, random / guided": "1.50 / 0.40",
    }
    assert list(table_rows({"nasbench101 cifar10": table(0.88)}))[1][0] == "NAS-Bench-101, parameters"
    assert list(table_rows({"nasbench101 cifar10": table(0.88)}))[1][7] == "**88**"  # under nine of ten


def test_the_words_count_tables_on_both_sides_of_nine_of_ten_and_say_where_guided_is_below_random() -> None:
    tables = {"nasbench101 cifar10": table(0.9), "accel imagenet zcu102": table(0.88)}
    often, gp, seeds = table_words(tables)
    assert "in nine of ten seeds on 1 of 2 tables and costs; after 10 on 0 of 0" in often
    assert (
        gp == "It is above the mean of GP on 2 of the 2 tables and costs that GP has run on, and nowhere below random."
    )
    assert seeds == "Seeds: random 50, GP 4, guided 50."
    more = {
        "accel imagenet zcu102": {**table(0.9), "gp": {cost: {**table(0.9)["gp"]["25"], "n": n} for cost, n in GP_RUNS}}
    }
    assert (
        list(table_words({**tables, **more}))[2]
        == "Seeds: random 50, GP 50 after 10, 4 to 50 after 25, 10 after 50 and 100, guided 50."
    )
    worse = {"nasbench101 cifar10": table(0.0, guided=0.69)}  # five standard errors of the difference below
    assert "of GP on 0 of the 1" in list(table_words(worse))[1]
    assert list(table_words(worse))[1].endswith("more than a standard error on nasbench101 cifar10 at 25.")


def test_live_rows_hold_what_is_above_random_seed_by_seed() -> None:
    head, guided, random = live_rows(live((1.6, 0.5)))
    assert dict(zip(head[:5], guided[:5], strict=True)) == {
        "task": "CIFAR-10",
        "method": "guided",
        "seeds": "5",
        "test accuracy, %": "62.60 +- 0.25",
        "above random": "+1.60 +- 0.50",
    }
    assert random[1] == "random"
    assert random[4] == ""


@pytest.mark.parametrize(
    ("above", "seeds", "verdict"),
    [
        ((0.81, 0.4), 5, "higher"),
        ((0.8, 0.4), 5, "the same within two standard errors"),
        ((-0.8, 0.4), 5, "the same within two standard errors"),
        ((-0.81, 0.4), 5, "lower"),
        ((9.0, 0.4), 4, "not decided (it takes 5 seeds)"),
    ],
)
def test_two_standard_errors_over_five_seeds_are_a_difference(
    above: tuple[float, float | None], seeds: int, verdict: str
) -> None:
    (line,) = live_words(live(above, seeds))
    assert line == f"CIFAR-10, {seeds} seeds of both, guided against random: hypervolume {verdict}, accuracy {verdict}."


def test_stages_stand_beside_random_in_stages_and_beside_the_same_method_in_chains() -> None:
    of = live((1.6, 0.5))
    stages = row(60.0, 5, (-2.0, 0.9))
    higher, same = ({"paired_mean": 0.05, "paired_se": se, "pairs": 5} for se in (0.02, 0.03))
    stages["above_chain"] = {"hypervolume": higher, "test_accuracy": same}
    of["cifar10"]["arms"]["guided stages"] = stages
    _, beside_random, beside_chains = live_words(of)
    assert beside_random == (
        "CIFAR-10, 5 seeds of both, guided against random, both in stages: hypervolume lower, accuracy lower."
    )
    assert beside_chains == (
        "CIFAR-10, 5 seeds of both, guided in stages against guided in chains: hypervolume higher (+0.050 +- 0.020), "
        "accuracy the same within two standard errors (+0.05 +- 0.03)."
    )


@pytest.mark.parametrize(
    ("each", "se", "verdict"),
    [
        ([3.0] * 5, 1.4, "above random, +3.0 +- 1.4"),
        ([3.0] * 5, 1.5, "not told from random, +3.0 +- 1.5"),
        ([-3.0] * 5, 1.4, "below random, -3.0 +- 1.4"),
        ([3.0] * 4, 1.0, "not told from random, +3.0 +- 1.0"),
    ],
)
def test_choices_on_photographs_are_told_apart_by_two_standard_errors_over_five_searches(
    each: list[float], se: float, verdict: str
) -> None:
    def method(mean: float) -> dict[str, Any]:
        return {"further_accuracy": {"mean": mean}, "choices": [{"further_accuracy": {"mean": mean}}] * len(each)}

    above = {"mean": each[0], "se": se, "each": each}
    methods = {"random": method(40.0), "guided": method(40.0 + each[0]) | {"above_random": above}}
    line = photos_words({"seeds_of_training": 3, "images": 10_000, "methods": methods})
    assert line.startswith(
        f"{len(each)} searches, each choice trained 3 times, 10,000 images: guided {40 + each[0]:.1f} % ("
    )
    assert line.endswith(f"guided is {verdict} points by seed.")


def test_a_table_in_markdown() -> None:
    assert markdown([("a", "b"), ("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
