"""A bundle as NVIDIA DeepStream's `nvinfer` element reads it: its configurations, with the model and the labels beside them.

Keys and formats are those of "Gst-nvinfer" in NVIDIA's DeepStream documentation. nvinfer computes
net-scale-factor * (x - offset) of pixels x in 0..255, one scale for all channels, and takes a classifier's outputs for
probabilities, of which it names only positive ones. So the model that is written begins with the pixels, padding and
normalisation inside, and ends in probabilities; nvinfer multiplies by 1. DeepStream itself was never run by us: there was no
GPU with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgenas.bundle import Bundle
from edgenas.durable import replace_file
from edgenas.errors import EdgenasError
from edgenas.export.beside import destination
from edgenas.export.image_metadata import describe_image
from edgenas.export.onnx import INPUT, clean, describe
from edgenas.image_sizes import sides_of
from edgenas.preprocessing import scale_and_shift
from edgenas.records import Precision, Preprocessing

NETWORK_MODES: dict[Precision, int] = {"fp32": 0, "int8": 1, "fp16": 2}
COLOURS = {3: 0, 1: 2}  # model-color-format: RGB, GRAY
CLASSIFIER, OTHER = 1, 100  # network-type
BILINEAR = 1  # scaling-filter, of NvBufSurfTransform_Inter
FRAMES, OBJECTS = 1, 16  # at a time: one camera; as many objects as one frame often shows
PRIMARY, SECONDARY, LABELS = "config_infer_primary.txt", "config_infer_secondary.txt", "labels.txt"
MODELS = f"model-{'[0-9a-f]' * 8}.onnx"  # named by a part of their SHA-256
ENGINES = f"{MODELS}_*.engine"  # what nvinfer or trtexec made of them
PROBABILITIES = "probabilities"
FRONT = "nvinfer_"  # names of what stands before and behind the network
MANUAL = "https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html"


@dataclass(frozen=True)
class Written:
    """The folder, and a sentence for each way in which what the network sees there differs from what it was trained on."""

    folder: Path
    differences: tuple[str, ...]


def check_deepstream(uint8: bool, batch: int | None, labels: Sequence[str]) -> None:
    """EdgenasError for what nvinfer cannot feed or name."""
    if uint8:
        raise EdgenasError("nvinfer feeds planes of float32, no uint8 pixels: leave out --input uint8 or --deepstream")
    if batch not in (None, 1):
        raise EdgenasError(
            f"nvinfer chooses the batch itself, from 1 to its batch-size, files for exactly {batch} images cannot follow: "
            "leave out --batch or --deepstream"
        )
    for label in labels:
        if not label or set(label) & set(";\n\r"):
            raise EdgenasError(
                f"the class {label!r} cannot stand in nvinfer's file of labels, one line divided by semicolons: rename it or "
                "leave out --deepstream"
            )


def deepstream_folder(root: Path, name: str) -> Path:
    """ROOT/<name>; EdgenasError where no configuration can be written there."""
    return destination("--deepstream", "DeepStream configuration", root, name, SECONDARY, (MODELS, LABELS, PRIMARY))


def write_deepstream(bundle: Bundle, root: Path) -> Written:
    """ROOT/<name>/{config_infer_primary.txt, config_infer_secondary.txt, labels.txt, model-....onnx} of the chosen precision.

    Primary looks at whole frames, secondary at what a detector before it found; recognisers of faces have the latter alone.
    The model's name holds its hash, and so does that of the engine that nvinfer makes of it: an older one is never loaded.
    """
    manifest = bundle.manifest
    check_deepstream(manifest.input == "uint8", manifest.batch, manifest.labels)
    folder = deepstream_folder(root, manifest.name)
    classes = bundle.kind == "classification"
    source = onnx.load_model(bundle.path(manifest.chosen_precision), load_external_data=False)
    content = bytes(for_nvinfer(source, manifest.preprocessing, classes).SerializeToString(deterministic=True))
    model = f"model-{hashlib.sha256(content).hexdigest()[:8]}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / model, content)
    if classes:
        replace_file(folder / LABELS, (";".join(manifest.labels) + "\n").encode())
    said = differences(bundle)
    if bundle.kind != "faces":
        replace_file(folder / PRIMARY, _configuration(bundle, model, said, primary=True).encode())
    replace_file(folder / SECONDARY, _configuration(bundle, model, said, primary=False).encode())
    ours = {model, *((LABELS,) if classes else ()), *(() if bundle.kind == "faces" else (PRIMARY,))}
    for older in (*folder.glob(MODELS), *folder.glob(ENGINES), folder / LABELS, folder / PRIMARY):  # of another network
        if older.name not in ours and not older.name.startswith(f"{model}_"):
            older.unlink(missing_ok=True)
    return Written(folder, said)


def for_nvinfer(model: onnx.ModelProto, preprocessing: Preprocessing, classes: bool) -> onnx.ModelProto:
    """The model behind its padding and normalisation and, of a classifier, before a softmax.

    `image` (batch, C, H, W) float32, pixels in 0..255 -> `probabilities` (batch, K), or the outputs as they were.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph, raw = result.graph, _raw(preprocessing)
    front, constants = _front(preprocessing)
    if front:
        for node in graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = front[-1].output[0] if name == INPUT else name
    nodes = [*front, *graph.node]
    if classes:
        logits = graph.output[0]
        nodes.append(helper.make_node("Softmax", [logits.name], [PROBABILITIES], axis=-1))
        logits.name = PROBABILITIES
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    first = graph.input[0].type.tensor_type.shape.dim[0]
    sides = [first.dim_value or first.dim_param, raw.channels, *sides_of(raw.size)]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, sides))
    own = {
        entry.key.removeprefix("edgenas."): entry.value
        for entry in model.metadata_props
        if entry.key.startswith("edgenas.")
    }
    clean(result)
    describe(result, {**own, "preprocessing": raw.canonical_json().decode()})
    describe_image(result, raw, uint8=False)
    onnx.checker.check_model(result, full_check=True)
    return result


