"""Builds one engine, in a process of its own: `python -m edgenas.runtimes.tensorrt_build ORDER_AS_JSON PARENT`.
It ends with the process of that number.

Builder names after NVIDIA's documentation: EXPLICIT_BATCH is needed by 8, ignored by 10 and gone in 11; STRONGLY_TYPED came
with 9, takes precision from the graph, and is all there is in 11; the FP16 and INT8 flags are needed by 8 and gone in 11.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from edgenas.durable import replace_file
from edgenas.errors import EdgenasError
from edgenas.records import Precision
from edgenas.runtimes.child import die_with
from edgenas.runtimes.tensorrt import BuildOrder, probe_gpu, tensorrt_module


def network_flags(trt: Any) -> int:
    """How networks are created: strongly typed where that exists, else with an explicit batch dimension."""
    flags = trt.NetworkDefinitionCreationFlag
    for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH"):
        if hasattr(flags, name):
            return 1 << int(getattr(flags, name))
    return 0


def precision_flags(trt: Any, precision: Precision) -> list[Any]:
    """Builder flags for a TensorRT that does not take precision from the graph; none elsewhere."""
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return []
    names = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8",)}[precision]
    return [getattr(trt.BuilderFlag, name) for name in names]


def build(order: BuildOrder, trt: Any) -> None:
    """Parse, build, write engine and timing cache. EdgenasError with the parser's own words where it refuses."""
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(order.onnx).read_bytes()):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EdgenasError(f"TensorRT {trt.__version__} cannot read {order.onnx}: {' '.join(reasons.split())}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    for flag in precision_flags(trt, order.precision):
        config.set_flag(flag)
    # TensorRT rounds to TF32 by default; the golden self-test and the parity gate hold what FP32 computes.
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    timing = Path(order.timing_cache)
    cache = config.create_timing_cache(timing.read_bytes() if timing.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    config.add_optimization_profile(_profile(builder, order))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EdgenasError(f"TensorRT {trt.__version__} built no engine from {order.onnx}")
    Path(order.engine).write_bytes(bytes(plan))
    replace_file(timing, bytes(config.get_timing_cache().serialize()))


def _profile(builder: Any, order: BuildOrder) -> Any:
    """Batch `order.tuned` is what is tuned for, 1 to `order.batch` are possible; of a file of a fixed batch that one alone."""
    import onnx

    profile = builder.create_optimization_profile()
    graph = onnx.load(order.onnx, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}  # files of IR 3 list them among the inputs
    for value in graph.input:
        if value.name in weights:
            continue
        fixed, *rest = [d.dim_value for d in value.type.tensor_type.shape.dim]
        least, tuned, most = (fixed, fixed, fixed) if fixed else (1, order.tuned, order.batch)
        profile.set_shape(value.name, [least, *rest], [tuned, *rest], [most, *rest])
    return profile


if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    try:
        probe_gpu()
        build(msgspec.json.decode(sys.argv[1], type=BuildOrder), tensorrt_module())
    except EdgenasError as error:
        sys.exit(str(error))
