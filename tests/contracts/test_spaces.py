"""What every space must do, whatever its networks are like: our five families, and one that is written here."""

import json
import random
from collections import Counter

import msgspec
import numpy as np
import pytest
import torch

from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.fbnet import FbnetSpace
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.own import Choices, OwnSpace
from edgenas.architectures.space import NamedChoices
from edgenas.architectures.stages_space import StagesSpace
from edgenas.architectures.tracer import Tracer
from edgenas.architectures.workload import workload_from_architecture
from edgenas.export.onnx import onnx_from_network
from edgenas.networks import network_from_architecture
from edgenas.records import Architecture, Classes
from edgenas.runtimes.onnx_session import open_session

HEAD = Classes(5)


def two_stages(net: Tracer, choices: Choices) -> int:
    """Residual blocks at two widths; the second stage may be left out."""
    here = net.conv(-1, choices["width"], 3, norm=True, activation="relu")
    for stage in range(1 + choices["second"]):
        width = choices["width"] * (1 + stage)
        if stage:
            here = net.conv(here, width, 3, stride=2, norm=True, activation="relu")
        for _ in range(choices[f"blocks {stage}"]):
            inner = net.conv(here, width, choices[f"kernel {stage}"], norm=True, activation=choices["activation"])
            here = net.conv(inner, width, 3, norm=True, activation="relu", residual=here)
    return here


OWN = OwnSpace(
    "two-stages",
    {
        "width": range(4, 17, 4),
        "second": (False, True),
        "blocks 0": (1, 2),
        "blocks 1": (1, 2, 3),
        "kernel 0": (1, 3),
        "kernel 1": (3, 5),
        "activation": ("relu", "hardswish"),
    },
    two_stages,
)

SPACES: dict[str, NamedChoices] = {
    "chain": ChainSpace(HEAD, 1, 8, 3, 6, 4, 12, 4),
    "multibranch": MultiBranchSpace(19, "NRN", (4, 8), HEAD, 3, 16, tail_channels=16),
    "nasbench101": CellSpace(HEAD, 3, 8, "nasbench101", channels=8, cells_per_stage=1),
    "nasbench201": CellSpace(HEAD, 3, 8, "nasbench201", channels=4, cells_per_stage=1),
    "darts": CellSpace(HEAD, 3, 8, "darts", channels=4, cells_per_stage=1),
    "fbnet": FbnetSpace(HEAD, 3, 32),
    "stages": StagesSpace(
        HEAD, 1, 16, 3, 4, 2, 4, 16, 4, 16, (0, 32), stem_kernels=(3, 5), activations=("relu", "relu6")
    ),
    "own": OWN(HEAD, 1, 8),
}

OF_LARGE_IMAGES: dict[str, NamedChoices] = {
    "chain behind a growing stem": ChainSpace(HEAD, 3, 70, 3, 6, 4, 12, 4, stem="growing"),
    "nasbench201 behind a growing stem": CellSpace(HEAD, 3, 64, "nasbench201", 4, 1, stem="growing"),
    "stages of photographs": StagesSpace(HEAD, 3, 70, 3, 4, 1, 8, 16, 8, 16, (0,), stem_kernels=(3, 7)),
}
ALL_SPACES = {**SPACES, **OF_LARGE_IMAGES}

every_space = pytest.mark.parametrize("space", ALL_SPACES.values(), ids=ALL_SPACES)


def drawn(space: NamedChoices, count: int = 50, seed: int = 0) -> list[Architecture]:
    rng = random.Random(seed)
    return [space.draw(rng) for _ in range(count)]


def params(network: Architecture) -> int:
    return workload_from_architecture(network).params


@every_space
def test_the_smallest_network_is_a_member_and_none_that_is_drawn_is_smaller(space: NamedChoices) -> None:
    smallest = space.smallest()
    assert space.contains(smallest)
    assert params(smallest) <= min(map(params, drawn(space)))


@every_space
def test_the_reference_is_a_member_and_larger_than_the_smallest(space: NamedChoices) -> None:
    assert space.contains(space.reference())
    assert (
        workload_from_architecture(space.reference()).bytes_moved
        > workload_from_architecture(space.smallest()).bytes_moved
    )


@every_space
def test_what_is_drawn_is_a_member_and_is_what_its_choices_make(space: NamedChoices) -> None:
    for network in drawn(space):
        assert space.contains(network)
        held = space.choices_of(network)
        assert space.pick(held) == network
        assert held.keys() <= space.choices().keys()


@every_space
def test_equal_seeds_draw_equal_networks_and_another_seed_draws_others(space: NamedChoices) -> None:
    assert drawn(space, 20, 3) == drawn(space, 20, 3) != drawn(space, 20, 4)


@every_space
def test_a_neighbour_is_another_member_that_differs_in_one_choice(space: NamedChoices) -> None:
    rng = random.Random(7)
    for network in drawn(space, 30):
        other = space.neighbour(network, rng)
        assert other != network
        assert space.contains(other)
        one, two = space.choices_of(network), space.choices_of(other)
        differing = [name for name in one.keys() & two.keys() if one[name] != two[name]]
        if space.name == "nasbench101" and one.keys() != two.keys():
            continue  # an edge more or less lets vertices come or go: their choices and edges with them
        assert len(differing) == 1, (one, two)


