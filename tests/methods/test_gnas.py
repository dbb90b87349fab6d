"""The rules of GNAS one by one, on accuracies made up so that the outcome can be told by hand."""

import msgspec
import pytest

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import LimitError, TrainingError
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import chain_of
from edgenas.methods.replay import cost_without_device
from edgenas.records import (
    Architecture,
    Candidate,
    ChainArchitecture,
    Choice,
    Cost,
    Decision,
    Embedding,
    Latency,
    Limits,
    Trial,
)
from tests.methods.answers import SPACE, TRAINING, play


def net_of(candidate: Candidate) -> ChainArchitecture:
    assert isinstance(candidate.architecture, ChainArchitecture)
    return candidate.architecture


def by_depth(table: dict[int, float]):
    """Accuracy by depth at full width; 0 for narrower networks and for the micro phases."""
    return lambda c: table[net_of(c).depth] if c.phase == "depth" else 0.0


def cost_with_latency(architecture: Architecture) -> Cost:
    """Latency made up as a hundredth of a millisecond per channel and layer."""
    assert isinstance(architecture, ChainArchitecture)
    latency = Latency(0.01 * architecture.width * architecture.depth, "predicted", "made-up")
    return msgspec.structs.replace(cost_without_device(architecture), latencies={"made-up": latency})


def test_depth_stops_at_the_third_failure_and_neutral_steps_neither_count_nor_reset() -> None:
    table = {4: 80.0, 5: 80.10, 6: 80.05, 7: 79.0, 8: 80.06, 9: 79.0, 10: 79.0, 11: 99.0}
    choice, _, decisions = play(
        gnas(SPACE, GnasRules(), TRAINING, cost_without_device), by_depth(table), cost_without_device
    )
    verdicts = [(d.depth, d.verdict) for d in decisions if d.phase == "depth"]
    # 80.10 is just enough, 80.05 and 80.06 are within -0.05 of it, then three failures: depth 11 is never tried
    assert verdicts == [
        (4, "start"),
        (5, "accept"),
        (6, "neutral"),
        (7, "reject"),
        (8, "neutral"),
        (9, "reject"),
        (10, "reject"),
    ]
    assert choice.macro["depth"] == 5


def test_epochs_follow_depth_then_go_on_by_two_a_width_step_from_the_last_depth_trained() -> None:
    table = dict.fromkeys(range(4, 13), 70.0) | {4: 80.0}
    _, trials, _ = play(gnas(SPACE, GnasRules(), TRAINING, cost_without_device), by_depth(table), cost_without_device)
    depth = [t.candidate.recipe.epochs for t in trials if t.candidate.phase == "depth"]
    width = [(chain_of(t).width, t.candidate.recipe.epochs) for t in trials if t.candidate.phase == "width"]
    assert depth == [10, 11, 12, 13]  # depths 4 to 7: the fourth is the third failure
    assert width == [(14, 15), (12, 17), (10, 19)]  # all fail, the third stops


def test_width_goes_down_while_no_worse_and_the_macro_epochs_are_those_of_the_accepted_one() -> None:
    def scores(c: Candidate) -> float:
        if c.phase == "width":
            return {14: 80.0, 12: 79.0, 10: 81.0, 8: 80.9}[net_of(c).width]
        return by_depth(dict.fromkeys(range(4, 13), 70.0) | {4: 80.0})(c)

    choice, _, _ = play(gnas(SPACE, GnasRules(), TRAINING, cost_without_device), scores, cost_without_device)
    assert choice.macro == {"depth": 4, "width": 10, "epochs": 13 + 2 * 3}


def test_depth_stops_when_the_accepted_network_has_learned_its_training_images() -> None:
    def scores(c: Candidate) -> dict[str, float]:
        return {"val_accuracy": 80.0 + net_of(c).depth, "train_accuracy": 100.0 if net_of(c).depth == 6 else 99.0}

    _, trials, _ = play(gnas(SPACE, GnasRules(), TRAINING, cost_without_device), scores, cost_without_device)
    assert [chain_of(t).depth for t in trials if t.candidate.phase == "depth"] == [4, 5, 6]


