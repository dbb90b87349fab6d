"""Each sentence about the network to ship, on both sides of its bar."""

import math

import msgspec
import pytest

from edgenas.binomial import NORMAL_95, noise_of_difference, noise_with_repeats
from edgenas.records import Expectation, Trial
from edgenas.report.answers.ship import noise_of, noise_of_scores, shipped
from tests.report.answers.cases import final, latency, run, study, trial


def expected(*pairs: tuple[Trial, float, float]) -> dict[str, Expectation]:
    return {one.candidate.architecture.fingerprint: Expectation(mean, sd) for one, mean, sd in pairs}


def test_the_chosen_network_with_the_best_score_is_called_so() -> None:
    told = shipped(study(trial(1, 80.0, 1.0), trial(2, 90.0, 2.0), chosen=2))
    assert told[0] == "Trial 2: depth 4, width 6, 200 parameters."
    assert (
        told[1]
        == "It has the best score of the 2 networks that were trained: 90.00 % (88.0 to 91.7) on validation, in trial 2."
    )


def test_networks_of_the_very_same_score_are_named_by_the_smallest() -> None:
    """Trial 1 has 100 parameters, trial 2 200."""
    alone = shipped(study(trial(1, 80.0, 1.0), trial(3, 90.0, 2.0), chosen=3))
    assert "scored the same" not in alone[1]
    one = shipped(study(trial(2, 90.0, 1.0), trial(3, 90.0, 2.0), chosen=3))
    assert one[1].endswith("in trial 3. Trial 2, with 200 parameters, scored the same.")
    two = shipped(study(trial(1, 90.0, 1.0), trial(2, 90.0, 1.0), trial(3, 90.0, 2.0), chosen=3))
    assert two[1].endswith("Trial 1, with 100 parameters, and 1 more network scored the same.")
    again = msgspec.structs.replace(trial(3, 90.0, 2.0), number=4)
    assert "scored the same" not in shipped(study(trial(3, 90.0, 2.0), again, chosen=3))[1]


def test_another_best_score_is_held_against_the_noise() -> None:
    """90 and 92.6 % of 1,000 images differ by more than the noise of 2.5 points, 92.3 % do not."""
    bar = noise_of_difference(92.3, 90.0, 1000)
    assert 2.3 < bar < 2.6
    inside = shipped(study(trial(1, 90.0, 2.0), trial(2, 92.3, 2.5), chosen=1))
    assert (
        f"Trial 2 scored 2.30 points better, inside the noise of ±{bar:.2f}; gnas chose by its own rules" in inside[1]
    )
    outside = shipped(study(trial(1, 90.0, 2.0), trial(2, 92.6, 2.5), chosen=1))
    assert "Trial 2 scored 2.60 points better, more than the noise of" in outside[1]


def test_a_faster_network_inside_the_noise_is_offered_the_fastest_first() -> None:
    trials = trial(1, 88.0, 0.5), trial(2, 88.5, 0.7), trial(3, 80.0, 0.1), trial(4, 90.0, 1.0)
    told = shipped(study(*trials, chosen=4))
    bar = noise_of_difference(90.0, 88.0, 1000)
    assert told[2] == (
        "A faster one may be as good: trial 1 takes 0.500 ms in place of 1.00, with 100 parameters; its score is 2.00 points "
        f"worse, inside the noise of ±{bar:.2f}. 1 more between the two is inside it as well. Where speed counts: "
        "`edgenas train 'studies/a study' --trial 1`."
    )


def test_faster_networks_that_are_worse_by_more_than_the_noise_are_told_with_the_nearest() -> None:
    told = shipped(study(trial(1, 80.0, 0.1), trial(2, 86.0, 0.5), trial(3, 90.0, 1.0), chosen=3))
    bar = noise_of_difference(90.0, 86.0, 1000)
    assert told[2] == (
        "Every faster network of the front is worse by more than the noise; the nearest is trial 2, with 0.500 ms in place of "
        f"1.00: its score is 4.00 points worse, noise ±{bar:.2f}."
    )


def test_shorter_trainings_of_a_faster_network_are_said() -> None:
    told = shipped(study(trial(1, 89.0, 0.5, epochs=1), trial(2, 90.0, 1.0, epochs=4), chosen=2))
    assert "its score is 1.00 points worse after 1 epoch in place of 4, inside" in told[2]


