"""The chain of GNAS and TRG-NAS as a torch module; see architectures/chain.py for the record."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.chain import DENSE, check_chain, layer_shapes
from edgenas.networks.heads import head_module
from edgenas.records import ChainArchitecture


class Stem(nn.Sequential):
    """Conv 3x3, BN; no ReLU, since every layer starts with one."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class Separable(nn.Module):
    """ReLU, depthwise k x k, 1x1, BN (one, after the 1x1)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, stride, padding=kernel // 2, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(F.relu(x, inplace=True))  # (N, C, H, W) -> (N, C, H/s, W/s)
        y: Tensor = self.norm(self.pointwise(x))  # -> (N, out, H/s, W/s)
        return y


class Dense(nn.Module):
    """ReLU, conv k x k, BN."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(F.relu(x, inplace=True)))  # (N, C, H, W) -> (N, out, H/s, W/s)
        return y


class Chain(nn.Module):
    """(N, in_channels, S, S) -> (N, classes or dim)."""

    def __init__(self, architecture: ChainArchitecture) -> None:
        super().__init__()
        check_chain(architecture)
        stem_channels, side = 2 * architecture.width, architecture.image_size
        self.stem = nn.ModuleList()
        channels = architecture.in_channels
        for stride in (*architecture.stem_strides, 1):
            self.stem.append(Stem(channels, stem_channels, stride))
            channels, side = stem_channels, -(-side // stride)
        self.layers = nn.Sequential()
        for index, (channels, out_channels, stride) in enumerate(layer_shapes(architecture)):
            layer = Dense if architecture.ops[index] == DENSE else Separable
            self.layers.append(layer(channels, out_channels, architecture.kernels[index], stride))
            side = -(-side // stride)
        self.head = head_module(architecture.head, out_channels, side)

    def forward(self, x: Tensor) -> Tensor:
        for index, stem in enumerate(self.stem):
            x = stem(x if index == 0 else F.relu(x, inplace=True))  # -> (N, 2C, S', S')
        x = self.layers(x)  # -> (N, 4C, S'/4, S'/4)
        y: Tensor = self.head(x)  # -> (N, classes or dim)
        return y
