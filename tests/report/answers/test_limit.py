"""Each sentence about a limit, on both sides of its bar."""

from typing import Any

import msgspec
import pytest

from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Latency, Limits, Measurement
from edgenas.report.answers.limit import Met, met_limits
from edgenas.report.origins import limit_words
from tests.report.answers.cases import TARGET, final, latency, run, study, trial

LIMIT = Limits(latency_ms=1.0)

AT = "--board http://BOARD:8765 --token-file TOKEN"


def met(there: Latency, limits: Limits = LIMIT) -> Met:
    return met_limits(study(trial(1, 90.0, there), chosen=1, limits=limits))


@pytest.mark.parametrize(
    ("there", "held", "words"),
    [
        (latency(0.8, 0.7, 1.0), "yes", "It keeps the limit of 1 ms on jetson-nano-4gb, at the upper end of its interval too"),
        (latency(0.8, 0.7, 1.01), "open", "is not certain: the figure keeps it, and the interval crosses it"),
        (latency(1.2, 1.0, 1.3), "open", "is not certain: the figure breaks it, and the interval crosses it"),
        (latency(1.2, 1.01, 1.3), "no", "It breaks the limit of 1 ms on jetson-nano-4gb, even at the lower end"),
        (latency(1.0), "likely", "It keeps the limit of 1 ms on jetson-nano-4gb by the figure alone"),
        (latency(1.01), "no", "It breaks the limit of 1 ms on jetson-nano-4gb by the figure alone"),
    ],
)  # fmt: skip
def test_a_prediction_is_held_against_the_limit_with_its_interval(there: Latency, held: str, words: str) -> None:
    found = met(there)
    assert found.held == held
    assert words in found.sentences[0]


def test_the_interval_and_what_it_means_are_said() -> None:
    (sentence,) = met(latency(0.9, 0.7, 1.2)).sentences
    assert (
        "0.900 ms predicted, 0.700 to 1.20 ms; nine of ten measurements of such networks lie in that interval"
        in sentence
    )
    assert "`edgenas verify 'studies/a study' --board http://BOARD:8765 --token-file TOKEN` measures it" in sentence
    assert "edgenas verify" not in met(latency(0.5, 0.4, 0.6)).sentences[0]


@pytest.mark.parametrize(
    ("there", "held", "words"),
    [
        (latency(1.0, origin="measured", n=50, p90_ms=1.0), "yes", "measured median 1.00 ms over 50 runs, nine of ten within"),
        (latency(1.0, origin="measured", p90_ms=1.01), "open", "Its median keeps the limit of 1 ms on jetson-nano-4gb, and more"),
        (latency(1.01, origin="measured", p90_ms=1.1), "no", "It breaks the limit of 1 ms on jetson-nano-4gb: measured median"),
        (latency(0.9, origin="measured", stable=False), "open", "the device was busy or slowed itself down: measure again"),
    ],
)  # fmt: skip
def test_a_measurement_is_held_against_the_limit_with_its_slow_runs(there: Latency, held: str, words: str) -> None:
    found = met(there)
    assert found.held == held
    assert words in found.sentences[0]


def test_a_network_beyond_what_the_profile_was_fitted_on_says_so() -> None:
    assert "beyond what the profile was fitted on" in met(latency(0.9, 0.3, 2.9, extrapolated=True)).sentences[0]
    assert "beyond" not in met(latency(0.9, 0.3, 2.9)).sentences[0]