def test_a_difference_that_rounds_to_nothing_is_called_the_same() -> None:
    near = study(trial(1, 80.004, 2.0), trial(2, 80.0, 1.0), chosen=1)
    assert "its score is the same, inside the noise" in shipped(near)[2]
    apart = study(trial(1, 80.006, 2.0), trial(2, 80.0, 1.0), chosen=1)
    assert "its score is 0.01 points worse, inside the noise" in shipped(apart)[2]


def test_no_faster_network_is_said() -> None:
    assert shipped(study(trial(1, 89.0, 2.0), trial(2, 90.0, 1.0), chosen=2))[2] == "No network of the front is faster."


def test_a_guided_search_is_told_by_what_it_expects() -> None:
    one, two = trial(1, 91.0, 0.5), trial(2, 90.0, 1.0)
    facts = study(one, two, chosen=2, expected=expected((one, 88.0, 0.6), (two, 89.5, 0.8)))
    told = shipped(facts)
    assert (
        "It has the best expected score of the 2 networks that were trained: 89.50 ± 0.80 % (one standard deviation)"
        in told[1]
    )
    bar = NORMAL_95 * math.hypot(0.6, 0.8)
    assert noise_of(facts, one, two) == pytest.approx(bar)
    assert f"its expected score is 1.50 points worse, inside the noise of ±{bar:.2f}" in told[2]
    sure = study(one, two, chosen=2, expected=expected((one, 88.0, 0.3), (two, 89.5, 0.4)))
    assert shipped(sure)[2].startswith("Every faster network of the front is worse by more than the noise")


def test_what_seeds_change_is_part_of_the_noise_where_it_was_measured() -> None:
    one, two = trial(1, 88.0, 0.5), trial(2, 90.0, 1.0)
    images = noise_of_difference(88.0, 90.0, 1000)

    def noise(*scores: float) -> float | None:
        return noise_of_scores(study(one, two, *again(one, *scores), chosen=2), one, two)

    deviation = 1 / math.sqrt(2)  # of 88 and 89: little beside what the images leave open
    assert noise(89.0) == pytest.approx(noise_with_repeats(images, [(2 * deviation**2, 1)]))
    assert noise(92.0, 90.0) == pytest.approx(noise_with_repeats(images, [(2 * 2.0**2, 2)]))  # of 88, 92 and 90: 2


def again(one: Trial, *scores: float) -> list[Trial]:
    """The network trained again, with these scores."""
    return [
        msgspec.structs.replace(
            one,
            number=10 + repeat,
            candidate=msgspec.structs.replace(one.candidate, repeat=repeat),
            scores={"val_accuracy": score},
        )
        for repeat, score in enumerate(scores, 1)
    ]


def test_two_trainings_of_one_network_do_not_tell_what_is_noise_where_they_are_far_apart() -> None:
    """Between 78 and 88 % Student's quantile of one degree of freedom is ±127 points: of a percentage, nothing."""
    one, two = trial(1, 88.0, 0.5), trial(2, 90.0, 1.0)
    facts = study(one, two, *again(one, 78.0), chosen=2)
    assert noise_of_scores(facts, one, two) is None
    assert shipped(facts)[2] == (
        "The nearest faster one is trial 1, with 0.500 ms in place of 1.00; its score is 2.00 points worse. Whether that is more "
        "than noise is not known from two trainings of one network."
    )
    three = shipped(study(one, two, *again(one, 78.0, 83.0), chosen=2))[2]
    assert "A faster one may be as good: trial 1" in three
    assert "inside the noise of ±" in three


def test_a_search_at_chance_ships_nothing_and_one_that_runs_has_not_decided() -> None:
    assert shipped(study(trial(1, 10.0), chosen=1)) == [
        "None of these: no network is better than chance, so nothing was decided here."
    ]
    assert shipped(study(trial(1, 80.0)))[0].startswith(
        "Not decided: the search has not ended. The best so far is trial 1"
    )
    assert shipped(study()) == ["None yet: no network is trained."]


