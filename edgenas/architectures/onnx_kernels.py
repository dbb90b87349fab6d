"""The nodes of a flat ONNX graph -> the kernels that an inference runtime launches for them.

Batch norm, activations, biases and residual additions ride on the convolution before them, a border of zeros on the one after
it; chains of elementwise operations are one kernel; views are none. An operator that is not known is an error, never skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import onnx

from edgenas.architectures.onnx_facts import ONNX, Fact, attribute, fitting, label, operator
from edgenas.architectures.onnx_graph import Graph
from edgenas.architectures.onnx_weights import Weights
from edgenas.errors import EdgenasError
from edgenas.records import Kernel, KernelKind

INPUT = -1
Border = tuple[int, int]  # zeros above and to the left; those below and to the right follow from the sizes
LINEAR = ("conv", "depthwise", "linear", "convtranspose")
VIEWS = {
    "Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast", "QuantizeLinear", "DequantizeLinear",
    "DynamicQuantizeLinear", "CastLike",
}  # fmt: skip
POINTWISE = {
    "Abs", "And", "Ceil", "Celu", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Not", "Or",
    "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Sum",
    "Swish", "Tanh", "ThresholdedRelu", "Where", "Add", "Mean", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitShift",
    "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cos", "Cosh", "IsInf", "IsNaN", "Mod", "Shrink", "Sin", "Sinh",
    "Tan", "Trilu", "Xor",
}  # fmt: skip
ARITHMETIC = {"Add", "Mul", "Div", "Sub", "Pow"}  # with what is known beforehand, or within an activation
RIDES = {"Relu", "Clip", "LeakyRelu"}  # what runtimes compute inside the convolution, for nothing
SIMPLE: dict[str, KernelKind] = {
    "Softmax": "softmax", "LogSoftmax": "softmax", "LayerNormalization": "normalization", "RMSNormalization": "normalization",
    "InstanceNormalization": "normalization", "GroupNormalization": "normalization", "LpNormalization": "normalization",
    "LRN": "normalization", "Transpose": "shuffle", "DepthToSpace": "shuffle", "SpaceToDepth": "shuffle", "Pad": "shuffle",
    "Slice": "slice", "Split": "slice", "Gather": "slice", "GatherElements": "slice", "GatherND": "slice", "Expand": "resize",
    "Tile": "resize", "Resize": "resize", "Upsample": "resize", "ReduceMax": "reduce", "ReduceMin": "reduce",
    "ReduceSum": "reduce", "ReduceL1": "reduce", "ReduceL2": "reduce", "ReduceProd": "reduce", "ReduceMean": "reduce",
    "ReduceSumSquare": "reduce", "ReduceLogSumExp": "reduce", "ArgMax": "reduce", "ArgMin": "reduce", "TopK": "reduce",
    "CumSum": "reduce", "ReduceLogSum": "reduce", "Hardmax": "softmax", "MeanVarianceNormalization": "normalization",
    "Scatter": "shuffle", "ScatterElements": "shuffle", "ScatterND": "shuffle", "ReverseSequence": "shuffle",
    "CenterCropPad": "shuffle", "OneHot": "resize", "GridSample": "resize", "RoiAlign": "resize", "MaxRoiPool": "resize",
}  # fmt: skip
NO_SHAPE = (
    "the shape of {!r} depends on values that are not in the file, or on the image: export the model with a fixed input size "
    "and without what follows the network"
)
DATA_SIZED = {"NonZero", "NonMaxSuppression", "Compress", "Unique"}  # their results' sizes depend on the image


class KernelReader:
    """Walks the graph once, in its (topological) order, and writes kernels down."""

    def __init__(self, graph: Graph, name: str, fixed_batch: int | None = None) -> None:
        self.graph, self.name, self.fixed_batch = graph, name, fixed_batch
        self.facts = graph.facts
        self.source = dict.fromkeys(graph.inputs, INPUT)
        self.uses: dict[str, int] = dict.fromkeys(graph.outputs, 1)
        self.reader: dict[str, onnx.NodeProto] = {}  # the last, of each tensor
        for node in graph.nodes:
            for tensor in node.input:
                self.uses[tensor] = self.uses.get(tensor, 0) + 1
                self.reader[tensor] = node
        self.bordered: dict[str, tuple[str, Border]] = {}  # what a Pad made: of which tensor, by how much
        self.kernels: list[Kernel] = []
        self.made: list[str] = []  # by each of them, so far
        self.ends = _chain_ends(graph)
        self.weights = Weights(graph)
        self.unknown = set(graph.unknown)
        convolution, product = self._conv, self._product
        self.special: dict[str, Callable[[onnx.NodeProto], None]] = {
            "Conv": convolution, "ConvInteger": convolution, "QLinearConv": convolution, "ConvTranspose": convolution,
            "Gemm": product, "MatMul": product, "MatMulInteger": product, "QLinearMatMul": product, "Einsum": self._einsum,
            "BatchNormalization": self._norm, "MaxPool": self._pool, "AveragePool": self._pool, "LpPool": self._pool,
            "GlobalAveragePool": self._global, "GlobalMaxPool": self._global,
            "GlobalLpPool": self._global, "Concat": self._concat,
        }  # fmt: skip

    def read(self) -> tuple[Kernel, ...]:
        """All kernels. Raises EdgenasError naming every operator that is not known."""
        for node in self.graph.nodes:
            with fitting(node, self.name):
                self._read(node)
        if self.unknown:
            sized = sorted(self.unknown & DATA_SIZED)
            why = (
                f" (the size of what {', '.join(sized)} gives depends on the image: export without that end)"
                if sized
                else ""
            )
            raise EdgenasError(
                f"{self.name} holds operators that are not known here: {', '.join(sorted(self.unknown))}{why}"
            )
        if not self.kernels:
            raise EdgenasError(f"{self.name} computes nothing from its input")
        return tuple(self.kernels)

    def _read(self, node: onnx.NodeProto) -> None:
        dynamic = self._dynamic(node)
        first = self.source[dynamic[0]] if dynamic else INPUT
        known = (
            node.op_type in VIEWS or node.op_type in POINTWISE or node.op_type in SIMPLE or node.op_type in self.special
        )
        if node.domain not in ONNX or not known:
            self.unknown.add(operator(node))
        border = None if self.unknown or node.op_type != "Pad" else self._border(node)
        if border is not None:
            self.bordered[node.output[0]] = (node.input[0], border)
        if (
            self.unknown or border is not None or node.op_type in VIEWS
        ):  # after an unknown one no shape is known: the error names all of them
            self._alias(node, first)
            return
        before = len(self.kernels)
        if node.op_type in POINTWISE:
            self._pointwise(node, dynamic)
        elif node.op_type in self.special:
            self.special[node.op_type](node)
        elif node.op_type == "ReduceMean" and self._pools_everything(node):
            self._global(node)
        else:
            for tensor in node.output:
                if tensor and self.uses.get(tensor, 0):
                    self._plain(SIMPLE[node.op_type], dynamic, tensor)
        index = self.source.get(node.output[0], before)
        self.weights.read(node, index, raw=self._is_raw(index))

    def _is_raw(self, index: int) -> bool:
        """Does this kernel only scale or shift the image?"""
        kernel = self.kernels[index] if index < len(self.kernels) else None
        return kernel is not None and kernel.kind in ("activation", "add", "mul") and set(kernel.inputs) == {INPUT}

    # -------- shapes

    def _fact(self, tensor: str) -> Fact:
        return self.facts.get(tensor, Fact(0, None))

    def _shape(self, tensor: str) -> tuple[int, ...]:
        fact = self._fact(tensor)
        if fact.shape is None:
            raise EdgenasError(f"{self.name}: {fact.problem or NO_SHAPE.format(tensor)}")
        return fact.shape

    def _map(self, tensor: str) -> tuple[int, int, int]:
        """(channels, height, width) whose product is the tensor's elements: NCHW maps, or tokens x features."""
        shape = self._shape(tensor)
        if len(shape) == 4 and shape[0] == 1:
            return shape[1], shape[2], shape[3]
        return (shape[-1], math.prod(shape[:-1]), 1) if shape else (1, 1, 1)

    def _image(self, tensor: str) -> tuple[int, int, int]:
        """(channels, height, width) of a map (N, C, H, W) or (N, C, W); several maps, such as frames, stand on each other."""
        shape = self._shape(tensor)
        if len(shape) not in (3, 4):
            raise EdgenasError(f"{self.name}: {tensor!r} is {len(shape) - 2}-d; 1-d and 2-d maps can be read")
        if shape[0] == self.fixed_batch:
            raise EdgenasError(f"{self.name} is made for batches of {shape[0]}: export it with batch 1 or a free one")
        height, width = (1, shape[2]) if len(shape) == 3 else shape[2:]
        return shape[1], shape[0] * height, width

    def _dynamic(self, node: onnx.NodeProto) -> list[str]:
        """Inputs that depend on the image."""
        return [tensor for tensor in node.input if tensor in self.source]

    def _alias(self, node: onnx.NodeProto, kernel: int) -> None:
        for tensor in filter(None, node.output):
            self.source[tensor] = kernel

    def _append(self, tensor: str, kernel: Kernel) -> None:
        self.kernels.append(kernel)
        self.made.append(tensor)
        self.source[tensor] = len(self.kernels) - 1

    def _join(self, node: onnx.NodeProto, kernel: int, **changes: Any) -> None:
        """The kernel computes this node, too."""
        self.kernels[kernel] = msgspec.structs.replace(self.kernels[kernel], **changes)
        self.made[kernel] = node.output[0]
        self._alias(node, kernel)

    def _plain(self, kind: KernelKind, dynamic: list[str], tensor: str, **more: Any) -> None:
        """A kernel that only moves bytes; it reads its full-size inputs (a slice reads what it keeps)."""
        channels, height, width = self._map(tensor)
        full = [name for name in dynamic if math.prod(self._shape(name)) >= channels * height * width] or dynamic
        inputs = tuple(self.source[name] for name in full)
        reads = (channels, height, width) if kind in ("slice", "concat", "add", "mul", "mean") else self._map(full[0])
        self._append(tensor, Kernel(kind, reads[0], channels, height, width, reads[1], reads[2], inputs, **more))

    # -------- elementwise operations, and what rides on the kernel before them

    def _pointwise(self, node: onnx.NodeProto, dynamic: list[str]) -> None:
        groups = {self.source[tensor] for tensor in dynamic}
        last = max(groups)
        if self._rides(node, groups, last):
            kernel = self.kernels[last]
            if (activation := _activation(node, kernel, len(set(dynamic)))) != kernel.activation:
                self._join(node, last, activation=activation)
            else:
                self._join(node, last, bias=kernel.bias or (node.op_type == "Add" and self._is_bias(node, kernel)))
        elif node.op_type == "Add" and len(groups) == 2 and (carrier := self._carrier(dynamic)) is not None:
            self._join(node, carrier, residual=next(iter(groups - {carrier})))
        else:
            kind: KernelKind = "activation" if len(dynamic) == 1 else "mul" if node.op_type in ("Mul", "Div") else "add"
            self._plain(kind, dynamic, node.output[0], activation=node.op_type.lower() if len(dynamic) == 1 else "")

    def _rides(self, node: onnx.NodeProto, groups: set[int], last: int) -> bool:
        """Does the last kernel that the node reads compute it, too? Not where what that kernel made so far is read elsewhere: it
        must be written then. Of other kernels it may read what a chain of elementwise operations began with."""
        if last == INPUT or math.prod(self._shape(node.output[0])) != self.kernels[last].output_elements:
            return False
        kernel, others = self.kernels[last], groups - {last}
        begun = not others or (kernel.kind == "activation" and others <= set(kernel.inputs))
        return begun and self.ends.get(self.made[last]) == self.ends.get(node.output[0])

    def _is_bias(self, node: onnx.NodeProto, kernel: Kernel) -> bool:
        """Is one number per output channel added to a layer that has no bias yet?"""
        sizes = [math.prod(self._shape(tensor)) for tensor in node.input if self._fact(tensor).constant]
        plain = kernel.kind in LINEAR and not kernel.bias and not kernel.activation and kernel.residual is None
        return plain and sizes == [kernel.out_channels]

    def _carrier(self, tensors: list[str]) -> int | None:
        """The convolution or linear layer that an addition of two equal maps rides on: the later one, read by nothing else."""
        if len(tensors) != 2 or self._shape(tensors[0]) != self._shape(tensors[1]):
            return None
        tensor = max(tensors, key=lambda name: self.source[name])
        index = self.source[tensor]
        if index == INPUT or any(index in kernel.sources for kernel in self.kernels[index + 1 :]):
            return None
        kernel = self.kernels[index]
        fits = kernel.kind in LINEAR and kernel.residual is None and not kernel.activation
        return index if fits and self.uses.get(tensor, 0) == 1 else None

    def _norm(self, node: onnx.NodeProto) -> None:
        index = self.source[node.input[0]]
        alone = self.uses.get(node.input[0], 0) == 1
        if index != INPUT and alone and self.kernels[index].kind in LINEAR:
            kernel = self.kernels[index]
            if not kernel.norm and not kernel.activation and kernel.residual is None:
                self._join(node, index, norm=True)
                return
        self._plain("activation", [node.input[0]], node.output[0], norm=True)

    # -------- convolutions, products, pools

    def _border(self, node: onnx.NodeProto) -> Border | None:
        """Of a Pad that lays zeros around a map for one convolution: runtimes join the two. None: a kernel of its own."""
        reader = self.reader.get(node.output[0])
        alone = self.uses.get(node.output[0], 0) == 1 and reader is not None and reader.op_type == "Conv"
        constant = attribute(node, "mode", b"constant") == b"constant" and len(node.input) < 4
        pads = self._numbers(node, 1, attribute(node, "pads", ()))
        zeros = self._numbers(node, 2, [attribute(node, "value", 0.0)])
        if not (alone and constant and zeros == [0.0] and len(pads) == 8 and node.input[0] == self._dynamic(node)[0]):
            return None
        return None if min(pads) < 0 or any(pads[:2] + pads[4:6]) else (int(pads[2]), int(pads[3]))

    def _numbers(self, node: onnx.NodeProto, place: int, otherwise: Sequence[float]) -> list[float]:
        """Of an input that no image changes, or of the attribute that stood for it before; [] where nobody knows."""
        if len(node.input) <= place or not node.input[place]:
            return [float(value) for value in otherwise]
        value = self._fact(node.input[place]).value
        return [] if value is None else [float(number) for number in value.flat]

    def _conv(self, node: onnx.NodeProto) -> None:
        data, weights, bias = (0, 3, 8) if node.op_type == "QLinearConv" else (0, 1, 2)
        weight, groups = self._shape(node.input[weights]), int(attribute(node, "group", 1))
        read, border = self.bordered.get(node.input[data], (node.input[data], (0, 0)))
        channels, height, width = self._image(read)
        out_channels, out_height, out_width = self._image(node.output[0])
        pads = _pair(attribute(node, "pads", (0, 0)), fill=0)
        transposed = (
            node.op_type == "ConvTranspose"
        )  # weights (in, out / groups, kh, kw); of Conv (out, in / groups, ...)
        inside = 0 if len(weight) not in (3, 4) else weight[0] if transposed else groups * weight[1]
        if groups < 1 or inside != channels or channels % groups or out_channels % groups:
            raise EdgenasError(
                f"{self.name}: {label(node)} has {groups} groups and weights {'x'.join(map(str, weight))}, which do not fit "
                f"{channels} channels in and {out_channels} out"
            )
        kind: KernelKind = (
            "convtranspose" if transposed else "depthwise" if groups == channels and groups > 1 else "conv"
        )
        self._append(
            node.output[0],
            Kernel(
                kind, channels, out_channels, out_height, out_width, height, width, (self.source.get(read, INPUT),),
                kernel=_pair(weight[2:]), stride=_pair(attribute(node, "strides", (1, 1))),
                padding=(pads[0] + border[0], pads[1] + border[1]), dilation=_pair(attribute(node, "dilations", (1, 1))),
                groups=groups, bias=len(node.input) > bias and bool(node.input[bias]),
            ),
        )  # fmt: skip

    def _product(self, node: onnx.NodeProto) -> None:
        """A layer, where one of the two matrices is constant: (rows, inner) x (inner, columns), for every head of a batch."""
        left, right = (node.input[0], node.input[3]) if node.op_type == "QLinearMatMul" else node.input[:2]
        swapped = self._fact(left).constant
        weight = self._shape(left if swapped else right)
        out = math.prod(self._shape(node.output[0]))
        inner = self._inner(node, left)
        layer = swapped or self._fact(right).constant
        if not layer:
            self._computed(node, inner, out)
            return
        heads = math.prod(weight[:-2])
        columns = max(1, math.prod(weight) // max(1, inner * heads))
        tokens = max(1, out // (columns * heads))
        bias = node.op_type == "Gemm" and len(node.input) > 2 and bool(node.input[2])
        kind: KernelKind = "linear" if heads == 1 else "conv"  # one layer per head is a grouped 1x1 convolution
        source = (self.source[right if swapped else left],)
        self._append(
            node.output[0],
            Kernel(kind, heads * inner, heads * columns, tokens, 1, tokens, 1, source, groups=heads, bias=bias),
        )

    def _inner(self, node: onnx.NodeProto, left: str) -> int:
        """The dimension that a product sums over."""
        shape = self._shape(left) or (1,)
        return shape[-2] if node.op_type == "Gemm" and attribute(node, "transA", 0) else shape[-1]

    def _computed(self, node: onnx.NodeProto, inner: int, out: int) -> None:
        """A product of two matrices that both depend on the image, as in attention."""
        columns = (self._shape(node.output[0]) or (1,))[-1]
        rows = out // max(1, columns)
        inputs = tuple(self.source[tensor] for tensor in self._dynamic(node))
        self._append(node.output[0], Kernel("matmul", inner, columns, rows, 1, rows, 1, inputs))

    def _einsum(self, node: onnx.NodeProto) -> None:
        """A contraction of two tensors is a matrix product (a layer, if one is constant); of one, a permutation or a sum."""
        shapes = [self._shape(tensor) for tensor in node.input]
        labels, out = _labels(attribute(node, "equation", b"").decode("ascii", "replace"), list(map(len, shapes)))
        dynamic = self._dynamic(node)
        if len(labels) != 2:
            self._plain("shuffle" if len(labels) == 1 else "mul", dynamic, node.output[0])
            return
        if list(map(len, labels)) != list(map(len, shapes)):
            raise EdgenasError(f"{self.name}: {label(node)} does not fit its inputs: {','.join(labels)}")
        pairs = [pair for term, shape in zip(labels, shapes, strict=True) for pair in zip(term, shape, strict=True)]
        sizes = dict(sorted(pairs, key=lambda pair: pair[1]))  # of an ellipsis, a side of 1 is as long as the other one
        constant = [self._fact(tensor).constant for tensor in node.input]
        weight = labels[0] if constant[0] else labels[1]
        other = labels[1] if constant[0] else labels[0]
        inner = math.prod(sizes[letter] for letter in set(weight) & set(other) - set(out))
        columns = math.prod(sizes[letter] for letter in set(weight) & set(out) - set(other))
        heads = math.prod(sizes[letter] for letter in set(weight) & set(out) & set(other)) if any(constant) else 1
        rows = math.prod(self._shape(node.output[0])) // max(1, columns * heads)
        inputs = tuple(self.source[tensor] for tensor in dynamic)
        kind: KernelKind = "matmul" if not any(constant) else "linear" if heads == 1 else "conv"
        kernel = Kernel(kind, heads * inner, heads * columns, rows, 1, rows, 1, inputs, groups=heads)
        self._append(node.output[0], kernel)

    def _pool(self, node: onnx.NodeProto) -> None:
        kind: KernelKind = "maxpool" if node.op_type == "MaxPool" else "avgpool"
        channels, height, width = self._image(node.input[0])
        _, out_height, out_width = self._image(node.output[0])
        self._append(
            node.output[0],
            Kernel(
                kind, channels, channels, out_height, out_width, height, width, (self.source[node.input[0]],),
                kernel=_pair(attribute(node, "kernel_shape", (1, 1))), stride=_pair(attribute(node, "strides", (1, 1))),
                padding=_pair(attribute(node, "pads", (0, 0)), fill=0),
            ),
        )  # fmt: skip

    def _global(self, node: onnx.NodeProto) -> None:
        data = node.input[0]
        channels, height, width = self._image(data) if len(self._shape(data)) == 3 else self._map(data)
        source = (self.source[data],)
        kernel = Kernel("globalpool", channels, channels, 1, 1, height, width, source, kernel=(height, width))
        self._append(node.output[0], kernel)

    def _pools_everything(self, node: onnx.NodeProto) -> bool:
        """Is this mean taken over all pixels of an NCHW map?"""
        before, after = self._shape(node.input[0]), self._shape(node.output[0])
        return len(before) == 4 and before[0] == 1 and math.prod(after) == before[1] and after[:2] == before[:2]

    def _concat(self, node: onnx.NodeProto) -> None:
        channels, height, width = self._map(node.output[0])
        inputs = tuple(self.source[tensor] for tensor in self._dynamic(node))
        self._append(node.output[0], Kernel("concat", channels, channels, height, width, height, width, inputs))


def _chain_ends(graph: Graph) -> dict[str, str]:
    """Where the elementwise operations and views on a tensor end: at the one tensor of theirs that something else reads (or the
    graph gives). Where they end at several, of which all but one must be written besides, at the tensor itself."""
    begun = {tensor: tensor for tensor in graph.inputs}  # with what the chain of a tensor began
    chained: list[onnx.NodeProto] = []
    written = set(graph.outputs)
    for node in graph.nodes:
        dynamic = [tensor for tensor in node.input if tensor in begun]
        beginnings = {begun[tensor] for tensor in dynamic}
        if len(beginnings) == 1 and (node.op_type in POINTWISE or node.op_type in VIEWS):
            chained.append(node)
            begun |= dict.fromkeys(filter(None, node.output), beginnings.pop())
        else:
            written.update(dynamic)
            begun |= {tensor: tensor for tensor in node.output if tensor}
    ends = {tensor: tensor for tensor in written}
    for node in reversed(chained):
        after = {ends[tensor] for tensor in node.output if tensor in ends}  # empty where nothing reads it
        for tensor in filter(begun.__contains__, node.input if after else ()):
            before = after | {ends[tensor]} if tensor in ends else after
            ends[tensor] = tensor if len(before) > 1 else next(iter(before))
    return ends


def _labels(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """(a letter for each dimension of each input, of the result) of an Einsum on inputs of these ranks. An ellipsis becomes
    digits. Without "->" the result has what stands once, in order, behind an ellipsis."""
    terms, arrow, out = equation.replace(" ", "").partition("->")
    labels = terms.split(",")
    hidden = [rank - len(term) + 3 for term, rank in zip(labels, ranks, strict=False) if "..." in term]
    dots = "0123456789"[: max(hidden, default=0)]
    for place, (term, rank) in enumerate(zip(labels, ranks, strict=False)):
        labels[place] = term.replace("...", dots[max(0, len(dots) - (rank - len(term) + 3)) :])
    once = "".join(sorted(letter for letter in set(terms) - set(".,") if terms.count(letter) == 1))
    return labels, out.replace("...", dots) if arrow else dots + once


def _activation(node: onnx.NodeProto, kernel: Kernel, read: int) -> str:
    """What a kernel's activation is called with one more elementwise operation on `read` tensors of it: the dearest in it."""
    if node.op_type == "Mul" and read == 2 and kernel.activation in ("relu", "clip"):
        return "hardswish"  # x * clip(x + 3, 0, 6) / 6, as it is written where no HardSwish is (below opset 14)
    plain = kernel.activation.capitalize() in ("", *ARITHMETIC)  # no activation yet
    if node.op_type in ARITHMETIC or (node.op_type in RIDES and not plain):
        return kernel.activation
    return node.op_type.lower()


def _pair(values: Any, fill: int = 1) -> tuple[int, int]:
    """(vertical, horizontal) of an attribute; 1-d convolutions are one pixel high; the first half of four paddings."""
    numbers = [int(value) for value in values]
    half = numbers[: len(numbers) // 2] if len(numbers) == 4 else numbers
    if fill == 0 and len(numbers) == 2 and numbers[0] != numbers[1]:
        half = [max(numbers)]
    return (half[0], half[1]) if len(half) == 2 else (fill, half[0])