def test_depth_stops_at_the_target() -> None:
    table = dict.fromkeys(range(4, 13), 99.0) | {4: 98.0, 5: 99.90}
    _, trials, _ = play(gnas(SPACE, GnasRules(), TRAINING, cost_without_device), by_depth(table), cost_without_device)
    assert [chain_of(t).depth for t in trials if t.candidate.phase == "depth"] == [4, 5]


def test_the_first_network_may_be_the_last() -> None:
    for score, train, ends in ((99.90, 50.0, True), (99.89, 50.0, False), (80.0, 100.0, True), (80.0, 99.99, False)):
        first = {"val_accuracy": score, "train_accuracy": train}
        _, trials, _ = play(
            gnas(SPACE, GnasRules(), TRAINING, cost_without_device),
            lambda c, first=first: first if net_of(c).depth == 4 else {"val_accuracy": 0.0},
            cost_without_device,
        )
        depth = [chain_of(t).depth for t in trials if t.candidate.phase == "depth"]
        assert depth == ([4] if ends else [4, 5, 6, 7])


def test_micro_candidates_have_at_most_ten_thousand_parameters_more_than_the_macro_network() -> None:
    _, trials, _ = play(gnas(SPACE, GnasRules(), TRAINING, cost_without_device), lambda _: 50.0, cost_without_device)
    baseline = next(t for t in trials if t.candidate.phase == "ops")
    micro = [t for t in trials if t.candidate.phase in ("ops", "kernels")]
    assert len(micro) == 1 + 2 * chain_of(baseline).depth
    for trial in micro:
        assert trial.cost.params <= baseline.cost.params + 10_000
        net = chain_of(trial)
        if net.width < chain_of(baseline).width:  # one channel more would be too many
            wider = SPACE.chain(net.depth, net.width + 1, net.ops, net.kernels)
            assert workload_from_architecture(wider).params > baseline.cost.params + 10_000


def test_a_limit_sets_the_width_of_every_depth_and_the_too_wide_one_is_on_record() -> None:
    limits = Limits(latency_ms=0.605)  # W * L <= 60: W(4) = 14, W(5) = 12, W(6) = 10, W(7) = 8, none at 8
    method = gnas(SPACE, GnasRules(), TRAINING, cost_with_latency, limits)
    choice, trials, _ = play(method, lambda c: 50.0 + net_of(c).depth, cost_with_latency, limits)
    depth = [(chain_of(t).depth, chain_of(t).width, t.status) for t in trials if t.candidate.phase == "depth"]
    assert depth == [
        (4, 16, "infeasible"), (4, 14, "complete"),
        (5, 16, "infeasible"), (5, 12, "complete"),
        (6, 16, "infeasible"), (6, 10, "complete"),
        (7, 16, "infeasible"), (7, 8, "complete"),
        (8, 16, "infeasible"),
    ]  # fmt: skip
    assert choice.trial.cost.latencies["made-up"].ms <= 0.605
    assert all(t.cost.latencies["made-up"].ms <= 0.605 for t in trials if t.status == "complete")


def test_without_a_binding_limit_the_search_is_the_papers() -> None:
    scores = by_depth(dict.fromkeys(range(4, 13), 70.0) | {6: 80.0})
    free = play(gnas(SPACE, GnasRules(), TRAINING, cost_with_latency), scores, cost_with_latency)
    loose = Limits(latency_ms=100.0, params=10**9)
    bound = play(gnas(SPACE, GnasRules(), TRAINING, cost_with_latency, loose), scores, cost_with_latency, loose)
    assert bound == free


def test_an_impossible_limit_names_the_smallest_members_figure() -> None:
    with pytest.raises(
        LimitError, match=r"smallest member \(depth 4, width 8, separable\) has latency 0.32 ms > 0.1 ms on made-up"
    ):
        next(gnas(SPACE, GnasRules(), TRAINING, cost_with_latency, Limits(latency_ms=0.1)))


