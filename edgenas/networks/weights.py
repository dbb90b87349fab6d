"""Trained weights on disk: safetensors, which hold tensors and no code."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from edgenas.durable import replace_file
from edgenas.errors import EdgenasError
from edgenas.files import lost
from edgenas.networks import network_from_architecture
from edgenas.records import Architecture


def save_weights(network: nn.Module, path: Path) -> None:
    """Write all weights and statistics; the file appears whole, and on the disk, or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(tensors))


def save_tensors(tensors: dict[str, Tensor], folder: Path, name: str) -> tuple[Path, str]:
    """Write tensors as folder/NAME-<16 hex>.safetensors, called by their own SHA-256; the path, and the whole SHA-256."""
    content = save({key: tensor.detach().cpu().contiguous() for key, tensor in sorted(tensors.items())})
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{name}-{sha256[:16]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)
    return path, sha256


def weights_sha256(path: Path) -> str:
    """SHA-256 of a file of weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_weights(path: Path, sha256: str) -> None:
    """EdgenasError where the file is not the one that was saved; nothing where its hash was not kept ("")."""
    if why := lost(path, sha256):
        raise EdgenasError(f"{path} {why}: restore it, or run the command that trained it again, which makes it anew")


def load_weights(architecture: Architecture, path: Path, sha256: str = "") -> nn.Module:
    """The network of `architecture` with the weights in `path`, in evaluation mode; EdgenasError where these are others.

    `sha256`: of the file as it was saved; "" where that was not kept.
    """
    network = network_from_architecture(architecture)
    try:
        check_weights(path, sha256)
        network.load_state_dict(_under_todays_names(load_file(path), network))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise EdgenasError(
            f"{path} does not hold this network's weights ({reason}): restore it, or remove it and run the command that trained "
            "it again"
        ) from error
    return network.eval()


# ---------------------------------------------------------------- files from before networks were built from workloads

RANKS = {
    "stem": 0, "second_stem": 1, "layers": 2, "cells": 2, "tail": 3, "head": 4,
    "depthwise": 0, "pointwise": 1, "conv": 0, "pool": 0, "norm": 2, "linear": 3, "embedding_norm": 4,
    "branches": 0, "even": 0, "odd": 1, "body": 0, "shortcut": 1,
}  # fmt: skip


def _under_todays_names(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Layers in the order in which they run have today's names; older files named them by their place in cells and branches."""
    if any(name.startswith("kernels.") for name in tensors):
        return tensors
    old = sorted({name.rpartition(".")[0] for name in tensors}, key=_place)
    new = list(dict.fromkeys(name.rpartition(".")[0] for name in network.state_dict()))
    names = dict(zip(old, new, strict=False))  # where a layer is missing, loading says so
    split = {name: name.rpartition(".") for name in tensors}
    return {f"{names.get(layer, layer)}.{leaf}": tensors[name] for name, (layer, _, leaf) in split.items()}


def _place(layer: str) -> tuple[int, ...]:
    """Sorts the old names of layers by when they run."""
    words = iter(layer.split("."))
    place: list[int] = []
    for word in words:
        if word in (
            "projections",
            "ops",
        ):  # NAS-Bench-101: vertex after vertex, a projection first; DARTS: ops after inputs
            place += [int(next(words)), int(word == "ops")]
        elif word == "inputs":
            place += [-1, int(next(words))]
        elif word == "edges":  # NAS-Bench-201: "source-node"
            source, node = next(words).split("-")
            place += [int(node), int(source)]
        else:
            place.append(RANKS[word] if word in RANKS else int(word))
    return tuple(place)
