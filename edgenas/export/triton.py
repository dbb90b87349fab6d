"""A bundle as a Triton model repository: ONNX Runtime backend, dynamic batching; none where the files' batch is fixed."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from edgenas.bundle import Bundle
from edgenas.durable import remove_file, replace_file
from edgenas.export.beside import destination
from edgenas.runtimes import LARGEST_BATCH

TYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.UINT8: "TYPE_UINT8"}
CONFIGURATION, LABELS, MODEL = "config.pbtxt", "labels.txt", "1/model.onnx"
CONFIG = """name: {name}
platform: "onnxruntime_onnx"
max_batch_size: {batch}
input [ {input} ]
output [ {output} ]
{batching}version_policy: {{ latest {{ num_versions: 1 }} }}
"""
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 500 }\n"


def triton_folder(repository: Path, name: str) -> Path:
    """REPOSITORY/<name>; EdgenasError where no Triton model can be written there."""
    return destination("--triton", "Triton model", repository, name, CONFIGURATION, (MODEL, LABELS))


def write_triton(bundle: Bundle, repository: Path) -> Path:
    """REPOSITORY/<name>/{config.pbtxt, labels.txt, 1/model.onnx} of the chosen precision."""
    manifest = bundle.manifest
    folder = triton_folder(repository, manifest.name)
    source = bundle.path(manifest.chosen_precision)
    model = onnx.load_model(source, load_external_data=False)
    fixed = manifest.batch
    # without batching Triton takes all outputs of a request for one list of classes
    labels = bool(manifest.labels) and fixed in (None, 1)
    given, made = (_port(value, fixed) for value in (model.graph.input[0], model.graph.output[0]))
    config = CONFIG.format(
        name=json.dumps(manifest.name),
        batch=0 if fixed else LARGEST_BATCH,
        input=f"{{ {given} }}",
        output=f'{{ {made}, label_filename: "{LABELS}" }}' if labels else f"{{ {made} }}",
        batching="" if fixed else BATCHING,
    )
    (folder / MODEL).parent.mkdir(parents=True, exist_ok=True)
    replace_file(folder / MODEL, source.read_bytes())
    if labels:
        replace_file(folder / LABELS, ("\n".join(manifest.labels) + "\n").encode())
    replace_file(folder / CONFIGURATION, config.encode())
    if not labels:  # of another network
        remove_file(folder / LABELS)
    return folder


def _port(value: onnx.ValueInfoProto, fixed: int | None) -> str:
    tensor = value.type.tensor_type
    sides = tensor.shape.dim if fixed else tensor.shape.dim[1:]  # Triton adds the batch itself where it may batch
    dims = ", ".join(str(side.dim_value) for side in sides)
    return f"name: {json.dumps(value.name)}, data_type: {TYPES[tensor.elem_type]}, dims: [ {dims} ]"
