"""What has been read of an ONNX graph so far, as kernels that compute exactly the same, and the values of its constants.

architectures/onnx_kernels.py counts what a runtime launches, for any file; here nothing is approximate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgenas.architectures.onnx_facts import attribute, label
from edgenas.architectures.onnx_graph import Graph
from edgenas.architectures.onnx_kernels import NO_SHAPE
from edgenas.errors import EdgenasError
from edgenas.records import Kernel, KernelKind

INPUT = -1
LAYERS = ("conv", "depthwise", "linear")
Floats = NDArray[np.float32]
Map = tuple[int, int, int]  # channels, height, width
Padding = tuple[str, tuple[int, int, int, int], float]  # of a tensor: above, left, below, right; with this value


class OnnxReading:
    """`weights`: by kernel, arrays by their names in the network. `epsilons`: of batch norms. `fixed`: kernels that only hold
    constants of the file. `source`: the kernel that computes a tensor. `padded`: maps with a border, for what reads them."""

    def __init__(self, model: onnx.ModelProto, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name
        self.kernels: list[Kernel] = []
        self.weights: dict[int, dict[str, NDArray[Any]]] = {}
        self.epsilons: dict[int, float] = {}
        self.fixed: set[int] = set()
        self.source: dict[str, int] = {}
        self.padded: dict[str, Padding] = {}
        self.passed: set[str] = set()  # tensors inside a pattern that was read whole
        self.ends: dict[int, str] = {}  # of every kernel: the tensor that is its output as it stands
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.nodes:
            for tensor in dict.fromkeys(node.input):
                self.readers.setdefault(tensor, []).append(node)
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {tensor: node for node in model.graph.node for tensor in node.output}
        self._opsets = model.opset_import

    def refused(self, node: onnx.NodeProto, why: str) -> EdgenasError:
        """One line that names the node."""
        return EdgenasError(
            f"{self.name}: {label(node)} {why}: only plain convolutional networks (convolutions, linear layers, batch norms, "
            "activations, pools, sums, products, concatenations, slices) become torch networks"
        )

    # -------- shapes and places

    def shape(self, tensor: str) -> Map:
        """Of a map (1, C, H, W), or of features (1, F) as (F, 1, 1)."""
        fact = self.graph.facts[tensor]
        shape = fact.shape
        if shape is None:
            raise EdgenasError(f"{self.name}: {fact.problem or NO_SHAPE.format(tensor)}")
        if len(shape) not in (2, 4) or shape[0] != 1:
            raise EdgenasError(f"{self.name}: {tensor!r} is neither (N, C, H, W) nor (N, features), but {shape}")
        return (shape[1], shape[2], shape[3]) if len(shape) == 4 else (shape[1], 1, 1)

    def made(self, index: int) -> Map:
        """The shape of a kernel's output."""
        if index == INPUT:
            return self.shape(self.graph.inputs[0])
        kernel = self.kernels[index]
        return kernel.out_channels, kernel.height, kernel.width

    def map(self, node: onnx.NodeProto, tensor: str) -> tuple[int, Map]:
        """The kernel that makes what a node reads, and its shape. Refuses what was padded or flattened for something else."""
        if tensor not in self.source:
            raise self.refused(node, f"reads {tensor!r}, which is no map of its own")
        index = self.source[tensor]
        if self.shape(tensor) != self.made(index):
            raise self.refused(node, "works on a flattened map")
        return index, self.shape(tensor)

    def maps(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """The kernels of all inputs."""
        return tuple(self.map(node, tensor)[0] for tensor in node.input)

    def append(self, tensor: str, kind: KernelKind, read: Map, inputs: tuple[int, ...], **more: Any) -> int:
        """A new kernel that makes `tensor`; its index."""
        channels, height, width = self.shape(tensor)
        self.kernels.append(Kernel(kind, read[0], channels, height, width, read[1], read[2], inputs, **more))
        index = len(self.kernels) - 1
        self.source[tensor], self.ends[index] = index, tensor
        return index

    def is_alone(self, tensor: str) -> bool:
        """Is a tensor read by one node and nothing else?"""
        return len(self.readers.get(tensor, [])) == 1 and tensor not in self.graph.outputs

    def end(self, tensor: str) -> Kernel | None:
        """The kernel whose output this is, if what reads the tensor may become part of it."""
        index = self.source.get(tensor, INPUT)
        whole = index != INPUT and self.ends[index] == tensor and self.is_alone(tensor)
        return self.kernels[index] if whole and not self.kernels[index].activation else None

    def end_but_for(self, tensor: str, nodes: tuple[onnx.NodeProto, ...]) -> bool:
        """As `end`, where these nodes together are all that reads the tensor."""
        index = self.source.get(tensor, INPUT)
        read = [node.output[0] for node in self.readers.get(tensor, [])]
        alone = sorted(read) == sorted(node.output[0] for node in nodes) and tensor not in self.graph.outputs
        return index != INPUT and self.ends[index] == tensor and alone and not self.kernels[index].activation

    def extend(self, tensor: str, output: str, **changes: Any) -> int:
        """What makes `tensor` makes `output`; the kernel's index."""
        index = self.source[tensor]
        self.kernels[index] = msgspec.structs.replace(self.kernels[index], **changes)
        self.source[output], self.ends[index] = index, output
        return index

    def finish(self, output: str) -> None:
        """Let the last kernel make the output, and leave out those that nothing reads."""
        index = self.source[output]
        if index == INPUT or index != len(self.kernels) - 1:
            self.append(output, "activation", self.shape(output), (index,))
        joined = self._joined(self._needed())
        read = self._needed(joined)
        places = {INPUT: INPUT} | {old: new for new, old in enumerate(sorted(read - {INPUT}))}
        places |= {total: places[layer] for total, layer in joined.items()}
        self.kernels = [
            msgspec.structs.replace(
                kernel,
                inputs=tuple(places[source] for source in kernel.inputs),
                residual=None if kernel.residual is None else places[kernel.residual],
            )
            for place, kernel in enumerate(self.kernels)
            if place in read
        ]
        self.weights = {places[old]: arrays for old, arrays in self.weights.items() if old in read}
        self.epsilons = {places[old]: epsilon for old, epsilon in self.epsilons.items() if old in read}
        self.fixed = {places[old] for old in self.fixed & read}

    def _needed(self, joined: Mapping[int, int] = MappingProxyType({})) -> set[int]:
        """The kernels that the last one needs; of a sum that was joined to a layer, the layer."""
        last = len(self.kernels) - 1
        needed = {joined.get(last, last)}
        for place in reversed(range(len(self.kernels))):
            needed.update(joined.get(source, source) for source in self.kernels[place].sources if place in needed)
        return needed

    def _joined(self, needed: set[int]) -> dict[int, int]:
        """Additions of two maps become a part of the convolution that made the later of them, as runtimes compute it and as the
        stages of our own are written: {the sum: that convolution}."""
        reads = Counter(source for place in needed - {INPUT} for source in self.kernels[place].inputs)
        joined: dict[int, int] = {}
        for place in sorted(needed - {INPUT}):
            total = self.kernels[place]
            if total.kind != "add" or len(total.inputs) != 2 or INPUT in total.inputs:
                continue
            other, last = sorted(total.inputs)
            layer = self.kernels[last]
            free = layer.kind in ("conv", "depthwise") and not layer.activation and last not in self.fixed
            if free and reads[last] == 1 and self.made(other) == self.made(last) == self.made(place) and not total.norm:
                self.kernels[last] = msgspec.structs.replace(layer, residual=other, activation=total.activation)
                joined[place] = last
        return joined

    # -------- constants

    def is_constant(self, tensor: str) -> bool:
        """Is a tensor known before the first image?"""
        return self.graph.facts[tensor].constant

    def weight(self, node: onnx.NodeProto, place: int) -> Floats:
        """A constant input of 32-bit numbers."""
        tensor = node.input[place] if place < len(node.input) else ""
        if not tensor or not self.is_constant(tensor) or self.graph.facts[tensor].dtype != TensorProto.FLOAT:
            raise self.refused(node, f"has no constant of 32-bit numbers as input {place}")
        value: Floats = self._value(tensor, node).astype(np.float32)
        return value

    def numbers(self, node: onnx.NodeProto, place: int, name: str) -> list[int] | None:
        """Whole numbers that are an input in newer opsets and an attribute in older ones; None where they are neither."""
        if place < len(node.input) and node.input[place]:
            if not self.is_constant(node.input[place]):
                raise self.refused(node, "has sizes that depend on the image")
            return [int(number) for number in self._value(node.input[place], node).reshape(-1)]
        found = [one for one in node.attribute if one.name == name]
        return [int(number) for number in attribute(node, name, ())] if found else None

    def _value(self, tensor: str, reader: onnx.NodeProto) -> NDArray[Any]:
        from onnx.reference import ReferenceEvaluator

        fact = self.graph.facts[tensor]
        if fact.value is not None:
            return fact.value
        if tensor in self._stored:
            return numpy_helper.to_array(self._stored[tensor])
        if tensor not in self._makers:
            raise self.refused(reader, f"has weights ({tensor!r}) that are computed inside a function or loop")
        node = self._makers[tensor]  # a copy of another weight, or computed from some
        feeds = {name: self._value(name, reader) for name in node.input if name}
        inputs, outputs = (
            [helper.make_value_info(name, onnx.TypeProto()) for name in names] for names in (feeds, [tensor])
        )
        graph = helper.make_graph([node], "one", inputs, outputs)
        alone = ReferenceEvaluator(helper.make_model(graph, opset_imports=self._opsets))
        results = alone.run([tensor], feeds)
        assert isinstance(results, list)
        value: NDArray[Any] = results[0]
        return value
