"""ONNX files as torch networks: what ONNX Runtime computes for the file, or one line that names the node."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision import models

from edgenas.architectures.cell import cell_network
from edgenas.architectures.chain import chain
from edgenas.architectures.fbnet import fbnet_from_text
from edgenas.architectures.from_onnx import workload_from_onnx
from edgenas.errors import EdgenasError
from edgenas.export.faces import with_face_input
from edgenas.export.onnx import onnx_from_network
from edgenas.export.precision import half_from_onnx
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.networks import Network, network_from_architecture, network_from_onnx
from edgenas.records import Architecture, BranchCell, Classes, DartsCell, Embedding, MultiBranchArchitecture
from edgenas.runtimes.onnx_session import open_session
from tests.networks.test_cell import BRANCHY_101, FULL_201, NORMAL, REDUCE

RNG = np.random.default_rng(5)


def check(model: onnx.ModelProto, path: Path, shape: tuple[int, ...], bar: float = 1e-5) -> Network:
    """The file's network, after its outputs for three images were compared with ONNX Runtime's."""
    onnx.save(model, path)
    network = network_from_onnx(path)
    images = RNG.standard_normal((3, *shape)).astype(np.float32)
    with open_session(model.SerializeToString()) as runtime:
        (name,) = runtime.inputs
        (wanted,) = runtime.run({name: images}).values()
    with torch.no_grad():
        got = network(torch.from_numpy(images)).numpy()
    assert got.shape == wanted.shape
    assert np.ptp(wanted) > 0
    assert np.abs(got - wanted).max() <= bar * np.abs(wanted).max()
    return network


def shaken(network: nn.Module) -> nn.Module:
    """In evaluation mode, with batch norms that have moved away from one and zero."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in ((norm.weight, 0.5, 1.5), (norm.running_var, 0.5, 1.5), (norm.bias, -0.2, 0.2)):
                tensor.data.uniform_(low, high, generator=generator)
            norm.running_mean.normal_(0, 0.2, generator=generator)
    return network.eval()


# ---------------------------------------------------------------- our own exports

NSE = MultiBranchArchitecture(
    27, (BranchCell("N", 4, (3, 22)), BranchCell("R", 6, (4, 10, 26)), BranchCell("E", 8, (0, 21))), Classes(4), 4, 1, 16, 1, 16
)  # fmt: skip
OWN: dict[str, Architecture] = {
    "chain": chain(4, 4, (0, 1, 0, 0), (3, 3, 5, 3), Classes(4), 1, 16),
    "embedding": chain(4, 3, (0, 1, 0), (3,) * 3, Embedding(8), 3, 56),
    "depthwise": chain(4, 3, (0, 1, 0), (3,) * 3, Embedding(8, "depthwise"), 1, 28),
    "nse": NSE,
    "101": cell_network(BRANCHY_101, Classes(4), channels=8, cells_per_stage=1, image_size=16),
    "201": cell_network(FULL_201, Classes(4), channels=8, cells_per_stage=1, image_size=16),
    "darts": cell_network(DartsCell(NORMAL, REDUCE), Classes(4), channels=4, cells_per_stage=1, image_size=16),
    "fbnet": fbnet_from_text("fbnet:1018238856778841215808"),
}


def exported(architecture: Architecture, opset: int) -> onnx.ModelProto:
    torch.manual_seed(0)
    network = shaken(network_from_architecture(architecture))
    return onnx_from_network(network, architecture, opset=opset, ir=7 if opset == 13 else 10)


@pytest.mark.parametrize("name", OWN)
def test_a_network_of_every_space_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    one = OWN[name]
    check(exported(one, 13), tmp_path / "m.onnx", (one.in_channels, one.image_size, one.image_size))


@pytest.mark.parametrize(
    "name", ["depthwise", *(pytest.param(n, marks=pytest.mark.slow) for n in ("chain", "nse", "101", "201", "darts", "fbnet"))]
)  # fmt: skip
def test_torchs_exporter_writes_files_that_come_back_as_well(name: str, tmp_path: Path) -> None:
    one = OWN[name]
    network = check(exported(one, 18), tmp_path / "m.onnx", (one.in_channels, one.image_size, one.image_size))
    if name == "nse":  # thirds are means, not layers of their own
        assert [kernel.kind for kernel in network.workload.kernels].count("mean") == 3


