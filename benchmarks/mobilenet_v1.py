"""MobileNetV1 with a width multiplier, from the layer table of its paper (arXiv 1704.04861)."""

from __future__ import annotations

from torch import Tensor, nn

LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class MobileNetV1(nn.Module):
    """1001 classes, as the published weights have."""

    def __init__(self, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        layers = self._conv(3, channels, 3, 2, 1)
        for out, stride in LAYERS:
            layers += self._conv(channels, channels, 3, stride, channels) + self._conv(
                channels, int(out * width), 1, 1, 1
            )
            channels = int(out * width)
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(channels, 1001)

    @staticmethod
    def _conv(into: int, out: int, side: int, stride: int, groups: int) -> list[nn.Module]:
        return [
            nn.Conv2d(into, out, side, stride, side // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(),
        ]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(x).mean((2, 3)))
        return out
