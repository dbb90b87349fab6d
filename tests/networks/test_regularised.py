"""Dropped paths and auxiliary heads: by hand, DARTS's head by its published layers, and no trace of either in the network."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgenas.architectures.cell import cell_network
from edgenas.architectures.chain import chain
from edgenas.architectures.points import points_of
from edgenas.errors import TrainingError
from edgenas.networks import Network, network_from_architecture
from edgenas.networks.regularised import (
    AuxiliaryHead,
    AuxiliaryLoss,
    Regularised,
    lacking,
    path_rates,
    refuse_unfit,
    without_lacking,
)
from edgenas.records import Architecture, Classes, DartsCell, Embedding, Recipe, Stage, StagesArchitecture
from edgenas.tasks import Split, Task
from edgenas.training.loop import fresh_network, train_network
from edgenas.training.step import Step

CPU = torch.device("cpu")
GENOTYPE = (
    ("sep_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 0), ("skip_connect", 2),
    ("skip_connect", 0), ("skip_connect", 1), ("dil_conv_3x3", 2), ("skip_connect", 0),
)  # fmt: skip
CELLS = cell_network(
    DartsCell(GENOTYPE, GENOTYPE), Classes(10), channels=4, cells_per_stage=1, in_channels=1, image_size=8
)
RESIDUAL = StagesArchitecture((Stage("residual", 8, 1, 3, 1), Stage("residual", 12, 3, 3, 2)), Classes(10), 1, 8, 8)
CHAIN = chain(4, 3, (0,) * 3, (3,) * 3, Classes(10), in_channels=1, image_size=8)


def recipe(**changes: Any) -> Recipe:
    return Recipe("mine", 4, 16, 0.05, **changes)


def images(count: int = 16) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def regularised(architecture: Architecture, **keys: Any) -> Regularised:
    network = fresh_network(architecture, 0, CPU)
    assert isinstance(network, Network)
    return Regularised(network, recipe(**keys), 16)


@pytest.mark.parametrize(
    ("architecture", "keys"),
    [(CELLS, {"drop_path": 0.5}), (CELLS, {"auxiliary": 0.4}), (RESIDUAL, {"drop_path": 0.5})],
)
def test_in_evaluation_the_network_is_bit_for_bit_the_one_without(
    architecture: Architecture, keys: dict[str, float]
) -> None:
    plain, learner = fresh_network(architecture, 0, CPU), regularised(architecture, **keys)
    learner.train()
    learner.draw(3, torch.Generator().manual_seed(0))
    learner(images())
    plain.train()
    assert list(plain.state_dict()) == list(learner.network.state_dict())
    plain.load_state_dict(learner.network.state_dict())
    assert torch.equal(learner.eval()(images()), plain.eval()(images()))
    assert torch.equal(learner.network(images()), plain(images()))


def test_a_dropped_path_leaves_the_shortcut_and_a_kept_one_is_scaled_up() -> None:
    learner = regularised(RESIDUAL, drop_path=0.5).train()
    network, (first, *rest) = learner.network, learner.paths
    kernel = first[0]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x = images()
    learner.kept.fill_(1.0)
    whole = network.computed(x, {}, kernel)[1]
    shortcut = network.computed(x, {}, 0)[1]  # the stem, to which the first block adds
    assert whole is not None
    assert shortcut is not None
    for factor in (0.0, 2.0):
        kept = {kernel: {-1: torch.full((16, 1, 1, 1), factor)}}
        found = network.computed(x, kept, kernel)[1]
        assert found is not None
        # Behind the sum is a ReLU: where neither is cut the branch can be told.
        inside = (whole > 0) & (found > 0)
        wanted = shortcut + factor * (whole - shortcut)
        assert torch.allclose(found[inside], wanted[inside], atol=1e-5)
        if factor == 0:
            assert torch.equal(found, shortcut.relu())
    assert len(rest) == 2


def test_of_cells_only_the_edge_that_was_drawn_is_lost() -> None:
    learner = regularised(CELLS, drop_path=0.5).train()
    kernel, place = learner.paths[0]
    x = images()
    read = learner.network.sources[kernel]
    values = {source: learner.network.computed(x, {}, source)[1] for source in read}
    found = learner.network.computed(x, {kernel: {place: torch.zeros(16, 1, 1, 1)}}, kernel)[1]
    assert found is not None
    other = values[read[1 - place]]
    assert other is not None
    assert torch.allclose(found, other, atol=1e-6)


def test_the_probability_of_cells_grows_with_the_epoch_and_that_of_blocks_with_depth() -> None:
    """DARTS: drop_path * epoch / epochs. Stochastic depth: l / L of it at the l-th block, in every epoch."""
    generator = torch.Generator().manual_seed(0)
    cells, blocks = (
        Regularised(fresh_network(net, 0, CPU), recipe(drop_path=0.4), 4000)  # type: ignore[arg-type]
        for net in (CELLS, RESIDUAL)
    )
    for epoch, rate in ((0, 0.0), (2, 0.2), (3, 0.3)):
        cells.draw(epoch, generator)
        kept = cells.kept
        assert ((kept == 0) | torch.isclose(kept, torch.tensor(1 / (1 - rate)))).all()
        assert torch.allclose((kept == 0).float().mean(1), torch.tensor(rate), atol=0.03)
        assert torch.allclose(kept.mean(1), torch.tensor(1.0), atol=0.04)
    for epoch in (0, 3):
        blocks.draw(epoch, generator)
        dropped = (blocks.kept == 0).float().mean(1)
        assert torch.allclose(dropped, 0.4 * torch.tensor([1 / 3, 2 / 3, 1.0]), atol=0.03)


def test_branches_of_one_cell_have_one_rate() -> None:
    paths = ((5, 1), (5, 2), (9, 1), (14, -1), (20, 1))
    assert path_rates(paths, 0.4, by_epoch=False) == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.4])
    assert path_rates(paths, 0.4, by_epoch=True) == [0.4] * 5


def test_each_image_has_its_own_paths_and_draws_follow_the_generator() -> None:
    learner = regularised(CELLS, drop_path=0.4)
    learner.draw(3, torch.Generator().manual_seed(1))
    first = learner.kept.clone()
    assert len({tuple(column) for column in first.T.tolist()}) > 10
    learner.draw(3, torch.Generator().manual_seed(2))
    assert not torch.equal(learner.kept, first)
    learner.draw(3, torch.Generator().manual_seed(1))
    assert torch.equal(learner.kept, first)


def test_a_process_of_several_has_its_part_of_what_all_draw() -> None:
    whole, part = regularised(CELLS, drop_path=0.4), regularised(CELLS, drop_path=0.4)
    whole.draw(3, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    part.draw(3, generator, slice(5, 16))
    assert torch.equal(part.kept[:, :11], whole.kept[:, 5:])
    assert "kept" not in dict(part.named_buffers())  # DistributedDataParallel would make all alike


@pytest.mark.parametrize(("side", "window", "stride"), [(8, 5, 3), (7, 5, 2), (2, 1, 1), (5, 3, 2), (14, 7, 7)])
def test_the_auxiliary_head_is_the_published_one(side: int, window: int, stride: int) -> None:
    head = AuxiliaryHead(16, (side, side), 10)
    pool = head.features[0]
    assert isinstance(pool, nn.AvgPool2d)
    assert (pool.kernel_size, pool.stride) == ((window, window), (stride, stride))
    assert head(torch.randn(3, 16, side, side)).shape == (3, 10)
    # conv 16 -> 128, norm, conv 2 x 2 128 -> 768, norm, linear with bias
    assert sum(p.numel() for p in head.parameters()) == 16 * 128 + 256 + 4 * 128 * 768 + 1536 + 768 * 10 + 10


def test_the_heads_of_an_oblong_map_and_of_one_without_two_sides() -> None:
    assert AuxiliaryHead(4, (8, 14), 10)(torch.randn(2, 4, 8, 14)).shape == (2, 10)
    with pytest.raises(TrainingError, match="needs maps of 2 x 2 px, and reads one of 1 x 4"):
        AuxiliaryHead(4, (1, 4), 10)


def test_the_auxiliary_loss_is_weighted_and_counts_the_networks_own_answers(digits_like: Task) -> None:
    rng = np.random.default_rng(0)
    own, other = (torch.from_numpy(rng.standard_normal((6, 10))).float() for _ in range(2))
    labels = torch.arange(6)
    loss = digits_like.loss(recipe())
    found, correct = AuxiliaryLoss(loss, 0.4)(torch.cat((own, other), 1), labels)
    assert found.item() == pytest.approx((loss(own, labels)[0] + 0.4 * loss(other, labels)[0]).item(), rel=1e-6)
    assert correct is not None
    assert correct.item() == (own.argmax(1) == labels).sum()


@pytest.fixture
def digits_like() -> Task:
    from edgenas.tasks import TaskSettings, load_task

    return load_task(TaskSettings("digits", search_images=320))


def test_the_head_learns_along_and_is_no_part_of_what_comes_out(digits_like: Task) -> None:
    asked = recipe(auxiliary=0.4, drop_path=0.2, ema=0.9)
    small = dataclasses.replace(digits_like, train=Split(digits_like.train.images[:64], digits_like.train.labels[:64]))  # type: ignore[type-var]
    results = [train_network(fresh_network(CELLS, 0, CPU), small, asked, 0, CPU) for _ in range(2)]
    first, again = (result.network.state_dict() for result in results)
    assert list(first) == list(fresh_network(CELLS, 0, CPU).state_dict())
    assert all(torch.equal(first[name], again[name]) for name in first)
    learner = regularised(CELLS, auxiliary=0.4)
    step = Step(learner.network, AuxiliaryLoss(digits_like.loss(asked), 0.4), asked, CPU, learner=learner)
    assert learner.head is not None
    before = copy.deepcopy(learner.head.state_dict())
    learner.train()
    step(images(), torch.arange(16) % 10, 0.05)
    assert any(not torch.equal(before[name], tensor) for name, tensor in learner.head.state_dict().items())


def test_what_a_network_lacks_is_refused_in_one_line() -> None:
    with pytest.raises(
        TrainingError, match=r"recipe mine: drop_path = 0.2 needs paths .* this network has none: leave it"
    ):
        refuse_unfit(recipe(drop_path=0.2), CHAIN)
    for net in (CHAIN, RESIDUAL):
        with pytest.raises(TrainingError, match=r"recipe mine: auxiliary = 0.4 needs the cells"):
            refuse_unfit(recipe(auxiliary=0.4), net)
    embedding = cell_network(
        DartsCell(GENOTYPE, GENOTYPE), Embedding(16), channels=4, cells_per_stage=1, in_channels=1, image_size=8
    )
    with pytest.raises(TrainingError, match="auxiliary"):
        refuse_unfit(recipe(auxiliary=0.4), embedding)
    for net, keys in ((RESIDUAL, {"drop_path": 0.2}), (CELLS, {"drop_path": 0.2, "auxiliary": 0.4}), (CHAIN, {})):
        refuse_unfit(recipe(**keys), net)
    assert lacking(recipe(drop_path=0.2, auxiliary=0.4), RESIDUAL) == ("auxiliary",)
    assert without_lacking(recipe(drop_path=0.2, auxiliary=0.4), RESIDUAL) == recipe(drop_path=0.2)


def test_a_training_refuses_too(digits_like: Task) -> None:
    with pytest.raises(TrainingError, match=r"drop_path = 0\.2 needs"):
        train_network(fresh_network(CHAIN, 0, CPU), digits_like, recipe(drop_path=0.2), 0, CPU)


def test_a_network_knows_its_architecture() -> None:
    assert network_from_architecture(CELLS).architecture is CELLS
    assert points_of(CELLS).tap is not None