@pytest.mark.parametrize(
    ("samples", "status", "held", "words"),
    [
        ((1.3, 1.1, 1.2), "ok", "no", "It breaks the limit of 1 ms on jetson-nano-4gb: measured median 1.20 ms over 3 runs"),
        ((0.8, 0.8, 0.9), "ok", "yes", "It keeps the limit of 1 ms on jetson-nano-4gb: measured median 0.800 ms over 3 runs"),
        ((0.8, 0.8, 0.9), "unstable", "open", "the device was busy or slowed itself down: measure again"),
        ((0.8, 0.8, 2.0), "ok", "open", "Its median keeps the limit of 1 ms on jetson-nano-4gb, and more than one run in ten"),
        ((1.3, 1.1, 1.2), "oom", "yes", "It keeps the limit of 1 ms on jetson-nano-4gb, at the upper end of its interval too"),
    ],
)  # fmt: skip
def test_a_measurement_decides_over_the_prediction_that_the_search_went_by(
    samples: tuple[float, ...], status: str, held: str, words: str
) -> None:
    one = trial(1, 90.0, latency(0.7, 0.6, 0.95))
    measurement = Measurement(TARGET, "board", "TensorRT 8.2", "fp32", 10, samples, status=status)
    key = f"{one.candidate.architecture.fingerprint} {TARGET} fp32"
    found = met_limits(study(one, chosen=1, limits=LIMIT, measurements={key: measurement}))
    (sentence,) = found.sentences
    assert found.held == held
    assert words in sentence
    assert ("The search went by 0.700 ms, predicted: it was measured afterwards." in sentence) is (status != "oom")
    assert "edgenas verify" not in sentence


@pytest.mark.parametrize(
    ("limits", "held"),
    [
        (Limits(params=100), "yes"),
        (Limits(params=99), "no"),
        (Limits(size_mb=0.4), "yes"),
        (Limits(size_mb=0.39), "no"),
        (Limits(memory_mb=0.5), "yes"),
        (Limits(memory_mb=0.49), "no"),
        (Limits(mmacs=0.001), "yes"),
        (Limits(mmacs=0.000999), "no"),
        (Limits(), "none"),
    ],
)
def test_what_is_counted_is_exact(limits: Limits, held: str) -> None:
    found = met(latency(1.0, 0.9, 1.1), limits)
    assert found.held == held
    assert ("counted exactly" in found.sentences[0]) == (held != "none")


def every_limit() -> list[Limits]:
    """Each field of Limits alone, as a search can ask for it, at a value that tells it apart."""
    alone = [field.name for field in msgspec.structs.fields(Limits) if field.name != "margin"]
    return [*(Limits(**{name: 7}) for name in alone), Limits(latency_ms=7, margin=True)]


@pytest.mark.parametrize("limits", every_limit(), ids=repr)
def test_every_limit_that_can_be_asked_for_has_its_sentence_and_its_words(limits: Limits) -> None:
    found = met(latency(1.0, 0.9, 1.1), limits)
    assert found.held != "none"
    assert "No limit was asked for." not in found.sentences
    assert "limit of 7 " in found.sentences[0]
    assert ("(--margin)" in found.sentences[0]) == limits.margin
    words = limit_words(limits)
    assert "7" in words[0]
    assert len(words) == 1 + limits.margin
    assert limit_words(Limits()) == []


def test_macs_are_told_to_the_last_digit_where_rounding_would_hide_what_is_broken() -> None:
    one = trial(1, 90.0)
    cost = msgspec.structs.replace(one.cost, macs=300_000_001)
    (sentence, *_) = met_limits(
        study(msgspec.structs.replace(one, cost=cost), chosen=1, limits=Limits(mmacs=300.0))
    ).sentences
    assert sentence == (
        "It breaks the limit of 300 million multiply-accumulates: it has 300.000001 million multiply-accumulates, counted "
        "exactly."
    )


def test_energy_is_only_known_where_it_was_measured() -> None:
    wanted = Limits(energy_mj=2.0)
    assert met(latency(1.0), wanted).held == "open"
    assert met(latency(1.0, origin="measured", energy_mj=2.0), wanted).held == "yes"
    assert met(latency(1.0, origin="measured", energy_mj=2.1), wanted).held == "no"


def test_the_worst_of_several_limits_is_the_answer() -> None:
    found = met(latency(0.8, 0.7, 0.9), Limits(latency_ms=1.0, params=99))
    assert (found.held, len(found.sentences)) == ("no", 2)


