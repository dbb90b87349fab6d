"""The next command in every state of a study."""

import msgspec

from edgenas.records import Limits
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import Facts
from tests.report.answers.cases import final, latency, run, study, trial

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


def test_a_limit_inside_the_interval_asks_for_a_measurement() -> None:
    crossing, limits = trial(1, 80.0, latency(0.9, 0.7, 1.1)), Limits(latency_ms=1.0)
    assert lines(study(crossing, chosen=1, limits=limits))[1] == f"edgenas verify {FOLDER} --board http://BOARD:8765"
    sure = trial(1, 80.0, latency(0.8, 0.7, 0.9))
    assert len(lines(study(sure, chosen=1, limits=limits))) == 1


def test_at_chance_the_search_is_made_again_with_four_times_the_time() -> None:
    facts = study(trial(1, 10.0), chosen=1, limits=Limits(latency_ms=1.5, params=20_000), seconds=90.0)
    assert lines(facts) == [
        "edgenas search --data digits --target jetson-nano-4gb --max-latency-ms 1.5 --max-params 20000 --method gnas --budget 8 "
        "--study 'a study-longer'"
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
    one = trial(1, 10.0)
    hopeless = study(one, chosen=1, finals=(final(one, run()),), record=given)
    assert lines(hopeless) == [f"edgenas train {FOLDER} --epochs 160"]
