"""The two networks of NAL's link predictor: the author, which writes cells, and the judge, which ranks them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.cell_graph import LINK_FEATURES, VERTICES, VOCABULARY


class Size(NamedTuple):
    """Sizes of the author or of the judge."""

    width: int
    layers: int
    heads: int
    dropout: float = 0.0


class AttentionLayer(nn.Module):
    """Masked multi-head graph attention (additive scores, as in GAT), then a two-layer perceptron; both added to their input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, 2 * heads)
        self.values = nn.Linear(width, width)
        self.mix = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, masks: Tensor) -> Tensor:
        n, vertices, width = h.shape
        x = self.norm(h)
        scores = self.scores(x).view(n, vertices, 2, self.heads).permute(2, 0, 3, 1)  # (2, N, H, V)
        pair = F.leaky_relu(scores[0][..., :, None] + scores[1][..., None, :], 0.2)  # (N, H, V, V)
        attention = pair.masked_fill(~masks, -1e9).softmax(-1)
        values = self.values(x).view(n, vertices, self.heads, -1).transpose(1, 2)  # (N, H, V, W / H)
        read = (attention @ values).transpose(1, 2).reshape(n, vertices, width)
        h = h + self.dropout(self.mix(read))
        y: Tensor = h + self.dropout(self.narrow(F.relu(self.wide(self.norm2(h)))))
        return y


class GraphAttention(nn.Module):
    """Operations (N, V) and masks (N, 3, V, V) of graphs with V vertices, or of the first V of each -> (N, V, W). A third of
    the heads looks along incoming edges, a third along outgoing ones, a third at every vertex."""

    def __init__(self, space: str, size: Size) -> None:
        super().__init__()
        self.operation = nn.Embedding(len(VOCABULARY[space]) + 1, size.width)
        self.position = nn.Embedding(VERTICES[space], size.width)
        self.layers = nn.ModuleList(AttentionLayer(size.width, size.heads, size.dropout) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.heads = size.heads

    def forward(self, ops: Tensor, masks: Tensor) -> Tensor:
        h = self.operation(ops) + self.position.weight[: ops.shape[1]]
        masks = masks.repeat_interleave(self.heads // 3, 1)  # (N, H, V, V)
        for layer in self.layers:
            h = layer(h, masks)
        y: Tensor = self.norm(h)
        return y


class Author(nn.Module):
    """What experts would write next: the operation of a vertex, and which earlier vertices it reads."""

    def __init__(self, space: str, size: Size) -> None:
        super().__init__()
        width = size.width
        self.body = GraphAttention(space, size)
        self.operation = nn.Linear(width, len(VOCABULARY[space]))
        self.link = nn.Sequential(nn.Linear(3 * width + LINK_FEATURES, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(
        self, ops: Tensor, masks: Tensor, vertex: Tensor, op: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits of the operation (N, K) and, given it, of the links from every vertex (N, V)."""
        h = self.body(ops, masks)  # (N, V, W)
        here = h[torch.arange(len(h)), vertex]  # (N, W)
        return self.operation(here), self.links(h, here, op, features)

    def links(self, sources: Tensor, here: Tensor, op: Tensor, features: Tensor) -> Tensor:
        """Logits (N, S) that the vertex with state `here` (N, W) and operation `op` (N,) reads each of the vertices with states
        `sources` (N, S, W); `features` (N, S, 5): see link_features."""
        pair = torch.cat([here, self.body.operation(op)], 1)[:, None].expand(-1, sources.shape[1], -1)
        links: Tensor = self.link(torch.cat([sources, pair, features], 2))[..., 0]
        return links


class Judge(nn.Module):
    """Logits that a cell is in the best 1/2, 1/4, 1/8, ... of its table."""

    def __init__(self, space: str, size: Size, levels: int) -> None:
        super().__init__()
        width = size.width
        self.body = GraphAttention(space, size)
        self.level = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, levels))

    def forward(self, ops: Tensor, masks: Tensor, sizes: Tensor) -> Tensor:
        h = self.body(ops, masks)  # (N, V, W)
        there = torch.arange(h.shape[1]) < sizes[:, None]
        mean = (h * there[..., None]).sum(1) / h.shape[1]
        output = h[torch.arange(len(h)), sizes - 1]
        levels: Tensor = self.level(torch.cat([mean, output], 1))
        return levels
