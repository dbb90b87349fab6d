"""Public networks with their weights, as the task's own: `torchvision:NAME`, `timm:NAME`, `FILE.onnx`, fitted to images and head.

All of them come through ONNX, so that cost, training, export and proof are those of every other network. Batch norms stay:
torch's own exporter of graphs folds them, its TorchScript one does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgenas.errors import EdgenasError
from edgenas.faces.pixels import Pixels
from edgenas.image_sizes import ImageSize, sides_of, size_from_sides, size_in_words
from edgenas.networks.fitting import Parts, fitted_head, fitted_input, with_outputs, without_softmax
from edgenas.networks.from_onnx import is_of_one_size, reading_from_model, reading_from_onnx, tensors_of
from edgenas.networks.norms import folded, with_norms
from edgenas.networks.onnx_reading import INPUT, OnnxReading
from edgenas.networks.zoo import IMAGENET, module_from_zoo, normalisation_of_file, with_state
from edgenas.preprocessing import input_from_pixels, largest_taken
from edgenas.records import Head, OnnxArchitecture, Outputs, Preprocessing, Workload

DOWNLOAD = "download"  # in place of a file of weights: what the library itself downloads
LIBRARIES = ("torchvision:", "timm:")


@dataclass(frozen=True)
class Public:
    """A public network, fitted to a task. `tensors`: weights that training starts from, by their names in the network of `began`;
    None = from scratch. `began`: the network with the head that it came with.

    `preprocessing`: how the task's pixels become the input that these weights know. `source`: where they came from.
    `other_classes`: the last layer came with as many classes as the task has, and these are others: it begins at zero.
    """

    architecture: OnnxArchitecture
    began: OnnxArchitecture
    tensors: dict[str, Tensor] | None
    preprocessing: Preprocessing
    source: str = ""
    source_sha256: str = ""
    notes: tuple[str, ...] = ()
    other_classes: bool = False


def public_network(
    asked: str,
    head: Head,
    preprocessing: Preprocessing,
    pixels: NDArray[np.uint8] | None = None,
    classes: tuple[str, ...] = (),
    said: Pixels | None = None,
) -> Public:
    """`torchvision:NAME` or `timm:NAME` (from scratch), either with `=FILE` (a state dict: .pth, .pt, .safetensors) or
    `=download`, or FILE.onnx, which has its weights. For images as `preprocessing` has them; from `pixels`, some of them,
    (N, H, W, C), batch norms are put back that an exporter folded. `classes`: the task's, for a file that names its own. `said`:
    what FILE.onnx takes, where its user says it.

    Raises EdgenasError, in one line, for what is not there, cannot be read, or cannot take such images.
    """
    name, _, weights = asked.partition("=")
    if name.startswith(LIBRARIES):
        return _of_library(name, weights, head, preprocessing)
    if not asked.lower().endswith(".onnx"):
        raise EdgenasError(
            f"reference {asked!r}: possible are torchvision:NAME, timm:NAME, either with =FILE.pth or =download behind it, and "
            "FILE.onnx"
        )
    return _of_file(Path(asked), head, preprocessing, pixels, classes, said)


def _of_library(name: str, weights: str, head: Head, preprocessing: Preprocessing) -> Public:
    path = None if weights in ("", DOWNLOAD) else Path(weights)
    module, (mean, std) = module_from_zoo(name, download=weights == DOWNLOAD)
    if path is not None:
        module = with_state(name, path)
        mean, std = normalisation_of_file(name) or (mean, std)
    size = preprocessing.input_size
    read = reading_from_model(_graph(name, module.eval(), size), f"{name} at {size_in_words(size)} px")
    parts = Parts(tuple(read.kernels), tensors_of(read), dict(read.epsilons), frozenset(read.fixed))
    known = msgspec.structs.replace(preprocessing, mean=mean, std=std)
    parts, made = fitted_input(name, parts, known, preprocessing.channels)
    if not weights:
        return _fitted(name, parts, None, head, preprocessing)
    source = f"the {name.partition(':')[0]} download" if path is None else path.name
    return _fitted(name, parts, made, head, preprocessing, source, "" if path is None else _sha256(path))


def _of_file(
    path: Path,
    head: Head,
    preprocessing: Preprocessing,
    pixels: NDArray[np.uint8] | None,
    classes: tuple[str, ...],
    said: Pixels | None,
) -> Public:
    """A file that was made for another size is read at the task's, where it can be."""
    size = preprocessing.input_size
    try:
        read = reading_from_onnx(path, size)
    except EdgenasError as error:
        if not is_of_one_size(path):
            raise
        own = reading_from_onnx(path)  # what is wrong at any size is said as it is
        shape = own.shape(own.graph.inputs[0])
        raise EdgenasError(
            f"{path} is made for images of {shape[1]} x {shape[2]} px and cannot take {size_in_words(size)} px ({error}): export "
            f"it for {size_in_words(size)} px, or with free height and width"
        ) from error
    parts = Parts(tuple(read.kernels), tensors_of(read), dict(read.epsilons), frozenset(read.fixed))
    channels = read.shape(read.graph.inputs[0])[0]
    known, told = (
        _known(path, read, preprocessing) if said is None else (_said(path, channels, preprocessing, said), ())
    )
    notes = list(told)
    parts, made = fitted_input(str(path), parts, known, preprocessing.channels)
    if folded(parts) and pixels is not None:
        parts = with_norms(parts, torch.from_numpy(input_from_pixels(pixels, made)))
        notes.append(
            f"{path.name} has no batch norms, as exporters fold them: they are put back, from {len(pixels)} training images"
        )
    theirs = _classes(path)
    other = len(theirs) == len(classes) and set(theirs) != set(classes)
    if other:
        notes.append(f"{path.name} knows other classes ({', '.join(theirs[:3])}, ...): its last layer begins at zero")
    if len(theirs) == len(classes) and theirs != classes:
        parts = with_outputs(parts, () if other else [theirs.index(name) for name in classes])
    return _fitted(str(path), parts, made, head, preprocessing, path.name, _sha256(path), tuple(notes), other)


