"""The next command in every state of a study."""

from typing import Any

import msgspec

from edgenas.methods.settings import SearchSettings
from edgenas.records import Limits, Measurement
from edgenas.report.answers.commands import train_again_command
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
    assert (
        lines(study(crossing, chosen=1, limits=limits))[1]
        == f"edgenas verify {FOLDER} --board http://BOARD:8765 --token-file TOKEN"
    )
    sure = trial(1, 80.0, latency(0.8, 0.7, 0.9))
    assert len(lines(study(sure, chosen=1, limits=limits))) == 1


def test_at_chance_the_search_is_made_again_with_four_times_the_time() -> None:
    facts = study(trial(1, 10.0), chosen=1, limits=Limits(latency_ms=1.5, params=20_000), seconds=90.0)
    assert lines(facts) == [
        "edgenas search --target jetson-nano-4gb --data digits --method gnas --budget 8 --max-latency-ms 1.5 --max-params 20000 "
        "--study 'a study-longer'"
    ]


def test_where_only_the_search_was_at_chance_its_network_is_used_and_the_search_may_be_made_again() -> None:
    one = trial(1, 10.0)
    good = final(one, run(70, matrix=[[70, 30], [30, 70]]), test=200)
    told = lines(study(one, chosen=1, finals=(good,), seconds=90.0))
    assert any(line.startswith("edgenas export") for line in told)
    assert "--budget 8" in told[-1]
    assert not any("-longer" in line for line in lines(study(trial(1, 90.0), chosen=1, finals=(good,), seconds=90.0)))


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
        "--max-mmacs 9.5 --board http://BOARD:8765 --token-file TOKEN --study 'a study-longer'"
    )
    longer = msgspec.structs.replace(asked, budget=10.0, epoch_scale=None, search_images=None, rules={})
    assert " --budget 40 " in at_chance(longer)
    assert at_chance(longer, objects=("data",)) == (
        "edgenas.search(target=('jetson-nano-4gb',), data=DATA, method='random', budget=40.0, max_latency_ms=2.0, "
        "image_size=(64, 320), margin=True, max_mmacs=9.5, study='a study-longer')"
    )


def test_data_that_moved_are_looked_for_where_they_were_found_last() -> None:
    asked = SearchSettings(("jetson-nano-4gb",), "mnist", "/old", method="random")
    more = {"record": {"method": "random"}, "planned": {"asked": asked}}
    for there, words in ((None, " --data-dir /old "), ("/new", " --data-dir /new ")):
        (line,) = lines(study(trial(1, 10.0), chosen=1, seconds=90.0, data_dir=there, **more))
        assert words in line
    begun = study(trial(1, 80.0), record={"method": "given"}, data_dir="/new")
    assert "--data digits --data-dir /new --target" in lines(begun)[0]
    one = trial(1, 10.0)
    trained = msgspec.structs.replace(final(one, run()), data_dir="/trained")
    facts = study(one, chosen=1, finals=(trained,), data_dir="/new")
    assert train_again_command(facts, trained).endswith(" --data-dir /new")
    other = msgspec.structs.replace(trained, data="kmnist")
    assert train_again_command(facts, other).endswith(" --data kmnist --from-trained --data-dir /trained")


