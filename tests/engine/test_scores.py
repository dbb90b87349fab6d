"""Scores with what they can tell: intervals, noise, chance, and the best score of the chosen network."""

import msgspec
import pytest

from edgenas.binomial import Validation, noise_of_difference, wilson
from edgenas.confusion import MACRO_F1
from edgenas.engine.fronts import summary
from edgenas.engine.plan import plan_json
from edgenas.engine.scores import at_chance, chance_words, decision_words, interval_of, interval_words, run_line
from edgenas.methods import CONTROL
from edgenas.records import ACCURACY, TAR, Choice, Decision, FinalRun, Metric, StudyRecord, Trial
from tests.engine.test_fronts import trial
from tests.plans import plan
from tests.report.studies import study_record

VALIDATION = Validation(images=120, chance=10.0)  # up to 15.48 % is chance
KNOWN = plan_json(plan(validation=VALIDATION))


def study(**changes: object) -> StudyRecord:
    return study_record(profiles=("board",), plan=KNOWN, **changes)


def numbered(number: int, width: int, score: float, phase: str = "depth") -> Trial:
    made = trial(width, score, 1.0, None)
    candidate = msgspec.structs.replace(made.candidate, phase=phase)
    return msgspec.structs.replace(made, candidate=candidate, number=number)


def test_the_choice_is_shown_with_the_best_score_that_its_network_reached() -> None:
    macro, other, last = numbered(1, 8, 40.0), numbered(2, 9, 30.0), numbered(3, 8, 34.0, "ops")
    document = summary(study(), "s", (macro, other, last), Choice(last), 1.0)
    chosen = document["chosen"]
    assert (chosen["trial"], chosen["phase"]) == (3, "ops")
    assert (chosen["val_accuracy"], chosen["val_accuracy_trial"]) == (40.0, 1)
    assert chosen["val_accuracy_interval"] == pytest.approx(wilson(40.0, 120))
    assert document["at_chance"] is False


def test_on_a_tie_the_choice_keeps_its_own_trial() -> None:
    first, last = numbered(1, 8, 40.0), numbered(2, 8, 40.0, "ops")
    assert summary(study(), "s", (first, last), Choice(last), 1.0)["chosen"]["val_accuracy_trial"] == 2


def test_what_no_decision_has_read_is_not_shown() -> None:
    ahead = msgspec.structs.replace(numbered(1, 8, 90.0), number=None)
    last = numbered(1, 8, 34.0, "ops")
    assert summary(study(), "s", (last, ahead), Choice(last), 1.0)["chosen"]["val_accuracy"] == 34.0


def test_every_network_of_the_document_has_its_interval() -> None:
    trials = (numbered(1, 8, 40.0), numbered(2, 9, 30.0, CONTROL))
    document = summary(study(), "s", trials, Choice(trials[0]), 1.0)
    for item in (*document["front"], *document["control"], document["chosen"]):
        assert item["val_accuracy_interval"] == pytest.approx(wilson(item["val_accuracy"], 120))


def test_without_knowing_the_validation_split_an_interval_is_none_and_nothing_is_called_chance() -> None:
    old = study_record(profiles=("board",))
    document = summary(old, "s", (numbered(1, 8, 10.0),), Choice(numbered(1, 8, 10.0)), 1.0)
    assert document["chosen"]["val_accuracy_interval"] is None
    assert document["at_chance"] is False


def test_tar_keeps_its_own_interval_over_identities() -> None:
    scores = {"val_tar": 50.0, "val_tar_low": 44.0, "val_tar_high": 57.0}
    assert interval_of(scores, "val_tar", VALIDATION) == (44.0, 57.0)
    assert interval_of({"val_tar": 50.0}, "val_tar", VALIDATION) is None


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((10.0, 15.4), True), ((10.0, 15.5), False), ((), False)],
    ids=["all within two errors", "one just above", "nothing trained"],
)
def test_a_study_is_at_chance_where_that_is_all_there_is(scores: tuple[float, ...], expected: bool) -> None:
    trials = tuple(numbered(i, 8 + i, score) for i, score in enumerate(scores, start=1))
    assert at_chance(trials, study()) is expected


