"""What a network's training goes on from: the trained weights of another."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from edgenas.networks.heritage import take_over
from edgenas.networks.weights import load_weights
from edgenas.records import Architecture, StagesArchitecture
from edgenas.training.loop import fresh_network


class Start(NamedTuple):
    """`architecture`: whose weights, in the file `weights` (`sha256`: its own; "" where that was not kept). `head`: does the last
    layer go along, where it fits?"""

    architecture: Architecture
    weights: Path
    sha256: str
    head: bool = True


def begun_network(architecture: Architecture, seed: int, device: torch.device, start: Start | None) -> nn.Module:
    """A network initialised from `seed`, with every weight of `start` that it can take over. Raises EdgenasError where the file
    is not the one that was meant."""
    network = fresh_network(architecture, seed, device)
    if start is None:
        return network
    whole, trained = start.architecture, load_weights(start.architecture, start.weights, start.sha256)
    if (
        isinstance(architecture, StagesArchitecture)
        and isinstance(whole, StagesArchitecture)
        and (not start.head or other_layers(architecture, whole))
    ):
        take_over(network, architecture, whole, trained)
    else:
        adopt(network, trained)
    return network


def other_layers(one: StagesArchitecture, other: StagesArchitecture) -> bool:
    """Do they differ in more than the head?"""
    return one.stages != other.stages or one.head_width != other.head_width


def adopt(network: nn.Module, trained: nn.Module) -> None:
    """Take over every weight of the same name and shape: all but the last layer, where the number of classes differs."""
    own = network.state_dict()
    both = {name: tensor for name, tensor in trained.state_dict().items() if name in own}
    same = {name: tensor for name, tensor in both.items() if own[name].shape == tensor.shape}
    network.load_state_dict({**own, **same})
