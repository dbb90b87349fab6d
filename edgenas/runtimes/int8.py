"""INT8 that is exact on every processor.

On x86-64 without VNNI, ONNX Runtime's fused 8-bit kernels add two products u8 x s8 in 16 bits, where they saturate; nothing
says so. Weights within +-64 cannot saturate there (2 * 255 * 64 < 2**15), others need another way. Which way is exact here is
found out by a small graph of the worst case, so it holds for any processor and any version of ONNX Runtime.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgenas.errors import EdgenasError

Arithmetic = Literal["fused", "widened", "unfused"]
ENTRIES: dict[Arithmetic, dict[str, str]] = {
    "fused": {},
    "widened": {"session.x64quantprecision": "1"},  # weights become u8 where u8 x s8 would saturate
    "unfused": {"session.disable_quant_qdq": "1"},
}
MEANING: dict[Arithmetic, str] = {
    "fused": "exact, by this processor's own 8-bit kernels",
    "widened": "exact, with unsigned weights, since this processor has no VNNI (7-bit weights need no such help: "
    "export --reduce-range)",
    "unfused": "exact, dequantised to float32, since 8-bit sums saturate on this processor",
}
WIDEST = 128  # |weight| of int8
PRODUCTS = ("Conv", "Gemm", "MatMul")
CHANNELS = 16


def arithmetic_of(model: str | Path | bytes) -> Arithmetic | None:
    """The fastest way in which the file's INT8 sums are exact on this processor; None for a file without INT8, or of no sense."""
    try:
        found = (
            onnx.load_model_from_string(model)
            if isinstance(model, bytes)
            else onnx.load_model(model, load_external_data=False)
        )
    except (DecodeError, OSError):
        return None  # whoever opens it says what is wrong with it
    quantised = ("Quantize", "QLinear", "Integer", "QGemm")
    if not any(word in node.op_type for node in found.graph.node for word in quantised):
        return None
    return exact_arithmetic(largest_weight(found))


def largest_weight(model: onnx.ModelProto) -> int:
    """Largest |weight| of a file's products, as int8; 128 wherever that cannot be told from its stored tensors."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    moving = {value.name for value in graph.input} - set(stored)  # what depends on the image
    largest = 0
    for node in graph.node:
        if any(name in moving for name in node.input):
            moving.update(node.output)
        both = node.op_type in PRODUCTS and node.input[1] in moving
        if both or "Integer" in node.op_type or (node.op_type.startswith("Q") and node.op_type != "QuantizeLinear"):
            return WIDEST
        if any(attribute.HasField("g") for attribute in node.attribute):
            return WIDEST
        if node.op_type == "DequantizeLinear" and node.input[0] not in moving:
            values = _quantised(node.input[0], stored, makers)
            largest = WIDEST if values is None else max(largest, int(np.abs(values).max(initial=0)))
    return min(largest, WIDEST)


def _quantised(name: str, stored: dict[str, TensorProto], makers: dict[str, NodeProto]) -> NDArray[np.int32] | None:
    """What a constant that is dequantised holds, as integers; None where it is not simply stored, or stored and quantised."""
    if name in stored:
        return numpy_helper.to_array(stored[name]).astype(np.int32)
    node = makers.get(name)
    if node is None or node.op_type != "QuantizeLinear" or len(node.input) < 3:
        return None
    if any(given not in stored for given in node.input):
        return None
    values, scale, zero = (numpy_helper.to_array(stored[given]) for given in node.input)
    if zero.dtype not in (np.int8, np.uint8) or scale.ndim > 1:
        return None
    if scale.ndim == 1 and scale.size > 1:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [-1 if side == axis % values.ndim else 1 for side in range(values.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    bounds = np.iinfo(zero.dtype)
    steps: NDArray[np.int32] = np.clip(np.rint(values / scale) + zero, bounds.min, bounds.max).astype(np.int32)
    return steps


# ---------------------------------------------------------------- which way is exact here


@functools.cache
def exact_arithmetic(largest: int = WIDEST - 1) -> Arithmetic:
    """The fastest way in which sums of int8 products with weights up to `largest` are exact on this processor."""
    for arithmetic, entries in ENTRIES.items():
        if worst_error(largest, entries) < 1:
            return arithmetic
    raise EdgenasError(
        f"onnxruntime {ort.__version__} adds INT8 products inexactly on this processor in every way that is known: "
        "use fp32 or fp16, or another version of onnxruntime"
    )


def worst_error(largest: int, entries: dict[str, str]) -> float:
    """How far the products of a graph of the worst case lie from their exact values, in steps of the output's scale."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    model, x, exact = worst_case(largest)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"x": x}), strict=True))
    return max(float(np.abs(found[name] - value).max() / (np.abs(value).max() / 127)) for name, value in exact.items())


