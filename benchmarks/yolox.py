"""YOLOX (Megvii) in plain torch, from its paper (arXiv 2107.08430) and published parameters: see benchmarks/detectors.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.detector_blocks import CLASSES, Conv, Csp, Upsample

SCALES = {
    "nano": (1 / 3, 0.25),
    "tiny": (1 / 3, 0.375),
    "s": (1 / 3, 0.5),
    "m": (2 / 3, 0.75),
    "l": (1, 1),
    "x": (4 / 3, 1.25),
}


class Separable(nn.Sequential):
    """A depthwise convolution, then a 1x1 one (YOLOX-nano)."""

    def __init__(self, into: int, out: int, side: int, stride: int = 1) -> None:
        super().__init__(Conv(into, into, side, stride, groups=into), Conv(into, out))


class Spp(nn.Module):
    """Max pools of 5, 9 and 13 pixels side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = Conv(channels, channels // 2), Conv(2 * channels, channels)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = self.last(torch.cat([x, *(pool(x) for pool in self.pools)], 1))
        return out


class YoloX(nn.Module):
    """Focus, CSP backbone, pyramid, decoupled heads."""

    def __init__(self, size: str) -> None:
        super().__init__()
        depth, width = SCALES[size]
        self.nano = size == "nano"
        b, n = int(64 * width), max(round(3 * depth), 1)
        self.stem = Conv(12, b, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(self._conv(into, 2 * into, 2), self._csp(2 * into, 2 * into, count))
            for into, count in ((b, n), (2 * b, 3 * n), (4 * b, 3 * n))
        )
        self.last = nn.Sequential(
            self._conv(8 * b, 16 * b, 2), Spp(16 * b), self._csp(16 * b, 16 * b, n, shortcut=False)
        )
        self.up, self.lateral = Upsample(), nn.ModuleList((Conv(16 * b, 8 * b), Conv(8 * b, 4 * b)))
        self.down = nn.ModuleList((self._conv(4 * b, 4 * b, 2), self._conv(8 * b, 8 * b, 2)))
        self.blocks = nn.ModuleList(
            self._csp(into, out, n, shortcut=False)
            for into, out in ((16 * b, 8 * b), (8 * b, 4 * b), (8 * b, 8 * b), (16 * b, 16 * b))
        )
        self.heads = nn.ModuleList(self._head(c, int(256 * width)) for c in (4 * b, 8 * b, 16 * b))

    def _conv(self, into: int, out: int, stride: int = 1) -> nn.Module:
        return Separable(into, out, 3, stride) if self.nano else Conv(into, out, 3, stride)

    def _csp(self, into: int, out: int, count: int, *, shortcut: bool = True) -> Csp:
        block = Csp(into, out, count, (1, 3), shortcut=shortcut)
        if self.nano:
            for pair in block.pairs:
                pair.second = Separable(out // 2, out // 2, 3)
        return block

    def _head(self, into: int, hidden: int) -> nn.ModuleDict:
        return nn.ModuleDict({
            "stem": Conv(into, hidden),
            "classes": nn.Sequential(self._conv(hidden, hidden), self._conv(hidden, hidden), nn.Conv2d(hidden, CLASSES, 1)),
            "boxes": nn.Sequential(self._conv(hidden, hidden), self._conv(hidden, hidden)),
            "place": nn.Conv2d(hidden, 4, 1),
            "object": nn.Conv2d(hidden, 1, 1),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        c3, c4, c5 = maps[2], maps[3], self.last(maps[3])
        high = self.lateral[0](c5)
        middle = self.lateral[1](self.blocks[0](torch.cat((self.up(high), c4), 1)))
        p3 = self.blocks[1](torch.cat((self.up(middle), c3), 1))
        p4 = self.blocks[2](torch.cat((self.down[0](p3), middle), 1))
        p5 = self.blocks[3](torch.cat((self.down[1](p4), high), 1))
        found = []
        for head, y in zip(self.heads, (p3, p4, p5), strict=True):
            y = head["stem"](y)
            boxes = head["boxes"](y)
            classes = head["classes"](y).sigmoid()
            found.append(torch.cat((head["place"](boxes), head["object"](boxes).sigmoid(), classes), 1).flatten(2))
        return torch.cat(found, 2).permute(0, 2, 1)
