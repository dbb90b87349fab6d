import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgenas.architectures.multibranch import CellOps, MultiBranchSpace
from edgenas.architectures.subspace import AdditiveCost, RoundPlan, probability
from edgenas.networks import network_from_architecture
from edgenas.records import Classes, Embedding
from edgenas.training.supernet import (
    FitnessOfCell,
    Fork,
    SuperCell,
    Supernet,
    draw_path,
    expected_cost,
    straight_through,
)

SPACE = MultiBranchSpace(27, "NRE", (4, 6, 8), Classes(10), 1, 8, tail_channels=16)
SUBSPACE: CellOps = ((0, 3, 26), (1, 4, 22), (2, 5))
COST = AdditiveCost(1.0, ((0.5, 0.25, 2.0), (0.1, 0.2, 0.4), (3.0, 1.0)))
PLAN = RoundPlan(1, 0, SPACE, SUBSPACE, ((), (), ()), COST, 4.0, "M MACs")


def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(PLAN).double()


def test_a_path_computes_what_the_network_with_its_weights_computes() -> None:
    chosen: CellOps = ((3, 26), (22,), (2, 5))
    whole = supernet().eval()
    network = network_from_architecture(SPACE.member(chosen)).double().eval()
    parts: list[nn.Module] = [whole.stem]
    for shared, ops in zip(whole.cells, chosen, strict=True):
        assert isinstance(shared, SuperCell)
        parts += [shared.branches[str(op)] for op in ops]
    tensors = [tensor for part in (*parts, whole.tail, whole.head) for tensor in part.state_dict().values()]
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(whole(x, chosen), network(x))


def test_a_path_through_a_rectangular_supernet_is_the_rectangular_network() -> None:
    space = MultiBranchSpace(27, "NRE", (4, 6, 8), Embedding(5, "depthwise"), 1, (9, 22), tail_channels=16)
    chosen: CellOps = ((3,), (22,), (2,))
    torch.manual_seed(0)
    whole = Supernet(RoundPlan(1, 0, space, chosen, ((), (), ()), COST, 4.0, "M MACs")).double().eval()
    network = network_from_architecture(space.member(chosen)).double().eval()
    network.load_state_dict(dict(zip(network.state_dict(), whole.state_dict().values(), strict=True)))
    x = torch.randn(2, 1, 9, 22, dtype=torch.float64)
    torch.testing.assert_close(whole(x, chosen), network(x))


def cell_with(kind: str, alphas: list[float], ops: tuple[int, ...]) -> FitnessOfCell:
    cell = FitnessOfCell(kind, ops)
    cell.alphas.data = torch.tensor(alphas, dtype=torch.float64)
    return cell


def test_the_probability_of_a_set_is_the_product_of_its_coins() -> None:
    cell = cell_with("N", [0.3, -1.0, 2.0], (5, 7, 9))
    cell.alive = [True, False, True]
    expected = probability(0.3) * (1 - probability(2.0))
    assert cell.log_probability((5,)).exp().item() == pytest.approx(expected, rel=1e-12)


def test_two_paths_are_different_never_empty_in_e_and_r_cells_and_their_weights_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    for kind in "NER":
        cell = cell_with(kind, [0.3, -1.0, 2.0], (5, 7, 9))
        for _ in range(200):
            fork = cell.draw_fork(rng)
            assert isinstance(fork, Fork)
            assert set(fork.first) != set(fork.second)
            assert kind == "N" or (fork.first and fork.second)
            odds = (cell.log_probability(fork.first) - cell.log_probability(fork.second)).exp().item()
            assert fork.weight.item() == pytest.approx(odds / (1 + odds))


def test_all_but_certain_operations_still_give_two_sets() -> None:
    rng = np.random.default_rng(0)
    for kind in "NR":
        fork = cell_with(kind, [40.0, 40.0, 39.0], (5, 7, 9)).draw_fork(rng)
        assert isinstance(fork, Fork)
        assert set(fork.first) != set(fork.second)


def test_a_cell_with_one_possible_set_has_no_fork() -> None:
    rng = np.random.default_rng(0)
    assert cell_with("R", [0.0], (5,)).draw_fork(rng) == (5,)
    empty = cell_with("N", [0.0], (5,))
    empty.alive = [False]
    assert empty.draw_fork(rng) == ()


def linear_cell(x: Tensor, matrix: Tensor) -> Tensor:
    return x @ matrix


