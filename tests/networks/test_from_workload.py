"""The builder itself, on workloads that no space has: against ONNX Runtime on the same workload, and by hand."""

import copy
import weakref

import numpy as np
import pytest
import torch

from edgenas.architectures.cell_workload import CellTracer
from edgenas.architectures.tracer import Tracer
from edgenas.errors import EdgenasError
from edgenas.export.from_workload import onnx_from_trained_workload, weights_from_network
from edgenas.networks import Network, network_from_workload
from edgenas.records import Kernel, Workload
from edgenas.runtimes.onnx_session import open_session
from tests.runtimes.test_graph import zoo


def shaken(workload: Workload) -> Network:
    """A network whose batch norms have moved away from one and zero."""
    torch.manual_seed(0)
    network = network_from_workload(workload)
    for name, tensor in network.state_dict().items():
        if name.endswith(("norm.weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("norm.bias", "running_mean")):
            tensor.normal_(std=0.3)
    return network.eval()


def answer(network: Network, x: np.ndarray, opset: int = 18) -> np.ndarray:
    model = onnx_from_trained_workload(network, opset, 10, ("image", "logits"))
    with open_session(model.SerializeToString()) as runtime:
        (value,) = runtime.run({"image": x}).values()
    return value


def test_every_kind_of_kernel_computes_what_onnx_runtime_computes_for_it() -> None:
    network = shaken(zoo())
    x = np.random.default_rng(0).standard_normal((3, 3, 17, 17)).astype(np.float32)
    with torch.no_grad():
        mine = network(torch.from_numpy(x)).numpy()
    assert np.abs(mine).max() > 0.05
    np.testing.assert_allclose(mine, answer(network, x), atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in network.parameters()) == zoo().params


def test_a_network_can_be_copied_and_trained_whatever_its_activations_are() -> None:
    network = copy.deepcopy(shaken(zoo())).train()
    network(torch.randn(4, 3, 17, 17)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("kind", "expected"), [("conv", 6.0), ("maxpool", 1.0), ("avgpool", 1.0)])
def test_padding_at_the_end_alone_follows_from_the_sizes(kind: str, expected: float) -> None:
    """TensorFlow's SAME for an even input and stride 2 pads right and bottom only; pools do not see the padding."""
    kernel = Kernel(kind, 1, 1, 4, 4, 8, 8, (-1,), kernel=(3, 3), stride=(2, 2), padding=(0, 0))  # type: ignore[arg-type]
    network = network_from_workload(Workload((kernel,)))
    for weight in network.parameters():
        torch.nn.init.ones_(weight)
    with torch.no_grad():
        value = network(torch.ones(1, 1, 8, 8))
    full = 9.0 if kind == "conv" else 1.0
    corner = 4.0 if kind == "conv" else 1.0
    assert value[0, 0].tolist() == [[full, full, full, expected]] * 3 + [[expected, expected, expected, corner]]


def test_slices_may_begin_anywhere_and_average_pools_may_count_padding() -> None:
    sliced = Kernel("slice", 4, 2, 3, 2, 3, 3, (-1,), begin=1)
    pooled = Kernel("avgpool", 2, 2, 3, 2, 3, 2, (0,), kernel=(3, 3), padding=(1, 1), counts_padding=True)
    network = network_from_workload(Workload((sliced, pooled)))
    x = np.arange(36, dtype=np.float32).reshape(1, 4, 3, 3)
    value = network(torch.from_numpy(x)).numpy()
    # The pool over rows 0..1 and columns 1..2 of channel 1: (10 + 11 + 13 + 14) / 9.
    assert value[0, 0, 0, 0] == pytest.approx(48 / 9)
    np.testing.assert_allclose(value, answer(network, x), rtol=1e-6)


def test_a_tensor_that_others_read_is_not_changed_in_place() -> None:
    trace = Tracer(1, 2, 2)
    active = trace.elementwise("activation", [-1], activation="relu")
    cut = trace.channels("slice", -1, 1)
    trace.concat([trace.elementwise("add", [active, cut]), trace.elementwise("add", [-1], activation="relu")])
    x = torch.tensor([[[[-1.0, 2.0], [3.0, -4.0]]]])
    value = network_from_workload(trace.workload())(x)
    assert x.flatten().tolist() == [-1, 2, 3, -4]
    assert value[0].tolist() == [[[-1, 4], [6, -4]], [[0, 2], [3, 0]]]


def test_a_relu_at_the_end_is_applied_and_so_is_one_that_follows_another() -> None:
    trace = Tracer(1, 1, 3)
    first = trace.elementwise("activation", [-1], activation="relu")
    trace.elementwise("activation", [first], activation="relu")
    value = network_from_workload(trace.workload())(torch.tensor([[[[-1.0, 0.0, 2.0]]]]))
    assert value.flatten().tolist() == [0, 0, 2]


def test_a_global_pool_is_seen_as_features_by_a_layer_and_as_a_map_by_a_gate() -> None:
    trace = Tracer(2, 2, 2)
    pooled = trace.global_pool(-1)
    trace.elementwise("mul", [-1, pooled])
    gated = network_from_workload(trace.workload())(
        torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    )
    assert gated.tolist() == [[[[3, 6], [9, 18]], [[1, 1], [1, 1]]]]


def test_evaluation_keeps_no_map_longer_than_it_is_read() -> None:
    trace = Tracer(3, 8, 8)
    here = -1
    for _ in range(6):
        here = trace.conv(here, 4, 3, norm=True, activation="relu")
    trace.linear(trace.global_pool(here), 2)
    network = network_from_workload(trace.workload()).eval()
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def note(_module: object, _inputs: object, result: torch.Tensor) -> None:
        made.append(weakref.ref(result))
        alive.append(sum(one() is not None for one in made))

    for kernel in network.kernels:
        kernel.register_forward_hook(note)
    with torch.no_grad():
        network(torch.zeros(1, 3, 8, 8))
    assert max(alive) == 2  # what a kernel reads and what it makes


def test_the_two_halves_of_a_factorised_reduction_keep_one_activated_map_for_their_gradients() -> None:
    trace = CellTracer(4, 8, 8)
    active = trace.relu(-1)
    halves = [trace.conv(active, 2, 1, stride=2), trace.conv(trace.shifted(active), 2, 1, stride=2)]
    trace.concat(halves)
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    kept: set[int] = set()

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().nbytes() == x.nbytes:
            kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network_from_workload(trace.workload())(x)
    assert len(kept) == 1


def test_weights_without_layers_or_norms_are_not_asked_for() -> None:
    indices = [i for i, kernel in enumerate(zoo().kernels) if kernel.weights or kernel.norm]
    assert sorted(weights_from_network(shaken(zoo()))) == indices


def test_what_a_workload_does_not_say_is_refused_naming_the_kernel() -> None:
    with pytest.raises(EdgenasError, match=r"kernel 0 \(matmul\): a workload does not say enough"):
        network_from_workload(Workload((Kernel("matmul", 4, 4, 2, 2, 2, 2, (-1,)),)))
    with pytest.raises(EdgenasError, match=r"kernel 0 \(linear\)"):  # over tokens
        network_from_workload(Workload((Kernel("linear", 4, 4, 7, 1, 7, 1, (-1,)),)))
    with pytest.raises(EdgenasError, match="kernel 0: activation 'selu' is not known here; possible: elu"):
        network_from_workload(Workload((Kernel("activation", 4, 4, 2, 2, 2, 2, (-1,), activation="selu"),)))
    network_from_workload(Workload((Kernel("linear", 4, 4, 1, 1, 1, 1, (-1,), activation="elu"),)))


def test_an_old_opset_needs_a_network_that_was_built_from_a_workload() -> None:
    wrapped = torch.nn.Sequential(shaken(zoo()))
    with pytest.raises(EdgenasError, match=r"opset 13 is written from a network's workload.*ask for opset 16 or later"):
        onnx_from_trained_workload(wrapped, 13, 7, ("image", "logits"))
