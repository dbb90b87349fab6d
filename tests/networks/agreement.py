"""What every network must share with its workload."""

import torch
from torch import nn

from edgenas.architectures.workload import workload_from_architecture
from edgenas.networks import network_from_architecture
from edgenas.records import Architecture
from edgenas.runtimes.graph import weight_shape


def check_agreement(architecture: Architecture) -> None:
    """The network has its workload's parameters, and its weighted layers run in the kernels' order with their shapes."""
    workload = workload_from_architecture(architecture)
    network = network_from_architecture(architecture).eval()
    assert sum(p.numel() for p in network.parameters()) == workload.params
    seen: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _, __, y: seen.append(tuple(y.shape[1:])))
    side = architecture.image_size
    outputs = network(torch.zeros(2, architecture.in_channels, side, side))
    weighted = [k for k in workload.kernels if weight_shape(k)]
    expected = [(k.out_channels,) if k.kind == "linear" else (k.out_channels, k.height, k.width) for k in weighted]
    assert seen == expected
    assert tuple(outputs.shape) == (2, weighted[-1].out_channels)
