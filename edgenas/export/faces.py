"""Recognisers as face software expects them: raw RGB 0..255 at 112 px in, embedding out, whatever the network computes at.

OpenCV's FaceRecognizerSF always feeds raw pixels; InsightFace's loader does so only where nodes named Sub... and Mul... are among
the first eight. So normalisation is in the file, as its first two nodes, followed by the grey conversion and the averaging
that a smaller network needs.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from edgenas.errors import EdgenasError, ParityError
from edgenas.export.kinds import Built, BundleKind, Pixels, Wrapped, drop_allowed
from edgenas.export.onnx import INPUT, clean
from edgenas.faces.images import LUMA, SIDE
from edgenas.faces.verification import (
    Floats,
    Ints,
    Pairs,
    normalised,
    pair_indices,
    pair_scores,
    pairs_from_embeddings,
    roc_from_pairs,
)
from edgenas.identity import canonical_json
from edgenas.image_sizes import size_in_words
from edgenas.records import Architecture, Precision, Preprocessing, Record
from edgenas.runtimes.compare import cosines
from edgenas.tasks import Task
from edgenas.tasks.faces import raw_pixels

RAW = Preprocessing(3, SIDE, (0.0,) * 3, (1 / 255,) * 3, fit="stretch")  # pixels as they are: x * 1 + 0
FILE = "faces.json"  # in the bundle: what each precision does to verification
HALF_DROP = 0.2  # points of TAR that a recogniser may lose in float16, where nothing else was asked for
MIDDLE = 127.5
FRONT = "face_"  # names of what stands before the network


class RawFaces(nn.Module):
    """(N, 3, 112, 112) RGB 0..255 -> (N, D): what the exported file computes, in torch."""

    def __init__(self, network: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.network = network
        self.block = block_of(architecture)
        self.grey = architecture.in_channels == 1
        self.luma: Tensor
        self.register_buffer("luma", torch.from_numpy(LUMA).reshape(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - MIDDLE) * (1 / MIDDLE)  # (N, 3, 112, 112) -> -1..1
        if self.grey:
            x = (x * self.luma).sum(1, keepdim=True)  # -> (N, 1, 112, 112)
        if self.block > 1:
            x = nn.functional.avg_pool2d(x, self.block)  # -> (N, C, S, S)
        y: Tensor = self.network(x)
        return y


def block_of(architecture: Architecture) -> int:
    """How many pixels of an aligned face, each way, the network sees as one."""
    size = architecture.image_size
    if not isinstance(size, int) or SIDE % size or architecture.in_channels not in (1, 3):
        raise EdgenasError(
            f"a recogniser at {size_in_words(size)} px with {architecture.in_channels} channels cannot be fed from 112x112 RGB: "
            "train it at 28, 56 or 112 px, grey or RGB"
        )
    return SIDE // size


def with_face_input(model: onnx.ModelProto, architecture: Architecture) -> onnx.ModelProto:
    """`model` behind Sub, Mul and, where the network needs them, the grey conversion and the average pooling."""
    block, grey = block_of(architecture), architecture.in_channels == 1
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {"middle": np.float32(MIDDLE), "scale": np.float32(1 / MIDDLE)}
    nodes = [
        helper.make_node("Sub", [INPUT, FRONT + "middle"], [FRONT + "centred"]),
        helper.make_node("Mul", [FRONT + "centred", FRONT + "scale"], [FRONT + "scaled"]),
    ]
    if grey:
        constants |= {"luma": LUMA.reshape(1, 3, 1, 1), "channel": np.array([1], np.int64)}
        nodes.append(helper.make_node("Mul", [nodes[-1].output[0], FRONT + "luma"], [FRONT + "weighted"]))
        nodes.append(helper.make_node("ReduceSum", [FRONT + "weighted", FRONT + "channel"], [FRONT + "grey"]))
    if block > 1:
        sides = [block, block]
        last = nodes[-1].output[0]
        nodes.append(helper.make_node("AveragePool", [last], [FRONT + "pooled"], kernel_shape=sides, strides=sides))
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == INPUT:
                node.input[index] = nodes[-1].output[0]
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), FRONT + k) for k, v in constants.items())
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [batch, 3, SIDE, SIDE]))
    metadata = list(result.metadata_props)
    clean(result)
    result.metadata_props.extend(metadata)
    onnx.checker.check_model(result, full_check=True)
    check_conventions(result)
    return result


def check_conventions(model: onnx.ModelProto) -> None:
    """Raise EdgenasError unless InsightFace and OpenCV will both feed the file what it expects."""
    names = [node.name for node in model.graph.node[:8]]
    if not all(any(name.startswith(word) for name in names) for word in ("Sub", "Mul")):
        raise EdgenasError(f"no nodes named Sub.. and Mul.. among the first eight ({', '.join(names)}): report this")
    (given,), (made,) = model.graph.input, model.graph.output
    sides = [dim.dim_value for dim in given.type.tensor_type.shape.dim][1:]
    if sides != [3, SIDE, SIDE] or len(made.type.tensor_type.shape.dim) != 2:
        raise EdgenasError(f"the recogniser takes (N, {sides}) and must take (N, 3, {SIDE}, {SIDE}): report this")


class FaceParity(Record, frozen=True):
    """What a precision does to verification, on unseen people: cosines to the FP32 embeddings of the same images; TAR in percent
    at the FP32 threshold of this FAR, for probes and gallery in this precision, and for probes in it against an FP32 gallery;
    how far the threshold of equal FAR moves."""

    precision: Precision
    cosine: float
    least_cosine: float
    far: float
    threshold: float
    threshold_shift: float
    tar_fp32: float
    tar: float
    far_there: float
    tar_fp32_gallery: float
    far_fp32_gallery: float


def face_parity(precision: Precision, full: Floats, reduced: Floats, labels: Ints, far: float) -> FaceParity:
    """Compare embeddings (N, D) of the same images by the FP32 file and by another precision's."""
    pairs = pairs_from_embeddings(full, labels)
    tar, threshold = roc_from_pairs(pairs).at_far(far)
    own = pairs_from_embeddings(reduced, labels)
    mixed = _mixed_pairs(full, reduced, labels)
    cosine = cosines(np.asarray(full), np.asarray(reduced))
    tar_own, far_own = _rates(own, threshold)
    tar_mixed, far_mixed = _rates(mixed, threshold)
    return FaceParity(
        precision=precision,
        cosine=float(cosine.mean()),
        least_cosine=float(cosine.min()),
        far=far,
        threshold=threshold,
        threshold_shift=roc_from_pairs(own).at_far(far)[1] - threshold,
        tar_fp32=100 * tar,
        tar=tar_own,
        far_there=far_own,
        tar_fp32_gallery=tar_mixed,
        far_fp32_gallery=far_mixed,
    )


