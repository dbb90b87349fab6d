"""A trained network as the graph its workload describes: the export for opsets that torch's exporter cannot write."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from edgenas.errors import EdgenasError
from edgenas.export.layers import NORMS
from edgenas.networks import Network
from edgenas.runtimes.graph import KernelWeights, onnx_from_workload


def onnx_from_trained_workload(network: nn.Module, opset: int, ir: int, names: tuple[str, str]) -> onnx.ModelProto:
    """The workload's own graph with the network's weights in it, batch norms folded."""
    if not isinstance(network, Network):
        raise EdgenasError(
            f"opset {opset} is written from a network's workload, which a {type(network).__name__} does not have: "
            "ask for opset 16 or later"
        )
    return onnx_from_workload(network.workload, weights_from_network(network), opset, ir, names=names)


def weights_from_network(network: Network) -> dict[int, KernelWeights]:
    """Weights by kernel index, batch norms folded."""
    folded = {index: _folded(module) for index, module in enumerate(network.kernels)}
    return {index: weights for index, weights in folded.items() if weights is not None}


def _folded(kernel: nn.Module) -> KernelWeights | None:
    """w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta; a lone batch norm is its scale and shift; None: no weights."""
    parts = dict(kernel.named_children())
    norm = parts.pop("norm", None)
    layer = next(iter(parts.values()), None)
    state = {} if layer is None else _arrays(layer)
    weight, bias = state.get("weight"), state.get("bias")
    if isinstance(norm, NORMS):
        values = _arrays(norm)
        scale = values["weight"] / np.sqrt(values["running_var"] + norm.eps)
        bias = ((0 if bias is None else bias) - values["running_mean"]) * scale + values["bias"]
        weight = scale if weight is None else weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    if weight is None:
        return None
    return KernelWeights(weight.astype(np.float32), None if bias is None else bias.astype(np.float32))


def _arrays(module: nn.Module) -> dict[str, NDArray[np.float64]]:
    return {name: value.detach().cpu().double().numpy() for name, value in module.state_dict().items()}