def worst_case(largest: int) -> tuple[onnx.ModelProto, NDArray[np.float32], dict[str, NDArray[np.float64]]]:
    """A graph of every product that is fused, each of activations 127 with weights of +-`largest`; its input and exact outputs.

    Activations signed and unsigned, convolutions 1x1, 3x3 and depthwise, matrix products with and without a quantised output.
    """
    size = min(largest, WIDEST - 1)  # weights are symmetric
    x = np.full((1, CHANNELS, 3, 3), 127, np.float32)
    sign = np.where(np.arange(CHANNELS) % 2, -1, 1)
    nodes: list[NodeProto] = []
    constants: dict[str, NDArray[Any]] = {"one": np.float32(1)}
    exact: dict[str, NDArray[np.float64]] = {}
    for sort, zero in (("signed", np.int8(0)), ("unsigned", np.uint8(128))):
        constants[f"{sort}_x_zero"] = zero
        nodes += _there_and_back("x", f"{sort}_x", "one")
        nodes.append(helper.make_node("Flatten", [f"{sort}_x"], [f"{sort}_f"]))
        for kind, shape in _shapes():
            weight = (sign.reshape(-1, *[1] * (len(shape) - 1)) * np.full(shape, size)).astype(np.int8)
            value = sign.astype(np.float64) * size * 127 * np.prod(shape[1:])  # one number per output channel
            for ending in ("", "q"):
                if kind == "Conv" and not ending:
                    continue  # fused only with a quantised output
                name = f"{sort}_{kind}{'x'.join(map(str, shape))}{ending}"
                constants |= {f"{name}_w": weight, f"{name}_w_zero": np.int8(0)}
                if ending:  # every tensor its own zero point: ONNX Runtime cannot rewrite shared ones
                    constants |= {f"{name}_scale": np.float32(np.abs(value).max() / 127), f"{name}_zero": zero}
                nodes += _product(kind, name, sort, shape, ending)
                exact[name] = value.reshape(1, -1, 1, 1) if kind == "Conv" else value.reshape(1, -1)
        if largest == WIDEST:  # activations may meet as well, in MatMul
            name = f"{sort}_activations"
            constants |= {f"{name}_scale": np.float32(127 * 3), f"{name}_zero": zero}
            nodes += [helper.make_node("MatMul", [f"{sort}_x", f"{sort}_x"], [f"{name}_raw"])]
            nodes += _there_and_back(f"{name}_raw", name, f"{name}_scale")
            exact[name] = np.full((1, CHANNELS, 3, 3), 127 * 127 * 3, np.float64)
    graph = helper.make_graph(
        nodes,
        "worst_case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in exact],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return model, x, exact


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "Conv", (CHANNELS, CHANNELS, 1, 1)
    yield "Conv", (CHANNELS, CHANNELS, 3, 3)
    yield "Conv", (CHANNELS, 1, 3, 3)
    yield "MatMul", (CHANNELS, CHANNELS * 9)
    yield "Gemm", (CHANNELS, CHANNELS * 9)


def _product(kind: str, name: str, sort: str, shape: tuple[int, ...], ending: str) -> list[NodeProto]:
    weight, made = f"{name}_d", f"{name}_raw" if ending else name
    nodes = [helper.make_node("DequantizeLinear", [f"{name}_w", "one", f"{name}_w_zero"], [weight])]
    if kind == "MatMul":
        nodes.append(helper.make_node("Transpose", [weight], [f"{name}_t"], perm=[1, 0]))
        nodes.append(helper.make_node("MatMul", [f"{sort}_f", f"{name}_t"], [made]))
    elif kind == "Gemm":
        nodes.append(helper.make_node("Gemm", [f"{sort}_f", weight], [made], transB=1))
    else:
        nodes.append(helper.make_node("Conv", [f"{sort}_x", weight], [made], group=CHANNELS // shape[1]))
    return [*nodes, *(_there_and_back(made, name, f"{name}_scale") if ending else [])]


def _there_and_back(source: str, target: str, scale: str) -> list[NodeProto]:
    zero = f"{target}_zero"
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{target}_q"]),
        helper.make_node("DequantizeLinear", [f"{target}_q", scale, zero], [target]),
    ]
