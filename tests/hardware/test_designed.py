"""The networks that a board is learned from."""

import collections

import pytest

from edgenas.hardware.designed import MOST_MACS, MOST_PARAMS, designed_network
from edgenas.hardware.intervals import kind_of
from edgenas.runtimes.graph import onnx_from_workload


def test_a_network_depends_on_its_number_and_the_seed_alone() -> None:
    assert designed_network(7, 0) == designed_network(7, 0)
    assert designed_network(7, 0).workload != designed_network(7, 1).workload
    assert len({designed_network(number, 0).workload for number in range(60)}) == 60


def test_fifty_networks_hold_all_kinds_of_kernels_and_of_networks_within_bounds() -> None:
    networks = [designed_network(number, 0).workload for number in range(50)]
    kernels = collections.Counter(kernel.kind for workload in networks for kernel in workload.kernels)
    assert set(kernels) >= {
        "conv", "depthwise", "linear", "maxpool", "avgpool", "globalpool", "add", "mul", "concat", "activation"
    }  # fmt: skip
    kinds = collections.Counter(map(kind_of, networks))
    assert min(kinds["chain"], kinds["whole"]) >= 15
    assert kinds["small"] >= 5
    assert max(workload.params for workload in networks) <= MOST_PARAMS
    assert max(workload.macs for workload in networks) <= MOST_MACS
    sides = {(k.kernel[0], k.groups > 1) for workload in networks for k in workload.kernels if k.weights}
    assert sides >= {(1, False), (3, False), (5, False), (7, False), (3, True), (5, True), (7, True)}
    activations = {kernel.activation for workload in networks for kernel in workload.kernels}
    assert activations >= {"relu", "silu", "hardswish", "sigmoid"}


@pytest.mark.parametrize("number", range(20))
def test_every_one_can_be_written_for_the_oldest_boards(number: int) -> None:
    onnx_from_workload(designed_network(number, 0).workload, None, 13, 7)  # checked as it is written
