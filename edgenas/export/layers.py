"""A network's layers in the order in which they run: what diverges is named by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass
class Layer:
    """A convolution, linear layer or batch norm as it was executed."""

    name: str
    module: nn.Module
    output: Tensor  # after the batch norm that directly follows it; a copy from before any in-place ReLU


def executed_layers(network: nn.Module, inputs: Tensor) -> list[Layer]:
    """The layers that run for `inputs` (N, C, H, W), on the CPU, in evaluation mode. A batch norm that follows none of them
    directly is a layer of its own."""
    layers: list[Layer] = []
    latest: Tensor | None = None

    def note(name: str, module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal latest
        if isinstance(module, NORMS) and given[0] is latest:
            layers[-1].output = result.clone()
        else:
            layers.append(Layer(name, module, result.clone()))
        latest = result

    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear, *NORMS))
    ]
    try:
        with torch.no_grad():
            network.cpu().eval()(inputs.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return layers
