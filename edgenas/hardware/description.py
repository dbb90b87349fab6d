"""One network kernel by kernel, as records: behind `edgenas describe` and `edgenas.describe`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec

from edgenas.architectures.from_onnx import read_onnx
from edgenas.architectures.published import PUBLISHED, published_architecture
from edgenas.architectures.tracer import refuse_impossible
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.files import refuse_folder
from edgenas.hardware.prediction import precision_of_row
from edgenas.hardware.predictor import Row, kernel_latencies_ms, latencies, row_from_network
from edgenas.hardware.profile import checked_precision, profile_from_name
from edgenas.hardware.rows import BOTH_SIZES, ZOO, Px, Zoo, no_zoo, shapes_at
from edgenas.identity import digest
from edgenas.records import Architecture, HardwareProfile, Kernel, Latency, Precision, Record
from edgenas.store import read_json

Side = int | tuple[int, int]  # one number where both are the same


class KernelDescription(Record, frozen=True, omit_defaults=True):
    """One kernel as the runtime launches it; height and width are the output's. `ms` where a target was named."""

    kind: str
    in_channels: int
    out_channels: int
    kernel: Side
    stride: Side
    groups: int
    height: int
    width: int
    params: int
    macs: int
    bytes_moved: int
    activation: str
    ms: float | None = None


class Description(Record, frozen=True):
    """A network's kernels and totals, at one image.

    `architecture` of what is written as one; `precision`, `inputs`, `fixed_batch` of an ONNX file. `latency` and the precision
    that it is for, `latency_precision`, where a target was named. `notes`: sentences on how it was read.
    """

    params: int
    macs: int
    bytes_moved: int
    memory_mb: float
    fingerprint: str
    kernels: tuple[KernelDescription, ...]
    architecture: Architecture | None = None
    precision: Precision | None = None
    inputs: dict[str, tuple[int, ...]] | None = None
    fixed_batch: int | None = None
    latency: Latency | None = None
    latency_precision: Precision | None = None
    notes: tuple[str, ...] = ()


def description(
    network: str | Path | Architecture,
    target: str | Path | HardwareProfile | None = None,
    precision: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    px: Px | None = None,
    zoo: Zoo = no_zoo,
) -> Description:
    """The network of an ONNX file, of an architecture or its JSON file, or of that published name; on `target`, its latency too.
    `shapes`, or (height, width) `px`: of a file whose sides are free; `px` also of a name that `zoo` knows.

    Raises EdgenasError, in one line, for what cannot be read.
    """
    if target is None and precision is not None:
        raise EdgenasError(f"--precision {precision} is that of a latency: name a --target, or leave it out")
    if shapes and px is not None:
        raise EdgenasError(BOTH_SIZES)
    if not isinstance(network, Architecture) and str(network).lower().endswith(".onnx"):
        path = Path(network)
        described, row = _of_onnx(
            path, shapes or ({} if px is None else shapes_at(path, path.name, px, "--image-size"))
        )
    elif not isinstance(network, Architecture) and str(network).startswith(ZOO):
        if shapes:
            raise EdgenasError(f"--shape belongs to ONNX files: the size of {network} is --image-size")
        row = zoo(str(network), px)
        described = _of_row(row)
    else:
        if shapes or px is not None:
            flag = "--shape" if shapes else "--image-size"
            raise EdgenasError(f"{flag} belongs to ONNX files: the size of {network} is part of its architecture")
        architecture = network if isinstance(network, Architecture) else architecture_named(str(network))
        described, row = _of_architecture(architecture), Row(str(network), architecture)
    return described if target is None else _with_latency(described, row, target, precision)


def architecture_named(name: str) -> Architecture:
    """Of a JSON file, or a published network. Raises EdgenasError, in one line, for anything else."""
    if name.endswith(".json"):
        return cast("Architecture", read_json(Path(name), Architecture))  # type: ignore[arg-type]  # a union is a type to msgspec
    if name in PUBLISHED:
        return published_architecture(name)
    refuse_folder(Path(name), (".onnx",))
    raise EdgenasError(
        f"{name!r} is no .onnx or .json file, no study and no published network: published are {', '.join(PUBLISHED)}, and "
        "torchvision:NAME and timm:NAME"
    )


def _of_row(row: Row) -> Description:
    workload = row.workload
    params = workload.params if row.params is None else row.params
    return Description(
        params=params,
        macs=workload.macs,
        bytes_moved=workload.bytes_moved,
        memory_mb=workload.memory_mb() + 4e-6 * (params - workload.params),
        fingerprint=digest(workload),
        kernels=tuple(_kernel(kernel, kernel.params) for kernel in workload.kernels),
    )


def _of_architecture(architecture: Architecture) -> Description:
    workload = refuse_impossible(workload_from_architecture(architecture), "this architecture")
    return Description(
        params=workload.params,
        macs=workload.macs,
        bytes_moved=workload.bytes_moved,
        memory_mb=workload.memory_mb(),
        fingerprint=architecture.fingerprint,
        kernels=tuple(_kernel(kernel, kernel.params) for kernel in workload.kernels),
        architecture=architecture,
    )


def _of_onnx(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Description, Row]:
    """Parameters are those that lie in the file, each tensor once."""
    network = read_onnx(path, shapes)
    workload, many = network.workload, network.fixed_batch
    described = Description(
        params=network.params,
        macs=workload.macs,
        bytes_moved=workload.bytes_moved,
        memory_mb=workload.memory_mb() + 4e-6 * (network.params - workload.params),
        fingerprint=digest(workload),
        kernels=tuple(map(_kernel, workload.kernels, network.kernel_params)),
        precision=network.precision,
        inputs=network.inputs,
        fixed_batch=many,
        notes=(f"{path} is made for batches of {many}; the figures are those of one image",) if many > 1 else (),
    )
    return described, row_from_network(path.name, network)


def _kernel(kernel: Kernel, params: int) -> KernelDescription:
    return KernelDescription(
        kind=kernel.kind,
        in_channels=kernel.in_channels,
        out_channels=kernel.out_channels,
        kernel=_side(kernel.kernel),
        stride=_side(kernel.stride),
        groups=kernel.groups,
        height=kernel.height,
        width=kernel.width,
        params=params,
        macs=kernel.macs,
        bytes_moved=4 * kernel.elements_moved,
        activation=kernel.activation,
    )


def _side(sides: tuple[int, int]) -> Side:
    return sides[0] if sides[0] == sides[1] else sides


def _with_latency(
    described: Description, row: Row, target: str | Path | HardwareProfile, precision: str | None
) -> Description:
    profile = target if isinstance(target, HardwareProfile) else profile_from_name(str(target))
    at = precision_of_row(profile, row, checked_precision(precision))
    each = zip(described.kernels, kernel_latencies_ms(profile, row.network, at), strict=True)
    return msgspec.structs.replace(
        described,
        kernels=tuple(msgspec.structs.replace(kernel, ms=ms) for kernel, ms in each),
        latency=latencies(profile, [row], at)[0],
        latency_precision=at,
    )
