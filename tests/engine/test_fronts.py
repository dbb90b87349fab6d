"""The front by hand: score, latency, energy where a board measured it, parameters."""

import csv
import io
from pathlib import Path

import msgspec
import pytest

from edgenas.architectures.chain import chain
from edgenas.binomial import Validation, noise_of_difference, noise_with_repeats
from edgenas.cli.front_page import front_csv, front_text
from edgenas.engine.fronts import finalists, front, network_words, smallest_serving_set, summary
from edgenas.engine.plan import plan_json
from edgenas.methods import CONTROL
from edgenas.records import (
    ACCURACY,
    Candidate,
    Choice,
    Classes,
    Cost,
    Decision,
    Expectation,
    Latency,
    Limits,
    Recipe,
    StudyRecord,
    Trial,
)
from edgenas.report.answers.ship import noise_of_scores
from edgenas.store import Store
from tests.plans import plan
from tests.report.answers.cases import study
from tests.report.studies import study_record


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
    assert widths([trial(1, 95, 2.0, 10.0), trial(2, 90, 3.0, None)]) == [1]  # what is not known is no merit


def test_fewer_parameters_alone_are_enough_for_a_place_on_the_front() -> None:
    large, small = trial(1, 90, 1.0, None, params=200), trial(2, 89, 1.0, None, params=100)
    assert widths([large, small]) == [2, 1]
    assert widths([large, trial(2, 89, 1.0, None, params=200)]) == [1]


def test_finalists_are_the_front_that_is_shown_and_the_chosen_network(tmp_path: Path) -> None:
    """By expected scores, with parameters, without the control; every network once."""
    few = trial(1, 70, 1.4, None, params=10)  # slower and worse than all, and smaller
    lucky, expected_best, worse = trial(2, 93, 1.1, None), trial(3, 90, 1.2, None), trial(4, 92, 1.3, None)
    control = trial(5, 99, 0.5, None)
    control = msgspec.structs.replace(control, candidate=msgspec.structs.replace(control.candidate, phase=CONTROL))
    means = ((few, 70.0), (lucky, 88.0), (expected_best, 91.0), (worse, 80.0))
    expected = {t.candidate.architecture.fingerprint: Expectation(mean, 1.0) for t, mean in means}
    study = msgspec.structs.replace(study_record(), profiles=("board",))
    with Store.create(tmp_path / "study", study) as store:
        for one in (few, lucky, expected_best, worse, control):
            store.add(one)
            store.number(one.candidate.key)
        assert [t.number for t in finalists(store)] == [2, 1]  # before the choice by scores alone
        for number, measured in ((3, [2, 3, 1]), (4, [4, 2, 3, 1])):
            chosen = next(t for t in store.ledger() if t.number == number)
            store.choose(Choice(chosen, {}, (), expected))
            document = summary(study, "studies/x", store.ledger(), store.choice, 0.0)
            assert [item["trial"] for item in document["front"]] == [2, 3, 1]
            assert [t.number for t in finalists(store)] == measured


def on_two(width: int, score: float, first_ms: float, second_ms: float) -> Trial:
    """A network with its latency on each of two boards."""
    one = trial(width, score, first_ms, None)
    latencies = {"a": Latency(first_ms, "measured", "a"), "b": Latency(second_ms, "measured", "b")}
    return msgspec.structs.replace(one, cost=msgspec.structs.replace(one.cost, latencies=latencies))


def served(trials: list[Trial], tolerance: float = 0.5) -> list[int]:
    chosen = smallest_serving_set(trials, "val_accuracy", ["a", "b"], tolerance, slack=1.1)
    return sorted(t.candidate.architecture.width for t in chosen)  # type: ignore[union-attr]


def test_one_network_serves_two_boards_while_it_is_about_as_fast_as_the_fastest_on_each() -> None:
    fast_on_a, fast_on_b = on_two(1, 90.0, 1.0, 1.5), on_two(2, 90.1, 1.5, 1.0)
    assert served([fast_on_a, fast_on_b]) == [1, 2]
    assert served([fast_on_a, fast_on_b, on_two(3, 90.0, 1.1, 1.1)]) == [3]
    assert served([fast_on_a, fast_on_b, on_two(3, 90.0, 1.1, 1.11)]) == [1, 2]


def test_what_is_less_accurate_than_the_tolerance_allows_serves_nobody_however_fast() -> None:
    accurate, fast = on_two(1, 90.1, 2.0, 2.0), on_two(2, 89.5, 1.0, 1.0)
    assert served([accurate, fast], tolerance=0.5) == [1]
    assert served([accurate, fast], tolerance=0.7) == [2]


