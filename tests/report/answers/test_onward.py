"""The next command in every state of a study."""

from typing import Any

import msgspec

from edgenas.methods.settings import SearchSettings
from edgenas.records import Limits, Measurement
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import Facts
from tests.report.answers.cases import TARGET, final, latency, run, study, trial

FOLDER = "'studies/a study'"


def lines(facts: Facts) -> list[str]:
    return [command.line for command in next_commands(facts)]


def test_a_search_that_has_not_ended_goes_on() -> None:
    assert lines(study(trial(1, 80.0))) == [f"edgenas search --resume {FOLDER}"]


def test_a_finished_one_is_trained() -> None:
    assert lines(study(trial(1, 80.0), chosen=1)) == [f"edgenas train {FOLDER}"]


def test_a_trained_one_is_exported_and_compared() -> None:
    one = trial(1, 80.0)
    assert lines(study(one, chosen=1, finals=(final(one, run()),))) == [
        f"edgenas export {FOLDER} --out 'bundles/a study'",
        f"edgenas compare {FOLDER} --reference torchvision:mobilenet_v3_small",
    ]


def test_an_export_serves_what_the_search_was_judged_at() -> None:
    """The first precision that an export is asked for is served: without a word that is FP32."""
    one = trial(1, 80.0)
    for precision, words in (("fp32", ""), ("fp16", " --precision fp16"), ("int8", " --precision int8")):
        facts = study(one, chosen=1, finals=(final(one, run()),), record={"precision": precision})
        assert lines(facts)[0] == f"edgenas export {FOLDER} --out 'bundles/a study'{words}"


def test_a_limit_inside_the_interval_asks_for_a_measurement() -> None:
    crossing, limits = trial(1, 80.0, latency(0.9, 0.7, 1.1)), Limits(latency_ms=1.0)
    assert lines(study(crossing, chosen=1, limits=limits))[1] == f"edgenas verify {FOLDER} --board http://BOARD:8765"
    sure = trial(1, 80.0, latency(0.8, 0.7, 0.9))
    assert len(lines(study(sure, chosen=1, limits=limits))) == 1


def test_at_chance_the_search_is_made_again_with_four_times_the_time() -> None:
    facts = study(trial(1, 10.0), chosen=1, limits=Limits(latency_ms=1.5, params=20_000), seconds=90.0)
    assert lines(facts) == [
        "edgenas search --target jetson-nano-4gb --data digits --method gnas --budget 8 --max-latency-ms 1.5 --max-params 20000 "
        "--study 'a study-longer'"
    ]


def at_chance(settings: SearchSettings, **planned: Any) -> str:
    """The one command after a search with these settings that found nothing better than chance."""
    more = {"record": {"method": settings.method, "limits": settings.limits}, "planned": {"asked": settings, **planned}}
    (line,) = lines(study(trial(1, 10.0), chosen=1, seconds=90.0, **more))
    return line


def test_the_same_question_keeps_what_decides_and_lets_the_minutes_choose_epochs_and_images_again() -> None:
    asked = SearchSettings(
        ("jetson-nano-4gb",), "photos", method="random", image_size=(64, 320), max_mmacs=9.5, max_latency_ms=2.0,
        margin=True, epoch_scale=0.2, search_images=320, rules={"trials": 9},
    )  # fmt: skip
    assert at_chance(asked, boards=True, targets=("nets/nano.toml",)) == (
        "printf '%s\\n' '[rules]' 'trials = 9' > 'a study-longer.toml' && edgenas search 'a study-longer.toml' "
        "--target nets/nano.toml --data photos --method random --budget 8 --max-latency-ms 2 --image-size 64x320 --margin "
        "--max-mmacs 9.5 --board http://BOARD:8765 --study 'a study-longer'"
    )
    longer = msgspec.structs.replace(asked, budget=10.0, epoch_scale=None, search_images=None, rules={})
    assert " --budget 40 " in at_chance(longer)
    assert at_chance(longer, objects=("data",)) == (
        "edgenas.search(target=('jetson-nano-4gb',), data=DATA, method='random', budget=40.0, max_latency_ms=2.0, "
        "image_size=(64, 320), margin=True, max_mmacs=9.5, study='a study-longer')"
    )


def test_the_board_that_measured_is_named_where_the_study_knows_it() -> None:
    known = Measurement(TARGET, "board", "TensorRT", "fp32", 10, (1.0,), detail={"board": "http://nano:8765"})
    more: dict[str, Any] = {"planned": {"boards": True}, "measurements": {f"x {TARGET} fp32": known}}
    assert lines(study(trial(1, 80.0), **more)) == [f"edgenas search --resume {FOLDER} --board http://nano:8765"]
    one = trial(1, 80.0, latency(0.9, 0.7, 1.1))
    done = study(one, chosen=1, limits=Limits(latency_ms=1.0), finals=(final(one, run()),), **more)
    assert lines(done)[1:] == [
        f"edgenas verify {FOLDER} --board http://nano:8765",
        f"edgenas compare {FOLDER} --reference torchvision:mobilenet_v3_small --board http://nano:8765",
    ]


def test_faces_are_not_compared_with_classifiers() -> None:
    one = trial(1, 80.0)
    facts = study(one, chosen=1, finals=(final(one, run()),))
    faces = type(facts)(**{**vars(facts), "study": msgspec.structs.replace(facts.study, task="faces")})
    assert len(lines(faces)) == 1


def test_a_given_network_is_trained_on_and_never_searched_again() -> None:
    given = {"method": "given"}
    assert lines(study(trial(1, 80.0), record=given)) == [
        f"edgenas train NETWORK --data digits --target jetson-nano-4gb --study {FOLDER}"
    ]
    flags: dict[str, Any] = {"network": "my net.json", "training_flags": ("--seeds", "1", "--epochs", "3")}
    begun = study(trial(1, 80.0), record=given, planned={"targets": ("own.toml",)}, **flags)
    assert lines(begun) == [
        f"edgenas train 'my net.json' --data digits --target own.toml --seeds 1 --epochs 3 --study {FOLDER}"
    ]
    one = trial(1, 10.0)
    hopeless = study(one, chosen=1, finals=(final(one, run()),), record=given)
    assert lines(hopeless) == [f"edgenas train {FOLDER} --epochs 160"]
    more: dict[str, Any] = {
        "training_flags": ("--seeds", "1", "--epochs", "40", "--recipe", "my own.toml", "--all-images")
    }
    asked = study(one, chosen=1, finals=(final(one, run()),), record=given, **more)
    assert lines(asked) == [f"edgenas train {FOLDER} --seeds 1 --recipe 'my own.toml' --all-images --epochs 160"]
