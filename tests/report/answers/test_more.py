"""Each sentence about more budget, on both sides of its bar."""

import msgspec

from edgenas.binomial import Validation, noise_of_difference
from edgenas.records import Metric
from edgenas.report.answers.more import FEWEST, best_so_far, first_trainings, mean_curve, more_budget
from edgenas.report.facts import Facts
from tests.plans import RECIPE
from tests.report.answers.cases import final, run, study, trial

# What is known of a training whose flags were not kept yet: its one seed, and its recipe.
AGAIN = "edgenas train 'studies/a study' --seeds 1 --recipe fast"


def searched(*scores: float, epochs: int = 2) -> Facts:
    return study(*(trial(place, score, epochs=epochs) for place, score in enumerate(scores, start=1)), chosen=1)


def test_a_search_whose_last_quarter_found_nothing_better_had_levelled_off() -> None:
    told = more_budget(searched(80, 81, 82, 85, 83, 80, 85, 84))
    assert told[0] == (
        "A longer search: the last 2 of 8 networks are no better than those before, so it had levelled off."
    )
    assert told[1] == "What is beyond the trainings made cannot be read from them: it can only be tried."


def test_a_rise_inside_the_noise_is_called_luck_and_one_beyond_it_is_not() -> None:
    """Of 1,000 images: 85 and 87.9 % differ by less than the noise of 3.0 points, 85 and 88.1 % by more."""
    inside, outside = noise_of_difference(85, 87.9, 1000), noise_of_difference(85, 88.1, 1000)
    assert inside > 2.9
    assert outside < 3.1
    luck = more_budget(searched(80, 81, 82, 85, 83, 80, 85, 87.9))[0]
    assert f"improved the best score by 2.90 points, inside the noise of ±{inside:.2f}: the best of many noisy" in luck
    rise = more_budget(searched(80, 81, 82, 85, 83, 80, 85, 88.1))[0]
    assert (
        f"still improved the best score by 3.10 points, more than the noise of ±{outside:.2f}: it had not levelled off"
        in rise
    )


def test_few_trainings_say_nothing() -> None:
    assert more_budget(searched(*[80.0] * (FEWEST - 1)))[0] == (
        "A longer search: 7 networks are too few to say whether it had levelled off."
    )
    assert "had levelled off" in more_budget(searched(*[80.0] * FEWEST))[0]
    assert "A longer search: 1 network is too few" in more_budget(searched(80.0))[0]


def test_of_trainings_of_different_length_nothing_is_said() -> None:
    trials = [trial(place, 80.0 + place, epochs=1 + (place > 6)) for place in range(1, 9)]
    assert more_budget(study(*trials, chosen=8))[0] == (
        "A longer search: whether it had levelled off cannot be told: the last 2 of 8 networks were trained for 2 epochs, those "
        "before for 1 epoch."
    )
    assert "levelled off cannot be told" not in more_budget(searched(*[80.0] * 8))[0]


def test_a_network_that_is_trained_again_counts_once() -> None:
    """What trains the best one again finds no better network, so that it is no sign of a level."""
    best = trial(8, 95.0)
    again = [
        msgspec.structs.replace(trial(8, score), number=number) for number, score in ((9, 94.0), (10, 93.0), (11, 94.5))
    ]
    facts = study(*(trial(place, 80.0) for place in range(1, 8)), best, *again, chosen=8)
    assert [one.number for one in first_trainings(facts)] == [*range(1, 9)]
    assert "the last 2 of 8 networks still improved the best score by 15.00 points" in more_budget(facts)[0]


def test_an_error_that_fell_is_called_improved() -> None:
    """Degrees, 0.1 to either side each: a step of 0.2 is more than their noise of 0.14, a step of 0.1 is not."""
    degrees = Metric("mae", unit="deg", better="lower")

    def told(last: float) -> str:
        errors = [3.5, 3.4, 3.3, 3.0, 3.2, 3.3, 3.1, last]
        trials = [
            msgspec.structs.replace(
                trial(place, 0.0), scores=degrees.trial_scores({"mae": e, "mae_low": e - 0.1, "mae_high": e + 0.1})
            )
            for place, e in enumerate(errors, start=1)
        ]
        known = {"validation": Validation(1000, 20.0, degrees)}
        return more_budget(study(*trials, chosen=8, record={"metric": degrees}, planned=known))[0]

    assert "still improved the best score by 0.2 deg, more than the noise of ±0.1414: it had not levelled off" in told(
        2.8
    )
    assert "improved the best score by 0.1 deg, inside the noise of ±0.1414" in told(2.9)


def test_the_best_so_far_only_ever_rises() -> None:
    assert [one.number for one in best_so_far(searched(80, 82, 81, 82, 84))] == [1, 2, 2, 2, 5]