def test_a_gain_within_the_noise_is_not_accepted_when_seeds_confirm() -> None:
    noisy = {0: 80.5, 1: 79.0, 2: 80.0}  # of depth 5; depth 4 has 80.0 whatever the seed

    def scores(c: Candidate) -> float:
        if c.phase != "depth":
            return 0.0
        return {4: 80.0, 5: noisy[c.repeat]}.get(net_of(c).depth, 0.0)

    plain, _, _ = play(gnas(SPACE, GnasRules(), TRAINING, cost_without_device), scores, cost_without_device)
    confirmed, trials, _ = play(
        gnas(SPACE, GnasRules(), TRAINING, cost_without_device, confirm_seeds=2), scores, cost_without_device
    )
    assert (plain.macro["depth"], confirmed.macro["depth"]) == (5, 4)
    assert sum(t.candidate.repeat > 0 for t in trials if t.candidate.phase == "depth") == 4  # two repeats of both


def test_overlapping_intervals_are_a_tie_which_the_faster_network_wins() -> None:
    def scores(c: Candidate) -> dict[str, float]:
        middle = 50.0 + net_of(c).depth  # deeper is better, but never beyond the interval
        return {"val_tar": middle, "val_tar_low": middle - 20, "val_tar_high": middle + 20}

    choice, _, decisions = play(
        gnas(SPACE, GnasRules(), TRAINING, cost_with_latency, objective="val_tar"), scores, cost_with_latency
    )
    assert choice.macro["depth"] == 4  # every deeper one ties and is slower
    assert decisions[1].reason.startswith("a tie, and slower")
    assert choice.macro["width"] == SPACE.min_width  # every narrower one ties and is faster


def test_equal_compute_gives_small_networks_more_epochs() -> None:
    training = msgspec.structs.replace(TRAINING, policy="gpu-seconds", fixed_epochs=10)
    _, trials, _ = play(gnas(SPACE, GnasRules(), training, cost_without_device), lambda _: 50.0, cost_without_device)
    work = [t.candidate.recipe.epochs * t.cost.bytes_moved for t in trials]
    largest = cost_without_device(SPACE.chain(SPACE.max_depth, SPACE.max_width)).bytes_moved * 10
    assert all(abs(each / largest - 1) < 0.05 for each in work)


def test_a_first_candidate_that_fails_ends_the_search_with_its_reason() -> None:
    method = gnas(SPACE, GnasRules(), TRAINING, cost_without_device)
    (candidate,) = next(method).needed
    trial = Trial(candidate, "failed", cost_without_device(candidate.architecture), 0, error="the loss is nan")
    with pytest.raises(TrainingError, match="first candidate of the depth phase failed: the loss is nan"):
        method.send((trial,))


def test_a_row_of_ties_does_not_slide_away_from_the_best_network_of_the_phase() -> None:
    def scores(c: Candidate) -> dict[str, float]:
        middle = 50.0 + (2.0 * net_of(c).width if c.phase == "width" else 40.0)  # 4 points a width step, intervals of 6
        return {"val_tar": middle, "val_tar_low": middle - 3, "val_tar_high": middle + 3}

    _, _, decisions = play(
        gnas(SPACE, GnasRules(), TRAINING, cost_with_latency, objective="val_tar"), scores, cost_with_latency
    )
    verdicts = [(d.width, d.verdict) for d in decisions if d.phase == "width"]
    # against 90 at width 16: 78 at width 14 is apart; nothing slides after it
    assert verdicts[0] == (14, "reject")

    def gentle(c: Candidate) -> dict[str, float]:
        middle = 82.0 - 2.0 * (16 - net_of(c).width) if c.phase == "width" else 82.0
        return {"val_tar": middle, "val_tar_low": middle - 3, "val_tar_high": middle + 3}

    _, _, decisions = play(
        gnas(SPACE, GnasRules(), TRAINING, cost_with_latency, objective="val_tar"), gentle, cost_with_latency
    )
    verdicts = [(d.width, d.verdict) for d in decisions if d.phase == "width"]
    # 78 ties with 82; 74 ties with 78 but not with 82, the best of the phase; 70 neither
    assert verdicts == [(14, "accept"), (12, "reject"), (10, "reject"), (8, "reject")]


