"""Blocks that detectors are made of: CSP and ELAN variants, attention on the last map, heads. For benchmarks/detectors.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

CLASSES = 80


class Conv(nn.Module):
    """Convolution without bias, batch norm, activation (SiLU; None = none)."""

    def __init__(
        self, into: int, out: int, side: int = 1, stride: int = 1, groups: int = 1, act: nn.Module | None = nn.SiLU()
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, side, stride, side // 2, groups=groups, bias=False)
        self.norm, self.act = nn.BatchNorm2d(out), act or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class Pair(nn.Module):
    """Two convolutions; `shortcut`: plus their input."""

    def __init__(self, channels: int, share: float = 1.0, sides: tuple[int, int] = (3, 3), *, shortcut: bool) -> None:
        super().__init__()
        hidden = int(channels * share)
        self.first, self.second = Conv(channels, hidden, sides[0]), Conv(hidden, channels, sides[1])
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return x + out if self.shortcut else out


class ResidualPair(Pair):
    """A pair with its shortcut, `share` of the channels inside."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__(channels, share, shortcut=True)


class C2f(nn.Module):
    """Two halves, of which one goes through `count` blocks, every block's output kept (YOLOv8's block, YOLO11's C3k2)."""

    def __init__(
        self,
        into: int,
        out: int,
        count: int,
        *,
        shortcut: bool = False,
        share: float = 0.5,
        block: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        hidden = int(out * share)
        self.first, self.last = Conv(into, 2 * hidden), Conv((2 + count) * hidden, out)
        make = block or (lambda channels: Pair(channels, shortcut=shortcut))
        self.blocks = nn.ModuleList(make(hidden) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        found = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            found.append(block(found[-1]))
        out: Tensor = self.last(torch.cat(found, 1))
        return out


class Csp(nn.Module):
    """Half through `count` pairs, half past them (CSPNet's block)."""

    def __init__(self, into: int, out: int, count: int, sides: tuple[int, int], *, shortcut: bool = True) -> None:
        super().__init__()
        hidden = out // 2
        self.main, self.past, self.last = Conv(into, hidden), Conv(into, hidden), Conv(2 * hidden, out)
        self.pairs = nn.Sequential(*(Pair(hidden, sides=sides, shortcut=shortcut) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.cat((self.pairs(self.main(x)), self.past(x)), 1))
        return out


class C3k(Csp):
    """YOLO11's deeper block inside C3k2."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 2, (3, 3))


class Sppf(nn.Module):
    """Three 5x5 max pools in a row, all concatenated; `shortcut`: plus the input (YOLO26)."""

    def __init__(self, into: int, out: int, *, shortcut: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.pool = Conv(into, into // 2), Conv(2 * into, out), nn.MaxPool2d(5, 1, 2)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        found = [self.first(x)]
        for _ in range(3):
            found.append(self.pool(found[-1]))
        out: Tensor = self.last(torch.cat(found, 1))
        return x + out if self.shortcut else out


class Attention(nn.Module):
    """Attention over all positions of a map, with a depthwise convolution as position code; keys half as wide as values."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.value = channels // self.heads
        self.key = self.value // 2
        self.qkv = Conv(channels, channels + 2 * self.heads * self.key, act=None)
        self.out, self.position = (
            Conv(channels, channels, act=None),
            Conv(channels, channels, 3, groups=channels, act=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(x).view(batch, self.heads, 2 * self.key + self.value, height * width)
        query, key, value = qkv.split([self.key, self.key, self.value], 2)
        weights = ((query.transpose(-2, -1) @ key) * self.key**-0.5).softmax(-1)
        mixed = (value @ weights.transpose(-2, -1)).view(batch, channels, height, width)
        out: Tensor = self.out(mixed + self.position(value.reshape(batch, channels, height, width)))
        return out


class AttentionBlock(nn.Module):
    """Attention and two 1x1 convolutions, each with its shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = Attention(channels)
        self.mlp = nn.Sequential(Conv(channels, 2 * channels), Conv(2 * channels, channels, act=None))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        out: Tensor = x + self.mlp(x)
        return out


class Psa(nn.Module):
    """Attention on half of the channels (YOLOv10's PSA, YOLO11's C2PSA)."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.first, self.last = Conv(channels, channels), Conv(channels, channels)
        self.blocks = nn.Sequential(*(AttentionBlock(channels // 2) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        past, attended = self.first(x).chunk(2, 1)
        out: Tensor = self.last(torch.cat((past, self.blocks(attended)), 1))
        return out


class LastC3k2(nn.Sequential):
    """What YOLO26's last block repeats: a pair, then attention."""

    def __init__(self, channels: int) -> None:
        super().__init__(ResidualPair(channels, 0.5), AttentionBlock(channels))


class ScDown(nn.Sequential):
    """A 1x1 convolution, then a depthwise one of stride 2 (YOLOv10)."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(Conv(into, out), Conv(out, out, 3, 2, groups=out, act=None))


class Cib(nn.Module):
    """Depthwise and 1x1 convolutions by turns (YOLOv10); `large`: the middle one is 7x7."""

    def __init__(self, channels: int, large: bool) -> None:
        super().__init__()
        wide = 2 * channels
        self.layers = nn.Sequential(
            Conv(channels, channels, 3, groups=channels), Conv(channels, wide), Conv(wide, wide, 7 if large else 3, groups=wide),
            Conv(wide, channels), Conv(channels, channels, 3, groups=channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class Upsample(nn.Module):
    """Twice the size, by nearest neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2.0, mode="nearest")


class Concat(nn.Module):
    """Several maps as one."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat(maps, 1)


# ---------------------------------------------------------------- YOLOv9 and YOLOv7


class ElanSmall(nn.Module):
    """YOLOv9's first block: halves, and two convolutions in a row."""

    def __init__(self, into: int, out: int, hidden: int, inner: int) -> None:
        super().__init__()
        self.first, self.last = Conv(into, hidden), Conv(hidden + 2 * inner, out)
        self.branches = nn.ModuleList((Conv(hidden // 2, inner, 3), Conv(inner, inner, 3)))

    def forward(self, x: Tensor) -> Tensor:
        found = list(self.first(x).chunk(2, 1))
        for branch in self.branches:
            found.append(branch(found[-1]))
        out: Tensor = self.last(torch.cat(found, 1))
        return out


class Elan(ElanSmall):
    """YOLOv9's other blocks: CSP blocks of `count` pairs in the branches (re-parameterised: one convolution each)."""

    def __init__(self, into: int, out: int, hidden: int, inner: int, count: int) -> None:
        super().__init__(into, out, hidden, inner)
        self.branches = nn.ModuleList(
            nn.Sequential(Csp(start, inner, count, (3, 3)), Conv(inner, inner, 3)) for start in (hidden // 2, inner)
        )


class AConv(nn.Module):
    """Halves a map: an average of four pixels, then a convolution of stride 2."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = Conv(into, out, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(avg_pool2d(x, 2, 1, 0, False, True))
        return out


class SppElan(Sppf):
    """YOLOv9's Sppf."""


class ElanV7(nn.Module):
    """Two 1x1 convolutions, a chain on the second, and those outputs that `take` names, concatenated (YOLOv7)."""

    def __init__(
        self,
        into: int,
        hidden: int,
        out: int,
        *,
        count: int = 4,
        take: tuple[int, ...] = (-1, -3, -5, -6),
        inner: int | None = None,
        act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width, act = inner or hidden, act or nn.SiLU()
        self.sides = nn.ModuleList(Conv(into, hidden, act=act) for _ in range(2))
        self.chain = nn.ModuleList(Conv(width if place else hidden, width, 3, act=act) for place in range(count))
        sizes = [hidden, hidden, *([width] * count)]
        self.take, self.last = take, Conv(sum(sizes[place] for place in take), out, act=act)

    def forward(self, x: Tensor) -> Tensor:
        found = [side(x) for side in self.sides]
        for conv in self.chain:
            found.append(conv(found[-1]))
        out: Tensor = self.last(torch.cat([found[place] for place in self.take], 1))
        return out


class MaxAndConv(nn.Module):
    """Halves a map in two ways, side by side."""

    def __init__(self, into: int, channels: int) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.MaxPool2d(2), Conv(into, channels))
        self.conv = nn.Sequential(Conv(into, channels), Conv(channels, channels, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.conv(x), self.pool(x)), 1)


class SppCsp(nn.Module):
    """Max pools of 5, 9 and 13 pixels inside a CSP block."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.before = nn.Sequential(Conv(into, out), Conv(out, out, 3), Conv(out, out))
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in (5, 9, 13))
        self.after = nn.Sequential(Conv(4 * out, out), Conv(out, out, 3))
        self.past, self.last = Conv(into, out), Conv(2 * out, out)

    def forward(self, x: Tensor) -> Tensor:
        found = self.before(x)
        found = self.after(torch.cat([found, *(pool(found) for pool in self.pools)], 1))
        out: Tensor = self.last(torch.cat((found, self.past(x)), 1))
        return out


class SppCspTiny(nn.Module):
    """YOLOv7-tiny's, with 1x1 convolutions only."""

    def __init__(self, into: int, out: int, act: nn.Module) -> None:
        super().__init__()
        self.before, self.after = Conv(into, out, act=act), Conv(4 * out, out, act=act)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in (5, 9, 13))
        self.past, self.last = Conv(into, out, act=act), Conv(2 * out, out, act=act)

    def forward(self, x: Tensor) -> Tensor:
        found = self.before(x)
        found = self.after(torch.cat([*(pool(found) for pool in self.pools), found], 1))
        out: Tensor = self.last(torch.cat((found, self.past(x)), 1))
        return out


# ---------------------------------------------------------------- heads


class Detect(nn.Module):
    """Boxes (as `bins` bins per side, 1 = directly) and classes of three maps; boxes from distances, class scores by sigmoid.

    `light`: depthwise convolutions for the classes. `end_to_end`: the 300 best boxes.
    """

    def __init__(
        self, channels: Sequence[int], *, bins: int = 16, light: bool = False, end_to_end: bool = False
    ) -> None:
        super().__init__()
        self.bins, self.end_to_end = bins, end_to_end
        boxes, scores = max(16, channels[0] // 4, 4 * bins), max(channels[0], min(CLASSES, 100))
        self.boxes = nn.ModuleList(
            nn.Sequential(Conv(c, boxes, 3), Conv(boxes, boxes, 3), nn.Conv2d(boxes, 4 * bins, 1)) for c in channels
        )
        make = self._light if light else self._dense
        self.scores = nn.ModuleList(make(c, scores) for c in channels)
        self.expected = nn.Conv2d(bins, 1, 1, bias=False) if bins > 1 else None

    @staticmethod
    def _dense(into: int, hidden: int) -> nn.Module:
        return nn.Sequential(Conv(into, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, CLASSES, 1))

    @staticmethod
    def _light(into: int, hidden: int) -> nn.Module:
        return nn.Sequential(
            Conv(into, into, 3, groups=into), Conv(into, hidden), Conv(hidden, hidden, 3, groups=hidden), Conv(hidden, hidden),
            nn.Conv2d(hidden, CLASSES, 1),
        )  # fmt: skip

    def forward(self, maps: list[Tensor]) -> Tensor:
        found = [
            torch.cat((box(x), score(x)), 1).flatten(2)
            for box, score, x in zip(self.boxes, self.scores, maps, strict=True)
        ]
        boxes, scores = torch.cat(found, 2).split((4 * self.bins, CLASSES), 1)
        if self.expected is not None:
            batch, _, places = boxes.shape
            boxes = self.expected(boxes.view(batch, 4, self.bins, places).transpose(2, 1).softmax(1)).view(
                batch, 4, places
            )
        near, far = boxes.chunk(2, 1)
        anchors, strides = torch.zeros(1, 2, boxes.shape[2]), torch.ones(1, boxes.shape[2])
        left, right = anchors - near, anchors + far
        out = torch.cat((torch.cat(((left + right) / 2, right - left), 1) * strides, scores.sigmoid()), 1)
        return best(out) if self.end_to_end else out


def best(boxes: Tensor) -> Tensor:
    """The 300 boxes of the highest scores."""
    places, scores = boxes.transpose(1, 2).split((4, CLASSES), 2)
    top, index = scores.amax(2).topk(min(300, scores.shape[1]), 1)
    return torch.cat((places.gather(1, index.unsqueeze(-1).expand(-1, -1, 4)), top.unsqueeze(-1)), 2)


class DetectV7(nn.Module):
    """YOLOv7's head: three anchors per place."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(c, 3 * (5 + CLASSES), 1) for c in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        found = []
        for conv, x in zip(self.maps, maps, strict=True):
            y = conv(x)
            batch, _, height, width = y.shape
            y = y.view(batch, 3, 5 + CLASSES, height, width).permute(0, 1, 3, 4, 2).sigmoid()
            centre, size, scores = y.split((2, 2, 1 + CLASSES), 4)
            centre = centre * 2 + torch.zeros(1, 1, height, width, 2)
            size = (size * 2) ** 2 * torch.ones(1, 3, 1, 1, 2)
            found.append(torch.cat((centre, size, scores), 4).reshape(batch, -1, 5 + CLASSES))
        return torch.cat(found, 1)