def lengthened(curve: dict[int, float], val: int = 1000) -> list[str]:
    one = trial(1, 80.0)
    return more_budget(study(one, chosen=1, finals=(final(one, run(curve=curve), val=val),)))


def test_a_learning_curve_that_still_rises_asks_for_more_epochs() -> None:
    """From epoch 30 of 40: 85 to 88.1 % of 1,000 images is more than noise, to 87.9 % is not."""
    rising = lengthened({10: 70.0, 20: 80.0, 30: 85.0, 40: 88.1})
    assert (
        f"from epoch 30 to 40 accuracy on validation rose by 3.10 points, more than the noise of ±"
        f"{noise_of_difference(85, 88.1, 1000):.2f}: it had not levelled off. `{AGAIN} --epochs 80` tries"
    ) in rising[1]
    level = lengthened({10: 70.0, 20: 80.0, 30: 85.0, 40: 87.9})
    assert "more epochs of this recipe are unlikely to show" in level[1]
    assert "what a longer one reaches is only known after it" in level[2]


def test_a_learning_curve_that_falls_says_that_more_epochs_would_not_help() -> None:
    falling = lengthened({10: 70.0, 20: 88.0, 30: 88.1, 40: 85.0})
    assert "fell by 3.10 points, more than the noise" in falling[1]
    assert "more epochs would not" in falling[1]


def test_the_curve_is_the_mean_over_the_seeds_that_kept_one() -> None:
    one = final(trial(1, 80.0), run(curve={1: 70.0, 2: 80.0}), run(curve={1: 72.0, 2: 83.0}), run())
    assert mean_curve(one) == {1: 71.0, 2: 81.5}


def test_without_a_curve_the_command_that_keeps_one_is_named() -> None:
    one = trial(1, 80.0)
    told = more_budget(study(one, chosen=1, finals=(final(one, run()),)))
    assert "no learning curve was kept" in told[1]
    assert f"`{AGAIN} --epochs 80` trains longer and keeps one." in told[1]


def test_before_a_final_training_that_is_the_next_step() -> None:
    assert more_budget(searched(80.0))[-1] == (
        "A longer training: the search trained this network for 2 epochs only; `edgenas train 'studies/a study'` trains it in "
        "full."
    )


def told_of(**changes: object) -> str:
    """What is said of a longer training, without a curve."""
    one = trial(1, 80.0)
    changed = msgspec.structs.replace(final(one, run()), **changes)
    return more_budget(study(one, chosen=1, finals=(changed,)))[1]


def test_a_longer_training_is_asked_for_with_the_flags_that_the_first_one_had() -> None:
    """Minutes decide on the epochs and may take another recipe: both are said in their place."""
    recipe = msgspec.structs.replace(RECIPE, name="brief", epochs=40)
    folder = "edgenas train 'studies/a study'"
    for flags, words in (
        (("--seeds", "2", "--budget", "5"), "--seeds 2 --recipe brief --epochs 80"),
        (("--recipe", "my own.toml", "--epochs", "40"), "--recipe 'my own.toml' --epochs 80"),
        (("--teacher", "largest", "--all-images"), "--teacher largest --all-images --recipe brief --epochs 80"),
        (
            ("--final-width", "macro", "--processes", "2"),
            "--final-width macro --processes 2 --recipe brief --epochs 80",
        ),
    ):
        assert f"`{folder} {words}`" in told_of(flags=flags, recipe=recipe)
    usual = msgspec.structs.replace(recipe, name="final")
    assert f"`{folder} --epochs 80`" in told_of(flags=(), recipe=usual)


def test_a_training_of_an_earlier_version_is_repeated_as_far_as_its_record_says_how() -> None:
    recipe = msgspec.structs.replace(RECIPE, name="mine", epochs=40, teacher="0" * 64)
    words = "--seeds 1 --recipe mine.toml --teacher TEACHER --all-images --epochs 80"
    assert f"`edgenas train 'studies/a study' {words}`" in told_of(recipe=recipe, all_images=True)
    one = trial(1, 80.0)
    taught = msgspec.structs.replace(final(one, run(), run(), run()), recipe=recipe)
    known = study(one, chosen=1, finals=(taught,), teachers={"0" * 64: "big net.onnx"})
    assert "--recipe mine.toml --teacher 'big net.onnx' --epochs 80`" in more_budget(known)[1]
    assert "--seeds" not in more_budget(known)[1]


def test_a_training_on_the_validation_images_has_no_curve_and_will_have_none() -> None:
    told = told_of(all_images=True, flags=("--all-images",))
    assert "no learning curve was kept, as it was trained on the validation images, too (--all-images): `" in told
    assert told.endswith("` trains longer.")
    assert "as this training is of an earlier version or took one epoch" in told_of(flags=())
