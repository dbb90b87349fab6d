"""A trained network as the graph its workload describes: the export for opsets that torch's exporter cannot write."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.export.layers import NORMS, Layer, executed_layers
from edgenas.records import Architecture, Workload
from edgenas.runtimes.graph import KernelWeights, onnx_from_workload


def onnx_from_trained_workload(
    network: nn.Module, architecture: Architecture, opset: int, ir: int, names: tuple[str, str]
) -> onnx.ModelProto:
    """The workload's own graph with the network's weights in it, batch norms folded."""
    workload = workload_from_architecture(architecture)
    weights = weights_from_network(network, architecture, workload)
    return onnx_from_workload(workload, weights, opset, ir, names=names)


def weights_from_network(
    network: nn.Module, architecture: Architecture, workload: Workload
) -> dict[int, KernelWeights]:
    """Weights by kernel index: the i-th executed layer is the i-th kernel that has weights (or a batch norm of its own)."""
    side = architecture.image_size
    layers = executed_layers(network, torch.zeros(1, architecture.in_channels, side, side))
    indices = [i for i, kernel in enumerate(workload.kernels) if kernel.weights or kernel.norm]
    if len(layers) != len(indices):
        raise EdgenasError(
            f"the network executes {len(layers)} layers with weights, its workload has {len(indices)}: "
            "export it at opset 16 or later, or mend the workload"
        )
    return {index: _folded(layer) for index, layer in zip(indices, layers, strict=True)}


def _folded(layer: Layer) -> KernelWeights:
    """w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta; a lone batch norm is its scale and shift."""
    lone = isinstance(layer.module, NORMS)
    norm = layer.module if lone else layer.norm
    state = {name: value.detach().double().numpy() for name, value in layer.module.state_dict().items()}
    weight, bias = (np.ones(len(state["weight"])), None) if lone else (state["weight"], state.get("bias"))
    if isinstance(norm, NORMS):
        values = {name: value.detach().double().numpy() for name, value in norm.state_dict().items()}
        scale = values["weight"] / np.sqrt(values["running_var"] + norm.eps)
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        bias = ((0 if bias is None else bias) - values["running_mean"]) * scale + values["bias"]
    return KernelWeights(weight.astype(np.float32), None if bias is None else bias.astype(np.float32))
