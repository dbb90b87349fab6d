"""Each sentence about how good a network is, on both sides of its bar."""

import dataclasses

import msgspec
import pytest

from edgenas.binomial import Validation, noise_of_difference, wilson
from edgenas.confusion import MACRO_F1
from edgenas.engine.plan import plan_json
from edgenas.methods import CONTROL
from edgenas.records import TAR
from edgenas.report.answers.good import confusions, goodness
from edgenas.report.answers.more import more_budget
from edgenas.report.answers.ship import shipped
from edgenas.report.facts import Facts
from edgenas.report.tables_good import LARGEST, baselines_words, confusions_table, matrix, verification_table
from edgenas.report.words import headline, lede
from tests.plans import plan
from tests.report.answers.cases import final, run, study, trial


def trained(matrix: list[list[int]], *tests: float) -> Facts:
    one, total = trial(1, 85.0), sum(map(sum, matrix))
    runs = [run(test, 91.0 + place, matrix, seed=place) for place, test in enumerate(tests)]
    return study(one, chosen=1, finals=(final(one, *runs, test=total),))


def test_a_trained_network_is_told_with_its_interval_spread_and_chance() -> None:
    told = goodness(trained([[60, 0], [10, 30]], 90.0, 88.0))
    low, high = wilson(89.0, 100)
    assert told[0] == (
        f"Trained for 40 epochs on digits, trial 1 reaches 89.00 ± 1.41 % test accuracy (2 seeds, "
        "± their standard deviation; 95 % interval over the "
        f"test set {low:.1f} to {high:.1f})."
    )
    # 60 of 100 test images are cats
    assert told[1] == (
        "It is better than chance: always answering “cat”, its most frequent class, would score 60.00 % there, outside of that "
        "interval."
    )


def test_an_interval_that_reaches_down_to_chance_shows_nothing() -> None:
    """69.3 % of 100 images: 59.7 to 77.5 %; 69.5 %: 59.9; 69.7 %: 60.1 (Wilson)."""
    assert (
        "It is not shown to be better than chance: always answering “cat”"
        in goodness(trained([[60, 0], [10, 30]], 69.5))[1]
    )
    assert "It is better than chance" in goodness(trained([[60, 0], [10, 30]], 69.7))[1]


def test_classes_of_equal_size_are_called_equal() -> None:
    assert "always answering one of its 2 classes, all equally frequent, would score 50.00 %" in goodness(
        trained([[50, 0], [10, 40]], 90.0)
    )[1]  # fmt: skip


def test_the_weakest_class_and_the_most_frequent_mistake_are_named() -> None:
    told = goodness(trained([[57, 3], [10, 30]], 87.0))
    low, high = wilson(75.0, 40)
    assert (
        told[2]
        == f"Its weakest class is “dog”: 30 of 40 test images are called so, recall 75.0 % ({low:.1f} to {high:.1f})."
    )
    assert told[3] == "The most frequent mistake: 10 of 40 images of “dog” are called “cat”."
    assert "No test image of any class is taken for another one." in goodness(trained([[60, 0], [0, 40]], 100.0))


def test_macro_f1_is_held_against_guessing() -> None:
    """[[30, 30], [20, 20]] scores 49.5 %, where always answering the larger class would have 37.5 %."""
    one = final(trial(1, 85.0), run(matrix=[[30, 30], [20, 20]]))
    score = {"macro_f1": 49.5, "macro_f1_low": 40.0, "macro_f1_high": 59.0}
    (only,) = one.runs
    runs = (msgspec.structs.replace(only, test=score, val=score),)
    one = msgspec.structs.replace(one, metric="macro_f1", scored=MACRO_F1, runs=runs)
    told = goodness(study(trial(1, 85.0), chosen=1, finals=(one,)))
    assert told[1] == (
        "It is not shown to be better than chance: guessing each class as often as it comes would score 50.00 % there."
    )


def test_confusions_come_in_the_order_of_their_number() -> None:
    one = final(trial(1, 85.0), run(matrix=[[57, 3], [10, 30]]))
    assert confusions(one) == [(10, 40, "dog", "cat"), (3, 60, "cat", "dog")]


def test_before_a_final_training_the_searchs_own_score_is_held_against_chance() -> None:
    """10 % of 1,000 images by chance: up to 11.90 % is chance."""
    told = goodness(study(trial(1, 11.91), chosen=1))
    assert told[0].startswith("It is better than chance: validation accuracy 11.91 %")
    assert (
        "after 2 epochs in the search (trial 1); chance is 10.00 %, what always answering the most frequent class"
        in told[0]
    )
    assert (
        told[1]
        == "It is not trained in full yet, and the test set is untouched: `edgenas train 'studies/a study'` does both."
    )
    assert goodness(study(trial(1, 11.89), chosen=1))[0].startswith("It is not shown to be better than chance")


