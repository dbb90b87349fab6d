"""What a network's training goes on from: the trained weights of another."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from edgenas.networks.heritage import take_over
from edgenas.networks.weights import load_weights
from edgenas.records import Architecture, StagesArchitecture
from edgenas.training.loop import fresh_network

Start: TypeAlias = tuple[Architecture, Path, str]  # whose weights, their file, and its SHA-256


def begun_network(architecture: Architecture, seed: int, device: torch.device, start: Start | None) -> nn.Module:
    """A network initialised from `seed`, with every weight of `start` that it can take over. Raises EdgenasError where the file
    is not the one that was meant."""
    network = fresh_network(architecture, seed, device)
    if start is None:
        return network
    whole, trained = start[0], load_weights(*start)
    if (
        isinstance(architecture, StagesArchitecture)
        and isinstance(whole, StagesArchitecture)
        and other_layers(architecture, whole)
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
