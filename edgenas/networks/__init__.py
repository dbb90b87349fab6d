"""Networks as torch modules. The i-th convolution or linear layer that runs is the i-th weighted kernel of the workload."""

from __future__ import annotations

from torch import nn

from edgenas.records import Architecture, CellArchitecture, ChainArchitecture, MultiBranchArchitecture


def network_from_architecture(architecture: Architecture) -> nn.Module:
    """A freshly initialised network (global generator of torch): (N, C, H, W) float -> (N, classes or dim)."""
    if isinstance(architecture, ChainArchitecture):
        from edgenas.networks.chain import Chain

        return Chain(architecture)
    if isinstance(architecture, MultiBranchArchitecture):
        from edgenas.networks.multibranch import MultiBranch

        return MultiBranch(architecture)
    if isinstance(architecture, CellArchitecture):
        from edgenas.networks.cell import network_from_cell

        return network_from_cell(architecture)
    raise TypeError(type(architecture).__name__)