def test_without_a_public_network_beside_it_the_command_is_named_once_it_would_not_be_refused() -> None:
    one = trial(1, 80.0)
    assert goodness(study(one, chosen=1))[-1] == (
        "No public network stands beside it yet: once it is trained in full, `edgenas compare` trains one alike and says whether "
        "searching paid."
    )
    other = final(trial(2, 70.0), run())  # a comparison would be of that one
    assert "once it is trained in full" in goodness(study(one, chosen=1, finals=(other,)))[-1]
    trained_ = final(one, run())
    assert goodness(study(one, chosen=1, finals=(trained_,)))[-1] == (
        "No public network stands beside it yet: `edgenas compare 'studies/a study' --reference torchvision:mobilenet_v3_small` "
        "trains one alike and says whether searching paid."
    )
    every = msgspec.structs.replace(trained_, all_images=True)
    assert goodness(study(one, chosen=1, finals=(every,)))[-1] == (
        "No public network can stand beside it: it was trained on the validation images, too (--all-images), and a reference "
        "would not be. `edgenas train 'studies/a study'`, without that flag, puts another training in its place."
    )
    assert goodness(study(one, chosen=1, finals=(trained_,), outdated=True))[-1] == (
        "The public networks stood beside a training that was replaced: `edgenas compare 'studies/a study'` holds them against "
        "this one."
    )


def test_nothing_trained_is_no_answer() -> None:
    assert goodness(study()) == ["No network is trained yet, so there is nothing to judge."]


@pytest.mark.parametrize(("classes", "whole"), [(LARGEST, True), (LARGEST + 1, False)])
def test_a_matrix_of_many_classes_becomes_a_list_of_its_largest_cells(classes: int, whole: bool) -> None:
    counts = [[9 if i == j else 0 for j in range(classes)] for i in range(classes)]
    counts[2][0] = 3
    names = tuple(f"c{i}" for i in range(classes))
    one = final(trial(1, 85.0), run(), classes=names)
    one.runs[0].report["confusion"] = counts
    assert (matrix(one) is not None) == whole
    found = confusions_table(one)
    assert (found is None) == whole
    assert whole or found == {"header": ["class", "called", "test images", "of"], "rows": [["c2", "c0", "3", "12"]]}


def test_faces_are_shown_by_tar_at_each_far() -> None:
    rate = {"value": 61.25, "interval": [55.0, 66.04], "threshold": 0.4321, "expected_errors": 120.2, "warning": ""}
    few = {**rate, "expected_errors": 3.0, "warning": "few"}
    one = final(trial(1, 85.0), run())
    assert verification_table(one) is None
    one.runs[0].report["tar_at_far"] = {"1e-2": rate, "1e-4": few, "1e-6": "insufficient data"}
    table = verification_table(one)
    assert table is not None
    assert table["rows"] == [
        ["1e-2", "61.2 (55.0 to 66.0)", "0.432", "120"],
        ["1e-4", "61.2 (55.0 to 66.0) (few)", "0.432", "3"],
        ["1e-6", "insufficient data", "-", "-"],
    ]


def test_faces_are_held_against_the_false_accept_rate_and_against_raw_pixels_and_lda() -> None:
    """TAR where embeddings mean nothing is the FAR: 1 %."""

    def told(low: float) -> list[str]:
        one = trial(1, 30.0)
        known = Validation(400, 1.0, TAR)
        facts = study(one, chosen=1, record={"metric": TAR, "task": "faces"})
        scores = {"tar": 30.0, "tar_low": low, "tar_high": 40.0}
        trained = msgspec.structs.replace(final(one, run()), metric="tar", scored=TAR, classes=())
        trained = msgspec.structs.replace(
            trained, runs=(msgspec.structs.replace(trained.runs[0], test=scores, val=scores),)
        )
        plan_ = plan_json(plan(validation=known))
        return goodness(
            dataclasses.replace(facts, study=msgspec.structs.replace(facts.study, plan=plan_), finals=(trained,))
        )

    assert told(1.01)[0] == (
        "Trained for 40 epochs on digits, trial 1 reaches 30.00 % test TAR (1 seed; 95 % interval over the test set 1.0 to 40.0)."
    )
    assert told(1.01)[1] == (
        "It is better than chance: without any learning it would be 1.00 %, the false accept rate itself, outside of that "
        "interval."
    )
    assert told(1.0)[1].startswith("It is not shown to be better than chance: without any learning")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.91, 0.95, "better than LDA on pixels"),
        (0.90, 0.95, "not shown to be better than LDA on pixels"),
        (0.85, 0.90, "not shown to be better than LDA on pixels"),
        (0.85, 0.89, "worse than LDA on pixels, which learns no network"),
    ],
)
def test_faces_are_better_than_the_best_baseline_only_where_their_interval_is(
    low: float, high: float, verdict: str
) -> None:
    one = final(trial(1, 85.0), run())
    assert baselines_words(one) == ""
    auc = {"auc": 0.9, "auc_interval": [low, high], "baselines": {"pixels": {"auc": 0.6}, "lda": {"auc": 0.9}}}
    one.runs[0].report.update(auc)
    told = baselines_words(one)
    assert "raw pixels 0.6000, LDA on pixels 0.9000 on the same pairs" in told
    assert told.endswith(f": {verdict}.")


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (87.0, "the search gained 3.00 points, more than the noise of ±"),
        (
            88.0,
            f"inside the noise of ±{noise_of_difference(88, 90, 1000):.2f}, so this search is not shown to be",
        ),
        (92.0, "inside the noise of ±"),
        (93.0, "drawing at random did better by 3.00 points, more than the noise of ±"),
    ],
)
def test_a_random_control_is_held_against_the_search(control: float, words: str) -> None:
    random = trial(2, control)
    random = msgspec.structs.replace(random, candidate=msgspec.structs.replace(random.candidate, phase=CONTROL))
    (told,) = [one for one in goodness(study(trial(1, 90.0), random, chosen=1)) if "random network" in one]
    assert told.startswith(f"The best of 1 random network at equal budget scores {control:.2f} %")
    assert words in told


