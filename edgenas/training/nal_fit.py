"""Fits the link predictor of NAL to a table of cells ("after NAL", arXiv 2204.11838; sizes, loss and decoding are ours).

Two small graph-attention networks (networks/link_prediction.py): the author learns, from expert cells alone, which operation a
vertex has and which earlier vertices it reads; the judge learns from the whole table how far up a cell stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgenas.architectures.cell_graph import (
    LINK_FEATURES,
    VERTICES,
    Graphs,
    attention_masks,
    link_features,
    prefixes,
)
from edgenas.networks.link_prediction import Author, Judge, Size

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class FitSettings:
    """How the two networks are trained; steps, not epochs, so that small and large tables take the same time."""

    width: int = 48
    layers: int = 3
    heads: int = 6
    batch_size: int = 256
    author_steps: int = 400
    judge_steps: int = 1200
    lr: float = 4e-3
    weight_decay: float = 0.01
    dropout: float = 0.1

    @property
    def size(self) -> Size:
        return Size(self.width, self.layers, self.heads, self.dropout)

    @staticmethod
    def for_table(cells: int, *, from_scratch: bool) -> FitSettings:
        """Some 40 passes over small tables, the default steps for large ones; gentler where it starts from learned weights."""
        full = FitSettings()
        judge_steps = min(full.judge_steps, max(60, 40 * cells // full.batch_size))
        if from_scratch:
            return replace(full, judge_steps=judge_steps)
        return replace(full, author_steps=60, judge_steps=judge_steps, lr=1e-3)


# ---------------------------------------------------------------- fitting


def fit_author(
    space: str,
    experts: Graphs,
    settings: FitSettings,
    seed: int,
    start: Mapping[str, NDArray[np.float32]] | None = None,
) -> Weights:
    """Weights of the author: masked-operation cross-entropy plus link cross-entropy over every vertex of every expert."""
    examples = author_examples(space, experts)
    torch.manual_seed(seed)
    author = Author(space, settings.size)
    _load(author, "author.", start)

    def loss(rows: Tensor) -> Tensor:
        prefix, masks, vertex, op, features, links, asked = (part[rows] for part in examples)
        op_logits, link_logits = author(prefix, masks, vertex, op, features)
        link = F.binary_cross_entropy_with_logits(link_logits, links, weight=asked, reduction="sum")
        total: Tensor = F.cross_entropy(op_logits, op) + link / asked.sum().clamp(min=1)
        return total

    _descend(author, loss, len(examples[0]), settings, settings.author_steps, seed)
    return _arrays(author, "author.")


def author_examples(space: str, graphs: Graphs) -> tuple[Tensor, ...]:
    """Every vertex of every cell: prefix, masks, its place, its operation, link features, links, which of them are asked."""
    vertices = VERTICES[space]
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for vertex in range(1, vertices):
        some = graphs[graphs.sizes > vertex]
        prefix = prefixes(space, some, vertex)
        features = np.zeros((len(some), vertices, LINK_FEATURES), np.float32)
        asked = np.zeros((len(some), vertices), np.float32)
        if space == "nasbench101":
            asked[:, :vertex] = 1
            for source in range(vertex):
                chosen = some.links[:, source + 1 : vertex, vertex].sum(1)
                features[:, source] = link_features(some.links, source, chosen, vertex)
        links = some.links[:, :, vertex].astype(np.float32)
        place = np.full(len(some), vertex)
        parts.append((prefix.ops, attention_masks(prefix), place, some.ops[:, vertex], features, links, asked))
    return tuple(torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))


def fit_judge(
    space: str,
    graphs: Graphs,
    standing: NDArray[np.float64],
    levels: tuple[float, ...],
    settings: FitSettings,
    seed: int,
    start: Mapping[str, NDArray[np.float32]] | None = None,
) -> Weights:
    """Weights of the judge; `standing` (N,): share of the table that is better than this cell, `levels`: shares to tell apart."""
    ops, sizes = torch.from_numpy(graphs.ops), torch.from_numpy(graphs.sizes)
    masks = torch.from_numpy(attention_masks(graphs))
    inside = torch.from_numpy((standing[:, None] < np.array(levels)).astype(np.float32))
    torch.manual_seed(seed)
    judge = Judge(space, settings.size, len(levels))
    _load(judge, "judge.", start)

    def loss(rows: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(judge(ops[rows], masks[rows], sizes[rows]), inside[rows])

    _descend(judge, loss, len(graphs), settings, settings.judge_steps, seed)
    return _arrays(judge, "judge.")


def _descend(
    network: nn.Module, loss: Callable[[Tensor], Tensor], count: int, settings: FitSettings, steps: int, seed: int
) -> None:
    """AdamW under a one-cycle schedule; every pass over the rows in a new order."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps, pct_start=0.1)
    batch = min(settings.batch_size, count)
    order = torch.empty(0, dtype=torch.int64)
    network.train()
    for _ in range(steps):
        if len(order) < batch:
            order = torch.randperm(count, generator=generator)
        rows, order = order[:batch], order[batch:]
        optimizer.zero_grad()
        loss(rows).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _load(network: nn.Module, prefix: str, start: Mapping[str, NDArray[np.float32]] | None) -> None:
    if start is not None:
        own = {name.removeprefix(prefix): value for name, value in start.items() if name.startswith(prefix)}
        network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in own.items()})


def _arrays(network: nn.Module, prefix: str) -> Weights:
    return {prefix + name: value.numpy().copy() for name, value in network.state_dict().items()}
