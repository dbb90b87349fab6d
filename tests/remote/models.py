"""ONNX files, honest and hostile."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgenas.architectures.chain import chain
from edgenas.hardware.candidates import model_from_architecture
from edgenas.hardware.measure import Timing
from edgenas.hardware.profile import profile_from_name
from edgenas.records import ChainArchitecture, Classes
from edgenas.remote.job import job_for

QUICK = Timing(runs=20, seconds=0.05, rounds=4, warmup_runs=2, warmup_seconds=0.0)
HOST = profile_from_name("host-cpu")


def small(width: int = 4) -> ChainArchitecture:
    return chain(width, 3, (0, 0, 0), (3, 3, 3), Classes(10), 1, 16)


def honest(width: int = 4) -> bytes:
    return model_from_architecture(small(width), HOST)


def built(
    nodes: list[onnx.NodeProto], shape: list[int | str], initializers: tuple[onnx.TensorProto, ...] = ()
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        list(initializers),
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(model.SerializeToString())


def unknown_operator(name: str = "Loop") -> bytes:
    return built([helper.make_node(name, ["x"], ["y"])], [1, 4])


def foreign_domain() -> bytes:
    return built([helper.make_node("Relu", ["x"], ["y"], domain="com.example.plugins")], [1, 4])


def external_data(location: str) -> bytes:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return built([helper.make_node("Add", ["x", "w"], ["y"])], [1, 4], (tensor,))


def bomb_by_constant(side: int = 100_000) -> bytes:
    """Some hundred bytes that ask for 40 GB."""
    shape = numpy_helper.from_array(np.array([1, side, side], np.int64), "shape")
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    return built(nodes, [1, 1, 1], (shape,))


def bomb_by_input() -> bytes:
    return built([helper.make_node("Relu", ["x"], ["y"])], [1, 3, 200_000, 200_000])


def bomb_by_nodes(count: int) -> bytes:
    """Two bytes each, a hundred and more once they are parsed."""
    nodes = b"\x0a\x00" * count
    size, prefix = len(nodes), b""
    while True:
        prefix += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            return b"\x08\x0a\x3a" + prefix + nodes


def endless(layers: int = 400, padding: int = 0) -> bytes:
    """A file whose one inference takes minutes; small, but for `padding` bytes of a tensor that nothing reads."""
    weight = numpy_helper.from_array(np.full((32, 32, 3, 3), 0.003, np.float32), "w")
    nodes = [
        helper.make_node(
            "Conv", ["x" if i == 0 else f"t{i}", "w"], ["y" if i == layers - 1 else f"t{i + 1}"], pads=[1] * 4
        )
        for i in range(layers)
    ]
    unread = (numpy_helper.from_array(np.arange(padding, dtype=np.uint8), "unread"),) if padding else ()
    return built(nodes, [1, 32, 512, 512], (weight, *unread))


def job_line(model: bytes) -> bytes:
    """What `edgenas agent --once` reads."""
    return job_for(model, "host-cpu", QUICK).canonical_json() + b"\n" + model
