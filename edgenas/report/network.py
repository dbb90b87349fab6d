"""A network as the report draws it: stages of equal resolution, every kernel with its milliseconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import kernel_latencies_ms
from edgenas.records import BYTES, Architecture, HardwareProfile, Kernel, Precision


@dataclass(frozen=True)
class DrawnKernel:
    """One kernel: what it is, what it makes, what it costs. `ms` None = the profile prices no single kernels."""

    index: int
    kind: str
    words: str
    shape: str  # C x H x W of the output
    sides: tuple[int, int]  # height and width of the output
    channels: int
    params: int
    macs: int
    kilobytes: float
    ms: float | None


@dataclass(frozen=True)
class Stage:
    """Consecutive kernels whose outputs have one resolution."""

    name: str
    kernels: tuple[DrawnKernel, ...]

    @property
    def ms(self) -> float | None:
        parts = [kernel.ms for kernel in self.kernels]
        return sum(part for part in parts if part is not None) if None not in parts else None

    @property
    def params(self) -> int:
        return sum(kernel.params for kernel in self.kernels)

    @property
    def kilobytes(self) -> float:
        return sum(kernel.kilobytes for kernel in self.kernels)


def stages_of(architecture: Architecture, profile: HardwareProfile | None, precision: Precision) -> list[Stage]:
    """The network's kernels in execution order, cut wherever the resolution changes. Bytes are those of `precision`."""
    kernels = workload_from_architecture(architecture).kernels
    prices = _prices(architecture, profile, precision, len(kernels))
    drawn = [
        DrawnKernel(
            index=index,
            kind=kernel.kind,
            words=words(kernel),
            shape=f"{kernel.out_channels} × {kernel.height} × {kernel.width}",
            sides=(kernel.height, kernel.width),
            channels=kernel.out_channels,
            params=kernel.params,
            macs=kernel.macs,
            kilobytes=BYTES[precision] * kernel.elements_moved / 1e3,
            ms=ms,
        )
        for index, (kernel, ms) in enumerate(zip(kernels, prices, strict=True))
    ]
    stages: list[list[DrawnKernel]] = []
    for kernel in drawn:
        if not stages or stages[-1][-1].sides != kernel.sides:
            stages.append([])
        stages[-1].append(kernel)
    return [Stage("{} × {} px".format(*group[0].sides), tuple(group)) for group in stages]


def words(kernel: Kernel) -> str:
    """A kernel in a few words, such as "conv 3×3 /2, 16 → 32"."""
    side = "×".join(map(str, kernel.kernel))
    sized = kernel.kind in ("conv", "depthwise", "maxpool", "avgpool")
    stride = f" /{max(kernel.stride)}" if max(kernel.stride) > 1 else ""
    name = f"{kernel.kind} {side}{stride}" if sized else kernel.kind
    if kernel.kind in ("conv", "linear"):
        name += f", {kernel.in_channels} → {kernel.out_channels}"
    if kernel.kind == "conv" and kernel.groups > 1:
        name += f", {kernel.groups} groups"
    return name


def _prices(
    architecture: Architecture, profile: HardwareProfile | None, precision: Precision, count: int
) -> list[float] | list[None]:
    """ms of every kernel; None for all of them where the profile cannot price single kernels."""
    if profile is None:
        return [None] * count
    try:
        prices = kernel_latencies_ms(profile, architecture, precision)
    except EdgenasError:  # a profile that only measures whole networks
        return [None] * count
    return prices if len(prices) == count else [None] * count
