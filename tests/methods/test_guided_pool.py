"""Networks that a guided search looks at: within the limits, each once; and which cost binds."""

import math
import random

import msgspec
import pytest

from edgenas.architectures.own import Choices, OwnSpace
from edgenas.architectures.tracer import Tracer
from edgenas.methods.guided_pool import Pool, axis_for
from edgenas.methods.replay import cost_without_device
from edgenas.records import Architecture, Classes, Cost, Latency, Limits
from tests.methods.answers import SPACE


def one_layer(net: Tracer, choices: Choices) -> int:
    return net.conv(-1, choices["width"], 3, norm=True, activation="relu")


FOUR = OwnSpace("four", {"width": (4, 8, 12, 16)}, one_layer)(Classes(10), 1, 8)


def priced(params: int, *ms: float, memory_mb: float = 1.0, energy_mj: float | None = None) -> Cost:
    latencies = {f"d{i}": Latency(one, "predicted", f"d{i}", energy_mj=energy_mj) for i, one in enumerate(ms)}
    return Cost(params, 10, 10, params * 4e-6, memory_mb, latencies)


@pytest.mark.parametrize(
    ("limits", "costs", "quantity"),
    [
        (Limits(), [priced(10, 1.0)], "latency_ms"),
        (Limits(), [priced(10)], "params"),
        (Limits(params=5), [priced(10, 1.0)], "params"),
        (Limits(params=5, latency_ms=3.0), [priced(10, 1.0)], "latency_ms"),
        (Limits(mmacs=1e-5), [priced(10, 1.0)], "mmacs"),
        (Limits(params=50, mmacs=9e-6), [priced(10), priced(60)], "mmacs"),
        (Limits(params=50, mmacs=1e-5), [priced(10), priced(60)], "params"),  # 10 MACs are within it
        (Limits(params=50, memory_mb=2.0), [priced(10, memory_mb=3.0), priced(60, memory_mb=3.0)], "memory_mb"),
        (Limits(params=50, memory_mb=2.0), [priced(60, memory_mb=1.0), priced(60, memory_mb=3.0)], "params"),
        (Limits(size_mb=1.0), [priced(10)], "size_mb"),
        (Limits(energy_mj=1.0), [priced(10, 1.0, energy_mj=4.0)], "energy_mj"),
    ],
)
def test_the_axis_is_the_cost_that_binds(limits: Limits, costs: list[Cost], quantity: str) -> None:
    axis = axis_for(limits, costs)
    assert (axis.quantity, axis.limit) == (quantity, getattr(limits, quantity))


def test_of_several_targets_the_slowest_counts() -> None:
    axis = axis_for(Limits(), [priced(1, 2.0, 8.0)])
    assert axis(priced(1, 2.0, 8.0)) == axis(priced(1, 8.0, 1.0)) > axis(priced(1, 4.0, 5.0))


def test_what_breaks_a_limit_is_no_member_and_is_priced_once() -> None:
    asked: list[str] = []

    def cost(network: Architecture) -> Cost:
        asked.append(network.fingerprint)
        return cost_without_device(network)

    pool = Pool(SPACE, cost, Limits(params=20_000))
    rng = random.Random(1)
    found = [*pool.draw(40, rng), *pool.draw(40, rng), *pool.around(list(pool.members)[:5], 4, rng)]
    assert set(found) == set(pool.members)
    assert (
        max(member.cost.params for member in pool.members.values())
        <= 20_000
        < min(c.params for c in pool.over.values())
    )
    assert len(asked) == len(set(asked)) == len(pool.members) + len(pool.over)


def test_a_space_with_fewer_members_than_are_drawn_gives_all_that_it_has() -> None:
    pool = Pool(FOUR, cost_without_device, Limits())
    assert len(pool.draw(50, random.Random(1))) == 4


def test_what_one_board_measures_corrects_the_guesses_for_it_alone_and_takes_their_intervals() -> None:
    """Guessed are 1 ms with an interval on both targets; the board d0 takes twice that, and d1 is never measured."""

    def guess(network: Architecture) -> Cost:
        there = {name: Latency(1.0, "predicted", name, low=0.5, high=5.0) for name in ("d0", "d1")}
        return msgspec.structs.replace(cost_without_device(network), latencies=there)

    def measure(network: Architecture) -> Cost:
        cost = guess(network)
        return msgspec.structs.replace(cost, latencies=cost.latencies | {"d0": Latency(2.0, "measured", "d0")})

    pool = Pool(FOUR, guess, Limits(latency_ms=6.0, margin=True), measure=measure)
    first, second, *_ = pool.draw(50, random.Random(1))
    assert pool.cost_of(second) == pool.members[second].cost  # nothing is known yet
    pool.learn(pool.members[first].network, measure(pool.members[first].network))
    found = pool.cost_of(second).latencies
    assert (found["d0"].ms, found["d0"].low, found["d0"].high) == (2.0, None, None)
    assert found["d1"] == Latency(1.0, "predicted", "d1", low=0.5, high=5.0)
    assert pool.within(second)  # 2 ms there, up to 5 ms here
    away = pool.members[second]
    pool.learn(away.network, guess(away.network))  # as where the board is away: no measurement
    assert pool.ratios == {"d0": [pytest.approx(math.log(2))]}
    assert pool.cost_of(second) == guess(away.network)


@pytest.mark.parametrize(("limit", "within"), [(2.0, True), (1.99, False)])
def test_with_margin_a_board_is_held_to_what_it_measures_not_to_the_interval_of_the_guess(
    limit: float, within: bool
) -> None:
    def guess(network: Architecture) -> Cost:
        latency = Latency(1.0, "predicted", "d0", low=0.3, high=1.5)
        return msgspec.structs.replace(cost_without_device(network), latencies={"d0": latency})

    pool = Pool(FOUR, guess, Limits(latency_ms=limit, margin=True), measure=guess)
    first, second, *_ = pool.draw(50, random.Random(1))
    measured = msgspec.structs.replace(
        guess(pool.members[first].network), latencies={"d0": Latency(2.0, "measured", "d0")}
    )
    pool.learn(pool.members[first].network, measured)
    assert pool.within(second) is within
