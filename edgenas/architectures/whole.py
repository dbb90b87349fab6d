"""A network that was read whole (`OnnxArchitecture`) -> its kernels, checked: whoever gets one can build, export and verify
it."""

from __future__ import annotations

import functools

from edgenas.architectures.own import MOST_KERNELS
from edgenas.architectures.tracer import LARGEST_MAP, TRACES, refuse_impossible
from edgenas.errors import EdgenasError
from edgenas.image_sizes import sides_of
from edgenas.records import Kernel, OnnxArchitecture, Workload

Map = tuple[int, int, int]  # channels, height, width


@functools.lru_cache(TRACES)
def workload_from_whole(architecture: OnnxArchitecture) -> Workload:
    """Its kernels. Raises EdgenasError, in one line, for kernels that contradict each other, the input or the head."""
    kernels = architecture.workload.kernels
    if not 1 <= len(kernels) <= MOST_KERNELS:
        raise EdgenasError(f"{architecture.name} has {len(kernels)} kernels: 1 to {MOST_KERNELS} are possible")
    made: list[Map] = [(architecture.in_channels, *sides_of(architecture.image_size))]  # [i + 1]: of kernel i
    for index, kernel in enumerate(kernels):
        if not _fits(kernel, made):
            raise EdgenasError(f"kernel {index} ({kernel.kind}) of {architecture.name} contradicts what it reads")
        made.append((kernel.out_channels, kernel.height, kernel.width))
    width = getattr(architecture.head, "count", None) or getattr(architecture.head, "dim", None)
    if made[-1] != (width, 1, 1):
        raise EdgenasError(f"{architecture.name} ends in {' x '.join(map(str, made[-1]))} numbers, its head in {width}")
    norms = sum(kernel.norm for kernel in kernels)
    if len(architecture.epsilons) not in (0, norms) or not set(architecture.fixed) <= set(range(len(kernels))):
        raise EdgenasError(
            f"{architecture.name} has {norms} batch norms and {len(architecture.epsilons)} epsilons of them"
        )
    return refuse_impossible(architecture.workload, architecture.name)


def _fits(kernel: Kernel, made: list[Map]) -> bool:
    """Are the sizes of a kernel possible, and are its sources there, with the shapes that it says they have?"""
    if not kernel.inputs or not all(-1 <= source < len(made) - 1 for source in kernel.sources):
        return False
    counts = (
        kernel.out_channels,
        kernel.height,
        kernel.width,
        kernel.groups,
        *kernel.kernel,
        *kernel.stride,
        *kernel.dilation,
    )
    if min(counts) < 1 or min(kernel.padding) < 0 or kernel.output_elements > LARGEST_MAP:
        return False
    if kernel.in_channels % kernel.groups or kernel.out_channels % kernel.groups:
        return False
    own = (kernel.out_channels, kernel.height, kernel.width)
    if kernel.residual is not None and made[kernel.residual + 1] != own:
        return False
    read = [made[source + 1] for source in kernel.inputs]
    shape = (kernel.in_channels, kernel.in_height, kernel.in_width)
    if kernel.kind == "linear":
        channels, height, width = read[0]
        return kernel.in_channels == channels * height * width and (kernel.height, kernel.width) == (1, 1)
    if kernel.kind == "concat":
        return sum(one[0] for one in read) == kernel.in_channels
    return read[0] == shape if kernel.kind != "mul" else shape in read