def test_a_recogniser_that_takes_raw_faces_comes_back_with_its_normalisation_fixed(tmp_path: Path) -> None:
    one = chain(4, 3, (0, 1, 0), (3,) * 3, Embedding(8), 1, 56)
    network = check(with_face_input(exported(one, 13), one), tmp_path / "m.onnx", (3, 112, 112))
    fixed = [p.numel() for p in network.parameters() if not p.requires_grad]
    assert sum(fixed) == 3 + 3 + 3  # scale and shift of each channel, and the sum over them
    trained = network_from_architecture(one)
    norms = sum(m.weight.numel() for m in trained.modules() if isinstance(m, nn.BatchNorm2d))
    whole = sum(p.numel() for p in trained.parameters())
    free = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert free <= whole - norms + 2 * norms  # batch norms are biases now


# ---------------------------------------------------------------- graphs by hand


def graph(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], shape: tuple[int, ...], opset: int = 17
) -> onnx.ModelProto:
    """From `x` (N, *shape) to `y`."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    ends = (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    )
    made = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    name = f"the_{op}" if output == "y" else f"{op}_{output}"
    return helper.make_node(op, inputs.split(), output.split(), name=name, **attributes)


def norm_weights() -> dict[str, np.ndarray]:
    return {"s": floats(4), "b": floats(4), "m": floats(4), "v": np.abs(floats(4)) + 0.5}


def test_a_batch_norm_stays_one_with_its_epsilon_and_can_be_trained(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", "d", epsilon=0.01), node("Relu", "d")]
    network = check(
        graph(nodes, {"w": floats(4, 3, 1, 1), **norm_weights()}, (3, 4, 4)), tmp_path / "m.onnx", (3, 4, 4)
    )
    (norm,) = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norm.eps == pytest.approx(0.01, rel=1e-6)
    assert not network.training
    before = norm.running_mean.clone()
    network.train()(torch.randn(8, 3, 4, 4)).sum().backward()
    assert not torch.equal(norm.running_mean, before)
    assert all(p.grad is not None for p in network.parameters())


def test_a_batch_norm_before_its_convolution_is_a_kernel_of_its_own(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", "d"), node("Relu", "d", "e"), node("Add", "c e"),
    ]  # fmt: skip
    network = check(
        graph(nodes, {"w": floats(4, 3, 1, 1), **norm_weights()}, (3, 4, 4)), tmp_path / "m.onnx", (3, 4, 4)
    )
    assert [kernel.kind for kernel in network.workload.kernels] == ["conv", "activation", "add"]


TWO = [node("Conv", "x w", "a"), node("Conv", "x v", "b")]


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        ([*TWO, node("Add", "a b")], ["conv", "conv"]),
        ([*TWO, node("Add", "b a", "s"), node("Relu", "s")], ["conv", "conv"]),
        ([*TWO, node("BatchNormalization", "b scale shift m v_", "n"), node("Add", "a n")], ["conv", "conv"]),
        ([*TWO, node("Add", "a b", "s"), node("Add", "s b")], ["conv", "conv", "add"]),  # the second is read by both
        ([*TWO, node("Relu", "b", "r"), node("Add", "a r")], ["conv", "conv", "add"]),  # what is added is not the convolution's
        ([node("Conv", "x w", "a"), node("Add", "a x")], ["conv", "add"]),  # the image itself
        ([*TWO, node("Sum", "a b x")], ["conv", "conv", "add"]),
        ([*TWO, node("GlobalAveragePool", "a", "g"), node("Conv", "x w", "c"), node("Add", "g c")],
         ["conv", "globalpool", "conv", "add"]),  # one number for each channel
        ([*TWO, node("Add", "a b", "s"), node("Conv", "s w", "c"), node("Add", "s c")], ["conv", "conv", "conv"]),
        ([*TWO, node("Add", "a b", "s"), node("Mul", "s half")], ["conv", "conv", "mean"]),
        ([node("GlobalAveragePool", "x", "g"), node("Flatten", "g", "f"), node("Gemm", "f k", "a"), node("Gemm", "f l", "b"),
          node("Add", "a b")], ["globalpool", "linear", "linear", "add"]),
    ],
)  # fmt: skip
def test_an_addition_is_a_part_of_the_convolution_that_made_the_later_map(
    nodes: list[onnx.NodeProto], kinds: list[str], tmp_path: Path
) -> None:
    norm = {name: norm_weights()[name.strip("_")] for name in ("m",)} | {
        "scale": floats(4),
        "shift": floats(4),
        "v_": np.abs(floats(4)) + 1,
    }
    weights = {"w": floats(4, 4, 1, 1), "v": floats(4, 4, 1, 1), "k": floats(4, 4), "l": floats(4, 4)}
    used = {name for one in nodes for name in one.input}
    given = {name: value for name, value in {**weights, **norm, "half": np.float32(0.5)}.items() if name in used}
    network = check(graph(nodes, given, (4, 6, 6)), tmp_path / "m.onnx", (4, 6, 6))
    assert [kernel.kind for kernel in network.workload.kernels] == kinds


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_what_is_read_costs_what_the_file_costs(name: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(models.get_model(name, weights=None).eval(), (torch.zeros(1, 3, 64, 64),), file, dynamo=False)
    jetson = profile_from_name("jetson")
    read = latency_from_workload(jetson, network_from_onnx(file).workload, "fp16")
    assert read.ms == pytest.approx(latency_from_workload(jetson, workload_from_onnx(file), "fp16").ms, rel=0.01)


def test_a_batch_norm_behind_a_constant_of_the_file_can_be_trained_and_the_constant_cannot(tmp_path: Path) -> None:
    nodes = [node("Mul", "x k", "c"), node("BatchNormalization", "c s b m v")]
    network = check(graph(nodes, {"k": floats(1), **norm_weights()}, (4, 4, 4)), tmp_path / "m.onnx", (4, 4, 4))
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"kernels.1.norm.weight", "kernels.1.norm.bias"}


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("Conv", "x w", auto_pad=b"SAME_UPPER", strides=[2, 2])], {"w": floats(2, 4, 3, 3)}),
        ([node("Conv", "x w", auto_pad=b"SAME_LOWER", strides=[2, 2])], {"w": floats(2, 4, 3, 3)}),
        ([node("Conv", "x w", pads=[0, 1, 2, 0], dilations=[2, 1])], {"w": floats(2, 4, 3, 3)}),
        ([node("Conv", "x w b", group=2, pads=[1, 1, 1, 1])], {"w": floats(6, 2, 3, 3), "b": floats(6)}),
        (
            [node("Pad", "x p", "q"), node("Conv", "q w", strides=[2, 2])],
            {"p": np.array([0, 0, 0, 1, 0, 0, 2, 3]), "w": floats(2, 4, 3, 3)},
        ),
        (
            [node("Pad", "x p low", "q"), node("MaxPool", "q", kernel_shape=[3, 3], strides=[2, 2])],
            {"p": np.array([0, 0, 0, 0, 0, 0, 1, 1]), "low": np.float32(-np.inf)},
        ),
        (
            [node("Pad", "x p", "q"), node("Conv", "q w", pads=[1, 0, 0, 2], strides=[2, 2])],
            {"p": np.array([0, 0, 1, 1, 0, 0, 0, 0]), "w": floats(2, 4, 3, 3)},
        ),
        ([node("Conv", "x w b", "c"), node("Add", "c k")], {"w": floats(2, 4, 1, 1), "b": floats(2), "k": floats(2, 1, 1)}),
        (
            [node("BatchNormalization", "x s b m v", "d"), node("Conv", "d w", "c"), node("BatchNormalization", "c s b m v", "e"),
             node("BatchNormalization", "e s b m v")],
            {"w": floats(4, 4, 1, 1), **norm_weights()},
        ),
        ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}),
        ([node("MaxPool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1])], {}),
        ([node("AveragePool", "x", kernel_shape=[2, 3], pads=[1, 2, 1, 2])], {}),
        ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}),
        ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], {}),
        ([node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}),
        ([node("GlobalMaxPool", "x", "p"), node("Flatten", "p")], {}),
        ([node("ReduceMean", "x", axes=[-1, -2], keepdims=0)], {}),
        ([node("GlobalAveragePool", "x", "p"), node("Sigmoid", "p", "g"), node("Mul", "x g")], {}),
        ([node("Sigmoid", "x", "g"), node("Mul", "g x")], {}),
        ([node("Relu", "x", "a"), node("Sigmoid", "a", "g"), node("Mul", "a g", "s"), node("Add", "s a")], {}),
        ([node("HardSigmoid", "x", "g", alpha=1 / 6), node("Mul", "x g")], {}),
        ([node("LeakyRelu", "x", "a"), node("Elu", "a", "b"), node("Tanh", "b", "c"), node("HardSwish", "c")], {}),
        ([node("Clip", "x low high")], {"low": np.float32(0), "high": np.float32(6)}),
        ([node("Split", "x", "a b", axis=1), node("Concat", "b a", axis=1)], {}),
        ([node("Slice", "x s e a")], {"s": np.array([1, 1]), "e": np.array([3, 9]), "a": np.array([1, 2])}),
        (
            [node("Reshape", "x s", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]), node("Reshape", "b t")],
            {"s": np.array([0, 2, 2, 6, 6]), "t": np.array([0, 4, 6, 6])},
        ),
        ([node("Flatten", "x", "f"), node("MatMul", "f w", "h"), node("Add", "h b")], {"w": floats(144, 3), "b": floats(3)}),
        ([node("Flatten", "x", "f"), node("Gemm", "f w b", transB=1)], {"w": floats(3, 144), "b": floats(1)}),
        (
            [node("Div", "x d", "a"), node("Sub", "one a", "b"), node("Mul", "b c", "e"), node("Add", "e c")],
            {"d": np.float32(3), "one": np.float32(1), "c": floats(4, 1, 1)},
        ),
        (
            [node("Add", "x x", "a"), node("Relu", "x", "r"), node("Sum", "a r x", "b"), node("Mul", "b q")],
            {"q": np.float32(0.25)},
        ),
        ([node("Add", "x x", "a"), node("Mul", "a q")], {"q": np.float32(0.25)}),
        ([node("Softmax", "x", axis=1)], {}),
        ([node("Transpose", "w", "t", perm=[1, 0, 2, 3]), node("Conv", "x t")], {"w": floats(4, 2, 1, 1)}),
        ([node("Conv", "x w", "c"), node("Identity", "x")], {"w": floats(2, 4, 3, 3)}),
    ],
    ids=lambda one: "-".join(n.op_type for n in one) if isinstance(one, list) else "",
)  # fmt: skip
def test_a_file_computes_what_onnx_runtime_computes_for_it(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], tmp_path: Path
) -> None:
    check(graph(nodes, weights, (4, 6, 6)), tmp_path / "m.onnx", (4, 6, 6))


@pytest.mark.parametrize(
    ("nodes", "weights", "words"),
    [
        ([node("Transpose", "x", perm=[0, 2, 3, 1])], {}, "Transpose 'the_Transpose' cannot be read"),
        ([node("LeakyRelu", "x", alpha=0.2)], {}, r"LeakyRelu 'the_LeakyRelu' has alpha 0\.2, which is not 0\.01"),
        ([node("HardSigmoid", "x")], {}, r"HardSigmoid 'the_HardSigmoid' has alpha 0\.2"),
        ([node("Clip", "x low high")], {"low": np.float32(0), "high": np.float32(1)}, r"clips to 0\.\.1, not to 0\.\.6"),
        ([node("Softmax", "x", axis=3)], {}, "Softmax 'the_Softmax' is not over channels"),
        ([node("ReduceMean", "x", axes=[1])], {}, "ReduceMean 'the_ReduceMean' is no mean over the pixels"),
        ([node("Concat", "x x", axis=2)], {}, "Concat 'the_Concat' does not put maps side by side"),
        ([node("Split", "x", "y z", axis=2)], {}, "Split 'Split_y z' does not split channels"),
        ([node("Slice", "x s e a")], {"s": np.array([0]), "e": np.array([3]), "a": np.array([2])}, "last rows or columns"),
        ([node("Slice", "x s e a t")], {"s": np.array([0]), "e": np.array([4]), "a": np.array([1]), "t": np.array([2])},
         "neighbouring channels"),
        ([node("Add", "x c")], {"c": floats(6)}, "Add 'the_Add' has a constant of shape"),
        ([node("Div", "c x")], {"c": floats(1)}, "Div 'the_Div' is no sum or product"),
        ([node("MatMul", "x w")], {"w": floats(6, 2)}, r"MatMul 'the_MatMul' is no layer on \(N, features\)"),
        ([node("Flatten", "x", "f"), node("Gemm", "f w", alpha=0.5)], {"w": floats(144, 2)}, "has factors"),
        ([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], {}, "MaxPool 'the_MaxPool' is dilated"),
        ([node("AveragePool", "x", kernel_shape=[2, 2], pads=[0, 2, 0, 0])], {}, "padding that is not less than its kernel"),
        ([node("AveragePool", "x", kernel_shape=[3, 2], pads=[2, 1, 3, 1])], {}, "padding that is not less than its kernel"),
        ([node("Pad", "x p low", "q"), node("MaxPool", "q", kernel_shape=[2, 2], pads=[1, 1, 1, 1])],
         {"p": np.array([0, 0, 0, 0, 0, 0, 1, 1]), "low": np.float32(-np.inf)}, "padding that is not less than its kernel"),
        ([node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1)],
         {}, "counts padding that is not the same on both sides"),
        ([node("Pad", "x p", "q"), node("MaxPool", "q", kernel_shape=[3, 3])], {"p": np.array([0, 0, 1, 1] * 2)}, "has padding"),
        ([node("Pad", "x p", "q"), node("Relu", "q")], {"p": np.array([0, 0, 1, 1] * 2)}, "Relu 'the_Relu' reads 'q'"),
        ([node("Pad", "x p", mode=b"reflect")], {"p": np.array([0, 0, 1, 1] * 2)}, "Pad 'the_Pad' is no constant border"),
        ([node("Flatten", "x", "f"), node("Mul", "f f")], {}, "Mul 'the_Mul' works on a flattened map"),
        ([node("Relu", "x", "a"), node("Flatten", "a")], {}, "its output 'y' is a flattened map"),
        ([node("Reshape", "x s")], {"s": np.array([0, 8, 3, 6])}, "Reshape 'the_Reshape' makes"),
        ([node("Conv", "x w")], {"w": floats(2, 4, 1, 1).astype(np.float64)}, "damaged|does not fit|no constant of 32-bit"),
        ([node("Conv", "x x")], {}, "Conv 'the_Conv' has no constant of 32-bit numbers as input 1"),
        # Damaged files: ONNX's own checks do not look at these.
        ([node("Conv", "x w b")], {"w": floats(2, 4, 1, 1), "b": floats(3)}, r"conv\.bias of kernel 0 .* is \(3,\), and \(2,\)"),
        ([node("Conv", "x w")], {"w": floats(2, 3, 1, 1)}, r"weight of kernel 0 .* is \(2, 3, 1, 1\), and \(2, 4, 1, 1\)"),
        ([node("Conv", "x w", group=0)], {"w": floats(2, 4, 1, 1)}, "Conv 'the_Conv' has 0 groups of 4 channels"),
        ([node("Conv", "x w", group=3)], {"w": floats(3, 1, 1, 1)}, "Conv 'the_Conv' has 3 groups of 4 channels"),
        ([node("Conv", "x w", strides=[0, 0])], {"w": floats(2, 4, 1, 1)}, "Conv 'the_Conv' does not fit its inputs"),
        ([node("Conv", "x w")], {"w": floats(2, 4, 1, 1) * np.float32(np.nan)}, "holds what is no finite number"),
        ([node("Flatten", "x", "f"), node("Gemm", "f w b")], {"w": floats(144, 2), "b": floats(3)}, "3 numbers as the bias of 2"),
        ([node("Conv", "x w", strides=[1])], {"w": floats(2, 4, 1, 1)}, "that do not fit it|does not fit"),
    ],
    ids=lambda one: "-".join(n.op_type for n in one) if isinstance(one, list) else "",
)  # fmt: skip
def test_what_no_kernel_computes_exactly_is_refused_in_one_line_that_names_the_node(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], words: str, tmp_path: Path
) -> None:
    onnx.save(graph(nodes, weights, (4, 6, 6), 13), tmp_path / "m.onnx")
    with pytest.raises(EdgenasError, match=words) as caught:
        network_from_onnx(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert "m.onnx" in str(caught.value)


def test_half_precision_and_other_inputs_than_images_are_refused(tmp_path: Path) -> None:
    half = half_from_onnx(exported(OWN["chain"], 13))
    onnx.save(half, tmp_path / "half.onnx")
    with pytest.raises(EdgenasError, match=r"Cast 'Cast_|no constant of 32-bit"):
        network_from_onnx(tmp_path / "half.onnx")
    onnx.save(graph([node("Relu", "x")], {}, (4,)), tmp_path / "flat.onnx")
    with pytest.raises(EdgenasError, match=r"its input 'x' is no batch of images \(N, C, H, W\)"):
        network_from_onnx(tmp_path / "flat.onnx")
    two = graph([node("Relu", "x"), node("Tanh", "x", "z")], {}, (4, 6, 6))
    two.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    onnx.save(two, tmp_path / "two.onnx")
    with pytest.raises(EdgenasError, match="has 1 inputs and 2 outputs: networks with one of each can be read"):
        network_from_onnx(tmp_path / "two.onnx")


def test_a_stored_tensor_of_other_sizes_than_it_says_is_one_line(tmp_path: Path) -> None:
    model = graph([node("Conv", "x w")], {"w": floats(80, 4, 16, 16)}, (4, 32, 32))  # too large to be looked at before
    (stored,) = model.graph.initializer
    stored.raw_data = stored.raw_data[:-40]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(
        EdgenasError, match=r"m\.onnx: Conv 'the_Conv' has inputs or attributes that do not fit it \(ValueError"
    ):
        network_from_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("newer", [0, 1])
def test_a_file_of_an_opset_that_is_not_known_yet_is_refused(tmp_path: Path, newer: int) -> None:
    """Its operators may mean something else."""
    model = graph([node("Relu", "x")], {}, (4, 6, 6))
    model.opset_import[0].version = onnx.defs.onnx_opset_version() + newer
    onnx.save(model, tmp_path / "m.onnx")
    expected = pytest.raises(EdgenasError, match="and the newest that is known here is") if newer else nullcontext()
    with expected:
        network_from_onnx(tmp_path / "m.onnx")


def test_a_pointer_of_git_lfs_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 12\n")
    with pytest.raises(EdgenasError, match=r"m\.onnx is a pointer of Git LFS, not the file: run `git lfs pull`"):
        network_from_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_text("version of something else")
    with pytest.raises(EdgenasError, match=r"m\.onnx is not an ONNX file"):
        network_from_onnx(tmp_path / "m.onnx")


def test_weights_beside_the_file_are_read_and_missing_ones_are_said(tmp_path: Path) -> None:
    model = graph([node("Conv", "x w")], {"w": floats(64, 4, 5, 5)}, (4, 6, 6))
    wanted = check(model, tmp_path / "whole.onnx", (4, 6, 6)).state_dict()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    found = network_from_onnx(tmp_path / "m.onnx").state_dict()
    assert all(map(torch.equal, found.values(), wanted.values()))
    (tmp_path / "m.data").write_bytes((tmp_path / "m.data").read_bytes()[:-8])
    with pytest.raises(EdgenasError, match=r"m\.data, which is not the file that it was saved with: External data"):
        network_from_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.data").unlink()
    with pytest.raises(EdgenasError, match=r"m\.data, which cannot be read: copy it beside the model"):
        network_from_onnx(tmp_path / "m.onnx")


def test_reading_draws_no_random_numbers(tmp_path: Path) -> None:
    onnx.save(graph([node("Conv", "x w")], {"w": floats(2, 4, 3, 3)}, (4, 6, 6)), tmp_path / "m.onnx")
    before = torch.get_rng_state()
    network_from_onnx(tmp_path / "m.onnx")
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- public families, by both exporters


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x0_5"])
def test_public_families_compute_what_onnx_runtime_computes(name: str, dynamo: bool, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(0)
    network = shaken(getattr(models, name)(weights=None))
    path, images = tmp_path / "exported.onnx", torch.randn(2, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter says that it is the older one
        if dynamo:
            batch = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(
                network, (images,), str(path), dynamo=True, dynamic_shapes=batch, external_data=False, verbose=False
            )
        else:
            axes = {"image": {0: "batch"}}
            torch.onnx.export(network, (images,), str(path), dynamo=False, input_names=["image"], dynamic_axes=axes)
    ours = check(onnx.load(path), tmp_path / "m.onnx", (3, 64, 64), bar=1e-4)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([m for m in ours.modules() if isinstance(m, nn.Conv2d | nn.Linear)]) == len(layers)


@pytest.mark.parametrize("path", [5, None, b"net.onnx"])
def test_what_is_no_path_is_one_line(path: object) -> None:
    with pytest.raises(EdgenasError, match=r"^path=.*: give the path of an ONNX file$"):
        network_from_onnx(path)  # type: ignore[arg-type]
