"""What each kernel of a workload asks of a device: the quantities that a predictor puts a price on.

    t(network) = base + sum over kernels of [launch + price[class] * quantised MACs + price[read, write, weights] * bytes
                                             + surcharge * bytes of maps that are copied, pooled or activated on their own]

A runtime computes whole tiles, so a convolution costs the MACs of its tiles, not its own: `TILES` says how each runtime
rounds. The prices are physical (ms per launch, MAC, byte): a datasheet predicts them, a few measured networks fit them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgenas.records import BYTES, HardwareProfile, Kernel, KernelKind, Precision, Record, Workload

Array = npt.NDArray[np.float64]

DEPTHWISE = ("depthwise2", "depthwise3", "depthwise4", "depthwise5", "depthwise7")
COMPUTE = ("dense", "dense2", "winograd", "pointwise", "first", *DEPTHWISE, "grouped", "linear")
TRAFFIC = ("read", "write", "weights")
# Bytes that cost something on top of being read and written: maps that are copied (concat, slice, resize, shuffle), maps that are
# pooled, and maps whose activation is a pass of its own (all that is not FUSED). Profiles of before have none: price 0.
SURCHARGES = ("moved", "pooled", "activated")
PRICES = ("base", "launch", *COMPUTE, *TRAFFIC, *SURCHARGES)
ONCE_PER_RUN = ("base", "launch", "weights")  # whatever the batch
FUSED = ("", "relu", "relu6", "clip", "leakyrelu")  # activations that every runtime computes inside the convolution
MOVES: tuple[KernelKind, ...] = ("concat", "slice", "resize", "shuffle")
POOLS: tuple[KernelKind, ...] = ("maxpool", "avgpool")
COLUMN = {name: index for index, name in enumerate(PRICES)}


class Tiles(Record, frozen=True):
    """How a runtime's convolution kernels round: input channels, output channels, output pixels."""

    channels_in: int = 1
    channels_out: int = 1
    few_channels_out: int = 1  # the tile for layers of at most 32 output channels
    pixels: int = 1
    winograd: bool = False  # 3x3 stride 1 in 8 x 16 output tiles
    blocks: int = 1  # channels that are no multiple of this fall back to general kernels
    channels_in_group: int = 1  # groups of fewer output channels fall back too


CUDA_CORES = Tiles(1, 64, 32, 64, winograd=True)  # TensorRT on Maxwell, FP32: fits 8,100 measured networks
TENSOR_CORES = {  # implicit GEMM on 16-byte channel vectors
    "tf32": Tiles(4, 64, 32, 64), "fp16": Tiles(8, 64, 32, 64), "int8": Tiles(16, 64, 32, 64),
}  # fmt: skip
VECTORS = Tiles(1, 8, 8, 4)  # micro-kernels of ONNX Runtime (MLAS) and TFLite (XNNPACK) on CPUs
# ONNX Runtime's NCHWc format (MLAS on x86): blocks of 16 channels, if channels come in fours (microsoft/onnxruntime#14392).
# Other channels are a plain matrix product without padding, about as fast per MAC; only depthwise kernels are slower, 7 to 40
# times on AVX-512, which has to be measured: not for datasheets.
BLOCKED_VECTORS = Tiles(1, 16, 16, 4, blocks=4, channels_in_group=16)
NARROW = 24  # general kernels on groups of 8, 4, 2 channels take 4, 7, 13 times a MAC of the blocked ones (measured on AVX-512)


def tiles_of(
    runtime: str, precision: str, compute_capability: str, *, fitted: bool, instruction_set: str = ""
) -> Tiles:
    """The tiles of a runtime at a precision; GPUs have tensor cores from compute capability 7.0 on.

    `fitted`: for prices that come from measurements of this runtime, not from a datasheet.
    """
    if runtime != "tensorrt":
        blocked = fitted and runtime == "onnxruntime" and instruction_set != "aarch64"
        return BLOCKED_VECTORS if blocked else VECTORS
    has_tensor_cores = compute_capability != "" and float(compute_capability) >= 7.0
    return TENSOR_CORES[precision] if precision != "fp32" and has_tensor_cores else CUDA_CORES


def depthwise_class(side: int) -> str:
    """Kernels of a depthwise convolution differ by their side: 3x3 is tuned, even sides are not (nor is what has no blocks)."""
    return f"depthwise{min(side, 7) if side in (2, 3, 4, 5) else 7 if side % 2 else 4}"