def test_whether_two_trainings_of_one_network_tell_the_noise_is_said() -> None:
    random = trial(2, 87.0)
    random = msgspec.structs.replace(random, candidate=msgspec.structs.replace(random.candidate, phase=CONTROL))
    one = trial(1, 90.0)
    again = msgspec.structs.replace(
        one, number=3, scores={"val_accuracy": 80.0}, candidate=msgspec.structs.replace(one.candidate, repeat=1)
    )
    (told,) = [words for words in goodness(study(one, random, again, chosen=1)) if "random network" in words]
    assert told.endswith("; whether that is more than noise is not known from two trainings of one network.")


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        (4, "at equal budget scores 80.00 %"),
        (9, "at equal budget scores 80.00 % (77.4 to 82.4) on validation after 9 epochs in place of 4"),
        (3, "at 75 % of the search's budget scores 80.00 % (77.4 to 82.4) on validation after 3 epochs in place of 4"),
    ],
)
def test_a_control_that_was_cut_says_what_it_had(epochs: int, words: str) -> None:
    random = trial(2, 80.0, epochs=epochs)
    random = msgspec.structs.replace(random, candidate=msgspec.structs.replace(random.candidate, phase=CONTROL))
    (told,) = [one for one in goodness(study(trial(1, 90.0, epochs=4), random, chosen=1)) if "random network" in one]
    assert words in told


def test_a_full_training_that_is_better_than_chance_is_called_so_where_the_search_was_at_chance() -> None:
    """Two classes of 100 test images each: 70 % is better than always answering one of them, 52 % is not shown to be."""
    one = trial(1, 10.0)
    good, bad = (final(one, run(rate, matrix=[[rate, 100 - rate], [100 - rate, rate]]), test=200) for rate in (70, 52))
    told = study(one, chosen=1, finals=(good,))
    assert not told.at_chance
    assert told.search_at_chance
    assert any(sentence.startswith("It is better than chance: ") for sentence in goodness(told))
    assert "trained in full, this network is better than chance" in lede(told)
    assert not headline(told).endswith("at chance")
    assert "The search did not decide for it: none of its trainings was better than chance." in " ".join(shipped(told))
    assert more_budget(told)[0].startswith("A longer search: none of its trainings was better than chance")
    still = study(one, chosen=1, finals=(bad,))
    assert still.at_chance
    assert headline(still).endswith("at chance")
    fine = study(trial(1, 80.0), chosen=1, finals=(bad,))
    assert not fine.search_at_chance
    assert "did not decide for it" not in " ".join(shipped(fine))


def test_a_search_that_goes_on_has_no_command_that_trains_in_full_yet() -> None:
    assert any(
        one.endswith(": `edgenas train 'studies/a study'` does both.")
        for one in goodness(study(trial(1, 90.0), chosen=1))
    )
    (told,) = [one for one in goodness(study(trial(1, 90.0))) if "does both" in one]
    assert told.endswith(": once the search has ended, `edgenas train 'studies/a study'` does both.")


def test_without_a_control_nothing_is_said_of_one() -> None:
    assert not any("random" in one for one in goodness(study(trial(1, 90.0), chosen=1)))


def test_tables_about_another_network_than_the_chosen_one_say_so() -> None:
    other = final(trial(2, 80.0), run(matrix=[[5, 1], [1, 5]]))
    told = goodness(study(trial(1, 85.0), trial(2, 80.0), chosen=1, finals=(other,)))
    assert "Trained in full was trial 2 on digits: the tables below are about it." in told
    assert not any("tables below" in one for one in goodness(study(trial(1, 85.0), chosen=1)))
