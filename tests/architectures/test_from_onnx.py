"""ONNX files become the kernels that a runtime launches; torchvision's networks count what is published."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgenas.architectures.chain import chain
from edgenas.architectures.from_onnx import workload_from_onnx
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Classes
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


def test_our_own_export_has_the_macs_and_parameters_of_its_workload() -> None:
    workload = workload_from_architecture(chain(8, 6, (0, 1) * 3, (3, 5) * 3, Classes(10)))
    read = workload_from_onnx(onnx_from_workload(workload, None))
    assert read.macs == workload.macs
    assert [k.kind for k in read.kernels] == [k.kind for k in workload.kernels]


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