def test_a_recognisers_embedding_shrinks_on_a_tie_and_grows_only_where_that_is_clearly_better() -> None:
    space = msgspec.structs.replace(SPACE, head=Embedding(128))

    def play_with(gain_of_512: float) -> ChainArchitecture:
        def scores(c: Candidate) -> dict[str, float]:
            head = net_of(c).head
            middle = 50.0 + (gain_of_512 if isinstance(head, Embedding) and head.dim == 512 else 0.0)
            return {"val_tar": middle, "val_tar_low": middle - 3, "val_tar_high": middle + 3}

        method = gnas(space, GnasRules(), TRAINING, cost_without_device, objective="val_tar")
        return chain_of(play(method, scores, cost_without_device)[0].trial)

    assert play_with(5.0).head == Embedding(64)
    assert play_with(7.0).head == Embedding(512)


def test_a_micro_candidate_is_narrowed_until_the_latency_holds_also_where_its_size_fits_already() -> None:
    def cost(architecture: Architecture) -> Cost:
        """As above, and a tenth of a millisecond for each dense layer."""
        known = cost_with_latency(architecture)
        assert isinstance(architecture, ChainArchitecture)
        slower = Latency(known.latencies["made-up"].ms + 0.1 * sum(architecture.ops), "predicted", "made-up")
        return msgspec.structs.replace(known, latencies={"made-up": slower})

    limits = Limits(latency_ms=0.705)  # 4 layers of width 16 take .64 ms; with one of them dense .74, at width 15 .70
    table = dict.fromkeys(range(4, 13), 0.0) | {4: 80.0}
    rules = GnasRules(micro_slack=100_000)
    _, trials, _ = play(
        gnas(SPACE, rules, TRAINING, cost, limits), by_depth(table), cost, limits
    )  # nothing dense is kept, each layer alone is dense once
    dense = [t for t in trials if t.candidate.phase == "ops" and any(chain_of(t).ops)]
    assert [chain_of(t).width for t in dense] == [15] * 4
    assert {t.status for t in dense} == {"complete"}


@pytest.mark.parametrize(("gain", "depth"), [(0.82, 5), (0.81, 4)])
def test_confirming_seeds_accept_a_mean_gain_above_its_standard_error_and_none_below(gain: float, depth: int) -> None:
    spread = {0: 0.0, 1: 1.0, 2: -1.0}  # of three seeds: variance 1, so an error of sqrt((1 + 1) / 3) = 0.8165 points

    def scores(c: Candidate) -> float:
        if c.phase != "depth" or net_of(c).depth > 5:
            return 0.0
        return 80.0 + (gain if net_of(c).depth == 5 else 0.0) + spread[c.repeat]

    method = gnas(SPACE, GnasRules(), TRAINING, cost_without_device, confirm_seeds=2)
    choice, _, _ = play(method, scores, cost_without_device)
    assert choice.macro["depth"] == depth


def full_search(full: dict[int, float], count: int) -> tuple[Choice, list[Trial], list[Decision]]:
    """A macro network of 4 layers, 10 channels and 80.00 % after 19 epochs; dense layers 0, 1 and 2 are accepted, in that order,
    and no kernel. `full`: what a network with so many dense layers scores when it is trained in full."""

    def scores(c: Candidate) -> float:
        net = net_of(c)
        if c.phase == "full":
            return full[sum(net.ops)]
        if c.phase == "depth":
            return 80.0 if net.depth == 4 else 70.0
        if c.phase == "width":
            return 80.0 if net.width == 10 else 70.0
        return 50.0 + 0.1 * sum(net.ops[:3]) - sum(net.kernels[layer] == 5 for layer in range(4)) - net.ops[3]

    rules = GnasRules(final_full=count)
    return play(gnas(SPACE, rules, TRAINING, cost_without_device), scores, cost_without_device)