def test_the_board_that_measured_is_named_where_the_study_knows_it() -> None:
    known = Measurement(TARGET, "board", "TensorRT", "fp32", 10, (1.0,), detail={"board": "http://nano:8765"})
    more: dict[str, Any] = {"planned": {"boards": True}, "measurements": {f"x {TARGET} fp32": known}}
    assert lines(study(trial(1, 80.0), **more)) == [
        f"edgenas search --resume {FOLDER} --board http://nano:8765 --token-file TOKEN"
    ]
    one = trial(1, 80.0, latency(0.9, 0.7, 1.1))
    done = study(one, chosen=1, limits=Limits(latency_ms=1.0), finals=(final(one, run()),), **more)
    assert lines(done)[1:] == [
        f"edgenas verify {FOLDER} --board http://nano:8765 --token-file TOKEN",
        f"edgenas compare {FOLDER} --reference torchvision:mobilenet_v3_small --board http://nano:8765 --token-file TOKEN",
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
    assert lines(hopeless) == [f"edgenas train {FOLDER} --seeds 1 --recipe fast --epochs 160"]
    more: dict[str, Any] = {
        "training_flags": ("--seeds", "1", "--epochs", "40", "--recipe", "my own.toml", "--all-images")
    }
    asked = study(one, chosen=1, finals=(final(one, run()),), record=given, **more)
    assert lines(asked) == [f"edgenas train {FOLDER} --seeds 1 --recipe 'my own.toml' --all-images --epochs 160"]
    kept = msgspec.structs.replace(final(one, run()), flags=("--seeds", "2", "--budget", "5"))
    assert lines(study(one, chosen=1, finals=(kept,), record=given, **more)) == [
        f"edgenas train {FOLDER} --seeds 2 --recipe fast --epochs 160"
    ]


# ---------------------------------------------------------------- states in which a command would be refused


def test_what_was_trained_on_the_validation_images_is_not_compared() -> None:
    one = trial(1, 80.0)
    every = msgspec.structs.replace(final(one, run()), all_images=True)
    assert [line.split()[1] for line in lines(study(one, chosen=1, finals=(every,)))] == ["export"]
    other = final(trial(2, 70.0), run())  # could be compared, and is not what is shipped
    assert [line.split()[1] for line in lines(study(one, chosen=1, finals=(every, other)))] == ["export"]


def test_an_outdated_comparison_is_made_anew_with_the_references_that_are_there() -> None:
    one = trial(1, 80.0)
    facts = study(one, chosen=1, finals=(final(one, run()),), outdated=True)
    assert lines(facts)[1] == f"edgenas compare {FOLDER}"


CROSSING: dict[str, Any] = {"chosen": 1, "limits": Limits(latency_ms=1.0)}


def test_int8_is_measured_as_the_exported_file_and_not_before_there_is_one() -> None:
    """Its scales are made from images: an untrained network cannot be written in it."""
    one = trial(1, 80.0, latency(0.9, 0.7, 1.1))
    int8: dict[str, Any] = {"precision": "int8"}
    assert lines(study(one, **CROSSING, record=int8)) == [f"edgenas train {FOLDER}"]
    assert lines(study(one, **CROSSING, record=int8, finals=(final(one, run()),)))[:2] == [
        f"edgenas export {FOLDER} --out 'bundles/a study' --precision int8",
        f"edgenas verify {FOLDER} --bundle 'bundles/a study' --board http://BOARD:8765 --token-file TOKEN --precision int8",
    ]
    fp16 = study(one, **CROSSING, record={"precision": "fp16"})
    assert lines(fp16)[1] == f"edgenas verify {FOLDER} --board http://BOARD:8765 --token-file TOKEN"


def test_a_wider_network_than_the_searched_one_is_measured_as_its_file() -> None:
    """The study has no trial of it, and so no limit that was held against it."""
    one, other = trial(1, 80.0, latency(0.9, 0.7, 1.1)), trial(2, 70.0)
    wider = msgspec.structs.replace(final(one, run()), architecture=other.candidate.architecture)
    assert lines(study(one, **{**CROSSING, "limits": Limits(latency_ms=1e-9)}, finals=(wider,)))[1:] == [
        f"edgenas compare {FOLDER} --reference torchvision:mobilenet_v3_small"
    ]
    (_, verify, _) = lines(study(one, **{**CROSSING, "limits": Limits(energy_mj=1.0)}, finals=(wider,)))
    assert verify == "edgenas verify --bundle 'bundles/a study' --board http://BOARD:8765 --token-file TOKEN"


def test_a_network_that_was_trained_on_other_data_too_is_exported_as_it_is_on_the_studys() -> None:
    one = trial(1, 80.0)
    other = msgspec.structs.replace(final(one, run()), data="photos")
    facts = study(one, chosen=1, finals=(final(one, run()), other))
    assert lines(facts)[0] == f"edgenas export {FOLDER} --out 'bundles/a study' --data digits"


def test_images_that_are_an_object_are_given_in_python_by_every_command_that_reads_them() -> None:
    one, opened = trial(1, 80.0, latency(0.9, 0.7, 1.1)), "edgenas.open_study('studies/a study').go_on(data=DATA)"
    more: dict[str, Any] = {**CROSSING, "planned": {"objects": ("method", "data")}}
    board = f"edgenas verify {FOLDER} --board http://BOARD:8765 --token-file TOKEN"  # reads no images
    assert lines(study(one, **more)) == [f"{opened}.train()", board]
    assert lines(study(one, **more, finals=(final(one, run()),), record={"precision": "fp16"})) == [
        f"{opened}.export('bundles/a study', precision='fp16')",
        board,
        f"{opened}.compare('torchvision:mobilenet_v3_small')",
    ]
    method = {**more, "planned": {"objects": ("method",)}}  # which no training needs
    assert lines(study(one, **method))[0] == f"edgenas train {FOLDER}"
