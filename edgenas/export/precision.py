"""FP16 and INT8 as files of their own: TensorRT 11 takes precision from the graph alone, so it lives there.

FP16 = casts, with float32 inputs and outputs. INT8 = explicit quantise/dequantise pairs, symmetric, all zero points 0.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgenas.errors import EdgenasError
from edgenas.export.onnx import INPUT, OLDEST_CONVERTED, clean
from edgenas.preprocessing import scale_and_shift
from edgenas.records import Preprocessing
from edgenas.runtimes.norms import scale_and_shift_nodes

Floats = NDArray[np.float32]
CALIBRATION_BATCH = 32


def half_from_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in float16 between a cast after its float32 input and one before its float32 output."""
    from onnxconverter_common import float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        # It warns of weights below 1e-7, which it raises to that: 1e-7 of anything does not pass the gate by itself.
        warnings.simplefilter("ignore", UserWarning)
        half = float16.convert_float_to_float16(copy, keep_io_types=True, disable_shape_infer=False)
    return _finished(half, model)


def int8_from_onnx(
    model: onnx.ModelProto, images: Floats, *, stored: bool = False, reduce_range: bool = False
) -> onnx.ModelProto:
    """The model with convolutions and matrix products in int8; scales from `images` (N, C, H, W), normalised.

    Symmetric everywhere; a bias stays float32. Weights are float32 behind a pair of nodes, as TensorRT 8 needs them (10 and 11
    take both), or, with `stored`, int8 in the file, a quarter of the size. `reduce_range`: weights of 7 bits, -64..64, which
    cannot saturate the 16-bit sums of x86-64 without VNNI (ONNX Runtime's documentation, "Quantize ONNX Models").
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="edgenas-") as name, _quiet():
        plain, ready, quantised = (Path(name) / f"{stage}.onnx" for stage in ("plain", "ready", "quantised"))
        onnx.save_model(model, plain)
        # its own optimisation would split HardSwish and write eight opset imports
        quant_pre_process(plain, ready, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            ready,
            quantised,
            _Batches(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=scale_and_shift_nodes(model),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": not stored,
                "DedicatedQDQPair": True,
            },
        )
        result = _finished(onnx.load_model(quantised), model)
    if any((points != 0).any() for points in zero_points(result)):
        raise EdgenasError("the quantiser wrote zero points other than 0, which TensorRT rejects: report this")
    return result


class _Batches:
    """What ONNX Runtime's calibration reads from."""

    def __init__(self, images: Floats) -> None:
        self._batches = iter([images[i : i + CALIBRATION_BATCH] for i in range(0, len(images), CALIBRATION_BATCH)])

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def zero_points(model: onnx.ModelProto) -> Iterator[NDArray[Any]]:
    """The zero point of every quantise and dequantise node."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            yield numpy_helper.to_array(values[node.input[2]])


def with_uint8_input(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """The model behind its preprocessing: `image` becomes (batch, H, W, C) uint8 pixels, as cameras and decoders give them."""
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset < OLDEST_CONVERTED:
        raise EdgenasError(
            f"uint8 input was asked for at opset {opset}, whose runtimes refuse it: leave out --input uint8"
        )
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    channels = preprocessing.channels
    scale, shift = (values.reshape(1, channels, 1, 1) for values in scale_and_shift(preprocessing))
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == INPUT:
                node.input[index] = "normalised"
    front = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),  # (N, H, W, C) -> (N, C, H, W)
        helper.make_node("Mul", ["planes", "pixel_scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "pixel_shift"], ["normalised"]),
    ]
    nodes = [*front, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        [numpy_helper.from_array(scale, "pixel_scale"), numpy_helper.from_array(shift, "pixel_shift")]
    )
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    pixels = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, *preprocessing.input_sides, channels])
    graph.input[0].CopyFrom(pixels)
    return _finished(result, model)


def _finished(model: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """Cleaned, valid, and with the opset, IR and metadata of the model that it was made from."""
    metadata = list(source.metadata_props)
    model.ir_version = source.ir_version
    clean(model)
    model.metadata_props.extend(metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantiser advises its own preprocessing, which is what has just been done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