@dataclass(frozen=True)
class InFile:
    """The network of an ONNX file as it is, without a softmax at its end. `classes`: those that an EdgeNAS export names,
    else ()."""

    architecture: OnnxArchitecture
    tensors: dict[str, Tensor]
    preprocessing: Preprocessing
    sha256: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def network_in_file(path: Path, preprocessing: Preprocessing, pixels: Pixels | None = None) -> InFile:
    """For a teacher: at the file's own size, or at that of `preprocessing` where its sides are free. `pixels`: what it takes,
    where its user says it. Raises EdgenasError for what cannot be read."""
    read = reading_from_onnx(path, None if is_of_one_size(path) else preprocessing.input_size)
    channels, height, width = read.shape(read.graph.inputs[0])
    size = size_from_sides(height, width)
    parts = Parts(tuple(read.kernels), tensors_of(read), dict(read.epsilons), frozenset(read.fixed))
    parts = replace(parts, kernels=tuple(without_softmax(parts.kernels)))
    own = Preprocessing(channels, size, (0.0,) * channels, (1.0,) * channels)
    own = own if channels != preprocessing.channels else preprocessing
    known, notes = _known(path, read, own) if pixels is None else (_said(path, channels, own, pixels), ())
    known = msgspec.structs.replace(known, channels=channels, size=size, padding=0)
    architecture = _architecture(str(path), parts, Outputs(parts.kernels[-1].out_channels), known)
    return InFile(architecture, parts.tensors, known, _sha256(path), _classes(path), notes)


def _fitted(
    name: str,
    parts: Parts,
    made: Preprocessing | None,
    head: Head,
    preprocessing: Preprocessing,
    source: str = "",
    sha256: str = "",
    notes: tuple[str, ...] = (),
    other_classes: bool = False,
) -> Public:
    """`made`: the preprocessing with which the weights know the images; None = from scratch."""
    fitted = fitted_head(name, parts, head)
    return Public(
        architecture=_architecture(name, fitted, head, preprocessing),
        began=_architecture(name, parts, Outputs(parts.kernels[-1].out_channels), preprocessing),
        tensors=None if made is None else parts.tensors,
        preprocessing=made or preprocessing,
        source=source,
        source_sha256=sha256,
        notes=notes,
        other_classes=other_classes,
    )


