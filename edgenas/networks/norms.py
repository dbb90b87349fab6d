"""Batch norms put back into a network whose exporter folded them into its convolutions, so that it can be trained on.

What it computes stays: each new norm has as statistics the mean and variance that its convolution's outputs have on some images,
and gives them back as shift and scale. In training it normalises by each batch, as the folded one did.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import torch
from torch import Tensor, nn

from edgenas.networks.fitting import Parts
from edgenas.networks.from_onnx import set_constants
from edgenas.networks.from_workload import Network, network_from_workload
from edgenas.records import Workload

EPSILON = 1e-5


def with_norms(parts: Parts, images: Tensor) -> Parts:
    """The network with batch norms after the convolutions that may have lost theirs. `images`: (N, C, H, W), as it takes them."""
    lost = folded(parts)
    if not lost:
        return parts
    means, variances = _statistics(parts, images, lost)
    kernels, tensors, epsilons = list(parts.kernels), dict(parts.tensors), dict(parts.epsilons)
    for index in lost:
        kernels[index] = msgspec.structs.replace(kernels[index], norm=True, bias=False)
        name, bias = f"kernels.{index}.norm", tensors.pop(f"kernels.{index}.conv.bias")
        tensors |= {
            f"{name}.weight": (variances[index] + EPSILON).sqrt(),
            f"{name}.bias": means[index],
            f"{name}.running_mean": means[index] - bias,  # of the convolution without its bias
            f"{name}.running_var": variances[index],
        }
        epsilons[index] = EPSILON
    return replace(parts, kernels=tuple(kernels), tensors=tensors, epsilons=epsilons)


def folded(parts: Parts) -> list[int]:
    """Convolutions with a bias in place of a norm: all but the constants, the last layer, and those that work on pooled maps, as
    the gates of squeeze-and-excitation do. None where the network has any batch norm: then nothing was folded."""
    if any(kernel.norm for kernel in parts.kernels):
        return []
    pooled: set[int] = set()
    lost = []
    for index, kernel in enumerate(parts.kernels):
        if kernel.kind == "globalpool" or (kernel.inputs and set(kernel.inputs) <= pooled):
            pooled.add(index)
        elif kernel.kind in ("conv", "depthwise") and kernel.bias and index not in parts.fixed:
            lost.append(index)
    layers = [index for index, kernel in enumerate(parts.kernels) if kernel.kind in ("conv", "depthwise", "linear")]
    return [index for index in lost if index != layers[-1]]


def _statistics(parts: Parts, images: Tensor, lost: list[int]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Mean and variance of each channel of what these convolutions give."""
    network = _network(parts)
    means: dict[int, Tensor] = {}
    variances: dict[int, Tensor] = {}

    def noting(index: int) -> None:
        def note(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            variances[index], means[index] = torch.var_mean(output, (0, 2, 3), correction=0)

        conv = network.kernels[index].conv
        assert isinstance(conv, nn.Conv2d)
        conv.register_forward_hook(note)

    for index in lost:
        noting(index)
    with torch.no_grad():
        network(images)
    return means, variances


def _network(parts: Parts) -> Network:
    with torch.random.fork_rng(devices=[]):
        network = network_from_workload(Workload(parts.kernels))
    network.load_state_dict(network.state_dict() | parts.tensors)
    set_constants(network, parts.epsilons, parts.fixed)
    return network.eval()
