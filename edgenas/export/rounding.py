"""What half precision alone makes of a network: weights and the results of every layer rounded to float16, sums in float32, as
devices compute them. An FP16 file cannot be nearer to the network than about this."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


def in_half_precision(network: nn.Module) -> nn.Module:
    """A copy that computes so, in evaluation mode on the CPU; its inputs and outputs are float32."""
    rounded = copy.deepcopy(network).cpu().eval()
    with torch.no_grad():
        for tensor in (*rounded.parameters(), *rounded.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    for module in rounded.modules():
        if not any(module.children()):
            module.register_forward_hook(_round)
    return rounded


def _round(module: nn.Module, given: Any, result: Tensor) -> Tensor:
    del module, given
    return result.half().float()
