"""A bundle as a Triton model repository: ONNX Runtime backend, dynamic batching."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from edgenas.bundle import Bundle
from edgenas.durable import replace_file
from edgenas.errors import EdgenasError
from edgenas.runtimes import LARGEST_BATCH

TYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.UINT8: "TYPE_UINT8"}
CONFIG = """name: {name}
platform: "onnxruntime_onnx"
max_batch_size: {batch}
input [ {input} ]
output [ {output} ]
dynamic_batching {{ max_queue_delay_microseconds: 500 }}
version_policy: {{ latest {{ num_versions: 1 }} }}
"""


def write_triton(bundle: Bundle, repository: Path) -> Path:
    """REPOSITORY/<name>/{config.pbtxt, labels.txt, 1/model.onnx} of the chosen precision."""
    manifest = bundle.manifest
    folder = repository / manifest.name
    if folder.exists() and not (folder / "config.pbtxt").is_file():
        raise EdgenasError(f"{folder} exists and is no Triton model: choose another --triton folder")
    source = bundle.path(manifest.chosen_precision)
    model = onnx.load_model(source, load_external_data=False)
    labels = bool(manifest.labels)
    output = _port(model.graph.output[0], ', label_filename: "labels.txt"' if labels else "")
    config = CONFIG.format(
        name=json.dumps(manifest.name), batch=LARGEST_BATCH, input=_port(model.graph.input[0]), output=output
    )
    try:
        (folder / "1").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgenasError(f"{folder} cannot be written: {error.strerror}: choose another --triton folder") from error
    replace_file(folder / "1" / "model.onnx", source.read_bytes())
    if labels:
        replace_file(folder / "labels.txt", ("\n".join(manifest.labels) + "\n").encode())
    replace_file(folder / "config.pbtxt", config.encode())
    return folder


def _port(value: onnx.ValueInfoProto, more: str = "") -> str:
    tensor = value.type.tensor_type
    dims = ", ".join(str(d.dim_value) for d in tensor.shape.dim[1:])  # Triton adds the batch itself
    return f"{{ name: {json.dumps(value.name)}, data_type: {TYPES[tensor.elem_type]}, dims: [ {dims} ]{more} }}"
