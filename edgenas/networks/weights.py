"""Trained weights on disk: safetensors, which hold tensors and no code."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from edgenas.errors import EdgenasError
from edgenas.networks import network_from_architecture
from edgenas.records import Architecture


def save_weights(network: nn.Module, path: Path) -> None:
    """Write all weights and statistics; the file appears whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    save_file(tensors, part)
    part.replace(path)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a file of weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(architecture: Architecture, path: Path, sha256: str = "") -> nn.Module:
    """The network of `architecture` with the weights in `path`, in evaluation mode; EdgenasError where these are others.

    `sha256`: of the file as it was saved; "" where that was not kept.
    """
    network = network_from_architecture(architecture)
    try:
        if sha256 and weights_sha256(path) != sha256:
            raise EdgenasError(
                f"{path} is not the file that was trained (its SHA-256 differs): restore it, or run `edgenas train` again"
            )
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise EdgenasError(
            f"{path} does not hold this network's weights ({reason}): run `edgenas train` again"
        ) from error
    return network.eval()
