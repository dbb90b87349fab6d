"""ONNX files become the kernels that a runtime launches; torchvision's networks count what is published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgenas.architectures.chain import chain
from edgenas.architectures.from_onnx import read_onnx, workload_from_onnx
from edgenas.architectures.tracer import Tracer
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Classes, Workload
from edgenas.runtimes.graph import onnx_from_workload


def model(nodes, weights, shape=("batch", 8, 16, 16), output="y") -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.zeros(dims, np.float32), name) for name, dims in weights.items()]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def conv(source, out, weight, **attributes):
    return helper.make_node("Conv", [source, weight], [out], pads=[1, 1, 1, 1], **attributes)


def forked() -> Workload:
    """A map that a pool reads as it is, and a convolution behind a ReLU."""
    trace = Tracer(3, 16, 16)
    fork = trace.conv(-1, 8, 3, norm=True)
    deep = trace.conv(trace.elementwise("activation", [fork], activation="relu"), 8, 3, norm=True)
    trace.head(trace.elementwise("add", [deep, trace.pool("avgpool", fork, 3)]), Classes(10))
    return trace.workload()


@pytest.mark.parametrize(
    "workload",
    [workload_from_architecture(chain(8, 6, (0, 1) * 3, (3, 5) * 3, Classes(10))), forked()],
    ids=["chain", "forked"],
)
def test_our_own_export_has_the_kernels_macs_weights_and_bytes_of_its_workload(workload: Workload) -> None:
    """Its norms are folded: their parameters are biases."""
    read = workload_from_onnx(onnx_from_workload(workload, None))
    assert [(k.kind, k.activation, k.weights) for k in read.kernels] == [
        (k.kind, k.activation, k.weights) for k in workload.kernels
    ]
    assert (read.macs, read.bytes_moved) == (workload.macs, workload.bytes_moved)


def test_norm_activation_and_residual_ride_on_the_convolution() -> None:
    norm = dict.fromkeys(("scale", "shift", "mean", "var"), (8,))
    nodes = [
        conv("x", "a", "w1"),
        helper.make_node("Relu", ["a"], ["b"]),
        conv("b", "c", "w2"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["d"]),
        helper.make_node("Add", ["d", "b"], ["e"]),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    first, second = workload_from_onnx(model(nodes, {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3), **norm})).kernels
    assert (first.activation, second.activation) == ("relu", "relu")
    assert (second.norm, second.residual, second.inputs) == (True, 0, (0,))


CLIPPED = [helper.make_node("Add", ["c", "three"], ["p"]), helper.make_node("Clip", ["p", "zero", "six"], ["q"])]
RELU_6 = [*CLIPPED[:1], helper.make_node("Relu", ["p"], ["r"]), helper.make_node("Clip", ["r", "", "six"], ["q"])]
SCALARS: dict[str, tuple[int, ...]] = {"three": (), "zero": (), "six": ()}


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ([helper.make_node("HardSwish", ["c"], ["a"])], "hardswish"),
        (
            [*CLIPPED, helper.make_node("Div", ["q", "six"], ["s"]), helper.make_node("Mul", ["c", "s"], ["a"])],
            "hardswish",
        ),
        (
            [*CLIPPED, helper.make_node("Mul", ["c", "q"], ["s"]), helper.make_node("Div", ["s", "six"], ["a"])],
            "hardswish",
        ),
        (
            [*RELU_6, helper.make_node("Div", ["q", "six"], ["s"]), helper.make_node("Mul", ["c", "s"], ["a"])],
            "hardswish",
        ),
        ([helper.make_node("Clip", ["c", "zero", "six"], ["a"])], "clip"),
        ([*CLIPPED, helper.make_node("Mul", ["q", "six"], ["a"])], "clip"),  # scaled by a number: no gate
        ([helper.make_node("Sigmoid", ["c"], ["s"]), helper.make_node("Mul", ["c", "s"], ["a"])], "sigmoid"),
        ([helper.make_node("Sigmoid", ["c"], ["s"]), helper.make_node("Relu", ["s"], ["a"])], "sigmoid"),
        ([helper.make_node("Relu", ["c"], ["s"]), helper.make_node("Sigmoid", ["s"], ["a"])], "sigmoid"),
        ([helper.make_node("Relu", ["c"], ["s"]), helper.make_node("Min", ["s", "six"], ["a"])], "min"),
        ([helper.make_node("Relu", ["c"], ["s"]), helper.make_node("Clip", ["s", "", "six"], ["a"])], "relu"),
    ],
)
def test_the_dearest_operation_on_a_map_names_its_activation(activation: list[onnx.NodeProto], name: str) -> None:
    nodes = [conv("x", "c", "w"), *activation, conv("a", "y", "w")]
    first, second = workload_from_onnx(model(nodes, {"w": (8, 8, 3, 3), **SCALARS})).kernels
    assert (first.activation, second.activation) == (name, "")


def relu(source: str, out: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [out])


HARD_SWISH = [*CLIPPED, helper.make_node("Div", ["q", "six"], ["s"]), helper.make_node("Mul", ["c", "s"], ["a"])]
SIGMOID = helper.make_node("Sigmoid", ["c"], ["s"])


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        # Both orders of who reads the map as it is, and who behind its activation.
        ([relu("c", "a"), conv("a", "d", "w"), conv("c", "e", "w")], ["conv", "activation relu", "conv", "conv"]),
        ([conv("c", "e", "w"), relu("c", "a"), conv("a", "d", "w")], ["conv", "conv", "activation relu", "conv"]),
        # Before a residual block: the map is added to what the block makes of it.
        ([relu("c", "a"), conv("a", "d", "w"), helper.make_node("Add", ["c", "d"], ["e"])], ["conv", "activation relu", "conv"]),
        # As a flat map.
        ([helper.make_node("Identity", ["c"], ["f"]), relu("c", "d"), conv("f", "e", "w")], ["conv", "activation relu", "conv"]),
        # Two activations of one map, and one of the other.
        ([relu("c", "a"), SIGMOID, conv("a", "d", "w"), conv("s", "e", "w")],
         ["conv", "activation relu", "activation sigmoid", "conv", "conv"]),
        ([relu("c", "a"), helper.make_node("Sigmoid", ["a"], ["s"]), conv("a", "d", "w"), conv("s", "e", "w")],
         ["conv relu", "activation sigmoid", "conv", "conv"]),
        # What begins and ends at one tensor is one kernel, also beside another reader.
        ([*HARD_SWISH, conv("a", "d", "w"), conv("c", "e", "w")], ["conv", "activation hardswish", "conv", "conv"]),
        ([*HARD_SWISH, conv("a", "d", "w"), conv("d", "e", "w")], ["conv hardswish", "conv", "conv"]),
        ([SIGMOID, relu("c", "a"), helper.make_node("Mul", ["s", "a"], ["d"]), conv("d", "e", "w")], ["conv sigmoid", "conv"]),
        # A result that is left out is no map of the image.
        ([helper.make_node("Dropout", ["c"], ["d", ""]), conv("d", "q", "w"), helper.make_node("Clip", ["q", "", "six"], ["e"])],
         ["conv", "conv clip"]),
    ],
)  # fmt: skip
def test_a_map_that_something_else_reads_takes_no_activation(nodes: list[onnx.NodeProto], expected: list[str]) -> None:
    ends = [name for name in ("d", "e") if name not in {name for node in nodes for name in node.input}]
    made = model([conv("x", "c", "w"), *nodes], {"w": (8, 8, 3, 3), **SCALARS}, output=ends[0])
    made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ends[1:])
    kernels = workload_from_onnx(made).kernels
    assert [f"{kernel.kind} {kernel.activation}".strip() for kernel in kernels] == expected


def test_a_map_that_the_network_gives_takes_no_activation() -> None:
    made = model([conv("x", "c", "w"), relu("c", "a"), conv("a", "y", "w")], {"w": (8, 8, 3, 3)})
    made.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))
    assert [kernel.kind for kernel in workload_from_onnx(made).kernels] == ["conv", "activation", "conv"]


def test_hard_swish_costs_the_same_in_one_operator_and_in_four() -> None:
    def latency_ms(activation: list[onnx.NodeProto]) -> float:
        nodes = [conv("x", "c", "w"), *activation, conv("a", "y", "w")]
        read = workload_from_onnx(model(nodes, {"w": (8, 8, 3, 3), **SCALARS}))
        return latency_from_workload(profile_from_name("raspberry-pi-5"), read).ms

    end = [helper.make_node("Div", ["q", "six"], ["s"]), helper.make_node("Mul", ["c", "s"], ["a"])]
    assert latency_ms([*CLIPPED, *end]) == latency_ms([helper.make_node("HardSwish", ["c"], ["a"])])
    assert latency_ms([*CLIPPED, *end]) > latency_ms([helper.make_node("Clip", ["c", "zero", "six"], ["a"])])


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize(("sides", "height", "width"), [((1000,), 1, 1000), ((20, 50), 20, 50)])
def test_a_global_pool_leaves_one_number_per_channel(
    operator: str, sides: tuple[int, ...], height: int, width: int
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1] * len(sides)),
        helper.make_node(operator, ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    weights = {"w": (64, 16, *[3] * len(sides)), "v": (64, 10)}
    _, pool, last = workload_from_onnx(model(nodes, weights, shape=(1, 16, *sides))).kernels
    assert (pool.kind, pool.in_channels, pool.out_channels, pool.height, pool.width) == ("globalpool", 64, 64, 1, 1)
    assert (pool.in_height, pool.in_width, pool.kernel) == (height, width, (height, width))
    assert (last.in_channels, last.out_channels) == (64, 10)


BORDER = (0, 0, 1, 2, 0, 0, 3, 2)  # above 1, to the left 2, below 3, to the right 2
READER = helper.make_node("Conv", ["p", "w"], ["y"], pads=[1, 0, 1, 0], strides=[2, 2])

TWO_READERS = (
    helper.make_node("Conv", ["p", "w"], ["a"]),
    helper.make_node("GlobalAveragePool", ["a"], ["b"]),
    helper.make_node("GlobalAveragePool", ["p"], ["c"]),
    helper.make_node("Add", ["b", "c"], ["y"]),
)


def bordered(*readers: onnx.NodeProto, opset: int = 18, **given: Any):
    """Kernels of a Pad and what reads it, a 3x3 convolution where nothing is said; `given`: pads, value, mode."""
    attributes = {key: value for key, value in given.items() if key == "mode" or opset < 11}
    arrays = {
        key: np.array(value, np.float32 if key == "value" else np.int64)
        for key, value in given.items()
        if key not in attributes
    }
    nodes = [helper.make_node("Pad", ["x", *arrays], ["p"], **attributes), *(readers or [READER])]
    made = model(nodes, {"w": (8, 8, 3, 3), "v": (8, 9, 3, 3)}, shape=(1, 8, 16, 16))
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    made.opset_import[0].version = opset
    return workload_from_onnx(made).kernels


@pytest.mark.parametrize(
    "given",
    [{}, {"value": 0}, {"mode": "constant"}, {"opset": 10}, {"opset": 10, "value": 0.0}],
)
def test_a_border_of_zeros_rides_on_the_convolution_that_reads_it(given: dict[str, Any]) -> None:
    (one,) = bordered(pads=BORDER, **given)
    assert (one.kind, one.padding, one.inputs) == ("conv", (2, 2), (-1,))
    assert (one.in_channels, one.in_height, one.in_width) == (8, 16, 16)
    assert (one.height, one.width) == (10, 9)


@pytest.mark.parametrize(
    ("kernels", "kinds"),
    [
        (lambda: bordered(pads=BORDER, value=1), ["shuffle", "conv"]),
        (lambda: bordered(pads=BORDER, value=1.0, opset=10), ["shuffle", "conv"]),
        (lambda: bordered(pads=BORDER, mode="reflect"), ["shuffle", "conv"]),
        (lambda: bordered(pads=(0, 0, -1, 0, 0, 0, 0, 0)), ["shuffle", "conv"]),
        (
            lambda: bordered(helper.make_node("Conv", ["p", "v"], ["y"]), pads=(0, 1, 0, 0, 0, 0, 0, 0)),
            ["shuffle", "conv"],
        ),
        (
            lambda: bordered(helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3]), pads=BORDER),
            ["shuffle", "maxpool"],
        ),
        (lambda: bordered(*TWO_READERS, pads=BORDER), ["shuffle", "conv", "globalpool", "globalpool", "add"]),
    ],
)
def test_any_other_border_is_a_kernel_of_its_own(kernels, kinds: list[str]) -> None:
    assert [kernel.kind for kernel in kernels()] == kinds


def test_a_value_that_is_needed_elsewhere_carries_no_residual() -> None:
    nodes = [
        conv("x", "a", "w"),
        helper.make_node("Add", ["a", "x"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    kinds = [k.kind for k in workload_from_onnx(model(nodes, {"w": (8, 8, 3, 3)})).kernels]
    assert kinds == ["conv", "add", "mul"]


def test_squeeze_and_excitation_reads_the_large_map_once() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["q"]),
        helper.make_node("Sigmoid", ["q"], ["s"]),
        helper.make_node("Mul", ["s", "x"], ["y"]),
    ]
    kernels = workload_from_onnx(model(nodes, {"w": (8, 8, 1, 1)})).kernels
    assert [k.kind for k in kernels] == ["globalpool", "conv", "mul"]
    assert kernels[2].input_elements == 8 * 16 * 16


def test_depthwise_grouped_and_strided_convolutions_keep_their_shapes() -> None:
    nodes = [conv("x", "a", "w1", group=8), conv("a", "y", "w2", group=2, strides=[2, 2])]
    one, two = workload_from_onnx(model(nodes, {"w1": (8, 1, 3, 3), "w2": (16, 4, 3, 3)})).kernels
    assert (one.kind, one.macs) == ("depthwise", 9 * 8 * 16 * 16)
    assert (two.kind, two.macs, two.height) == ("conv", 9 * 4 * 16 * 8 * 8, 8)


def test_unknown_operators_are_all_named() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["a"]), helper.make_node("Det", ["a"], ["y"])]
    with pytest.raises(EdgenasError, match=r"not known here: Det, NonZero"):
        workload_from_onnx(model(nodes, {}))


@pytest.mark.parametrize("content", [b"", b"no onnx", b"\x08\x0a" * 40])
def test_a_file_that_is_not_onnx_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(EdgenasError, match="not an ONNX file"):
        workload_from_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "operator", ["Conv", "MatMul", "Gemm", "BatchNormalization", "Reshape", "Gather", "QLinearConv"]
)
@pytest.mark.parametrize("constant", [False, True])
def test_a_node_without_what_it_needs_is_named(operator: str, constant: bool) -> None:
    nodes = [helper.make_node(operator, ["w" if constant else "x"], ["a"]), helper.make_node("Add", ["x", "a"], ["y"])]
    with pytest.raises(
        EdgenasError, match=rf"{operator} has 1 inputs and 1 outputs, and needs \d and 1: the file is damaged"
    ):
        workload_from_onnx(model(nodes, {"w": (8, 8, 3, 3)}))


def test_a_node_that_gives_nothing_is_no_part_of_the_network_and_no_error() -> None:
    nodes = [helper.make_node("Relu", ["x"], []), helper.make_node("Relu", ["x"], ["y"])]
    assert [kernel.kind for kernel in workload_from_onnx(model(nodes, {})).kernels] == ["activation"]


EXPORTERS: dict[str, dict[str, Any]] = {
    "TorchScript, opset 11, free batch": {
        "dynamo": False,
        "opset_version": 11,
        "dynamic_axes": {"image": {0: "batch"}},
    },
    "TorchScript, opset 11, nothing folded": {"dynamo": False, "opset_version": 11, "do_constant_folding": False},
    "TorchScript, opset 17, free batch": {
        "dynamo": False,
        "opset_version": 17,
        "dynamic_axes": {"image": {0: "batch"}},
    },
    "as PyTorch's documentation shows it": {},
}


def exported(network: Any, side: int, path: Path, exporter: str) -> Path:
    import torch

    image = (torch.zeros(1, 3, side, side),)
    torch.onnx.export(network, image, str(path), input_names=["image"], verbose=False, **EXPORTERS[exporter])
    return path


def multiplications(network: Any, side: int) -> int:
    """Of every convolution and linear layer, counted while PyTorch runs them: weights x what each of them gives."""
    import torch

    counted = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(
                lambda layer, _inputs, output: counted.append(layer.weight.numel() * output.numel() // output.shape[1])
            )
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    return sum(counted)


@pytest.mark.parametrize("exporter", [name for name in EXPORTERS if "opset" in name])
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_ways_to_flatten_are_read_from_torchs_older_exporter(tmp_path: Path, exporter: str) -> None:
    import torch

    ways: dict[str, Callable[[Any], Any]] = {
        "view": lambda x: x.view(x.size(0), -1),
        "sizes": lambda x: x.view(x.size(0), x.size(1) * x.size(2) * x.size(3)),
        "shuffle": lambda x: x.view(x.size(0), 2, 4, 8, 8).transpose(1, 2).contiguous().view(x.size(0), 512),
        "resize": lambda x: torch.nn.functional.interpolate(x, size=(x.size(2), x.size(3))).flatten(1),
    }

    class Net(torch.nn.Module):
        def __init__(self, way: Callable[[Any], Any]) -> None:
            super().__init__()
            self.conv, self.way, self.last = torch.nn.Conv2d(3, 8, 3, 2, 1), way, torch.nn.Linear(512, 10)

        def forward(self, x: Any) -> Any:
            return self.last(self.way(torch.relu(self.conv(x))))

    for name, way in ways.items():
        network = read_onnx(exported(Net(way).eval(), 16, tmp_path / f"{name}.onnx", exporter))
        assert network.workload.macs == 8 * 3 * 9 * 64 + 512 * 10
        assert network.params == 8 * 27 + 8 + 512 * 10 + 10


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_0", "regnet_y_400mf", "googlenet"]
)
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_torchvision_networks_have_the_macs_that_pytorch_runs(tmp_path: Path, name: str, exporter: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, **more).eval()
    read = read_onnx(exported(network, 224, tmp_path / "m.onnx", exporter))
    assert read.workload.macs == multiplications(network, 224)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "giga_macs", "jetson_nano_ms"),
    [("resnet50", 4.09, 58.6), ("mobilenet_v2", 0.30, 15.9), ("swin_t", 4.35, None), ("vit_b_32", 4.36, None)],
)
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_torchvision_networks_count_what_is_published(tmp_path: Path, name, giga_macs, jetson_nano_ms) -> None:
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    network = torchvision.models.get_model(name, weights=None).eval()
    path = tmp_path / f"{name}.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, 224, 224),), str(path), dynamo=True, external_data=False, verbose=False
    )
    workload = workload_from_onnx(path)
    assert workload.macs / 1e9 == pytest.approx(giga_macs, rel=0.02)
    if jetson_nano_ms is not None:
        latency = latency_from_workload(profile_from_name("jetson-nano"), workload)
        assert latency.ms == pytest.approx(jetson_nano_ms, rel=0.3)
        assert latency.extrapolated
