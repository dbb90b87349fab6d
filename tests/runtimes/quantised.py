"""QDQ graphs of one product, and what they give by 32-bit integers. As a program: what this processor makes of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IN, OUT, IMAGES = 48, 24, 5
SCALES = {"x": 0.5, "w": 0.25, "y": 512.0}  # powers of two: nothing but the integers can be off


def case(
    activation: type[np.integer[Any]], kind: str, largest: int = 127, *, paired: bool = False
) -> tuple[bytes, NDArray[np.float32], NDArray[np.float32]]:
    """An ONNX file, an input (N, IN) or (N, IN, 1, 1), and its exact output, for weights of -largest..largest.

    `paired`: weights are float32 behind a pair of nodes instead of stored as int8. Most values are extreme, so that pairs of
    products leave 16 bits.
    """
    rng = np.random.default_rng(7)
    zero = 128 if activation is np.uint8 else 0
    x = np.where(rng.random((IMAGES, IN)) < 0.8, 127, rng.integers(-128, 128, (IMAGES, IN)))
    w = np.where(rng.random((IN, OUT)) < 0.8, largest, rng.integers(-largest, largest + 1, (IN, OUT)))
    w *= np.where(np.arange(OUT) % 2, -1, 1)
    sums = x.astype(np.int32) @ w.astype(np.int32)
    steps = np.rint(sums * (SCALES["x"] * SCALES["w"] / SCALES["y"]))
    exact = (np.clip(steps, -128, 127) * SCALES["y"]).astype(np.float32)
    inputs = (x * SCALES["x"]).astype(np.float32)
    weight = w.astype(np.int8)
    if kind == "Conv":
        weight, inputs, exact = weight.T[:, :, None, None], inputs[:, :, None, None], exact[:, :, None, None]
    return _model(activation(zero), kind, weight, inputs.shape[1:], paired).SerializeToString(), inputs, exact


def _model(
    zero: np.integer[Any], kind: str, weight: NDArray[np.int8], shape: tuple[int, ...], paired: bool
) -> onnx.ModelProto:
    constants: dict[str, Any] = {f"{name}_scale": np.float32(scale) for name, scale in SCALES.items()}
    constants |= {"x_zero": zero, "y_zero": zero, "w_zero": np.int8(0)}
    constants["w"] = (weight * SCALES["w"]).astype(np.float32) if paired else weight
    nodes = [
        *_pair("x", "xd", "x"),
        *(_pair("w", "wd", "w") if paired else _pair("w", "wd", "w")[1:]),
        helper.make_node(kind, ["xd", "wd"], ["h"]),
        *_pair("h", "y", "y"),
    ]
    if not paired:
        nodes[2].input[0] = "w"
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _pair(source: str, target: str, of: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [source, f"{of}_scale", f"{of}_zero"], [f"{target}_q"]),
        helper.make_node("DequantizeLinear", [f"{target}_q", f"{of}_scale", f"{of}_zero"], [target]),
    ]


def every_case() -> list[tuple[type[np.integer[Any]], str, bool]]:
    return [(a, kind, paired) for a in (np.int8, np.uint8) for kind in ("Conv", "MatMul") for paired in (False, True)]


def main() -> None:
    from edgenas.runtimes.int8 import ENTRIES, exact_arithmetic, worst_error
    from edgenas.runtimes.onnx_session import open_session

    wrong = {}
    for activation, kind, paired in every_case():
        for largest in (64, 127):
            content, x, exact = case(activation, kind, largest, paired=paired)
            with open_session(content) as runtime:
                found = {"wrong": int((runtime.run({"x": x})["y"] != exact).sum()), "int8": runtime.settings["int8"]}
            wrong[f"{activation.__name__} {kind} {largest} {'paired' if paired else 'stored'}"] = found
    chosen = {w: exact_arithmetic(w) for w in (64, 65, 127, 128)}
    errors = {w: {name: worst_error(w, entries) for name, entries in ENTRIES.items()} for w in (64, 65, 127, 128)}
    print(json.dumps({"cases": wrong, "chosen": chosen, "errors": errors}))


if __name__ == "__main__":
    main()
