"""Did searching pay? By accuracy with its noise and latency with its interval."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import pytest

from edgenas.binomial import noise_of_difference, noise_with_repeats
from edgenas.engine.verdict import Competitor, Outcome, compared, faster_of, interval_of_mean, noise_between, outcome
from edgenas.records import ACCURACY, TAR, Cost, Latency, Metric

DEVICE = "jetson"
ANGLE = Metric("mae", unit="deg", better="lower")


def competitor(
    name: str,
    each: tuple[float, ...],
    ms: float,
    params: int = 1000,
    *,
    low: float | None = None,
    high: float | None = None,
    interval: tuple[float, float] | None = None,
    breaks: tuple[str, ...] = (),
    learned: bool = True,
) -> Competitor:
    """Its latency lies within 10 % of `ms`, where no interval is given."""
    ends = (ms / 1.1 if low is None else low, ms * 1.1 if high is None else high)
    latency = Latency(ms, "predicted", DEVICE, low=ends[0], high=ends[1])
    cost = Cost(params, 1, 1, 1.0, 1.0, {DEVICE: latency})
    return Competitor(name, each, interval, cost, 3, 1.0, breaks=breaks, learned=learned)


def against(ours: Competitor, theirs: Competitor, metric: Metric = ACCURACY, images: int = 1000) -> Outcome:
    return outcome(ours, theirs, metric, images, DEVICE)


@pytest.mark.parametrize(
    ("accuracy", "ms", "verdict"),
    [
        (95, 1.0, "paid"),  # better and faster
        (95, 4.0, "paid"),  # better, and as fast
        (95, 9.0, "trade"),  # better and slower
        (90, 1.0, "paid"),  # equal and faster
        (90, 4.0, "noise"),  # equal in both
        (90, 9.0, "not"),  # equal and slower
        (85, 1.0, "trade"),  # worse and faster
        (85, 4.0, "not"),  # worse, and as fast
        (85, 9.0, "not"),  # worse and slower
    ],
)
def test_it_paid_where_nothing_is_lost_and_something_is_won(accuracy: float, ms: float, verdict: str) -> None:
    found = against(competitor("trial 3", (accuracy,), ms), competitor("net", (90.0,), 4.0))
    assert found.verdict == verdict
    assert found.difference == accuracy - 90
    leads = {
        "paid": "Searching paid: ",
        "trade": "It depends",
        "noise": "It was not shown",
        "not": "Searching did not pay: ",
    }
    assert found.sentence.startswith(leads[verdict])


def test_the_sentence_has_every_figure_that_it_rests_on() -> None:
    noise = noise_of_difference(92, 90, 1000)
    assert 2 < noise < 3
    found = against(competitor("trial 3", (92.0,), 0.5, 20_000), competitor("net", (90.0,), 2.0, 1_000_000))
    assert found.sentence == (
        f"Searching paid: trial 3 and net are equal within the noise (92.00 against 90.00 % accuracy, noise +- {noise:.2f} "
        "by the test images alone, one training each), and trial 3 takes 1/4 of the time (0.5 against 2 ms on jetson, "
        "predicted), with 1/50 of its parameters."
    )
    found = against(competitor("trial 3", (80.0,), 8.0, 3_000_000), competitor("net", (90.0,), 2.0, 1_000_000))
    assert "trial 3 is 10.00 points worse than net" in found.sentence
    assert "takes 4 times as long" in found.sentence
    assert found.sentence.endswith("with 3 times its parameters.")


def test_a_difference_counts_from_the_noise_on_not_below_it() -> None:
    noise = noise_of_difference(92.4, 90, 1000)
    assert noise > 2.4  # 2.4 points on 1,000 images are noise,
    assert against(competitor("a", (92.4,), 4), competitor("b", (90.0,), 4)).verdict == "noise"
    assert noise_of_difference(92.4, 90, 10_000) < 2.4  # and on 10,000 they are a difference
    assert against(competitor("a", (92.4,), 4), competitor("b", (90.0,), 4), images=10_000).verdict == "paid"


def test_what_another_seed_changes_is_part_of_the_noise() -> None:
    steady, shaky = competitor("a", (90.0, 90.0, 90.0), 1), competitor("b", (88.0, 90.0, 92.0), 1)
    by_images = noise_of_difference(90, 90, 1000)
    assert noise_between(steady, steady, ACCURACY, 1000) == pytest.approx(by_images)
    of_mean = noise_with_repeats(by_images, [(0.0, 2), (4 / 3, 2)])  # variance 4, three runs
    assert noise_between(steady, shaky, ACCURACY, 1000) == pytest.approx(of_mean)
    single = noise_with_repeats(by_images, [(4 / 3 + 4, 2)])  # one run alone spreads as each of the other's three
    assert noise_between(competitor("c", (90.0,), 1), shaky, ACCURACY, 1000) == pytest.approx(single)


@pytest.mark.parametrize(("ours", "theirs", "said"), [(1, 1, True), (2, 1, False), (1, 2, False), (2, 2, False)])
def test_where_no_training_was_repeated_the_sentence_says_what_the_noise_leaves_out(
    ours: int, theirs: int, said: bool
) -> None:
    found = against(competitor("a", (92.0,) * ours, 1), competitor("b", (90.0,) * theirs, 1))
    assert ("by the test images alone, one training each" in found.sentence) is said


def test_a_metric_that_is_no_share_is_judged_by_its_own_interval_or_by_seeds_or_not_at_all() -> None:
    one = competitor("a", (70.0,), 1, interval=(66.0, 73.0))
    other = competitor("b", (60.0,), 1, interval=(57.0, 64.0))
    assert noise_between(one, other, TAR, 150) == pytest.approx(math.hypot(4, 4))
    assert against(one, other, TAR).verdict == "paid"
    bare = (competitor("a", (3.0,), 1), competitor("b", (9.0,), 1))
    found = against(*bare, ANGLE)
    assert (found.noise, found.verdict) == (None, "noise")
    assert "cannot be told from one run of each (3 against 9 deg mae)" in found.sentence
    several = (competitor("a", (3.0, 3.2), 1), competitor("b", (9.0, 9.1), 1))
    assert against(*several, ANGLE).verdict == "paid"  # the smaller error is the better one
    assert against(*reversed(several), ANGLE).verdict == "not"


def test_latencies_differ_where_the_interval_of_their_ratio_excludes_one() -> None:
    def latency(ms: float, factor: float) -> Latency:
        return Latency(ms, "predicted", DEVICE, low=ms / factor, high=ms * factor)

    edge = 2 ** math.sqrt(2)  # both lie within a factor of 2: independent, their ratio within 2 ** sqrt(2) = 2.67
    assert faster_of(latency(1, 2), latency(edge * 1.01, 2)) == "winner"
    assert faster_of(latency(1, 2), latency(edge * 0.99, 2)) is None
    assert faster_of(latency(edge * 1.01, 2), latency(1, 2)) == "reference"
    measured = [Latency(ms, "measured", DEVICE) for ms in (1.0, 1.02, 1.1)]
    assert faster_of(measured[0], measured[1]) is None
    assert faster_of(measured[0], measured[2]) == "winner"


LEARNED = "conditions; learned from 10 measured networks of this study"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (Latency(2.0, "measured", DEVICE), Latency(1.0, "datasheet", DEVICE), "2 ms measured, 1 ms from the datasheet"),
        (Latency(1.0, "measured", DEVICE), Latency(9.0, "predicted", DEVICE), "1 ms measured, 9 ms predicted"),
        (
            Latency(1.0, "predicted", DEVICE, detail=LEARNED),
            Latency(9.0, "predicted", DEVICE),
            "1 ms predicted from what the board has measured, 9 ms predicted",
        ),
        (Latency(1.0, "measured", DEVICE), Latency(9.0, "measured", DEVICE), None),
        (Latency(1.0, "predicted", DEVICE), Latency(9.0, "predicted", DEVICE), None),
        (Latency(1.0, "datasheet", DEVICE), Latency(9.0, "datasheet", DEVICE), None),
        (Latency(1.0, "predicted", DEVICE, detail=LEARNED), Latency(9.0, "predicted", DEVICE, detail=LEARNED), None),
    ],
)
def test_latencies_of_different_origins_are_named_and_decide_nothing(
    one: Latency, other: Latency, said: str | None
) -> None:
    def with_latency(name: str, score: float, latency: Latency, **more: Any) -> Competitor:
        made = competitor(name, (score,), latency.ms, **more)
        return msgspec.structs.replace(made, cost=msgspec.structs.replace(made.cost, latencies={DEVICE: latency}))

    ways = [(one, other), (other, one)]
    for better, worse in ((95.0, 80.0), (80.0, 95.0), (90.0, 90.0)):
        for ours, theirs in ways:
            found = against(with_latency("trial 3", better, ours), with_latency("net", worse, theirs))
            assert found.comparable is (said is None)
            if said is None:
                assert found.faster == ("winner" if ours.ms < theirs.ms else "reference")
                assert "origin" not in found.sentence
            else:
                assert (found.faster, found.verdict) == (None, "noise")
                assert found.sentence.startswith("It was not shown that searching paid")
                assert "neither is called faster" in found.sentence
                assert "takes" not in found.sentence
    if said is not None:
        there = against(with_latency("trial 3", 95.0, one), with_latency("net", 80.0, other)).sentence
        assert f"and their latencies on {DEVICE} are not of one origin ({said})" in there
        heavy = against(with_latency("trial 3", 95.0, one), with_latency("net", 80.0, other, breaks=("size",)))
        assert heavy.verdict == "paid"  # by a limit that no latency has a part in


def test_a_reference_that_breaks_a_limit_could_not_be_used_and_one_at_chance_shows_nothing() -> None:
    ours = competitor("trial 3", (80.0,), 4.0)
    over = competitor("net", (95.0,), 9.0, breaks=("latency 9 ms > 5 ms on jetson",))
    found = against(ours, over)
    assert found.verdict == "paid"
    assert found.sentence.startswith(
        "Searching paid only by the limit, which net breaks (latency 9 ms > 5 ms on jetson) and trial 3 holds: "
        "trial 3 is 15.00 points worse than net"
    )
    assert found.sentence.count("breaks") == 1
    also = against(
        competitor("trial 3", (96.0,), 4.0), competitor("net", (80.0,), 9.0, breaks=("latency 9 ms > 5 ms",))
    )
    assert also.sentence.startswith("Searching paid: trial 3 is 16.00 points better than net")
    assert also.sentence.endswith("; net breaks the limit (latency 9 ms > 5 ms).")
    equal = against(competitor("trial 3", (80.0,), 4.0), competitor("net", (80.0,), 4.0, breaks=("size",)))
    assert equal.sentence.startswith("Searching paid only by the limit, which net breaks (size) and trial 3 holds: ")
    both = against(competitor("trial 3", (80.0,), 9.0, breaks=("x",)), over)
    assert both.verdict == "not"
    blind = against(ours, competitor("net", (10.0,), 9.0, learned=False))
    assert blind.verdict == "noise"
    beyond = against(ours, competitor("net", (10.0,), 9.0, breaks=("size",), learned=False))
    assert beyond.sentence.startswith("It was not shown that searching paid: ")
    assert blind.sentence.endswith("net is no better than chance: give it more --epochs, or weights to start from.")


def test_the_worst_outcome_against_a_reference_that_holds_the_limits_decides() -> None:
    ours = competitor("trial 3", (90.0,), 4.0)
    weak, strong = competitor("weak", (70.0,), 9.0), competitor("strong", (96.0,), 1.0)
    found = compared(ACCURACY, 1000, DEVICE, [ours], [weak, strong])
    assert [one.verdict for one in found.outcomes] == ["paid", "not"]
    assert found.verdict == "not"
    assert found.sentence == found.outcomes[1].sentence
    too_slow = competitor("strong", (96.0,), 1.0, breaks=("size",))
    assert compared(ACCURACY, 1000, DEVICE, [ours], [weak, too_slow]).sentence == found.outcomes[0].sentence


def test_the_interval_of_a_mean_is_that_of_one_run() -> None:
    low, high = interval_of_mean((90.0, 92.0), [None, None], ACCURACY, 500) or (0, 0)
    assert low < 91 < high
    assert interval_of_mean((60.0, 64.0), [(50.0, 70.0), (54.0, 72.0)], TAR, 500) == (52.0, 71.0)
    assert interval_of_mean((60.0, 64.0), [(50.0, 70.0), None], TAR, 500) is None


# ---------------------------------------------------------------- the sentence beside its own figures


def crossing(reference: float, seeds: int, images: int) -> float:
    """The accuracy above `reference` from which on a difference is more than the noise."""
    low, high = reference, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        ours, theirs = competitor("a", (middle,) * seeds, 1), competitor("b", (reference,) * seeds, 1)
        noise = noise_between(ours, theirs, ACCURACY, images)
        assert noise is not None
        low, high = (low, middle) if middle - reference > noise else (middle, high)
    return high


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("reference", "seeds", "images"), [(83.0, 1, 654), (83.0, 3, 654), (60.0, 2, 10_000)])
def test_on_each_side_of_the_noise_the_words_are_those_of_the_figures(
    reference: float, seeds: int, images: int, swapped: bool
) -> None:
    edge = crossing(reference, seeds, images)
    for accuracy, differs in ((edge - 0.02, False), (edge + 0.02, True)):
        pair = [competitor("ours", (accuracy,) * seeds, 4), competitor("net", (reference,) * seeds, 4)]
        found = against(*(reversed(pair) if swapped else pair), images=images)
        figures = re.search(r"\((\S+) against (\S+) % accuracy, noise \+- ([\d.]+)", found.sentence)
        assert figures is not None
        ours, theirs, noise = map(float, figures.groups())
        assert (abs(ours - theirs) > noise) == differs
        assert ("equal within the noise" in found.sentence) != differs
        if differs:
            said = re.search(r"is (\S+) points (better|worse) than", found.sentence)
            assert said is not None
            assert float(said[1]) == pytest.approx(abs(ours - theirs), abs=0.011)
            assert (said[2] == "better") == (ours > theirs)
        assert found.verdict == ("noise" if not differs else "not" if swapped else "paid")


@pytest.mark.parametrize("swapped", [False, True])
def test_on_each_side_of_the_latencies_intervals_the_words_are_those_of_the_figures(swapped: bool) -> None:
    edge = 1.1 ** math.sqrt(2)  # `competitor`: each within 10 %
    for slower, differs in ((0.998 * edge, False), (1.002 * edge, True)):
        pair = [competitor("ours", (90.0,), 1.0, 500), competitor("net", (90.0,), slower, 1000)]
        found = against(*(reversed(pair) if swapped else pair))
        assert ("their latencies cannot be told apart" in found.sentence) != differs
        figures = re.search(r"\((\S+) against (\S+) ms on jetson", found.sentence)
        assert figures is not None
        ratio = float(figures[1]) / float(figures[2])
        assert ratio == pytest.approx(slower if swapped else 1 / slower, rel=0.01)
        if differs:
            assert ("takes 1/1.1 of the time" in found.sentence) == (not swapped)
            assert ("takes 1.1 times as long" in found.sentence) == swapped
        assert found.sentence.endswith("with 2 times its parameters." if swapped else "with 1/2 of its parameters.")
        assert found.verdict == ("noise" if not differs else "not" if swapped else "paid")


@pytest.mark.parametrize(("ms", "differs"), [(1.049, False), (1.051, True)])
def test_two_measured_medians_differ_from_five_percent_on(ms: float, differs: bool) -> None:
    pair = [Latency(1.0, "measured", DEVICE), Latency(ms, "measured", DEVICE)]
    assert (faster_of(*pair) == "winner") == differs
    assert (faster_of(*reversed(pair)) == "reference") == differs


def test_whoever_breaks_a_limit_or_is_at_chance_turns_every_verdict() -> None:
    better, worse = competitor("net", (96.0,), 1.0), competitor("ours", (80.0,), 9.0)
    assert against(worse, better).verdict == "not"
    over = competitor("net", (96.0,), 1.0, breaks=("size 9 MB > 5 MB",))
    assert against(worse, over).verdict == "paid"
    assert against(worse, competitor("net", (96.0,), 1.0, learned=False)).verdict == "noise"


@pytest.mark.parametrize(
    ("second", "words"),
    [(82.0, "accuracy, noise +- 88.0"), (80.0, "accuracy, the noise is not known from so few trainings)")],
)
def test_a_noise_beyond_the_whole_scale_is_not_told_as_a_figure(second: float, words: str) -> None:
    """Two trainings of the winner, of variance v, against one of the reference: 12.706 times the root of 1.5 v, which is 88.0 for
    90 and 82 %, and 110 for 90 and 80 %."""
    found = against(competitor("trial 3", (90.0, second), 1.0), competitor("net", (95.0,), 4.0), images=10**6)
    assert words in found.sentence
    assert "equal within the noise" in found.sentence
    angles = against(competitor("trial 3", (90.0, second), 1.0), competitor("net", (95.0,), 4.0), metric=ANGLE)
    assert "mae, noise +- " in angles.sentence  # degrees have no such bound