def test_the_two_path_gradient_is_the_finite_difference_of_the_expected_loss() -> None:
    """Three cells whose two paths are linear maps, and a linear loss: there the straight-through gradient, averaged over which
    path comes first, is exactly the derivative of the probability-weighted loss of all eight networks."""
    torch.manual_seed(1)
    maps = torch.randn(3, 2, 5, 5, dtype=torch.float64)
    x, readout = torch.randn(4, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    cells = [cell_with("N", alphas, (0, 1, 2)) for alphas in ([0.3, -0.7, 0.1], [1.2, 0.0, -0.4], [-0.2, 0.5, 0.9])]
    pairs = [((0,), (1, 2)), ((), (2,)), ((0, 1), (1,))]

    def weights() -> list[Tensor]:
        return [
            torch.sigmoid(cell.log_probability(a) - cell.log_probability(b))
            for cell, (a, b) in zip(cells, pairs, strict=True)
        ]

    def expected_loss() -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for picks in itertools.product((0, 1), repeat=3):
            h, p = x, torch.ones((), dtype=torch.float64)
            for cell, pick in enumerate(picks):
                h = linear_cell(h, maps[cell, pick])
                w = weights()[cell]
                p = p * (w if pick == 0 else 1 - w)
            total = total + p * (h @ readout).mean()
        return total

    def estimated() -> None:
        """Sum over who comes first, each with its probability, of the two-path step's backward pass."""
        for firsts in itertools.product((0, 1), repeat=3):
            h, p = x, 1.0
            for cell, first in enumerate(firsts):
                w = weights()[cell] if first == 0 else 1 - weights()[cell]
                p *= w.item()
                with torch.no_grad():
                    other = linear_cell(h, maps[cell, 1 - first])
                h = straight_through(linear_cell(h, maps[cell, first]), other, w)
            (p * (h @ readout).mean()).backward()  # type: ignore[no-untyped-call]

    estimated()
    step = 1e-6
    for cell in cells:
        for index in range(3):
            losses = []
            for sign in (1, -1):
                cell.alphas.data[index] += sign * step
                losses.append(expected_loss().item())
                cell.alphas.data[index] -= sign * step
            assert cell.alphas.grad is not None
            assert cell.alphas.grad[index].item() == pytest.approx(
                (losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-9
            )


def test_in_a_real_supernet_with_close_paths_the_fitness_gradient_is_that_of_the_expected_loss() -> None:
    """ReLU and cross-entropy make the straight-through gradient a first-order estimate, so it must agree where the two paths
    differ little: the last norms of an E cell's branches are scaled down to 1e-4."""
    net = supernet().train()
    cell, shared = cell_with("E", [0.3, -0.7], SUBSPACE[2]), net.cells[2]
    assert isinstance(shared, SuperCell)
    offset = torch.randn(8, dtype=torch.float64)
    for one in shared.branches.values():
        one[2].norm.weight.data.fill_(1e-4)  # type: ignore[index]
        one[2].norm.bias.data.copy_(offset)  # type: ignore[index]
    x, labels = torch.randn(64, 1, 8, 8, dtype=torch.float64), torch.randint(10, (64,))

    def loss(path: tuple[int, ...] | Fork) -> Tensor:
        return torch.nn.functional.cross_entropy(net(x, [(3,), (22,), path]), labels)

    for a, b in itertools.combinations([(2,), (5,), (2, 5)], 2):
        weight = torch.sigmoid(cell.log_probability(a) - cell.log_probability(b))
        (estimate,) = torch.autograd.grad(loss(Fork(a, b, weight)), cell.alphas, retain_graph=True)
        (slope,) = torch.autograd.grad(weight, cell.alphas)
        torch.testing.assert_close(estimate, (loss(a) - loss(b)).detach() * slope, rtol=0.02, atol=0)


def test_the_fitness_step_leaves_a_path_value_and_the_input_gradient_of_the_first() -> None:
    net = supernet()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    forked = net(x, [Fork((0,), (3, 26), w), (22,), (5,)])
    plain = net(x, [(0,), (22,), (5,)])
    torch.testing.assert_close(forked, plain)
    (a,) = torch.autograd.grad(forked.sum(), x, retain_graph=True)
    (b,) = torch.autograd.grad(plain.sum(), x)
    torch.testing.assert_close(a, b)


def test_expected_cost_by_hand() -> None:
    w = torch.tensor(0.25, dtype=torch.float64)
    forks = [Fork((0,), (3, 26), w), (22,), Fork((2,), (5,), 1 - w)]
    # base 1 + (.25 * .5 + .75 * 2.25) + .4 + (.75 * 3 + .25 * 1)
    assert expected_cost(PLAN, forks).item() == pytest.approx(1 + 0.125 + 1.6875 + 0.4 + 2.5)


def test_paths_for_weight_steps_draw_each_operation_with_its_own_coin() -> None:
    rng = np.random.default_rng(3)
    fitness = ((0.0, None, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0))
    paths = [draw_path(PLAN, fitness, 0.5, rng) for _ in range(2000)]
    assert all(path[1] and path[2] for path in paths)
    assert not any(3 in path[0] for path in paths)
    assert np.mean([0 in path[0] for path in paths]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([1 in path[1] for path in paths]) == pytest.approx(4 / 7, abs=0.04)  # of three coins, not all tails
