"""`edgenas describe`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from edgenas.cli.options import target_names
from edgenas.cli.output import emit, say, table
from edgenas.errors import EdgenasError

if TYPE_CHECKING:
    from edgenas.hardware.description import Description
    from edgenas.records import Architecture


def describe(
    what: str = typer.Argument(
        help="An ONNX file, an architecture's JSON file, a study (its choice), a published network's name, torchvision:NAME or "
        "timm:NAME."
    ),
    trial: int | None = typer.Option(None, help="Describe this trial of a study instead of its choice."),
    target: str | None = typer.Option(None, autocompletion=target_names, help="Add latencies on this target."),
    precision: str | None = typer.Option(None, help="Precision of the latencies, one that the target has."),
    shape: list[str] = typer.Option(
        [], help="Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."
    ),
    image_size: str | None = typer.Option(
        None,
        metavar="SIDE|HxW",
        help="Size of the images, of torchvision:NAME and timm:NAME, too, pixels: 224, or 64x320 (height x width).",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show one network layer by layer: kernels as the runtime launches them, parameters, MACs, bytes.

    Example: edgenas describe gnas-cifar10-t --target jetson-nano

    Example: edgenas describe yolo.onnx --shape images=1x3x320x320
    """
    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.cli.zoo import zoo
    from edgenas.hardware.description import description
    from edgenas.hardware.profile import profile_from_name, resolved
    from edgenas.hardware.rows import px_asked

    profile = None
    if target is not None:
        profile = profile_from_name(target)
        say(resolved(target, profile))
    px = None if image_size is None else px_asked(image_size)
    named = _architecture_of_study(what, trial)
    if named is None and trial is not None:
        raise EdgenasError(f"--trial {trial} chooses among a study's networks, and {what} is no study: leave it out")
    found = description(named or what, profile, precision, shapes_from_text(shape), px, zoo)
    for note in found.notes:
        say(note)
    document = _document(found)
    emit(document, as_json=as_json, text=_text(document))


def _document(found: Description) -> dict[str, Any]:
    """The keys that have something to say; the latency with its precision."""
    document = {key: value for key, value in msgspec.to_builtins(found).items() if value is not None and key != "notes"}
    if found.latency is not None:
        document["latency"] = {**document["latency"], "precision": document.pop("latency_precision")}
    return document


def _architecture_of_study(what: str, trial: int | None) -> Architecture | None:
    """Of a study's chosen or named trial; None where `what` is no study."""
    from edgenas.engine.folders import ROOT, study_folder

    if what.lower().endswith((".onnx", ".json")):
        return None
    if any((folder / "study.db").is_file() for folder in (Path(what), ROOT / what)):
        return _of_study(study_folder(what), trial)
    return None


def _of_study(folder: Path, number: int | None) -> Architecture:
    from edgenas.engine.final import began_by
    from edgenas.errors import StudyError
    from edgenas.store import Store

    with Store.read(folder) as store:
        if number is not None:
            for trial in store.ledger():
                if trial.number == number:
                    return trial.candidate.architecture
            raise StudyError(f"{folder} has no trial {number}: `edgenas front {shlex.quote(str(folder))}` lists them")
        choice, study = store.choice, store.study
    if choice is None:
        again = began_by(study.method)
        raise StudyError(f"{folder} has no choice yet: run the same `{again}` again, or name a trial with --trial")
    return choice.trial.candidate.architecture


def _text(document: dict[str, Any]) -> str:
    timed = "latency" in document
    header = ("kind", "in", "out", "size", "stride", "groups", "output", "params", "M macs", *(["ms"] if timed else []))
    rows = [
        (
            *(_sides(one[name]) for name in ("kind", "in_channels", "out_channels", "kernel", "stride", "groups")),
            f"{one['height']}x{one['width']}",
            str(one["params"]),
            f"{one['macs'] / 1e6:.3f}",
            *([f"{one['ms']:.4f}"] if timed else []),
        )
        for one in document["kernels"]
    ]
    total = f"{document['params']:,} parameters, {document['macs']:,} MACs, {document['bytes_moved']:,} bytes moved"
    if timed:
        latency = document["latency"]
        total += f", {latency['ms']:.3f} ms on {latency['profile']} in {latency['precision']} ({latency['origin']})"
        total += "; the first layer bears what a run costs before any"
    return table(header, rows) + f"\n\n{document['fingerprint']}: {total}"


def _sides(value: Any) -> str:
    """1x5 of what is not square."""
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
