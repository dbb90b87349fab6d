"""`edgenas describe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from edgenas.cli.output import emit, say, table

if TYPE_CHECKING:
    from edgenas.hardware.predictor import Row
    from edgenas.records import Architecture, Kernel


def describe(
    what: str = typer.Argument(
        help="An ONNX file, an architecture's JSON file, a study (its choice), or a published network's name."
    ),
    trial: int | None = typer.Option(None, help="Of a study: this trial instead of the choice."),
    target: str | None = typer.Option(None, help="Add latencies on this target."),
    precision: str | None = typer.Option(None, help="One of the target's precisions."),
    shape: list[str] = typer.Option(
        [], help="Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show one network layer by layer: kernels as the runtime launches them, parameters, MACs, bytes.

    Example: edgenas describe gnas-cifar10-t --target jetson-nano

    Example: edgenas describe yolo.onnx --shape images=1x3x320x320
    """
    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.errors import EdgenasError
    from edgenas.hardware.predictor import Row

    shapes = shapes_from_text(shape)
    if what.lower().endswith(".onnx"):
        document, row = _of_onnx(Path(what), shapes)
    else:
        if shapes:
            raise EdgenasError(f"--shape belongs to ONNX files: the size of {what} is part of its architecture")
        architecture = _architecture(what, trial)
        document, row = _of_architecture(architecture), Row(what, architecture)
    if target is not None:
        _add_latencies(document, row, target, precision)
    emit(document, as_json=as_json, text=_text(document))


def _of_architecture(architecture: Architecture) -> dict[str, Any]:
    from edgenas.architectures.workload import refuse_impossible, workload_from_architecture

    workload = refuse_impossible(workload_from_architecture(architecture), "this architecture")
    return {
        "architecture": msgspec.to_builtins(architecture),
        "params": workload.params,
        "macs": workload.macs,
        "bytes_moved": workload.bytes_moved,
        "memory_mb": workload.memory_mb(),
        "fingerprint": architecture.fingerprint,
        "kernels": [_kernel(kernel) for kernel in workload.kernels],
    }


def _of_onnx(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Any], Row]:
    """The same facts of an ONNX file; its parameters are those that lie in the file, each tensor once."""
    from edgenas.architectures.from_onnx import network_from_onnx
    from edgenas.hardware.predictor import row_from_network
    from edgenas.identity import digest

    network = network_from_onnx(path, shapes)
    if network.fixed_batch > 1:
        say(f"{path} is made for batches of {network.fixed_batch}; the figures are those of one image")
    workload = network.workload
    kernels = [
        {**_kernel(kernel), "params": params}
        for kernel, params in zip(workload.kernels, network.kernel_params, strict=True)
    ]
    document = {
        "params": network.params,
        "macs": workload.macs,
        "bytes_moved": workload.bytes_moved,
        "memory_mb": workload.memory_mb() + 4e-6 * (network.params - workload.params),
        "fingerprint": digest(workload),
        "precision": network.precision,
        "inputs": network.inputs,
        "fixed_batch": network.fixed_batch,
        "kernels": kernels,
    }
    return document, row_from_network(path.name, network)


def _architecture(what: str, trial: int | None) -> Architecture:
    from edgenas.architectures.published import PUBLISHED, published_architecture
    from edgenas.cli.studies import ROOT, study_folder
    from edgenas.errors import EdgenasError
    from edgenas.records import Architecture
    from edgenas.store import read_json

    if what.endswith(".json"):
        decoded: Architecture = read_json(Path(what), Architecture)  # type: ignore[arg-type]  # a union is a type to msgspec
        return decoded
    if what in PUBLISHED:
        return published_architecture(what)
    if any((folder / "study.db").is_file() for folder in (Path(what), ROOT / what)):
        return _of_study(study_folder(what), trial)
    raise EdgenasError(
        f"{what!r} is no .onnx or .json file, no study and no published network: published are {', '.join(PUBLISHED)}"
    )


def _of_study(folder: Path, number: int | None) -> Architecture:
    from edgenas.errors import StudyError
    from edgenas.store import Store

    with Store.read(folder) as store:
        if number is not None:
            for trial in store.ledger():
                if trial.number == number:
                    return trial.candidate.architecture
            raise StudyError(f"{folder} has no trial {number}: `edgenas front {folder}` lists them")
        choice = store.choice
    if choice is None:
        raise StudyError(f"{folder} has no choice yet: finish its search, or name a trial with --trial")
    return choice.trial.candidate.architecture


def _kernel(kernel: Kernel) -> dict[str, Any]:
    """A kernel's JSON; square kernels and strides are single numbers, height and width are the output's."""
    return {
        "kind": kernel.kind,
        "in_channels": kernel.in_channels,
        "out_channels": kernel.out_channels,
        "kernel": kernel.kernel[0] if kernel.kernel[0] == kernel.kernel[1] else list(kernel.kernel),
        "stride": kernel.stride[0] if kernel.stride[0] == kernel.stride[1] else list(kernel.stride),
        "groups": kernel.groups,
        "height": kernel.height,
        "width": kernel.width,
        "params": kernel.params,
        "macs": kernel.macs,
        "bytes_moved": 4 * kernel.elements_moved,
        "activation": kernel.activation,
    }


def _add_latencies(document: dict[str, Any], row: Row, target: str, precision: str | None) -> None:
    from edgenas.hardware.predictor import kernel_latencies_ms, latencies, precision_of_row
    from edgenas.hardware.profile import checked_precision, profile_from_name, resolved

    profile = profile_from_name(target)
    say(resolved(target, profile))
    at = precision_of_row(profile, row, checked_precision(precision))
    document["latency"] = {**msgspec.to_builtins(latencies(profile, [row], at)[0]), "precision": at}
    for described, ms in zip(document["kernels"], kernel_latencies_ms(profile, row.network, at), strict=True):
        described["ms"] = ms


def _text(document: dict[str, Any]) -> str:
    columns = ["kind", "in_channels", "out_channels", "kernel", "stride", "groups", "height", "width", "params", "macs"]
    columns += ["ms"] if "latency" in document else []
    rows = [
        tuple(f"{kernel[name]:.4f}" if name == "ms" else str(kernel[name]) for name in columns)
        for kernel in document["kernels"]
    ]
    total = f"{document['params']:,} parameters, {document['macs']:,} MACs, {document['bytes_moved']:,} bytes moved"
    if "latency" in document:
        latency = document["latency"]
        total += f", {latency['ms']:.3f} ms on {latency['profile']} in {latency['precision']} ({latency['origin']})"
    return table(tuple(columns), rows) + f"\n\n{document['fingerprint']}: {total}"