def test_the_front_of_a_search_holds_nothing_of_its_control_and_the_control_has_its_own() -> None:
    found, control = trial(1, 90, 2.0, None), trial(2, 91, 1.0, None)
    random = msgspec.structs.replace(control, candidate=msgspec.structs.replace(control.candidate, phase=CONTROL))
    study = msgspec.structs.replace(study_record(), profiles=("board",))
    document = summary(study, "studies/x", [found, random], None, 0.0)
    assert [entry["architecture"]["width"] for entry in document["front"]] == [1]
    assert [entry["architecture"]["width"] for entry in document["control"]] == [2]


def test_why_the_search_and_why_its_control_ended_early_is_said_together() -> None:
    one, verdict = msgspec.structs.replace(trial(1, 90, 1.0, None), number=1), Decision("depth", "accept", "the best")
    stops = Decision("depth", "stop", "no time"), Decision(CONTROL, "stop", "no time: the control had 80%")

    def told(*decisions: Decision) -> str | None:
        study = msgspec.structs.replace(study_record(), profiles=("board",))
        found: str | None = summary(study, "s", [one], Choice(one, {}, decisions), 1.0)["ended_early"]
        return found

    assert told(verdict) is None
    assert told(verdict, stops[0]) == "no time"
    assert told(verdict, *stops) == "no time; no time: the control had 80%"


def test_a_network_of_an_own_space_is_told_by_its_choices() -> None:
    architecture = {"type": "own", "space": "two-stages", "choices": {"width": 8, "blocks": 2}}
    assert network_words(architecture) == "two-stages: width 8, blocks 2"


def predicted(width: int, score: float, ms: float, high: float) -> Trial:
    made = trial(width, score, ms, None)
    latency = Latency(ms, "predicted", "board", low=ms / 2, high=high)
    cost = msgspec.structs.replace(made.cost, latencies={"board": latency})
    return msgspec.structs.replace(made, cost=cost, number=width)


@pytest.mark.parametrize(("limit", "uncertain"), [(None, []), (4.0, []), (3.9, [2]), (2.0, [2]), (1.9, [1, 2])])
def test_networks_whose_interval_crosses_the_limit_are_told(limit: float | None, uncertain: list[int]) -> None:
    trials = [predicted(1, 80.0, 1.0, 2.0), predicted(2, 90.0, 2.0, 4.0)]
    study = study_record(profiles=("board",), limits=Limits(latency_ms=limit))
    document = summary(study, "s", trials, None, 1.0)
    assert document["uncertain"] == uncertain
    text = front_text(document)
    assert "2.000 (1 to 4)" in text
    many = "all 2 networks" if len(uncertain) == 2 else f"{len(uncertain)} of 2 networks"
    words = f"lies inside the latency's interval of {many} on the front"
    assert ("front (trial 2)" in text) == (uncertain == [2])
    assert (words in text) == bool(uncertain)
    assert ("--margin" in text) == (
        uncertain == [2]
    )  # trial 1 keeps the limit by its upper end; at 1.9 ms nothing does
    assert document["within_by_upper_end"] == [
        trial.number for trial in trials if limit is None or 2 * trial.number <= limit
    ]


@pytest.mark.parametrize(
    ("extrapolated", "words"), [(True, "`edgenas calibrate --board URL` narrows them"), (False, None)]
)
def test_where_nothing_keeps_the_limit_by_its_upper_end_a_calibration_is_advised_if_that_is_why(
    extrapolated: bool, words: str | None
) -> None:
    made = predicted(1, 80.0, 1.0, 3.0)
    latency = msgspec.structs.replace(made.cost.latencies["board"], extrapolated=extrapolated)
    far = msgspec.structs.replace(made, cost=msgspec.structs.replace(made.cost, latencies={"board": latency}))
    study = study_record(profiles=("board",), limits=Limits(latency_ms=1.5))
    text = front_text(summary(study, "s", [far], None, 1.0))
    assert "`edgenas verify --board URL` measures them" in text
    assert "--margin" not in text
    assert ("calibrate" in text) == extrapolated
    assert words is None or words in text