def test_without_a_limit_the_latency_is_told_all_the_same() -> None:
    takes = "It takes 0.800 ms on jetson-nano-4gb (predicted, 0.700 to 0.900 ms)."
    assert met(latency(0.8, 0.7, 0.9), Limits()).sentences == ("No limit was asked for.", takes)
    assert met(latency(0.8, 0.7, 0.9), Limits(params=100)).sentences[1] == takes


def test_what_broke_a_limit_is_counted() -> None:
    broken = trial(2, 0.0, 3.0, status="infeasible", scores={})
    one = trial(1, 90.0, 0.5)
    told = met_limits(study(one, broken, chosen=1, limits=LIMIT)).sentences
    assert told[1] == "1 other candidate broke a limit, and took no training time."
    ahead = msgspec.structs.replace(broken, number=None)  # how many there are depends on how many workers there were
    assert met_limits(study(one, broken, ahead, chosen=1, limits=LIMIT)).sentences == told
    assert len(met_limits(study(one, chosen=1, limits=LIMIT, finals=(final(one, run()),))).sentences) == 1


def widened(limits: Limits, **more: Any) -> Met:
    """Of a study whose chosen network has 100 parameters and takes 0.5 ms, in whose place trial 9's was trained in full."""
    one = trial(1, 90.0, 0.5)
    wider = msgspec.structs.replace(final(one, run()), architecture=trial(9, 0.0).candidate.architecture)
    return met_limits(study(one, chosen=1, limits=limits, finals=(wider,), **more))


def test_a_wider_network_that_was_trained_in_place_of_the_searched_one_is_judged_itself() -> None:
    """Its parameters and its predicted latency decide, not those of the network that the search judged."""
    wider = trial(9, 0.0).candidate.architecture
    params = workload_from_architecture(wider).params
    found = widened(Limits(params=params - 1))
    assert found.held == "no"
    assert f"it has {params:,} parameters, counted exactly." in found.sentences[0]
    assert widened(Limits(params=params)).held == "yes"
    ms = latency_from_workload(profile_from_name(TARGET), wider, "fp32")
    assert ms.low is not None
    assert widened(Limits(latency_ms=0.99 * ms.low)).held == "no"
    crossed = widened(Limits(latency_ms=ms.ms))
    assert crossed.held == "open"
    assert (
        "Once it is exported, `edgenas verify --bundle 'bundles/a study' --board http://BOARD:8765 --token-file TOKEN` measures"
        in crossed.sentences[0]
    )
    assert crossed.sentences[-1] == (
        f"The network that was trained in full is another one than the search judged: {params:,} parameters in place of 100 "
        "(--final-width macro). What is said here is of the one that was trained."
    )


def test_of_a_wider_network_that_nobody_measured_a_limit_on_a_target_without_prediction_is_open() -> None:
    here: dict[str, Any] = {"record": {"profiles": ("host-cpu",)}}
    found = widened(LIMIT, **here)
    assert (found.held, found.sentences[0].split(".")[0]) == (
        "open", "Whether it keeps the limit of 1 ms on host-cpu is not known",
    )  # fmt: skip
    assert "the limit of 2 mJ on host-cpu is not known" in widened(Limits(energy_mj=2.0), **here).sentences[0]
    searched = study(trial(1, 90.0, 0.5), chosen=1, limits=LIMIT, **here)
    assert met_limits(searched).held == "yes"


