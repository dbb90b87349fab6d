"""ONNX classifiers and recognisers -> torch networks with the file's weights, through the builder of every space.

What is read is read exactly; the first node that is none of the operations of convolutional networks is refused by name.
Batch norms stay batch norms where the file has them (exporters mostly fold them into convolutions: those get a bias).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto

from edgenas.architectures.onnx_batch import at_one_image
from edgenas.architectures.onnx_facts import ONNX
from edgenas.architectures.onnx_file import portable_model
from edgenas.errors import EdgenasError
from edgenas.networks import onnx_layers as layers
from edgenas.networks import onnx_maps as maps
from edgenas.networks.from_workload import Network, network_from_workload
from edgenas.networks.onnx_reading import INPUT, OnnxReading
from edgenas.records import Workload

RULES: dict[str, Callable[[OnnxReading, onnx.NodeProto], None]] = {
    "Conv": layers.read_conv, "Gemm": layers.read_gemm, "MatMul": layers.read_matmul, "BatchNormalization": layers.read_norm,
    "MaxPool": layers.read_pool, "AveragePool": layers.read_pool, "GlobalAveragePool": layers.read_global_pool,
    "GlobalMaxPool": layers.read_global_pool, "ReduceMean": layers.read_mean, "ReduceSum": layers.read_sum,
    "Add": maps.read_add, "Sum": maps.read_add, "Sub": maps.read_affine, "Mul": maps.read_mul, "Div": maps.read_affine,
    "Concat": maps.read_concat, "Split": maps.read_split, "Slice": maps.read_slice, "Pad": maps.read_pad,
    "Clip": maps.read_clip, "Softmax": maps.read_softmax,
    **dict.fromkeys(maps.ACTIVATIONS, maps.read_activation),
    **dict.fromkeys(("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"), maps.read_view),
}  # fmt: skip


def network_from_onnx(path: str | Path) -> Network:
    """The network of an ONNX file, in evaluation mode: (N, C, H, W) float32 -> (N, features); maps of one pixel are features.

    Constants that the file adds or multiplies with, such as the normalisation of its input, are layers whose weights ask for no
    gradient. Raises EdgenasError, in one line that names the node, for what is no convolutional network of 32-bit numbers.
    """
    path = Path(path)
    model = onnx.load_model_from_string(portable_model(path, {}))
    one = at_one_image(model, {}, path.parent, str(path))
    if one.built_in is not None:
        raise EdgenasError(f"{path} is made for batches of {one.built_in}: export it with batch 1 or a free one")
    reading = OnnxReading(model, one.graph, str(path))
    _read(reading)
    with torch.random.fork_rng(devices=[]):
        network = network_from_workload(Workload(tuple(reading.kernels)))
    tensors = network.state_dict()
    for index, arrays in reading.weights.items():
        for name, array in arrays.items():
            tensors[f"kernels.{index}.{name}"] = torch.from_numpy(np.array(array, np.float32))
    network.load_state_dict(tensors)
    for index, epsilon in reading.epsilons.items():
        norm = network.kernels[index].norm
        assert isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
        norm.eps = epsilon
    for index in reading.fixed:
        network.kernels[index].requires_grad_(False)
    return network.eval()


def _read(reading: OnnxReading) -> None:
    """All nodes, in order; the output is what the last kernel makes."""
    graph, name = reading.graph, reading.name
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise EdgenasError(
            f"{name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs: networks with one of each can be read"
        )
    (image,), (output,) = graph.inputs, graph.outputs
    fact = graph.facts[image]
    if fact.dtype != TensorProto.FLOAT or fact.shape is None or len(fact.shape) != 4:
        raise EdgenasError(f"{name}: its input {image!r} is no batch of images (N, C, H, W) of 32-bit numbers")
    reading.source[image] = INPUT
    for node in graph.nodes:
        if any(tensor in reading.source or tensor in reading.passed for tensor in node.output):
            continue  # read together with one before it
        if node.op_type not in RULES or node.domain not in ONNX:
            raise reading.refused(node, "cannot be read")
        RULES[node.op_type](reading, node)
    if output not in reading.source or reading.shape(output) != reading.made(reading.source[output]):
        raise EdgenasError(
            f"{name}: its output {output!r} is a flattened map: networks that end in features can be read"
        )
    reading.finish(output)
