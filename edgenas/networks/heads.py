"""What a network ends in: logits or an embedding."""

from __future__ import annotations

from torch import Tensor, nn

from edgenas.records import Classes, Head


class ClassHead(nn.Module):
    """Average over the map, then a linear layer with bias."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, count)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))  # (N, C, H, W) -> (N, C)
        logits: Tensor = self.linear(x)  # (N, classes)
        return logits


class EmbeddingHead(nn.Module):
    """Average or learned (depthwise, whole map) pooling, BN, linear to the embedding, BN. Not normalised to length one."""

    def __init__(self, channels: int, side: int, dim: int, pool: str) -> None:
        super().__init__()
        self.pool = (
            nn.AdaptiveAvgPool2d(1)
            if pool == "average"
            else nn.Conv2d(channels, channels, side, groups=channels, bias=False)
        )
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.pool(x)).flatten(1)  # (N, C, H, W) -> (N, C)
        embedding: Tensor = self.embedding_norm(self.linear(x))  # (N, dim)
        return embedding


def output_width(network: nn.Module) -> int:
    """Numbers that a network puts out: of classes, or its embedding's size. The last linear layer's."""
    return next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)).out_features


def head_module(head: Head, channels: int, side: int) -> nn.Module:
    """The module for `head` on maps of (channels, side, side)."""
    if isinstance(head, Classes):
        return ClassHead(channels, head.count)
    return EmbeddingHead(channels, side, head.dim, head.pool)