def test_the_front_as_csv_has_every_target_with_its_interval_and_nothing_where_nothing_is_known() -> None:
    made = predicted(1, 80.0, 1.5, 2.0)
    cost = msgspec.structs.replace(
        made.cost, latencies={**made.cost.latencies, "other": Latency(7.0, "datasheet", "other")}
    )
    study = study_record(profiles=("board", "other"))
    document = summary(study, "s", [msgspec.structs.replace(made, cost=cost)], None, 1.0)
    (row,) = csv.DictReader(io.StringIO(front_csv(document)))
    assert (row["trial"], row["val_accuracy"], row["params"]) == ("1", "80.0", str(cost.params))
    assert [row[f"board {part}"] for part in ("ms", "low", "high", "origin")] == ["1.5", "0.75", "2.0", "predicted"]
    assert [row[f"other {part}"] for part in ("ms", "low", "high", "origin")] == ["7.0", "", "", "datasheet"]
    assert row["expected"] == ""


def test_energies_stand_beside_the_latencies_where_a_board_measured_them() -> None:
    study, known = study_record(profiles=("board",)), (trial(1, 90, 1.0, 9.0), trial(2, 90, 2.0, 5.25))
    trials = [msgspec.structs.replace(one, number=number) for number, one in enumerate(known, start=1)]
    document = summary(study, "s", trials, None, 1.0)
    header, *lines = front_text(document).splitlines()
    assert header.split()[:6] == ["trial", "score", "latency", "ms", "energy", "mJ"]
    assert [line.split()[:4] for line in lines[:2]] == [["1", "90.00", "1.000", "9"], ["2", "90.00", "2.000", "5.25"]]
    assert [row["board energy_mj"] for row in csv.DictReader(io.StringIO(front_csv(document)))] == ["9.0", "5.25"]
    without = summary(study, "s", [msgspec.structs.replace(trial(1, 90, 1.0, None), number=1)], None, 1.0)
    assert "energy" not in front_text(without) + front_csv(without)


def test_what_all_networks_share_is_said_once_and_what_differs_of_each() -> None:
    first, second = predicted(1, 80.0, 1.0, 2.0), predicted(2, 90.0, 2.0, 4.0)
    study = study_record(profiles=("board",))
    text = front_text(summary(study, "s", [first, second], None, 1.0))
    assert "   each: depth, 1 epoch, latency predicted\n" in text
    longer = msgspec.structs.replace(second.candidate.recipe, epochs=second.candidate.recipe.epochs + 1)
    candidate = msgspec.structs.replace(second.candidate, recipe=longer)
    other = front_text(summary(study, "s", [first, msgspec.structs.replace(second, candidate=candidate)], None, 1.0))
    assert other.count("latency predicted") == 1
    assert "   each: depth, latency predicted\n" in other
    assert [" ".join(line.split()[-2:]) for line in other.splitlines()[1:3]] == ["1 epoch", "2 epochs"]
    assert max(map(len, other.splitlines())) <= 80


def test_a_network_that_was_trained_again_is_on_the_front_once() -> None:
    first = msgspec.structs.replace(trial(1, 90, 1.0, None), number=1)
    again = msgspec.structs.replace(
        first, number=2, candidate=msgspec.structs.replace(first.candidate, phase="ops"), seconds=1.0
    )
    assert [found.number for found in front([first, again], "val_accuracy", "board")] == [1]
    text = front_text(summary(with_validation(200), "s", [first, again], Choice(again), 1.0))
    assert [line.split()[:2] for line in text.splitlines() if "90.00 (" in line] == [["->", "1"]]
    other = msgspec.structs.replace(trial(2, 90, 1.0, None), number=3)  # as good at the same cost, but another network
    assert [found.number for found in front([first, other], "val_accuracy", "board")] == [1, 3]


def with_validation(images: int) -> StudyRecord:
    known = plan(validation=Validation(images, 10.0, ACCURACY))
    return study_record(profiles=("board",), plan=plan_json(known))


def chosen_among(*trials: Trial, best: int, images: int = 200) -> tuple[list[int], str]:
    """Of a search with so many validation images: who is within the noise, and what is said."""
    choice = Choice(next(one for one in trials if one.number == best))
    document = summary(with_validation(images), "a study", list(trials), choice, 1.0)
    return document["within_noise"], front_text(document)


def test_networks_that_validation_cannot_tell_from_the_best_are_counted_and_the_fastest_is_named() -> None:
    best, near, far = predicted(3, 80.0, 3.0, 4.0), predicted(2, 72.0, 2.0, 4.0), predicted(1, 71.5, 1.0, 4.0)
    # by Newcombe's method 8.38 points are noise between 80 and 72 % of 200 images, and 8.41 between 80 and 71.5 %
    numbers, text = chosen_among(best, near, best=3)
    assert numbers == [2, 3]
    said = "all 2 networks on the front are within the noise of the best score"
    assert f"{said}; the fastest: `edgenas train 'a study' --trial 2`\n" in text
    numbers, text = chosen_among(best, far, best=3)
    assert numbers == [3]
    assert "within the noise" not in text
    numbers, text = chosen_among(best, near, far, best=3)
    assert numbers == [2, 3]
    assert "2 of 3 networks on the front are within the noise of the best score\n" in text
    assert chosen_among(best, near, best=3, images=2000)[0] == [3]