def _architecture(name: str, parts: Parts, head: Head, preprocessing: Preprocessing) -> OnnxArchitecture:
    epsilons = tuple(parts.epsilons.get(i, 1e-5) for i, kernel in enumerate(parts.kernels) if kernel.norm)
    fixed = tuple(sorted(parts.fixed))
    size = preprocessing.input_size
    return OnnxArchitecture(name, Workload(parts.kernels), head, preprocessing.channels, size, epsilons, fixed)


def _graph(name: str, module: nn.Module, size: ImageSize) -> onnx.ModelProto:
    """The module as ONNX, for one image of this size, batch norms and all."""
    image = torch.zeros(1, 3, *sides_of(size))
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad(), TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # the exporter's own, about shapes that are constants
            torch.onnx.export(
                module, (image,), Path(folder, "network.onnx"), dynamo=False, do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE, input_names=["image"],
            )  # fmt: skip
            return onnx.load(Path(folder, "network.onnx"))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise EdgenasError(
            f"{name} cannot take images of {size_in_words(size)} px: {' '.join(str(error).split())[:200]}"
        ) from error
    finally:
        loud.setLevel(level)


def _known(path: Path, read: OnnxReading, preprocessing: Preprocessing) -> tuple[Preprocessing, tuple[str, ...]]:
    """The preprocessing with the mean and deviation that a file's weights know, and what is to be said of it."""
    try:
        said = msgspec.convert(json.loads(_metadata(path)["preprocessing"]), type=Preprocessing)
        return msgspec.structs.replace(preprocessing, mean=said.mean, std=said.std), ()
    except (KeyError, ValueError):  # msgspec's and json's errors are ValueErrors
        pass
    channels = read.shape(read.graph.inputs[0])[0]
    if (largest := _largest_taken(read)) is not None:
        known = msgspec.structs.replace(preprocessing, mean=(0.0,) * channels, std=(1 / largest,) * channels)
        return known, (
            f"{path.name} normalises its input itself: it gets pixels from 0 to {largest}, as it takes them",
        )
    unsaid = f"{path.name} does not say how its input is normalised:"
    if channels == len(IMAGENET[0]):
        known = msgspec.structs.replace(preprocessing, mean=IMAGENET[0], std=IMAGENET[1])
        return known, (f"{unsaid} ImageNet's mean and deviation are taken",)
    mean, std = ((float(np.mean(part)),) * channels for part in (preprocessing.mean, preprocessing.std))
    known = msgspec.structs.replace(preprocessing, mean=mean, std=std)
    return known, (f"{unsaid} the study's own mean and deviation are taken",)


def _largest_taken(read: OnnxReading) -> int | None:
    """Of a file that begins with a normalisation of each channel, the largest pixel that it takes; None for any other."""
    first = [index for index, kernel in enumerate(read.kernels) if INPUT in kernel.sources]
    if len(first) > 1 or first[0] not in read.fixed or "conv.bias" not in read.weights[first[0]]:
        return None
    weights = read.weights[first[0]]
    return largest_taken(weights["conv.weight"].reshape(-1), weights["conv.bias"])


def _said(path: Path, channels: int, preprocessing: Preprocessing, pixels: Pixels) -> Preprocessing:
    """Means and deviations of pixels from 0 to 255, as shares of that."""
    if not {len(pixels.mean), len(pixels.std)} <= {1, channels}:
        raise EdgenasError(
            f"{path} takes images of {channels} channel(s): give one mean and one deviation for all, or as many"
        )
    mean, std = (tuple(float(v) / 255 for v in np.broadcast_to(part, channels)) for part in (pixels.mean, pixels.std))
    return msgspec.structs.replace(preprocessing, mean=mean, std=std)


def _classes(path: Path) -> tuple[str, ...]:
    try:
        return msgspec.convert(json.loads(_metadata(path)["classes"]), type=tuple[str, ...])
    except (KeyError, ValueError):
        return ()


def _metadata(path: Path) -> dict[str, str]:
    """What EdgeNAS's own exports say of themselves."""
    entries = onnx.load(str(path), load_external_data=False).metadata_props
    return {entry.key.removeprefix("edgenas."): entry.value for entry in entries if entry.key.startswith("edgenas.")}


def file_sha256(asked: str) -> str:
    """SHA-256 of the file that a reference names; "" where it names none, or one that is not here."""
    name, _, weights = asked.partition("=")
    path = Path(weights if name.startswith(LIBRARIES) else asked)
    return _sha256(path) if path.is_file() else ""


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