def _raw(preprocessing: Preprocessing) -> Preprocessing:
    """What is left to do before the file: scaling to the size that the network has without its padding."""
    channels = preprocessing.channels
    return msgspec.structs.replace(preprocessing, mean=(0.0,) * channels, std=(1 / 255,) * channels, padding=0)


def _front(preprocessing: Preprocessing) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Black pixels on every side, x * scale + shift per channel: the nodes that are needed, and their constants."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    scale, shift = (values.reshape(1, -1, 1, 1) for values in scale_and_shift(preprocessing))
    wide = np.array([0, 0, preprocessing.padding, preprocessing.padding] * 2, np.int64)
    for operator, result, value, needed in (
        ("Pad", "padded", wide, preprocessing.padding > 0),
        ("Mul", "scaled", scale, bool((scale != 1).any())),
        ("Add", "normalised", shift, bool((shift != 0).any())),
    ):
        if needed:
            constants[FRONT + operator.lower()] = value
            given = nodes[-1].output[0] if nodes else INPUT
            nodes.append(helper.make_node(operator, [given, FRONT + operator.lower()], [FRONT + result]))
    return nodes, constants


def differences(bundle: Bundle) -> tuple[str, ...]:
    """In which ways nvinfer cuts, fills and scales images otherwise than `edgenas.preprocessing` does."""
    how = bundle.manifest.preprocessing
    height, width = sides_of(how.size)
    said = []
    if bundle.kind == "faces":
        said.append(
            "the recogniser was trained on faces that were turned upright and scaled by their landmarks; nvinfer cuts out the "
            "detector's box as it is, and the threshold does not hold there: align faces before it (nvdspreprocess)"
        )
    elif how.fit == "crop":
        said.append(
            f"training saw the middle of every image at {width}:{height}; nvinfer squeezes all of it into that shape: cut frames "
            "before it (nvvideoconvert src-crop), or train with --fit stretch"
        )
    elif how.fit == "pad":
        said.append("where an image does not fill the network's shape nvinfer adds black, training added grey (128)")
    said.append("nvinfer may scale without averaging; training averaged what it made smaller")
    if how.channels == 1:
        said.append("nvinfer takes grey from the video's luma; training computed it from RGB (ITU-R 601)")
    return tuple(said)


def _configuration(bundle: Bundle, model: str, said: Sequence[str], *, primary: bool) -> str:
    """One of the two files."""
    manifest = bundle.manifest
    how, precision = manifest.preprocessing, manifest.chosen_precision
    height, width = sides_of(how.size)
    batch = manifest.batch or (FRAMES if primary else OBJECTS)
    engine = f"{model}_b{batch}_gpu0_{precision}.engine"  # the name that nvinfer gives it
    pad = int(how.fit == "pad")
    lines = [
        f"# {manifest.name}, {precision}, for {'whole frames' if primary else 'the objects of a detector'}.",
        "# EdgeNAS wrote this and never ran DeepStream: compare its answers with those of `edgenas serve` first.",
        f"# Keys: {MANUAL}",
        "# Padding and normalisation are inside the model, so net-scale-factor is 1. What differs from training:",
        *(f"# - {each}" for each in said),
        *(_engine_first(bundle, model, engine, batch) if precision == "int8" else ()),
        "[property]",
        "gpu-id=0",
        f"gie-unique-id={1 if primary else 2}",
        f"process-mode={1 if primary else 2}",
        *(() if primary else ("operate-on-gie-id=1",)),
        *(() if precision == "int8" else (f"onnx-file={model}",)),
        f"model-engine-file={engine}",
        f"network-mode={NETWORK_MODES[precision]}",
        f"batch-size={batch}",
        f"infer-dims={how.channels};{height};{width}",
        f"model-color-format={COLOURS[how.channels]}",
        "net-scale-factor=1.0",
        f"maintain-aspect-ratio={pad}",
        *(("symmetric-padding=1",) if pad else ()),
        f"scaling-filter={BILINEAR}",
        *_outputs(bundle),
    ]
    return "\n".join(lines) + "\n"


def _outputs(bundle: Bundle) -> tuple[str, ...]:
    """What is done with what the network says."""
    if bundle.kind != "classification":
        (name,) = bundle.manifest.models[bundle.manifest.chosen_precision].artifact.outputs
        return (f"network-type={OTHER}", "output-tensor-meta=1", f"output-blob-names={name}")
    return (
        f"network-type={CLASSIFIER}",
        f"output-blob-names={PROBABILITIES}",
        f"labelfile-path={LABELS}",
        "# The likeliest class is named whose probability is above this:",
        "classifier-threshold=0.0",
    )


def _engine_first(bundle: Bundle, model: str, engine: str, batch: int) -> tuple[str, ...]:
    """nvinfer turns to FP16 where it has no calibration file of its own; without onnx-file it cannot."""
    how = bundle.manifest.preprocessing
    one = "x".join(str(side) for side in (how.channels, *sides_of(how.size)))
    numbers = () if bundle.manifest.batch else (("min", 1), ("opt", batch), ("max", batch))
    shapes = "".join(f" --{name}Shapes={INPUT}:{n}x{one}" for name, n in numbers)  # a fixed batch has no range
    return (
        "# The model carries its INT8 scales, which nvinfer builds no engine from. Build it first (TensorRT 11: without --int8):",
        f"# trtexec --onnx={model} --int8{shapes} --saveEngine={engine}",
    )
