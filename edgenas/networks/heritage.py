"""Layers of a trained network of stages in members of the space `stages`: who gets which, and on which pixels.

A member's layer takes the weights of the layer at its place (stage, block, layer of the block; stem; last 1x1 convolution) where
kind, channels, kernel, stride and groups are the same. Everything else begins from scratch, and so does the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import torch
from torch import Tensor, nn

from edgenas.architectures.stages import Spans, traced_stages
from edgenas.architectures.stages_reading import stages_from_kernels, weighted
from edgenas.networks.public import Public
from edgenas.records import Kernel, Preprocessing, StagesArchitecture

OWN_EPSILON = 1e-5  # of the batch norms that EdgeNAS builds: torch's own


@dataclass(frozen=True)
class Heritage:
    """A trained network as stages, with its weights by their names in the network that EdgeNAS builds of it."""

    whole: StagesArchitecture
    tensors: dict[str, Tensor]


def heritage_of(public: Public, preprocessing: Preprocessing) -> Heritage:
    """Of a network that was fitted to a task (networks/public.py), for images normalised by `preprocessing`. What it computes
    stays, but where images are padded: weights know another zero there. Raises EdgenasError for one that has no weights, or is
    no network of stages."""
    assert public.tensors is not None
    name, kernels = public.architecture.name, public.began.workload.kernels
    whole = stages_from_kernels(name, kernels)
    theirs, ours = weighted(kernels), weighted(traced_stages(whole)[0].kernels)
    epsilons = dict(zip((i for i, kernel in enumerate(kernels) if kernel.norm), public.began.epsilons, strict=True))
    tensors: dict[str, Tensor] = {}
    for there, here in zip(theirs, ours, strict=True):
        weights = _weights_of(public.tensors, there)
        if there in epsilons and "conv.bias" in weights:  # before a norm it only moves the mean
            weights["norm.running_mean"] = weights["norm.running_mean"] - weights.pop("conv.bias")
        if there in epsilons:  # the same deviation with another epsilon
            weights["norm.running_var"] = weights["norm.running_var"] + epsilons[there] - OWN_EPSILON
        if there == theirs[-1]:
            weights.setdefault("linear.bias", torch.zeros(len(weights["linear.weight"])))
        if there == theirs[0]:
            weights = _renormalised(weights, public.preprocessing, preprocessing)
        tensors |= {f"kernels.{here}.{leaf}": tensor for leaf, tensor in weights.items()}
    return Heritage(whole, tensors)


def _weights_of(tensors: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    start = f"kernels.{index}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _renormalised(weights: dict[str, Tensor], known: Preprocessing, own: Preprocessing) -> dict[str, Tensor]:
    """The first convolution and its norm for x = (p - m) / s in place of (p - M) / S = x s / S + (m - M) / S."""
    channels = weights["conv.weight"].shape[1]
    (to_mean, to_std), (mean, std) = ((_each(one.mean, channels), _each(one.std, channels)) for one in (known, own))
    weight = weights["conv.weight"].double()  # (out, channels, k, k)
    shift = (weight.sum((2, 3)) * (mean - to_mean) / to_std).sum(1)  # (out,)
    changed = {
        "conv.weight": (weight * (std / to_std)[:, None, None]).float(),
        "norm.running_mean": (weights["norm.running_mean"].double() - shift).float(),
    }
    return {**weights, **changed}


def _each(values: tuple[float, ...], channels: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).expand(channels)


# ---------------------------------------------------------------- who gets which


def inherited(member: StagesArchitecture, whole: StagesArchitecture) -> dict[int, int]:
    """For every kernel of the member that inherits, the kernel of the whole network that it gets its weights from."""
    (ours, spans), (theirs, their_spans) = traced_stages(member), traced_stages(whole)
    pairs = [(0, 0)]
    for place in range(min(len(spans), len(their_spans))):
        ours_each, theirs_each = _blocks(spans, place, member), _blocks(their_spans, place, whole)
        if len(ours_each[0]) == len(theirs_each[0]):
            for mine, other in zip(ours_each, theirs_each, strict=False):
                pairs += zip(mine, other, strict=True)
    if member.head_width and whole.head_width:
        pairs.append((spans[-1].stop, their_spans[-1].stop))
    return {one: other for one, other in pairs if _fits(ours.kernels[one], theirs.kernels[other])}


def inherited_share(member: StagesArchitecture, whole: StagesArchitecture) -> float:
    """Of the member's parameters, 0 to 1."""
    workload = traced_stages(member)[0]
    return sum(workload.kernels[index].params for index in inherited(member, whole)) / workload.params


def take_over(network: nn.Module, member: StagesArchitecture, whole: StagesArchitecture, trained: nn.Module) -> None:
    """Give the member's network what it inherits from the trained one of `whole`."""
    theirs = trained.state_dict()
    same = {
        f"kernels.{here}.{leaf}": tensor
        for here, there in inherited(member, whole).items()
        for leaf, tensor in _weights_of(theirs, there).items()
    }
    network.load_state_dict({**network.state_dict(), **same})


def _blocks(spans: Spans, place: int, network: StagesArchitecture) -> list[range]:
    """The kernels of each block of a stage; a first block with one more (residual ones have a shortcut) counts with the rest."""
    span, repeats = spans[place], network.stages[place].repeats
    each, more = divmod(len(span), repeats)
    starts = [span.start, *(span.start + more + each * block for block in range(1, repeats)), span.stop]
    return [range(start, end) for start, end in pairwise(starts)]


def _fits(one: Kernel, other: Kernel) -> bool:
    return bool(one.params) and _shape(one) == _shape(other)


def _shape(kernel: Kernel) -> tuple[object, ...]:
    same = ("kind", "in_channels", "out_channels", "kernel", "stride", "groups", "norm", "bias")
    return tuple(msgspec.structs.asdict(kernel)[name] for name in same)