def _mixed_pairs(gallery: Floats, probes: Floats, labels: Ints) -> Pairs:
    """The pairs of `pair_indices`, the first image by `gallery`, the second by `probes`."""
    labels = np.asarray(labels)
    a, b = pair_indices(labels)
    return Pairs(pair_scores(normalised(gallery), normalised(probes), a, b), labels[a], labels[b])


def _rates(pairs: Pairs, threshold: float) -> tuple[float, float]:
    """(TAR in percent, FAR as a fraction) at this threshold."""
    accepted = pairs.scores >= threshold
    return 100 * float(accepted[pairs.genuine].mean()), float(accepted[~pairs.genuine].mean())


def check_face_parity(parity: FaceParity, max_drop: float) -> None:
    """Raise ParityError where a precision loses more than `max_drop` points of TAR at the threshold that FP32 chose."""
    drop = parity.tar_fp32 - min(parity.tar, parity.tar_fp32_gallery)
    if drop > max_drop + 1e-9:
        raise ParityError(
            f"{parity.precision} loses {drop:.2f} points of TAR at FAR {parity.far:g} "
            f"({parity.tar_fp32:.2f} -> {parity.tar_fp32 - drop:.2f}), --max-drop is {max_drop:.3g}: leave it out or allow more"
        )


def _noise(images: Pixels) -> Pixels:
    """Seeded noise in the place of these images, since a bundle must not carry anybody's face."""
    return np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)


def _with_face_input(model: onnx.ModelProto, network: nn.Module, architecture: Architecture) -> Wrapped:
    return with_face_input(model, architecture), RawFaces(network, architecture)


def _compared(task: Task, built: Built, full: Built) -> FaceParity:
    far: float = getattr(task, "far")  # noqa: B009  (what a face task has beyond the protocol; checked_task asks for it)
    return face_parity(built.precision, full.outputs, built.outputs, task.val.labels, far)


def face_drop_allowed(task: Task, precision: Precision, asked: float | None) -> float:
    """By how many points of TAR a file may be worse than FP32: as asked; else HALF_DROP at FP16, and the metric's own at INT8."""
    if asked is None and precision == "fp16":
        return HALF_DROP
    return drop_allowed(task.metric, len(task.val), asked)


def _check(task: Task, built: Built, full: Built, asked: float | None) -> None:
    check_face_parity(_compared(task, built, full), face_drop_allowed(task, built.precision, asked))


FACES = BundleKind(
    preprocessing=lambda _: RAW,
    uint8="a recogniser takes float32 RGB as face software feeds it: leave out --input uint8",
    sent=raw_pixels,
    shown=_noise,
    wrapped=_with_face_input,
    check=_check,
    files=lambda task, built: {FILE: canonical_json(tuple(_compared(task, each, built[0]) for each in built))},
)