def test_the_last_accepted_networks_are_trained_as_long_as_the_macro_network_and_the_best_is_chosen() -> None:
    choice, trials, decisions = full_search({3: 81.0, 2: 82.0, 1: 99.0}, count=2)
    last = [t for t in trials if t.candidate.phase == "full"]
    assert [(sum(net_of(t.candidate).ops), t.candidate.recipe.epochs) for t in last] == [(3, 19), (2, 19)]
    assert choice.trial == last[1]
    assert choice.macro == {"depth": 4, "width": 10, "epochs": 19}
    assert [(d.verdict, d.best) for d in decisions if d.phase == "full"] == [("accept", 80.0), ("accept", 81.0)]


def test_the_macro_networks_long_training_counts_and_wins_a_tie() -> None:
    choice, trials, _ = full_search({3: 80.0, 2: 79.0, 1: 99.0}, count=2)
    assert (choice.trial.candidate.phase, choice.trial.scores["val_accuracy"]) == ("width", 80.0)
    assert len([t for t in trials if t.candidate.phase == "full"]) == 2


def test_more_than_were_accepted_are_all_that_were() -> None:
    choice, trials, _ = full_search({3: 80.0, 2: 79.0, 1: 81.0}, count=9)
    assert [sum(net_of(t.candidate).ops) for t in trials if t.candidate.phase == "full"] == [3, 2, 1]
    assert sum(net_of(choice.trial.candidate).ops) == 1


def test_where_no_narrower_network_was_accepted_the_epochs_are_those_of_the_accepted_depth() -> None:
    def scores(c: Candidate) -> float:
        net = net_of(c)
        if c.phase in ("depth", "width"):
            return 80.0 if (net.depth, net.width) == (5, 16) else 70.0
        return 90.0 if c.phase == "full" else 50.0 + net.ops[0]

    choice, trials, _ = play(
        gnas(SPACE, GnasRules(final_full=1), TRAINING, cost_without_device), scores, cost_without_device
    )
    assert [t.candidate.recipe.epochs for t in trials if t.candidate.phase == "full"] == [
        11
    ]  # 10, and 1 for the fifth layer
    assert choice.trial.scores["val_accuracy"] == 90.0


def test_by_default_nothing_is_trained_in_full_and_the_last_accepted_network_is_chosen() -> None:
    choice, trials, _ = full_search({}, count=0)
    assert {t.candidate.phase for t in trials} == {"depth", "width", "ops", "kernels"}
    assert (choice.trial.candidate.phase, sum(net_of(choice.trial.candidate).ops)) == ("ops", 3)
    _, before, _ = full_search({3: 81.0, 2: 82.0}, count=2)
    assert [t.candidate for t in before][: len(trials)] == [t.candidate for t in trials]


@pytest.mark.parametrize(("other_cuts", "cuts"), [(False, {0}), (True, {0, 1, 2})])
def test_what_is_confirmed_is_judged_on_other_cuts_where_validation_is_small(other_cuts: bool, cuts: set[int]) -> None:
    training = msgspec.structs.replace(TRAINING, other_cuts=other_cuts)
    method = gnas(SPACE, GnasRules(), training, cost_without_device, confirm_seeds=2)
    _, trials, _ = play(method, by_depth(dict.fromkeys(range(4, 13), 70.0) | {4: 50.0}), cost_without_device)
    assert {(t.candidate.repeat, t.candidate.cut) for t in trials} == {(r, r if other_cuts else 0) for r in (0, 1, 2)}
    assert {t.candidate.cut for t in trials} == cuts