@pytest.mark.parametrize("vertices", [4, 5, 6, 7])
def test_neighbours_of_a_nasbench101_cell_of_any_size_change_an_operation_or_an_edge_or_its_size(vertices: int) -> None:
    space = SPACES["nasbench101"]
    rng = random.Random(1)
    cells = (space.draw(rng) for _ in range(1000))
    network = next(
        one
        for one in cells
        if f"op_{vertices - 2}" in space.choices_of(one) and f"op_{vertices - 1}" not in space.choices_of(one)
    )
    held, kinds = space.choices_of(network), Counter[str]()
    for _ in range(120):
        found = space.choices_of(space.neighbour(network, rng))
        differing = [name for name in held.keys() & found.keys() if held[name] != found[name]]
        same_size = held.keys() == found.keys()
        kinds["op" if same_size and differing[0].startswith("op_") else "edge" if same_size else "size"] += 1
    assert min(kinds["op"], kinds["edge"]) >= 3, kinds
    assert kinds["size"] >= 3 or vertices == 7, kinds


@every_space
def test_steps_to_neighbours_lead_to_every_choice(space: NamedChoices) -> None:
    """Choices that come and go with others, too; of many values the first two are looked for."""
    rng = random.Random(0)
    network = space.smallest()
    wanted = {(name, value) for name, values in space.choices().items() for value in tuple(values)[:2]}
    if space.name == "multibranch":  # a value is a set of operations: any with one, and any with two
        wanted = set()
    branches: set[int] = set()
    for _ in range(5000):
        network = space.neighbour(network, rng)
        held = space.choices_of(network)
        wanted -= set(held.items())
        branches |= {str(value).count("+") for value in held.values()}
        if not wanted and (space.name != "multibranch" or branches == {0, 1}):
            return
    raise AssertionError(f"never reached: {sorted(wanted)}")


@every_space
def test_features_are_finite_of_one_width_and_tell_networks_apart(space: NamedChoices) -> None:
    networks = drawn(space)
    table = space.features(networks)
    assert table.shape == (50, space.features([networks[0]]).shape[1])
    assert space.features([]).shape == (0, table.shape[1])
    assert np.isfinite(table).all()
    assert np.abs(table).max() < 20
    distinct = {network.fingerprint for network in networks}
    assert len(np.unique(table, axis=0)) == len(distinct)
    np.testing.assert_allclose(table[:, -4], [np.log10(params(network)) for network in networks])


WORDS = {
    "chain": "L3 W4",
    "multibranch": "1 branch in 1 cell",
    "nasbench101": "4 maxpool3x3",
    "nasbench201": "1 skip_connect",
    "darts": "16 max_pool_3x3",
    "fbnet": "8888888881888188818881",  # grouped blocks where the channels rise from 32 on: less than one 1x1 convolution
    "stages": "s4 s4 s4",
    "stages of photographs": "s8 s8 s8",
    "two-stages": "width 4, second False, blocks 0 1, ...",
}


@every_space
def test_words_are_few(space: NamedChoices) -> None:
    name = next(name for name, other in ALL_SPACES.items() if other is space)
    assert space.words(space.smallest()) == WORDS[name if name in WORDS else space.name]
    for network in drawn(space, 20):
        assert 1 <= len(space.words(network)) <= 60


@every_space
def test_only_members_are_contained(space: NamedChoices) -> None:
    for other in SPACES.values():
        if other is not space:
            assert not space.contains(other.smallest())
    other_head = msgspec.structs.replace(space.smallest(), head=Classes(6))
    assert not space.contains(other_head)


@every_space
def test_members_are_read_back_from_json_and_keep_their_fingerprints(space: NamedChoices) -> None:
    for network in drawn(space, 5):
        read = msgspec.json.decode(network.canonical_json(), type=Architecture)
        assert read == network
        assert read.fingerprint == network.fingerprint
        assert space.contains(read)
        assert json.loads(network.canonical_json())["type"]


def parity(network: Architecture, opset: int) -> None:
    torch.manual_seed(0)
    module = network_from_architecture(network).eval()
    assert sum(p.numel() for p in module.parameters()) == params(network)
    shape = (2, network.in_channels, network.image_size, network.image_size)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with torch.no_grad():
        mine = module(torch.from_numpy(x)).numpy()
    assert mine.shape == (2, 5)
    assert np.abs(mine).max() > 1e-3
    with open_session(onnx_from_network(module, network, opset=opset, ir=8).SerializeToString()) as runtime:
        (theirs,) = runtime.run({"image": x}).values()
    np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=1e-4)


@every_space
def test_members_become_networks_of_as_many_parameters_that_export_to_onnx(space: NamedChoices) -> None:
    for network in [space.smallest(), *drawn(space, 1, 5)]:
        parity(network, opset=13)  # written from the workload


@pytest.mark.slow
@every_space
def test_members_export_with_torch_s_own_exporter(space: NamedChoices) -> None:
    parity(space.draw(random.Random(5)), opset=18)
