"""What an ONNX file holds as weights, kernel by kernel, and the precision that it computes in."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx
from onnx import TensorProto

from edgenas.architectures.onnx_facts import Fact
from edgenas.architectures.onnx_graph import Graph
from edgenas.records import Precision

NOT_TRAINED = {"BatchNormalization": (3, 4), "Resize": (1, 2, 3), "Upsample": (1,), "Pad": (1, 2, 3), "Clip": (1, 2),
               "QLinearConv": (1, 2, 4, 5, 6, 7), "QLinearMatMul": (1, 2, 4, 5, 6, 7), "ConvInteger": (2, 3),
               "MatMulInteger": (2, 3)}  # fmt: skip  # running statistics, sizes, bounds, scales and zero points
INTEGER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class Weights:
    """Elements of the stored tensors that each kernel reads, each tensor once, by the first kernel that reads it.

    Left out: running means and variances, scales of quantisation, bounds, single numbers, and what normalises the image.
    """

    def __init__(self, graph: Graph) -> None:
        self._facts = graph.facts
        self._counted: set[str] = set()
        self.of_kernel: dict[int, int] = {}

    def read(self, node: onnx.NodeProto, kernel: int, *, raw: bool) -> None:
        """Count what `node` reads for this kernel; `raw`: it works on the image itself."""
        plain = node.op_type in ("Add", "Sub", "Mul", "Div")
        if plain and raw:
            return
        for place, tensor in enumerate(node.input):
            fact = self._facts.get(tensor)
            if fact is None or not fact.constant or place in NOT_TRAINED.get(node.op_type, ()):
                continue
            if node.op_type == "QLinearConv" and place == 8:  # its bias has 32-bit whole numbers
                fact = replace(fact, roots=frozenset([tensor]))
            self.of_kernel[kernel] = self.of_kernel.get(kernel, 0) + self._elements(fact, one=node.op_type == "PRelu")

    def _elements(self, fact: Fact, *, one: bool) -> int:
        """Elements of the stored tensors behind a constant that were not counted before."""
        new = fact.roots - self._counted
        self._counted |= new
        sizes = [math.prod(self._facts[root].shape or ()) if root in self._facts else 0 for root in new]
        return sum(size for size in sizes if size > 1 or one)


def precision_of_graph(graph: Graph) -> Precision:
    """int8 where layers work on quantised maps, fp16 where they hold half-precision numbers, fp32 otherwise."""
    quantised, halves, layers = set[str](), 0, 0
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear":
            quantised.update(node.output)
        if node.op_type in INTEGER or (node.op_type in HEAVY and node.input[0] in quantised):
            return "int8"
        if node.op_type in HEAVY:
            layers += 1
            halves += graph.facts[node.output[0]].dtype in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return "fp16" if layers and halves == layers else "fp32"


def precision_of_model(model: onnx.ModelProto) -> Precision:
    """The same of a whole file, by its layers' stored weights alone: nothing of it has to be understood beside."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    quantised, halves, layers = set[str](), 0, 0
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            quantised.update(node.output)
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                types[node.output[0]] = attribute.t.data_type
            if node.op_type == "Cast" and attribute.name == "to":
                types[node.output[0]] = attribute.i
        if node.op_type in ("Identity", "Transpose", "Reshape") and node.input[0] in types:
            types[node.output[0]] = types[node.input[0]]
        if node.op_type in INTEGER or (node.op_type in HEAVY and node.input[0] in quantised):
            return "int8"
        if node.op_type in HEAVY:
            layers += 1
            halves += types.get(node.input[1]) in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return "fp16" if layers and halves == layers else "fp32"
