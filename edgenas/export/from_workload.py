"""A trained network as the graph its workload describes: the export for opsets that torch's exporter cannot write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Workload
from edgenas.runtimes.graph import KernelWeights, onnx_from_workload

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class _Layer:
    """A convolution, linear layer or batch norm as it was executed, with the batch norm that directly follows it."""

    module: nn.Module
    result: Tensor
    norm: nn.Module | None = None


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
    layers = _executed_layers(network, architecture)
    indices = [i for i, kernel in enumerate(workload.kernels) if kernel.weights or kernel.norm]
    if len(layers) != len(indices):
        raise EdgenasError(
            f"the network executes {len(layers)} layers with weights, its workload has {len(indices)}: "
            "export it at opset 16 or later, or mend the workload"
        )
    return {index: _folded(layer) for index, layer in zip(indices, layers, strict=True)}


def _executed_layers(network: nn.Module, architecture: Architecture) -> list[_Layer]:
    import torch
    from torch import nn

    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    layers: list[_Layer] = []

    def note(module: nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        if isinstance(module, norms) and layers and given[0] is layers[-1].result and layers[-1].norm is None:
            layers[-1].norm, layers[-1].result = module, result
        else:
            layers.append(_Layer(module, result))

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear, *norms))]
    try:
        with torch.no_grad():
            network.cpu().eval()(
                torch.zeros(1, architecture.in_channels, architecture.image_size, architecture.image_size)
            )
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def _folded(layer: _Layer) -> KernelWeights:
    """w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta; a lone batch norm is its scale and shift."""
    from torch import nn

    lone = isinstance(layer.module, (nn.BatchNorm1d, nn.BatchNorm2d))
    norm = layer.module if lone else layer.norm
    state = {name: value.detach().double().numpy() for name, value in layer.module.state_dict().items()}
    weight, bias = (np.ones(len(state["weight"])), None) if lone else (state["weight"], state.get("bias"))
    if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
        values = {name: value.detach().double().numpy() for name, value in norm.state_dict().items()}
        scale = values["weight"] / np.sqrt(values["running_var"] + norm.eps)
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        bias = ((0 if bias is None else bias) - values["running_mean"]) * scale + values["bias"]
    return KernelWeights(weight.astype(np.float32), None if bias is None else bias.astype(np.float32))
