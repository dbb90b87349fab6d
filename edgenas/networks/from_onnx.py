"""ONNX classifiers and recognisers -> torch networks with the file's weights, through the builder of every space.

What is read is read exactly; the first node that is none of the operations of convolutional networks is refused by name.
Batch norms stay batch norms where the file has them (exporters mostly fold them into convolutions: those get a bias).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto

from edgenas.architectures.onnx_batch import at_one_image
from edgenas.architectures.onnx_facts import ONNX, fitting
from edgenas.architectures.onnx_file import input_sides, model_from_file, portable_model
from edgenas.errors import EdgenasError
from edgenas.files import at_home
from edgenas.image_sizes import ImageSize, sides_of
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
    if not isinstance(path, str | Path):
        raise EdgenasError(f"path={path!r:.80}: give the path of an ONNX file")
    reading = reading_from_onnx(at_home(path))
    with torch.random.fork_rng(devices=[]):
        network = network_from_workload(Workload(tuple(reading.kernels)))
    network.load_state_dict(network.state_dict() | tensors_of(reading))
    set_constants(network, reading.epsilons, reading.fixed)
    return network.eval()


def reading_from_onnx(path: str | Path, size: ImageSize | None = None) -> OnnxReading:
    """What an ONNX file computes, as kernels with weights; for images of `size` in place of its own.

    Raises EdgenasError as `network_from_onnx`, and where the file cannot take images of that size.
    """
    path = Path(path)
    model = onnx.load_model_from_string(portable_model(path, {}) if size is None else path_at_size(path, size))
    return reading_from_model(model, str(path), path.parent)


def reading_from_model(model: onnx.ModelProto, name: str, folder: Path | None = None) -> OnnxReading:
    """The same for a model in memory; `name` is what messages call it."""
    newest = onnx.defs.onnx_opset_version()
    opset = max((one.version for one in model.opset_import if one.domain in ONNX), default=1)
    if opset > newest:
        raise EdgenasError(
            f"{name} has opset {opset}, and the newest that is known here is {newest}: export it with that, or install a newer "
            "onnx"
        )
    one = at_one_image(model, {}, folder, name)
    if one.built_in is not None:
        raise EdgenasError(f"{name} is made for batches of {one.built_in}: export it with batch 1 or a free one")
    reading = OnnxReading(model, one.graph, name)
    _read(reading)
    _refuse_damaged(reading)
    return reading


def _refuse_damaged(reading: OnnxReading) -> None:
    """Raise EdgenasError for weights that do not fit their kernels, or are no numbers: ONNX's own checks do not look at them."""
    for index, arrays in reading.weights.items():
        kernel = reading.kernels[index]
        layer = (kernel.out_channels, kernel.in_channels // kernel.groups, *kernel.kernel)
        shapes = {"conv.weight": layer, "linear.weight": layer[:2]}
        for name, array in arrays.items():
            wanted = shapes.get(name, layer[:1])
            if array.shape != wanted:
                raise EdgenasError(
                    f"{reading.name} is damaged: {name} of kernel {index} ({kernel.kind}) is {array.shape}, and {wanted} fits it"
                )
            if not np.isfinite(array).all():
                raise EdgenasError(
                    f"{reading.name}: {name} of kernel {index} ({kernel.kind}) holds what is no finite number: export it again"
                )


def tensors_of(reading: OnnxReading) -> dict[str, torch.Tensor]:
    """The weights, by their names in the network of these kernels."""
    return {
        f"kernels.{index}.{name}": torch.from_numpy(np.array(array, np.float32))
        for index, arrays in reading.weights.items()
        for name, array in arrays.items()
    }


def set_constants(network: Network, epsilons: Mapping[int, float], fixed: Iterable[int]) -> None:
    """What a workload does not say: `epsilons` of batch norms, by kernel, and which kernels are `fixed`: never trained."""
    for index, epsilon in epsilons.items():
        norm = network.kernels[index].norm
        assert isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
        norm.eps = epsilon
    for index in fixed:
        network.kernels[index].requires_grad_(False)


def path_at_size(path: Path, image: ImageSize) -> bytes:
    """The file with its input made for images of this size; shapes that followed from its own size are left out, for
    they are inferred again."""
    model = model_from_file(path)
    for value, sides in _sides(model):
        if len(sides) < 2 or sides[1] < 1:
            raise EdgenasError(
                f"{path}: its input {value!r} does not say how many channels it has: export it with their number (height and "
                "width may be free)"
            )
    own = input_sides(model, {}, str(path))
    wanted = sides_of(image)
    given = {
        key: tuple(size if isinstance(size, int) else (1, 0, *wanted)[place] for place, size in enumerate(sides))
        for key, sides in own.items()
        if len(sides) == 4 and isinstance(sides[1], int)
    }
    model = onnx.load_model_from_string(portable_model(path, given))
    for value in model.graph.input:
        if value.name in given:
            for dim, side in zip(value.type.tensor_type.shape.dim[2:], wanted, strict=True):
                dim.dim_value = side
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())


def is_of_one_size(path: Path) -> bool:
    """Does a file say the size of the images that it takes? Raises EdgenasError for what is no ONNX file."""
    return all(len(sides) > 1 and min(sides[1:]) > 0 for _, sides in _sides(model_from_file(path)))


def _sides(model: onnx.ModelProto) -> list[tuple[str, list[int]]]:
    """Of every input: its name and its sides, 0 or less where they are free; none where it has no shape."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    return [(value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]) for value in inputs]


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
        with fitting(node, name):
            RULES[node.op_type](reading, node)
    if output not in reading.source or reading.shape(output) != reading.made(reading.source[output]):
        raise EdgenasError(
            f"{name}: its output {output!r} is a flattened map: networks that end in features can be read"
        )
    reading.finish(output)