@pytest.mark.parametrize(
    ("precision", "trained", "words"),
    [
        ("fp16", False, f"`edgenas verify 'studies/a study' {AT}` measures it on the device."),
        ("int8", False, "Trained in full and exported, its file can be measured on the device (`edgenas verify --bundle`)."),
        (
            "int8", True,
            f"Once it is exported, `edgenas verify 'studies/a study' --bundle 'bundles/a study' {AT} --precision int8` "
            "measures its file on the device.",
        ),
    ],
)  # fmt: skip
def test_a_board_is_named_with_what_it_can_measure(precision: str, trained: bool, words: str) -> None:
    one = trial(1, 90.0, latency(0.9, 0.7, 1.2))
    finals = (final(one, run()),) if trained else ()
    found = met_limits(study(one, chosen=1, limits=LIMIT, finals=finals, record={"precision": precision}))
    assert found.sentences[0].endswith(words)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (
            latency(2.0004, 1.5, 2.5),
            "the figure breaks it, and the interval crosses it: 2.0004 ms predicted, 1.50 to 2.50 ms",
        ),
        (latency(1.9, 1.5, 1.99996), "at the upper end of its interval too: 1.90 ms predicted, 1.50 to 1.99996 ms"),
        (latency(2.5, 2.00001, 3.0), "at the lower end of its interval: 2.50 ms predicted, 2.00001 to 3.00 ms"),
        (
            latency(2.0004, origin="measured", n=99),
            "It breaks the limit of 2 ms on jetson-nano-4gb: measured median 2.0004 ms",
        ),
        (
            latency(1.0, origin="measured", n=99, p90_ms=2.002),
            "takes longer: measured median 1.00 ms over 99 runs, nine of ten within 2.002",
        ),
        (
            latency(2.0, origin="measured", n=99),
            "It keeps the limit of 2 ms on jetson-nano-4gb: measured median 2.00 ms",
        ),
    ],
)
def test_a_figure_has_as_many_digits_as_show_on_which_side_of_the_limit_it_is(there: Latency, words: str) -> None:
    assert words in met_limits(study(trial(1, 90.0, there), chosen=1, limits=Limits(latency_ms=2.0))).sentences[0]


def test_a_limit_is_told_with_all_its_digits_and_a_size_on_its_side_of_it() -> None:
    one = trial(1, 90.0)  # 0.4 MB
    held = {
        limit: met_limits(study(one, chosen=1, limits=Limits(size_mb=limit))).sentences[0]
        for limit in (0.4, 0.39999876)
    }
    assert held[0.4].startswith("It keeps the limit of 0.4 MB of weights: it has 0.4 MB of weights")
    assert held[0.39999876].startswith("It breaks the limit of 0.39999876 MB of weights: it has 0.4 MB of weights")
    assert limit_words(Limits(latency_ms=1.23456789)) == ["latency ≤ 1.23456789 ms"]
    assert Limits(latency_ms=0.123456789).broken(one.cost)[0].startswith("latency 1 ms > 0.123456789 ms on ")


def test_nothing_trained_is_no_answer() -> None:
    """That is not the same as no limit."""
    found = met_limits(study(limits=LIMIT))
    assert found.sentences == ("No network is trained yet.",)
    assert (found.held, found.badge) == ("unknown", "not known yet")
    free = met_limits(study(limits=Limits(margin=True)))
    assert (free.held, free.badge) == ("none", "no limit")


def test_what_could_not_be_trained_is_counted_with_the_last_reason() -> None:
    broken = [
        trial(number, 0.0, status="failed", scores={}, error=error)
        for number, error in ((1, "one."), (2, "loss is nan."))
    ]
    assert met_limits(study(*broken, limits=LIMIT)).sentences == (
        "No network is trained yet.",
        "2 candidates could not be trained: loss is nan.",
    )
    assert met_limits(study(trial(3, 90.0), *broken, chosen=3, limits=LIMIT)).sentences[-1] == (
        "2 other candidates could not be trained: loss is nan."
    )


def test_what_the_search_went_by_is_called_what_it_was() -> None:
    for origin, words in (("predicted", "0.700 ms, predicted:"), ("datasheet", "0.700 ms, by the datasheet:")):
        one = trial(1, 90.0, latency(0.7, origin=origin))
        measurement = Measurement(TARGET, "board", "TensorRT 8.2", "fp32", 10, (0.8, 0.8, 0.9))
        key = f"{one.candidate.architecture.fingerprint} {TARGET} fp32"
        (told,) = met_limits(study(one, chosen=1, limits=LIMIT, measurements={key: measurement})).sentences
        assert f"The search went by {words} it was measured afterwards." in told
