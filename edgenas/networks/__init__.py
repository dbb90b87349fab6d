"""Networks as torch modules, built from workloads: those of the spaces, and those that ONNX files hold."""

from __future__ import annotations

from torch import nn

from edgenas.architectures.workload import workload_from_architecture
from edgenas.networks.from_onnx import network_from_onnx, set_constants
from edgenas.networks.from_workload import Network, network_from_workload
from edgenas.records import Architecture, OnnxArchitecture

__all__ = ["Network", "network_from_architecture", "network_from_onnx", "network_from_workload", "output_width"]


def network_from_architecture(architecture: Architecture) -> Network:
    """A freshly initialised network (global generator of torch): (N, C, H, W) float -> (N, classes or dim)."""
    network = network_from_workload(workload_from_architecture(architecture))
    network.architecture = architecture
    if isinstance(architecture, OnnxArchitecture):
        norms = [index for index, kernel in enumerate(architecture.workload.kernels) if kernel.norm]
        set_constants(network, dict(zip(norms, architecture.epsilons, strict=False)), architecture.fixed)
    return network


def output_width(network: nn.Module) -> int:
    """Numbers that a network puts out: of classes, or its embedding's size."""
    if isinstance(network, Network):  # its last layer may be a convolution before a pool
        return network.workload.kernels[-1].out_channels
    return next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)).out_features