def test_a_faster_network_whose_latency_interval_overlaps_is_not_called_faster_for_sure() -> None:
    """1/2 and 1 ms: sure within 1.25 to either side, not within a factor of 2 (each half width counts, as logarithms)."""
    sure = shipped(study(trial(1, 89.0, latency(0.5, 0.4, 0.625)), trial(2, 90.0, latency(1.0, 0.8, 1.25)), chosen=2))
    wide = shipped(study(trial(1, 89.0, latency(0.5, 0.25, 1.0)), trial(2, 90.0, latency(1.0, 0.5, 2.0)), chosen=2))
    told = "That it is faster is not certain either: the intervals of their latencies leave it open."
    assert told not in sure[2]
    assert told in wide[2]


def test_latencies_of_two_origins_do_not_say_which_network_is_faster() -> None:
    """Half the time, sure of it by any interval: measured against predicted says nothing, measured twice does."""
    for one, other, shown in (
        (latency(0.5, origin="measured"), latency(1.0, 0.99, 1.01), "measured and predicted"),
        (latency(0.5, 0.49, 0.51), latency(1.0, origin="measured"), "predicted and measured"),
        (latency(0.5, origin="measured"), latency(1.0, origin="measured"), None),
    ):
        told = shipped(study(trial(1, 89.0, one), trial(2, 90.0, other), chosen=2))[2]
        assert ("That it is faster is not shown" in told) == (shown is not None)
        if shown is not None:
            assert f"the two latencies are not of one origin ({shown})" in told
            assert (
                "`edgenas verify 'studies/a study' --board http://BOARD:8765 --token-file TOKEN` measures both." in told
            )


def test_trainings_on_other_cuts_of_the_images_hold_what_these_leave_open_and_that_counts_once() -> None:
    """143 validation images leave 7 points open; one network was trained twice, with 10 points or .1 between the two."""
    one, two = trial(1, 88.0, 0.5), trial(2, 90.0, 1.0)
    images = noise_of_difference(88.0, 90.0, 143)
    assert 6.9 < images < 7.6

    def noise(score: float, cut: int) -> float | None:
        candidate = msgspec.structs.replace(one.candidate, repeat=1, cut=cut)
        again = msgspec.structs.replace(one, candidate=candidate, scores={"val_accuracy": score}, number=3)
        return noise_of_scores(study(one, two, again, chosen=2, images=143), one, two)

    assert noise(78.0, cut=1) is None
    assert noise(78.0, cut=0) is None
    assert noise(86.0, cut=0) == pytest.approx(noise_with_repeats(images, [(4.0, 1)]))
    assert noise(87.9, cut=1) == pytest.approx(
        images
    )  # two trainings may agree by chance: the images leave as much open


def test_at_int8_no_board_measures_two_networks_before_they_are_trained() -> None:
    one, other = latency(0.5, origin="measured"), latency(1.0, 0.99, 1.01)
    trials = trial(1, 89.0, one), trial(2, 90.0, other)
    told = shipped(study(*trials, chosen=2, record={"precision": "int8"}))[2]
    assert "Trained in full and exported, both can be measured (`edgenas verify --bundle`)." in told
    assert "measures both" in shipped(study(*trials, chosen=2, record={"precision": "fp16"}))[2]


def test_a_faster_network_is_trained_in_python_where_the_images_are_an_object() -> None:
    trials = trial(1, 88.0, 0.5), trial(2, 90.0, 1.0)
    opened = "`edgenas.open_study('studies/a study').go_on(data=DATA).train(trial=1)`"
    assert opened in shipped(study(*trials, chosen=2, planned={"objects": ("data",)}))[2]
    space = study(*trials, chosen=2, planned={"objects": ("space",)})
    assert "`edgenas train 'studies/a study' --trial 1`" in shipped(space)[2]


def test_beside_a_wider_network_that_was_trained_the_searched_ones_are_called_so() -> None:
    one, two = trial(1, 88.0, 0.5), trial(2, 90.0, 1.0)
    wider = msgspec.structs.replace(final(two, run()), architecture=trial(9, 0.0).candidate.architecture)
    note = "What follows is of the networks as they were searched."
    assert shipped(study(one, two, chosen=2, finals=(wider,)))[1] == note
    assert note not in shipped(study(one, two, chosen=2, finals=(final(two, run()),)))
