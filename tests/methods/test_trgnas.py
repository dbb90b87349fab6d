"""The rules of TRG-NAS one by one, on accuracies made up so that the outcome can be told by hand."""

import pytest

from edgenas.methods.ladder import chain_of
from edgenas.methods.replay import cost_without_device
from edgenas.methods.spec import Search
from edgenas.methods.trgnas import TRGNAS, TrgnasRules, trgnas
from edgenas.records import Candidate, ChainArchitecture, Limits
from tests.methods.answers import SPACE, TRAINING, play


def depths(table: dict[int, float], train: dict[int, float] | None = None) -> list[int]:
    """The depths that are tried where full-width networks score so."""

    def scores(candidate: Candidate) -> dict[str, float]:
        assert isinstance(candidate.architecture, ChainArchitecture)
        depth = candidate.architecture.depth
        learned = (train or {}).get(depth, 50.0)
        return {"val_accuracy": table[depth] if candidate.phase == "depth" else 0.0, "train_accuracy": learned}

    _, trials, _ = play(trgnas(SPACE, TrgnasRules(), TRAINING, cost_without_device), scores, cost_without_device)
    return [chain_of(t).depth for t in trials if t.candidate.phase == "depth"]


RISING = {depth: 90.0 + depth / 2 for depth in range(4, 13)}


def test_depth_goes_on_while_it_pays() -> None:
    assert depths(RISING) == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert depths({**RISING, 6: 92.5 - 0.16}) == [4, 5, 6]


@pytest.mark.parametrize(("score", "stops"), [(98.49, False), (98.50, True), (98.51, True)])
def test_depth_ends_half_a_point_below_99(score: float, stops: bool) -> None:
    table = {**RISING, 5: score, **dict.fromkeys(range(6, 13), score)}
    assert depths(table) == ([4, 5] if stops else [4, 5, 6, 7, 8, 9, 10, 11, 12])
    first = dict.fromkeys(range(4, 13), score)
    assert depths(first) == ([4] if stops else [4, 5, 6, 7, 8, 9, 10, 11, 12])


@pytest.mark.parametrize(("learned", "stops"), [(99.99, False), (100.0, True)])
def test_depth_ends_where_the_best_network_knows_all_its_training_images(learned: float, stops: bool) -> None:
    assert depths(RISING, {6: learned}) == ([4, 5, 6] if stops else [4, 5, 6, 7, 8, 9, 10, 11, 12])
    assert depths(RISING, {4: learned}) == ([4] if stops else [4, 5, 6, 7, 8, 9, 10, 11, 12])
    looked_further = {**RISING, 6: RISING[5]}  # not accepted: what it learned is no reason to stop
    assert depths(looked_further, {6: 100.0}) == [4, 5, 6, 7, 8, 9, 10, 11, 12]


def widths(loss: float) -> list[int]:
    """The widths that are tried where the first narrower network loses so much of the depth phase's best, and the next all."""

    def scores(candidate: Candidate) -> dict[str, float]:
        assert isinstance(candidate.architecture, ChainArchitecture)
        narrower = {16: 0.0, 14: loss}
        value = 90.0 - narrower.get(candidate.architecture.width, 50.0)
        return {"val_accuracy": value, "train_accuracy": 50.0}

    _, trials, _ = play(trgnas(SPACE, TrgnasRules(), TRAINING, cost_without_device), scores, cost_without_device)
    return [chain_of(t).width for t in trials if t.candidate.phase == "width"]


def test_width_goes_down_within_half_a_point_of_the_depth_phases_best_and_the_first_failure_ends_it() -> None:
    assert widths(loss=0.5) == [14, 12]
    assert widths(loss=0.51) == [14]


def micro_layers(share: float | None = None) -> set[int]:
    """Layers that are tried dense in the network of depth 12."""
    rules = TrgnasRules() if share is None else TrgnasRules(layer_share=share)
    _, trials, _ = play(
        trgnas(SPACE, rules, TRAINING, cost_without_device),
        lambda c: {"val_accuracy": RISING[c.architecture.depth], "train_accuracy": 50.0},  # type: ignore[union-attr]
        cost_without_device,
    )
    return {ops.index(1) for t in trials if t.candidate.phase == "ops" and 1 in (ops := chain_of(t).ops)}


def test_two_thirds_of_the_layers_are_tried_unless_the_rules_say_otherwise() -> None:
    assert micro_layers() == set(range(8))
    assert micro_layers(0.5) == set(range(6))
    assert micro_layers(1.0) == set(range(12))
    assert micro_layers(0.0) == set()


def test_two_thirds_are_rounded_down_as_whole_numbers_are() -> None:
    for depth in range(1, 500):
        assert int(TrgnasRules().layer_share * depth + 1e-9) == 2 * depth // 3


@pytest.mark.parametrize("share", [1 / 3, 2 / 3, 1.0])
def test_what_is_left_of_the_micro_phases_is_what_the_layer_share_has_tried(share: float) -> None:
    rules = TrgnasRules(layer_share=share)
    _, trials, _ = play(
        trgnas(SPACE, rules, TRAINING, cost_without_device),
        lambda c: {"val_accuracy": RISING[c.architecture.depth], "train_accuracy": 50.0},  # type: ignore[union-attr]
        cost_without_device,
    )
    search = Search(SPACE, rules, TRAINING, cost_without_device, Limits(), 0)
    for phase in ("ops", "kernels"):
        tried = [trial for trial in trials if trial.candidate.phase == phase]
        assert len(tried) == round(12 * share)
        left = [TRGNAS.left(search, trial, judged) for judged, trial in enumerate(tried, start=1)]
        assert left == [*range(len(tried))][::-1]


def test_what_is_left_of_the_depths_counts_the_narrower_network_after_one_that_breaks_a_limit() -> None:
    limits = Limits(params=cost_without_device(SPACE.chain(9, SPACE.max_width)).params)
    _, trials, _ = play(
        trgnas(SPACE, TrgnasRules(), TRAINING, cost_without_device, limits),
        lambda c: {"val_accuracy": RISING[c.architecture.depth], "train_accuracy": 50.0},  # type: ignore[union-attr]
        cost_without_device,
        limits,
    )
    search = Search(SPACE, TrgnasRules(), TRAINING, cost_without_device, limits, 0)
    rungs = [trial for trial in trials if trial.candidate.phase == "depth"]
    assert [trial.status for trial in rungs] == ["complete"] * 6 + ["infeasible", "complete"] * 3
    left = [TRGNAS.left(search, trial, 0) for trial in rungs]
    assert left == [sum(later.status == "complete" for later in rungs[place:]) for place in range(1, len(rungs) + 1)]
