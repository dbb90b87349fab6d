"""Networks written as one plain torch function each, for comparison with what is built from their workloads."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.networks import network_from_architecture
from edgenas.records import Architecture


class Reference(nn.Module):
    """Layers are made, and draw their weights, when the function first reaches them."""

    def __init__(self, function: Callable[[Reference, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList()
        self.next = 0

    def forward(self, x: Tensor) -> Tensor:
        self.next = 0
        return self.function(self, x)

    def _layer(self, make: Callable[[], nn.Module]) -> nn.Module:
        if self.next == len(self.layers):
            self.layers.append(make().train(self.training))
        self.next += 1
        return self.layers[self.next - 1]

    def conv(
        self, x: Tensor, out: int, kernel: int | tuple[int, int] = 1, stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None, dilation: int = 1, groups: int = 1,
        bias: bool = False,
    ) -> Tensor:  # fmt: skip
        if padding is None:
            padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
        return self._layer(lambda: nn.Conv2d(x.shape[1], out, kernel, stride, padding, dilation, groups, bias=bias))(x)

    def norm(self, x: Tensor) -> Tensor:
        return self._layer(lambda: (nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d)(x.shape[1]))(x)

    def linear(self, x: Tensor, out: int, bias: bool = True) -> Tensor:
        return self._layer(lambda: nn.Linear(x.shape[1], out, bias))(x)

    def classes(self, x: Tensor, count: int) -> Tensor:
        return self.linear(x.mean((2, 3)), count)


def check_equal(architecture: Architecture, function: Callable[[Reference, Tensor], Tensor], batch: int = 6) -> None:
    """From one seed the same weights; on them the same outputs, in training and evaluation, and the same gradients: every bit."""
    side = architecture.image_size
    images = torch.randn(batch, architecture.in_channels, side, side, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)
    reference = Reference(function)
    torch.manual_seed(7)
    with torch.no_grad():
        reference.eval()(images.clone())
    torch.manual_seed(7)
    network = network_from_architecture(architecture)
    reference.to(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    ours, theirs = list(network.parameters()), list(reference.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    assert all(map(torch.equal, ours, theirs))
    answers = []
    for one, parameters in ((network, ours), (reference, theirs)):
        outputs = one.train()(images.clone())
        loss = F.cross_entropy(outputs, torch.arange(batch) % outputs.shape[1])
        answers.append((outputs.detach(), *torch.autograd.grad(loss, parameters)))
    assert all(map(torch.equal, *answers))
    network.eval(), reference.eval()  # on the statistics of one batch, which buffers carry
    with torch.no_grad():
        assert torch.equal(network(images.clone()), reference(images.clone()))