def test_what_another_training_changes_counts_on_the_front_as_in_the_report() -> None:
    """80 and 72 % of 2,000 images are no noise; a network that was trained three times, 5 points apart, makes them that. Two
    trainings, 10 points apart, tell nothing."""
    best, near = predicted(3, 80.0, 3.0, 4.0), predicted(2, 72.0, 2.0, 4.0)
    slow = predicted(4, 40.0, 9.0, 4.0)
    again = msgspec.structs.replace(
        slow, number=5, scores={"val_accuracy": 50.0}, candidate=msgspec.structs.replace(slow.candidate, repeat=1)
    )
    assert chosen_among(best, near, slow, best=3, images=2000)[0] == [3]
    third = msgspec.structs.replace(
        again, number=6, scores={"val_accuracy": 45.0}, candidate=msgspec.structs.replace(slow.candidate, repeat=2)
    )
    assert chosen_among(best, near, slow, again, best=3, images=2000)[0] is None
    assert chosen_among(best, near, slow, again, third, best=3, images=2000)[0] == [2, 3]
    facts = study(best, near, slow, again, third, chosen=3, images=2000)
    assert noise_of_scores(facts, best, near) == pytest.approx(
        noise_with_repeats(noise_of_difference(80, 72, 2000), [(50.0, 2)])
    )
    # what was trained ahead of need depends on the number of workers
    ahead = msgspec.structs.replace(again, number=None)
    assert chosen_among(best, near, slow, ahead, best=3, images=2000)[0] == [3]


def test_networks_that_a_model_cannot_tell_from_the_best_are_counted_by_their_expected_scores() -> None:
    """guided, the default method: the scores are far apart, what is expected of the networks is not."""
    best, near, far = predicted(3, 80.0, 3.0, 4.0), predicted(2, 60.0, 2.0, 4.0), predicted(1, 79.9, 1.0, 4.0)

    def told(near_mean: float) -> tuple[list[int], str]:
        means = ((best, 76.0, 0.6), (near, near_mean, 0.8), (far, 70.0, 0.8))
        expected = {one.candidate.architecture.fingerprint: Expectation(mean, sd) for one, mean, sd in means}
        document = summary(with_validation(200), "mine", [best, near, far], Choice(best, expected=expected), 1.0)
        return document["within_noise"], front_text(document)

    # 1.96 times the root of .6 squared and .8 squared, which is 1, is the noise
    numbers, text = told(74.05)
    assert numbers == [2, 3]
    assert "\n2 of 3 networks on the front are within the noise of the best expected score\n" in text
    numbers, text = told(74.03)
    assert numbers == [3]
    assert "within the noise" not in text


def test_nothing_is_said_of_noise_where_the_fastest_is_the_choice_or_validation_is_not_known() -> None:
    best, near = predicted(2, 80.0, 2.0, 4.0), predicted(1, 79.0, 1.0, 4.0)
    _, text = chosen_among(best, near, best=1)
    assert "all 2 networks on the front are within the noise of the best score\n" in text
    document = summary(study_record(profiles=("board",)), "s", [best, near], Choice(best), 1.0)
    assert document["within_noise"] is None
    assert "within the noise" not in front_text(document)


def test_commands_below_the_front_are_ones_that_the_study_takes() -> None:
    """Images that are an object are given in Python; no board measures networks at int8 before they are trained."""
    best, near = predicted(3, 80.0, 3.0, 4.0), predicted(2, 79.0, 2.0, 4.0)
    known = plan(validation=Validation(200, 10.0, ACCURACY), objects=("data",))
    record = study_record(profiles=("board",), plan=plan_json(known), limits=Limits(latency_ms=2.5), precision="int8")
    document = summary(record, "studies/mine", [best, near], Choice(best), 1.0)
    assert (document["precision"], document["objects"]) == ("int8", ["data"])
    text = front_text(document)
    assert "the fastest: `edgenas.open_study('studies/mine').go_on(data=DATA).train(trial=2)`" in text
    assert "trained in full and exported, they can be measured (`edgenas verify --bundle`)" in text
    assert "verify --board URL" not in text
