import numpy as np
import pytest

from edgenas.architectures.multibranch import CellOps, MultiBranchSpace
from edgenas.architectures.subspace import (
    AdditiveCost,
    Fitness,
    RoundPlan,
    additive_cost,
    draw_networks,
    pareto_front,
    probability,
    refill,
    union,
    without_unfit,
)
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Architecture, Classes

SPACE = MultiBranchSpace(27, "NRE", (4, 6, 8), Classes(10), 1, 16, tail_channels=16)
SUBSPACE: CellOps = ((0, 3, 26), (1, 4, 22), (2, 5))


def macs(architecture: Architecture) -> float:
    return workload_from_architecture(architecture).macs / 1e6


def plan(
    subspace: CellOps = SUBSPACE, protected: CellOps = ((), (), ()), cost: AdditiveCost | None = None
) -> RoundPlan:
    cost = cost or additive_cost(SPACE, subspace, macs)
    return RoundPlan(1, 0, SPACE, subspace, protected, cost, 1.0, "M MACs")


def test_probability_is_clipped_as_published() -> None:
    assert probability(0.0) == pytest.approx(0.5)
    assert probability(-1000 / 2) == pytest.approx(0.0005)
    assert probability(1000 / 2) == pytest.approx(0.9995)


def test_additive_cost_is_exact_for_macs() -> None:
    cost = additive_cost(SPACE, SUBSPACE, macs)
    for chosen in (((), (1,), (2,)), ((0, 26), (22, 4), (5,)), ((0, 3, 26), (1, 4, 22), (2, 5))):
        assert cost.of(SUBSPACE, chosen) == pytest.approx(macs(SPACE.member(chosen)), rel=1e-12)


def test_a_cell_with_one_operation_counts_it_in_the_base() -> None:
    subspace: CellOps = ((0,), (22,), (5,))
    cost = additive_cost(SPACE, subspace, macs)
    assert cost.operations[1:] == ((0.0,), (0.0,))
    assert cost.of(subspace, subspace) == pytest.approx(macs(SPACE.member(subspace)), rel=1e-12)


def test_unfit_operations_are_dropped_but_not_protected_ones_nor_the_last_two_of_an_e_or_r_cell() -> None:
    fitness: Fitness = ((-2.1, -1.9, -3.0), (-2.5, -4.0, -2.2), (-9.0, -9.0))
    kept = without_unfit(plan(protected=((26,), (), ())), fitness, least=-2.0)
    assert kept == (
        (None, -1.9, -3.0),  # N: the third is protected
        (-2.5, None, -2.2),  # R: the worst goes, then it is down to two
        (-9.0, -9.0),  # E: already down to two
    )


def test_an_n_cell_may_lose_every_operation() -> None:
    kept = without_unfit(plan(), ((-3.0, -3.0, None), (0.0, 0.0, 0.0), (0.0, 0.0)), least=-2.0)
    assert kept[0] == (None, None, None)


def test_pareto_front_by_hand() -> None:
    points = [(3.0, 5.0), (1.0, 9.0), (2.0, 9.0), (2.0, 6.0), (4.0, 5.0), (3.0, 5.0), (5.0, 1.0)]
    assert pareto_front(points) == (
        1,
        3,
        0,
        6,
    )  # (2, 9) is beaten by (1, 9); of the two (3, 5) the first; (4, 5) by (3, 5)


def test_union_and_refill_by_hand() -> None:
    kept = union([((3,), (1,), (2,)), ((0, 3), (4,), (2,))], 3)
    assert kept == ((0, 3), (1, 4), (2,))
    subspace, pending = refill(kept, ((9, 8, 7), (6,), (11, 10)), size=3)
    assert subspace == ((0, 3, 9), (1, 4, 6), (2, 11, 10))
    assert pending == ((8, 7), (), ())


def test_a_cell_that_kept_enough_is_not_refilled() -> None:
    assert refill(((0, 1, 2),), ((5,),), size=3) == (((0, 1, 2),), ((5,),))


def draw(fitness: Fitness, band: tuple[float, float], count: int, seed: int = 0) -> tuple[CellOps, ...]:
    return draw_networks(plan(), fitness, band, count, lambda _: True, np.random.default_rng(seed))


def test_drawn_networks_are_distinct_inside_the_band_and_never_leave_out_an_e_or_r_cell() -> None:
    even: Fitness = ((0.0,) * 3, (0.0,) * 3, (0.0,) * 2)
    networks = draw(even, (0.1, 0.4), 60)
    assert len(networks) == len(set(networks)) == 60
    assert all(0.1 <= macs(SPACE.member(ops)) <= 0.4 for ops in networks)
    assert all(ops[1] and ops[2] for ops in networks)
    assert networks == draw(even, (0.1, 0.4), 60)


def test_dropped_operations_are_never_drawn() -> None:
    networks = draw(((None, 0.0, None), (0.0, None, 0.0), (0.0, 0.0)), (0.0, 9.0), 50)
    assert networks
    assert not any({0, 26} & set(ops[0]) or 4 in ops[1] for ops in networks)


def test_fitter_operations_are_drawn_more_often() -> None:
    networks = draw(((3.0, -1.9, 0.0), (0.0,) * 3, (0.0,) * 2), (0.0, 9.0), 40)
    assert sum(0 in ops[0] for ops in networks) > sum(3 in ops[0] for ops in networks)


def test_what_is_not_accepted_is_not_drawn_and_an_empty_band_gives_nothing() -> None:
    even: Fitness = ((0.0,) * 3, (0.0,) * 3, (0.0,) * 2)
    odd = draw_networks(plan(), even, (0.0, 9.0), 10, lambda ops: len(ops[0]) == 1, np.random.default_rng(0))
    assert {len(ops[0]) for ops in odd} == {1}
    assert draw(even, (1e-6, 2e-6), 10) == ()
