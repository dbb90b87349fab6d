"""One training in several processes: each takes its part of every batch, and all have the same weights after every step.

torch's DistributedDataParallel adds up the gradients, by NCCL between GPUs and by gloo between processes on a CPU. Batch norm has
the statistics of the whole batch: torch's SyncBatchNorm on GPUs; on a CPU, where that does not run, `WholeBatchNorm`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(days=1)  # for the others; their parent sees who dies
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class Share:
    """What this process has of a training: part `rank` of so many."""

    rank: int = 0
    processes: int = 1

    @property
    def alone(self) -> bool:
        return self.processes == 1

    @property
    def leads(self) -> bool:
        """Is this the one process that evaluates and writes?"""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Which rows of a batch of `count` are this process's; parts differ by a row at most."""
        return slice(count * self.rank // self.processes, count * (self.rank + 1) // self.processes)

    def weight(self, count: int) -> float:
        """What the mean over this process's part counts, so that the mean over processes is the mean over the batch."""
        part = self.part(count)
        length: int = part.stop - part.start
        return self.processes * length / count

    def threads(self, count: int) -> int:
        """Of the threads that one process would have on a CPU."""
        return max(1, count // self.processes)

    def add_up(self, sums: Tensor) -> None:
        """Each process's `sums` become those of all, in place."""
        if not self.alone:
            dist.all_reduce(sums)

    def average_gradients(self, parameters: Sequence[nn.Parameter], device: torch.device) -> None:
        """Of parameters that no DistributedDataParallel has, wherever they are, by way of `device`."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for gradient in gradients if not self.alone else ():
            total = gradient.to(device, copy=True)
            dist.all_reduce(total)
            gradient.copy_(total / self.processes)

    def see_whole_batches(self, network: nn.Module, device: torch.device) -> None:
        """Batch norms inside the network get the statistics of all processes' parts; parameters and their names stay."""
        if self.alone:
            return
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                    setattr(module, name, _whole(child, device))

    def gathering(self, module: nn.Module, device: torch.device, *, unused: bool = False) -> nn.Module:
        """The module, with gradients that are the mean over all processes. `unused`: may a step leave parameters out?"""
        if self.alone:
            return module
        where = [device] if device.type == "cuda" else None
        return DistributedDataParallel(module, where, find_unused_parameters=unused)


ALONE = Share()


def _whole(norm: nn.BatchNorm1d | nn.BatchNorm2d, device: torch.device) -> nn.Module:
    if device.type != "cuda":
        return WholeBatchNorm(norm)
    synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
    return synchronised


class LostError(Exception):
    """Another process of the training is gone."""


@contextlib.contextmanager
def joined(share: Share, meeting: Path, device: torch.device) -> Iterator[None]:
    """Be one of the processes of a training, on this machine; they find each other by a file at `meeting`, which is not there
    before. Raises LostError where one of them goes."""
    if share.alone:
        yield
        return
    _stay_on_this_machine()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            BACKENDS[device.type],
            init_method=f"file://{meeting}",
            rank=share.rank,
            world_size=share.processes,
            timeout=PATIENCE,
        )
        try:
            with warnings.catch_warnings():
                # Of 1 x 1 convolutions in channels last, whose strides are ambiguous: one gradient is copied.
                warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
                yield
        finally:
            dist.destroy_process_group()
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error):
            raise LostError(str(error).splitlines()[0]) from error
        raise


def _stay_on_this_machine() -> None:
    """Processes talk over the loopback interface, unless the environment names another."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if names:
            os.environ.setdefault(variable, names[0])


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm over the parts of all processes, (N, C) or (N, C, H, W); in evaluation as torch's own."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        """In place of `norm`, with its parameters and statistics."""
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.training = norm.training

    def _check_input_dim(self, input: Tensor) -> None:
        """Both shapes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            evaluated: Tensor = super().forward(input)
            return evaluated
        x = input.float()
        dims = [0, *range(2, x.ndim)]
        shape = (1, -1, *(1,) * (x.ndim - 2))  # of a channel's numbers beside x
        count = x.new_tensor(x.numel() / self.num_features)
        total: Tensor = Sum.apply(torch.cat([x.sum(dims), count[None]]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = x - mean.view(shape)
        # Not the mean of squares less the square of the mean, which loses digits.
        variance = Sum.apply(centred.square().sum(dims)) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        y: Tensor = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics as torch has them."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class Sum(torch.autograd.Function):
    """Added up over all processes, and so are the gradients: every process's loss depends on every part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004  torch's signature
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient
