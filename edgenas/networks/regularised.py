"""A network as it is trained where paths are dropped or an auxiliary head learns along. The network itself stays as it is: who
evaluates, averages, saves or exports it sees nothing of either."""

from __future__ import annotations

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.points import points_of
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import TrainingError
from edgenas.networks.from_workload import Network
from edgenas.records import Architecture, Classes, Recipe

NEEDS = {
    "drop_path": "paths that an identity shortcut leads around, or the edges of DARTS or NAS-Bench-201 cells",
    "auxiliary": "the cells of a network that tells classes",
}


def regularises(recipe: Recipe) -> bool:
    """Does it need more than the network itself?"""
    return bool(recipe.drop_path or recipe.auxiliary)


def lacking(recipe: Recipe, architecture: Architecture) -> tuple[str, ...]:
    """Those of the recipe's keys drop_path and auxiliary that this network has no place for."""
    if not regularises(recipe):
        return ()
    points = points_of(architecture)
    headed = points.tap is not None and isinstance(architecture.head, Classes)
    unfit = {
        "drop_path": bool(recipe.drop_path) and not points.paths,
        "auxiliary": bool(recipe.auxiliary) and not headed,
    }
    return tuple(key for key, lacks in unfit.items() if lacks)


def refuse_unfit(recipe: Recipe, architecture: Architecture) -> None:
    """Raise TrainingError, in one line, where the network lacks what the recipe needs."""
    for key in lacking(recipe, architecture):
        raise TrainingError(
            f"recipe {recipe.name}: {key} = {getattr(recipe, key):g} needs {NEEDS[key]}, and this network has none: leave it "
            "out, or take another recipe"
        )


def without_lacking(recipe: Recipe, architecture: Architecture) -> Recipe:
    """The recipe without what this network has no place for."""
    return msgspec.structs.replace(recipe, **dict.fromkeys(lacking(recipe, architecture), 0.0))


class Regularised(nn.Module):
    """(N, C, H, W) -> (N, D), in training with an auxiliary head (N, 2 D): its outputs beside those of `network`."""

    def __init__(self, network: Network, recipe: Recipe, batch_size: int) -> None:
        """The head's weights are drawn from torch's global generator."""
        super().__init__()
        assert network.architecture is not None
        architecture = network.architecture
        refuse_unfit(recipe, architecture)
        points = points_of(architecture)
        self.network, self.by_epoch, self.epochs = network, points.by_epoch, recipe.epochs
        self.paths = points.paths if recipe.drop_path else ()
        self.rates = path_rates(self.paths, recipe.drop_path, by_epoch=points.by_epoch)
        # One tensor for all steps: a CUDA graph reads it where it is. No buffer: in several processes each has its own.
        self.kept = torch.ones(len(self.paths), batch_size)
        self.tap = points.tap if recipe.auxiliary else None
        self.head: nn.Module | None = None
        if self.tap is not None:
            kernel = workload_from_architecture(architecture).kernels[self.tap]
            assert isinstance(architecture.head, Classes)
            sides = (kernel.height, kernel.width)
            self.head = AuxiliaryHead(kernel.out_channels, sides, architecture.head.count)

    def draw(self, epoch: int, generator: torch.Generator, part: slice = slice(None)) -> None:
        """Which paths the next batch keeps; epochs count from 0. `part`: of the batch, where several processes share it."""
        if not self.paths:
            return
        if self.kept.device != generator.device:
            self.kept = self.kept.to(generator.device)
        share = epoch / self.epochs if self.by_epoch else 1.0
        drawn = torch.rand(self.kept.shape, generator=generator, device=generator.device)
        keep = 1 - share * torch.tensor(self.rates, device=generator.device)[:, None]  # (paths, 1)
        mine = ((drawn < keep) / keep)[:, part]
        self.kept[:, : mine.shape[1]] = mine

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            found: Tensor = self.network(x)
            return found
        kept: dict[int, dict[int, Tensor]] = {}
        for row, (kernel, place) in enumerate(self.paths):
            kept.setdefault(kernel, {})[place] = self.kept[row, : len(x), None, None, None]
        outputs, tapped = self.network.computed(x, kept, self.tap)
        if self.head is None:
            return outputs
        assert tapped is not None
        return torch.cat((outputs, self.head(tapped)), 1)


def path_rates(paths: tuple[tuple[int, int], ...], rate: float, *, by_epoch: bool) -> list[float]:
    """The probability with which each path is dropped, in the last epoch: one for all edges of cells; else linear in depth, from
    rate / L at the first of L shortcuts to the whole rate at the last one (Huang et al. 2016, arXiv 1603.09382)."""
    joins = sorted({kernel for kernel, _ in paths})
    return [rate if by_epoch else rate * (joins.index(kernel) + 1) / len(joins) for kernel, _ in paths]


class AuxiliaryHead(nn.Module):
    """DARTS's, for CIFAR: (N, C, H, W) -> 2 x 2 means -> 128 -> 768 -> (N, classes). On maps of 7 and 8 px the means are the
    published ones, over 5 x 5 pixels; on others over halves of the sides."""

    def __init__(self, channels: int, sides: tuple[int, int], classes: int) -> None:
        super().__init__()
        if min(sides) < 2:
            raise TrainingError(
                f"an auxiliary head needs maps of 2 x 2 px, and reads one of {sides[0]} x {sides[1]}: leave auxiliary out"
            )
        windows, strides = zip(*(_halves(side) for side in sides), strict=True)
        self.features = nn.Sequential(
            nn.AvgPool2d(windows, strides),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(F.relu(x)).flatten(1))
        return logits


def _halves(side: int) -> tuple[int, int]:
    """Window and stride that make two of a side."""
    return (5, side - 5) if side in (7, 8) else (-(-side // 2), side // 2)


class AuxiliaryLoss(nn.Module):
    """(outputs (N, 2 D), targets) -> the loss of the network's own outputs, and `weight` times that of the auxiliary head's."""

    def __init__(self, loss: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss, self.weight = loss, weight

    def forward(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        own, auxiliary = outputs.chunk(2, 1)
        loss, correct = self.loss(own, targets)
        return loss + self.weight * self.loss(auxiliary, targets)[0], correct
