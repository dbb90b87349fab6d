"""Margin losses: softmax over cosines to one centre a person, with the right one made harder. Only the training sees them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.errors import DataError
from edgenas.records import Recipe

# Published settings; `scale` is 64 for all three.
DEFAULTS: dict[str, dict[str, float]] = {
    "arcface": {"scale": 64.0, "margin": 0.5},
    "cosface": {"scale": 64.0, "margin": 0.4},
    "adaface": {"scale": 64.0, "margin": 0.4, "h": 0.333},
}
EPSILON = 1e-3  # AdaFace keeps angles this far from 0 and pi


class MarginLoss(nn.Module):
    """(embeddings (N, D), labels (N,)) -> (mean loss, number whose own centre is the nearest)."""

    def __init__(self, kind: str, classes: int, dim: int, scale: float, margin: float, h: float = 0.333) -> None:
        super().__init__()
        self.kind, self.scale, self.margin, self.h = kind, scale, margin, h
        self.centres = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.centres, std=dim**-0.5)  # length 1, whatever the dimension
        # AdaFace's running mean and deviation of embedding norms, as its authors start them.
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))
        self.norm_mean: Tensor
        self.norm_std: Tensor

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = embeddings.float()  # cosines near 1 need more than half precision
        cosine = F.linear(F.normalize(embeddings), F.normalize(self.centres))  # (N, classes)
        own = cosine.gather(1, labels[:, None]).squeeze(1)  # (N,)
        harder = {"arcface": self._arcface, "cosface": self._cosface, "adaface": self._adaface}[self.kind]
        logits = cosine.scatter(1, labels[:, None], harder(own, embeddings)[:, None])
        with torch.no_grad():
            correct = (cosine.argmax(1) == labels).sum()
        return F.cross_entropy(self.scale * logits, labels), correct

    def _arcface(self, own: Tensor, _: Tensor) -> Tensor:
        """cos(angle + m); where that would grow again (angle > pi - m), cos - m sin m (ArcFace, released code)."""
        # The derivative of acos is infinite at 1.
        angle = torch.acos(own.clamp(-1 + 1e-7, 1 - 1e-7))
        return torch.where(
            angle <= math.pi - self.margin, torch.cos(angle + self.margin), own - self.margin * math.sin(self.margin)
        )

    def _cosface(self, own: Tensor, _: Tensor) -> Tensor:
        return own - self.margin

    def _adaface(self, own: Tensor, embeddings: Tensor) -> Tensor:
        """Margins that follow the embedding's norm, a proxy of image quality (AdaFace, eq. 10-13)."""
        with torch.no_grad():
            norms = embeddings.norm(dim=1).clamp(1e-3, 100)
            if self.training and len(norms) > 1:
                self.norm_mean.lerp_(norms.mean(), 0.01)
                self.norm_std.lerp_(norms.std(), 0.01)
            quality = (self.h * (norms - self.norm_mean) / (self.norm_std + EPSILON)).clamp(-1, 1)
        angle = torch.acos(own.clamp(-1 + EPSILON, 1 - EPSILON))
        moved = (angle - self.margin * quality).clamp(EPSILON, math.pi - EPSILON)
        harder: Tensor = torch.cos(moved) - self.margin * (1 + quality)
        return harder


def margin_loss(recipe: Recipe, classes: int, dim: int) -> MarginLoss:
    """The loss that a recipe names; its settings replace the published ones."""
    if recipe.loss not in DEFAULTS:
        raise DataError(f"loss {recipe.loss!r} is not for faces: {', '.join(DEFAULTS)}")
    settings = DEFAULTS[recipe.loss] | {k: v for k, v in recipe.settings.items() if k in ("scale", "margin", "h")}
    return MarginLoss(recipe.loss, classes, dim, **settings)
