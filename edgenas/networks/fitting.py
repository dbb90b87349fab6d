"""A network that was read, fitted to other images and another head, its weights kept.

Normalisation: the task's pixels become x = (p - mean) / std, and the weights know other means and deviations. With as many
channels as the network has, mean and std of the task's preprocessing become the known ones: exact, and free. A colour network
on grey images has its first weights summed over the channels: the three channels hold the same p there. Where each channel is
normalised in its own way, as ImageNet's are, w . (p - m_c) / s_c = (sum_c w_c s / s_c) x + sum_c w_c (m - m_c) / s_c, with m
and s the means of m_c and s_c; the second sum goes into what follows. It is exact but for the outermost pixels of the first
map, where padding has no constant to add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import torch
from torch import Tensor

from edgenas.errors import EdgenasError
from edgenas.records import Classes, Embedding, Head, Kernel, Outputs, Preprocessing

LUMA = (0.299, 0.587, 0.114)  # grey = .299 R + .587 G + .114 B (ITU-R 601-2), as Pillow converts
INPUT = -1


@dataclass(frozen=True)
class Parts:
    """Kernels; their weights, by their names in the network; epsilons of batch norms; kernels that are constants."""

    kernels: tuple[Kernel, ...]
    tensors: dict[str, Tensor]
    epsilons: dict[int, float]
    fixed: frozenset[int]

    def weights_of(self, index: int) -> dict[str, Tensor]:
        start = f"kernels.{index}."
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def fitted_input(name: str, parts: Parts, known: Preprocessing, channels: int) -> tuple[Parts, Preprocessing]:
    """The network for images of so many channels, and the preprocessing with which these give what the weights know.

    `known`: the task's preprocessing, with the mean and deviation that the weights were trained with. Raises EdgenasError where
    the first layers do not read colours as convolutions do.
    """
    readers = [index for index, kernel in enumerate(parts.kernels) if INPUT in kernel.sources]
    own = parts.kernels[readers[0]].in_channels
    if own == channels:
        return parts, known
    if (own, channels) not in ((3, 1), (1, 3)):
        raise EdgenasError(
            f"{name} takes images of {own} channels, and these have {channels}: grey and colour are possible"
        )
    mean, std = (tuple(np.broadcast_to(values, own).tolist()) for values in (known.mean, known.std))
    one_mean, one_std = sum(mean) / own, sum(std) / own
    for index in readers:
        parts = _to_grey(name, parts, index, (mean, std)) if channels == 1 else _to_colour(name, parts, index)
    made = msgspec.structs.replace(known, mean=(one_mean,) * channels, std=(one_std,) * channels)
    return parts, made


def _to_grey(name: str, parts: Parts, index: int, known: tuple[tuple[float, ...], tuple[float, ...]]) -> Parts:
    """Kernel `index`, which reads three channels, reads the one that all three are."""
    kernel, weights = parts.kernels[index], parts.weights_of(index)
    if "conv.weight" not in weights:
        raise _no_colours(name, index, kernel)
    weight = weights["conv.weight"].double()  # (out, 3 / groups, h, w)
    if kernel.groups == 3 == kernel.out_channels:  # a normalisation of each channel: out of one channel come three
        spread = weight.new_zeros(3, 3, *weight.shape[2:])
        spread[range(3), range(3)] = weight[:, 0]
        weight = spread
    elif kernel.groups != 1:
        raise _no_colours(name, index, kernel)
    mean, std = (weight.new_tensor(values)[:, None, None] for values in known)
    summed = (weight * std.mean() / std).sum(1, keepdim=True)  # (out, 1, h, w)
    shift = (weight * (mean.mean() - mean) / std).sum((1, 2, 3))  # (out,)
    changes = {"conv.weight": summed.float()}
    if kernel.norm and not kernel.bias:
        changes["norm.running_mean"] = (weights["norm.running_mean"].double() - shift).float()
    elif kernel.bias or shift.abs().max() > 0:
        changes["conv.bias"] = (weights.get("conv.bias", torch.zeros(len(shift))).double() + shift).float()
    grey = msgspec.structs.replace(
        kernel, kind="conv", in_channels=1, groups=1, bias=kernel.bias or "conv.bias" in changes
    )
    return _changed(parts, index, grey, changes)


def _to_colour(name: str, parts: Parts, index: int) -> Parts:
    """Kernel `index`, which reads grey, reads the three colours that grey is made of."""
    kernel, weights = parts.kernels[index], parts.weights_of(index)
    if "conv.weight" not in weights:
        raise _no_colours(name, index, kernel)
    weight = weights["conv.weight"]
    mixed = weight * weight.new_tensor(LUMA)[None, :, None, None]  # (out, 1, h, w) -> (out, 3, h, w)
    colour = msgspec.structs.replace(kernel, kind="conv", in_channels=3)
    return _changed(parts, index, colour, {"conv.weight": mixed})


def _changed(parts: Parts, index: int, kernel: Kernel, tensors: dict[str, Tensor]) -> Parts:
    kernels = (*parts.kernels[:index], kernel, *parts.kernels[index + 1 :])
    return replace(
        parts, kernels=kernels, tensors=parts.tensors | {f"kernels.{index}.{n}": t for n, t in tensors.items()}
    )


def _no_colours(name: str, index: int, kernel: Kernel) -> EdgenasError:
    return EdgenasError(
        f"{name}: kernel {index} ({kernel.kind}) reads the image's channels and is no plain convolution: grey and colour "
        "cannot be "
        "exchanged there"
    )


# ---------------------------------------------------------------- the head


def fitted_head(name: str, parts: Parts, head: Head) -> Parts:
    """The network with another last layer, whose weights are still to be learned; what followed the old one stays, but for a
    softmax. Without one, after a global pool, it gets one. Raises EdgenasError for a network that ends otherwise.
    """
    kernels = without_softmax(parts.kernels)
    last = _last_layer(kernels)
    tail = kernels[last + 1 :]
    classifies = (
        last >= 0
        and kernels[last].kind in ("linear", "conv")
        and kernels[last].out_channels == kernels[-1].out_channels
    )
    if (
        classifies
        and isinstance(head, Classes | Outputs)
        and (kernels[last].kind == "linear" or _to_one_pixel(kernels))
    ):
        bare = msgspec.structs.replace(kernels[last], out_channels=head.count, bias=True, norm=False, residual=None)
        bare = bare if tail else msgspec.structs.replace(bare, activation="")
        kernels[last:] = [bare, *(_narrowed(kernel, head.count) for kernel in tail)]
    elif classifies and kernels[last].kind == "linear" and not tail:
        kernels[last:] = _new_head(kernels[last].inputs[0], kernels[last].in_channels, last, head)
    elif kernels[-1].kind == "globalpool":
        kernels += _new_head(len(kernels) - 1, kernels[-1].out_channels, len(kernels), head)
    else:
        raise EdgenasError(
            f"{name} ends in a {kernels[-1].kind}, which is no classifier's end: a linear layer, a convolution before a "
            "global pool, "
            "or a global pool are"
        )
    kept = {i: epsilon for i, epsilon in parts.epsilons.items() if i < last}
    return replace(parts, kernels=tuple(kernels), epsilons=kept, fixed=frozenset(i for i in parts.fixed if i < last))


def without_softmax(kernels: Sequence[Kernel]) -> list[Kernel]:
    """The kernels of a network but for a softmax at its end."""
    return [*kernels[:-1]] if kernels[-1].kind == "softmax" else [*kernels]


def head_is_kept(began: Sequence[Kernel], fitted: Sequence[Kernel]) -> bool:
    """Do the weights of the last layer of a network have their place in what `fitted_head` made of it? The layers may differ in
    bias and activation, and a softmax may follow."""
    one, other = (_last_layer(without_softmax(kernels)) for kernels in (began, fitted))
    return one == other >= 0 and _weights_shape(began[one]) == _weights_shape(fitted[other])


def _weights_shape(kernel: Kernel) -> tuple[object, ...]:
    return kernel.kind, kernel.in_channels, kernel.out_channels, kernel.kernel, kernel.groups, kernel.norm


def with_outputs(parts: Parts, order: Sequence[int]) -> Parts:
    """The network with the outputs of its last layer in this order; without an order they begin at zero."""
    last = _last_layer([kernel for kernel in parts.kernels if kernel.kind != "softmax"])
    rows = {
        f"kernels.{last}.{leaf}": tensor[list(order)] if order else torch.zeros_like(tensor)
        for leaf, tensor in parts.weights_of(last).items()
    }
    return replace(parts, tensors=parts.tensors | rows)


def _last_layer(kernels: Sequence[Kernel]) -> int:
    """The place of the last kernel that is neither a pool nor an activation; -1 where all are."""
    last = len(kernels) - 1
    while last >= 0 and kernels[last].kind in ("globalpool", "activation", "avgpool") and not kernels[last].norm:
        last -= 1
    return last


def _to_one_pixel(kernels: list[Kernel]) -> bool:
    return (kernels[-1].height, kernels[-1].width) == (1, 1)


def _narrowed(kernel: Kernel, channels: int) -> Kernel:
    return msgspec.structs.replace(kernel, in_channels=channels, out_channels=channels)


def _new_head(source: int, features: int, index: int, head: Head) -> list[Kernel]:
    """What stands after the pool, as `Tracer.head` has it; `index`: of its first kernel."""
    if isinstance(head, Embedding):
        if head.pool != "average":
            raise EdgenasError(
                f"an embedding after a {head.pool} pool cannot be put on a network that was read: average is possible"
            )
        norm = Kernel("activation", features, features, 1, 1, 1, 1, (source,), norm=True)
        return [norm, Kernel("linear", features, head.dim, 1, 1, 1, 1, (index,), norm=True)]
    return [Kernel("linear", features, head.count, 1, 1, 1, 1, (source,), bias=True)]