def test_a_control_above_chance_does_not_speak_for_the_search() -> None:
    assert at_chance((numbered(1, 8, 10.0), numbered(2, 9, 90.0, CONTROL)), study())


def test_a_difference_inside_the_noise_is_called_noise_and_one_beyond_it_is_not() -> None:
    noise = noise_of_difference(80.4, 80.0, 143)
    inside = Decision("depth", "accept", "+0.40 points", score=80.4, best=80.0)
    validation = Validation(143, 10.0)
    assert decision_words(inside, validation, ACCURACY) == f"+0.40 points, inside the noise of +- {noise:.1f}"
    # Wilson: 80 % is 72.70 to 85.73, 88.4 % is 82.12 to 92.67: hypot(85.73 - 80, 88.4 - 82.12) = 8.50 > 8.4; at 88.6 8.48 < 8.6
    for score, called in ((88.4, True), (88.6, False)):
        words = decision_words(Decision("depth", "accept", "", score=score, best=80.0), validation, ACCURACY)
        assert ("inside the noise" in words) is called


def test_decisions_without_two_scores_and_those_on_tar_are_left_as_they_are() -> None:
    start = Decision("depth", "start", "the shallowest", score=80.0)
    assert decision_words(start, VALIDATION, ACCURACY) == "the shallowest"
    tie = Decision("depth", "reject", "a tie, and slower", score=80.0, best=80.0)
    assert decision_words(tie, VALIDATION, TAR) == "a tie, and slower"


def test_only_the_metric_has_a_binomial_interval_and_no_loss_or_error() -> None:
    known = Validation(120, 10.0, ACCURACY)
    scores = {"val_accuracy": 80.0, "val_loss": 0.5, "val_mae": 3.0}
    assert interval_of(scores, "val_accuracy", known) == wilson(80.0, 120)
    assert interval_of(scores, "val_loss", known) is None
    assert interval_of(scores, "val_mae", Validation(120, 30.0, Metric("mae", unit="deg", better="lower"))) is None


def test_an_interval_has_as_many_digits_as_its_unit_needs() -> None:
    assert interval_words((3.04, 4.16)) == " (3.0 to 4.2)"  # percent
    assert interval_words((0.0304, 0.0416), Metric("mae", unit="rad", better="lower")) == " (0.0304 to 0.0416)"
    assert interval_words(None) == ""


def test_a_methods_points_are_told_in_the_metrics_unit() -> None:
    better = Decision("depth", "accept", "+0.40 points, 3 points more", score=-3.0, best=-3.4)
    assert decision_words(better, None, Metric("mae", unit="deg", better="lower")) == "+0.40 deg, 3 deg more"
    assert decision_words(better, None, Metric("f1", unit="")) == "+0.40 f1, 3 f1 more"
    assert decision_words(better, None, ACCURACY) == "+0.40 points, 3 points more"


def test_a_study_at_chance_says_by_what_only_where_there_is_a_standard_error() -> None:
    degrees = Metric("mae", unit="deg", better="lower")
    assert chance_words(Validation(150, 28.6, degrees), degrees.objective) == (
        "no network is better than chance (28.6 deg): nothing was decided here"
    )
    assert chance_words(Validation(150, 10.0, ACCURACY), "val_accuracy").startswith(
        "no network is better than chance by two standard errors (10.00 %, so up to "
    )
    for validation, name in ((Validation(150, 50.0, MACRO_F1), "macro_f1"), (Validation(150, 50.0), "tar")):
        assert chance_words(validation, f"val_{name}") == (
            "no network is better than chance (50.00 %, which is inside their 95 % intervals): nothing was decided here"
        )


def test_the_line_of_a_run_has_each_split_s_own_interval() -> None:
    run = FinalRun(0, "w", {"accuracy": 90.0}, {"accuracy": 80.0}, 3, {"accuracy": 82.0}, {"accuracy": 91.0}, 5.0)
    # Wilson's interval by hand: of 900 of 1,000 images 88.0 to 91.7, of 80 of 100 images 71.1 to 86.7
    assert run_line(run, ACCURACY, {"val": 100, "test": 1000}).startswith(
        "seed 0: test accuracy 90.00 % (88.0 to 91.7), validation 80.00 % (71.1 to 86.7); best epoch on validation: 3, test "
    )