def ceil_to(value: int, tile: int) -> int:
    """The next multiple of `tile`."""
    return -(-value // tile) * tile


def quantities(workload: Workload, tiles: Tiles, precision: Precision) -> Array:
    """One row per kernel, one column per price (the base is counted once, on the first kernel)."""
    rows = np.zeros((len(workload.kernels), len(PRICES)))
    rows[0, COLUMN["base"]] = 1
    for row, kernel in zip(rows, workload.kernels, strict=True):
        row[COLUMN["launch"]] = 1
        name, macs = compute(kernel, tiles)
        if macs:
            row[COLUMN[name]] = macs
        residual = 0 if kernel.residual is None else kernel.output_elements
        row[COLUMN["read"]] = BYTES[precision] * (kernel.input_elements + residual)
        row[COLUMN["write"]] = BYTES[precision] * kernel.output_elements
        row[COLUMN["weights"]] = BYTES[precision] * kernel.weights
        if name := surcharge(kernel):
            row[COLUMN[name]] = BYTES[precision] * (kernel.input_elements + kernel.output_elements)
        if kernel.activation not in FUSED:
            row[COLUMN["activated"]] = BYTES[precision] * 2 * kernel.output_elements
    return rows


def surcharge(kernel: Kernel) -> str:
    """The price of a kernel's bytes beside reading and writing them, "" for none."""
    return "moved" if kernel.kind in MOVES else "pooled" if kernel.kind in POOLS else ""


def batched(load: Array, batch: int) -> Array:
    """The quantities of `batch` images in one run: launches and weights are shared, all else is done for every image."""
    shared = [name in ONCE_PER_RUN for name in PRICES]
    return load * np.where(shared, 1, batch)


def compute(kernel: Kernel, tiles: Tiles) -> tuple[str, int]:
    """The compute class of a kernel and its MACs in whole tiles; 0 for what only moves bytes."""
    area = kernel.kernel[0] * kernel.kernel[1]
    pixels = kernel.height * kernel.width
    out = ceil_to(kernel.out_channels, tiles.few_channels_out if kernel.out_channels <= 32 else tiles.channels_out)
    if kernel.kind in ("linear", "matmul"):
        # For one vector it reads its weights and little else; for many it is a 1x1 convolution.
        rounded = kernel.in_channels * ceil_to(kernel.out_channels, tiles.channels_out)
        return ("linear", rounded) if pixels == 1 else ("pointwise", rounded * ceil_to(pixels, tiles.pixels))
    if kernel.kind == "depthwise":
        blocked = kernel.out_channels % tiles.blocks == 0
        return depthwise_class(max(kernel.kernel) if blocked else 4), kernel.out_channels * area * pixels
    if kernel.kind == "convtranspose":
        return "grouped" if kernel.groups > 1 else "dense", kernel.macs
    if kernel.kind != "conv":
        return "", 0
    if kernel.in_channels <= 3:
        return "first", ceil_to(kernel.in_channels * area, 8) * out * pixels
    if kernel.groups > 1:
        width = kernel.out_channels // kernel.groups
        narrow = width < tiles.channels_in_group
        return "grouped", kernel.macs + (NARROW * kernel.macs // width if narrow else 0)
    if kernel.in_channels % tiles.blocks or kernel.out_channels % tiles.blocks:
        return "pointwise" if area == 1 else "dense2" if area <= 4 else "dense", kernel.macs  # a plain matrix product
    channels = ceil_to(kernel.in_channels, tiles.channels_in)
    if tiles.winograd and kernel.kernel == (3, 3) and kernel.stride == (1, 1) and kernel.dilation == (1, 1):
        tile_pixels = ceil_to(kernel.height, 8) * ceil_to(kernel.width, 16)
        return "winograd", channels * ceil_to(kernel.out_channels, 32) * 9 * tile_pixels
    name = "pointwise" if area == 1 else "dense2" if area <= 4 else "dense"
    return name, channels * out * area * ceil_to(pixels, tiles.pixels)


# ---------------------------------------------------------------- what a datasheet says of the prices

EFFICIENCY = {  # of the peak; Winograd does 2.25 times fewer multiplications than are counted
    "dense": 0.9, "dense2": 0.6, "winograd": 1.7, "pointwise": 0.8, "first": 0.2, "depthwise2": 0.2, "depthwise3": 0.5,
    "depthwise4": 0.2, "depthwise5": 0.2, "depthwise7": 0.2, "grouped": 0.3, "linear": 0.2,
}  # fmt: skip
BANDWIDTH_EFFICIENCY = 0.55
# Of a byte's price: GPUs write concatenations in place where they can and fuse activations; CPUs compute exponentials.
SURCHARGE = {"tensorrt": {"moved": 0.5, "pooled": 0.5, "activated": 0.25}}
SURCHARGE_OF_CPUS = {"moved": 0.5, "pooled": 1.0, "activated": 2.0}


def datasheet_prices(profile: HardwareProfile, precision: Precision) -> dict[str, float]:
    """Prices in ms from peak, bandwidth and launch overhead, at the efficiencies that measured devices reach."""
    peak = profile.peaks[precision] * 1e12 / 2 / 1e3  # MACs per ms
    byte = 1e3 / (BANDWIDTH_EFFICIENCY * (profile.bandwidth_gb_s or 1.0) * 1e9)
    launch = (profile.launch_overhead_us or 10.0) / 1e3
    prices = {"base": launch, "launch": launch}
    prices |= {name: 1 / (efficiency * peak) for name, efficiency in EFFICIENCY.items()}
    surcharges = SURCHARGE.get(profile.runtime, SURCHARGE_OF_CPUS)
    return prices | dict.fromkeys(TRAFFIC, byte) | {name: byte * share for name, share in surcharges.items()}
