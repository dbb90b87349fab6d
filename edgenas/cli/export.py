"""`edgenas export`: a trained network as a bundle."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from edgenas.cli.onward import serve_commands
from edgenas.cli.output import emit, say, say_next, table
from edgenas.engine.counts import counted

if TYPE_CHECKING:
    from edgenas.bundle import Bundle, Score
    from edgenas.records import Latency, Limits, Metric


def export(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    out: Path = typer.Option(..., help="Folder to write; an older bundle there is replaced."),
    trial: int | None = typer.Option(None, help="Number of the trial; the chosen one if left out."),
    data: str | None = typer.Option(None, help="Data whose weights are meant, after train --from-trained."),
    start: str | None = typer.Option(None, help="Network that is meant, after train --start.", show_default=False),
    data_dir: str | None = typer.Option(
        None, help="Where named data sets lie now. Default: where they were found last."
    ),
    precision: str = typer.Option(
        "fp32",
        help="Precisions, comma-separated: fp32, fp16, int8; the first one is served; or auto: the fastest that passes. Limits "
        "on a Jetson are judged at fp16: name it first.",
    ),
    target: str | None = typer.Option(None, help="Profile that sets opset and IR; the study's own if left out."),
    input_type: Literal["float32", "uint8"] = typer.Option(
        "float32", "--input", help="Type of the model's input; uint8: pixels, normalised inside the model."
    ),
    max_drop: float | None = typer.Option(
        None,
        help="By how much FP16 and INT8 may score worse than FP32 on validation, in the metric's unit. Default: the metric's own "
        "(accuracy: 0.5 points, or one image; TAR: 0.2 points at FP16, 0.5 at INT8).",
    ),
    reduce_range: bool = typer.Option(
        False,
        "--reduce-range",
        help="INT8 weights of 7 bits: for x86-64 without VNNI, where they are faster; less exact.",
    ),
    batch: int | None = typer.Option(
        None, help="Files for exactly so many images at a time (1 to 64). Default: any number.", show_default=False
    ),
    opset: int | None = typer.Option(
        None, help="ONNX opset of the files (13 to 21). Default: what the target's software reads.", show_default=False
    ),
    data_license: str = typer.Option(
        "",
        help="Licence of the images that it was trained on: for the manifest and the model card.",
        show_default=False,
    ),
    engine: bool = typer.Option(False, help="Also build a TensorRT engine for this machine."),
    triton: Path | None = typer.Option(None, help="Also write a Triton model repository there."),
    deepstream: Path | None = typer.Option(
        None, help="Also write configurations for DeepStream's nvinfer there, with a model for it."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Export a trained network with proof of parity: ONNX files that compute the same, in a bundle.

    Example: edgenas export --out bundle --precision fp32,fp16,int8

    Example: edgenas export --out bundle --batch 1 --opset 17

    Example: edgenas export --out bundle --precision fp16 --deepstream ds
    """
    from edgenas.bundle import check_destination
    from edgenas.engine.folders import study_folder
    from edgenas.engine.trained import latency_judged, trained_from_store, wishes_from
    from edgenas.export.beside import check_apart
    from edgenas.export.deepstream import check_deepstream, deepstream_folder, write_deepstream
    from edgenas.export.release import bundle_from_trained, bundle_name
    from edgenas.export.triton import triton_folder, write_triton
    from edgenas.records import Limits
    from edgenas.store import Store

    wishes = wishes_from(precision, input_type, max_drop, reduce_range, batch=batch, opset=opset)
    if engine:
        from edgenas.runtimes.tensorrt import engine_from_onnx, probe_gpu, tensorrt_module

        tensorrt_module()  # before minutes of work
        probe_gpu()
    check_destination(out)  # before minutes of work
    places = {"--out": out}
    if triton is not None:
        places["--triton"] = triton_folder(triton, bundle_name(out))
    if deepstream is not None:
        places["--deepstream"] = deepstream_folder(deepstream, bundle_name(out))
    check_apart(places)
    folder = study_folder(study, say)
    with Store.read(folder) as store:
        trained = trained_from_store(store, say, trial, target, data, start=start, data_dir=data_dir)
        limits = store.study.limits if trained.profile.name in store.study.profiles else Limits()
        judged = None if limits.latency_ms is None else latency_judged(store, trained)
    trained = dataclasses.replace(trained, data_license=data_license)
    judges = counted(len(trained.task.val), "validation image")
    say(f"{precision}: written, held against the trained network, judged on {judges} and timed here")
    if deepstream is not None:
        check_deepstream(wishes.uint8, wishes.batch, trained.kind.labels(trained.task))  # before minutes of work
    bundle = bundle_from_trained(out, trained, wishes)
    document, text = document_of(bundle), text_of(bundle)
    document["failed"] = {} if wishes.auto else dict(bundle.manifest.left_out)
    document["over_limit"] = over = over_limit(bundle, limits, judged)
    for note in bundle.manifest.notes:
        say(note if note.startswith(f"{bundle.manifest.chosen_precision} was chosen") else f"warning: {note}")
    if bundle.manifest.chosen_precision in over:
        say(over_words(bundle, over, limits))
    if triton is not None:
        document["triton"] = str(write_triton(bundle, triton))
        text += f"\nTriton repository {document['triton']}"
    if deepstream is not None:
        written = write_deepstream(bundle, deepstream)
        document["deepstream"] = str(written.folder)
        document["deepstream_differences"] = list(written.differences)
        text += f"\nDeepStream configuration {written.folder}"
        for difference in written.differences:
            say(f"warning: DeepStream: {difference}")
    if engine:
        chosen = bundle.manifest.chosen_precision
        document["engine"] = str(engine_from_onnx(bundle.path(chosen), chosen).path)
        text += f"\nengine {document['engine']}"
    document["trtexec"] = trtexec_of(bundle)
    text += "".join(f"\n{line}" for line in document["trtexec"])
    emit(document, as_json=as_json, text=text)
    if not as_json and not document["failed"]:
        say_next(*_next(bundle))
    if document["failed"]:
        for name, reason in document["failed"].items():
            say(f"error: {name} is not in the bundle: {reason}")
        say(
            f"error: {out} holds {', '.join(document['files'])}; to get it without this error ask for these alone (--precision)"
        )
        raise typer.Exit(1)


def over_limit(bundle: Bundle, limits: Limits, judged: Latency | None = None) -> dict[str, float]:
    """Precisions whose file takes longer on the study's target than its latency limit allows, with the ms that it is judged by:
    the search judged the network at one precision, by `judged` (see latency_judged), and the files are of others, too."""
    if (bundle.manifest.batch or 1) > 1:
        return {}  # a study's limits are for one image
    target = bundle.manifest.profile
    found = {p: x for p, model in bundle.manifest.models.items() for x in model.latencies if x.profile == target}
    if judged is not None and judged.precision in bundle.manifest.models:
        found[judged.precision] = judged
    each = {precision: limits.judged_ms(latency) for precision, latency in found.items()}
    return {precision: ms for precision, ms in each.items() if limits.latency_ms is not None and ms > limits.latency_ms}


def over_words(bundle: Bundle, over: dict[str, float], limits: Limits) -> str:
    """Which files break the latency limit, and which hold it."""
    from edgenas.ranges import beside

    limit_ms, by = limits.latency_ms or 0.0, " at the upper end (--margin)" * limits.margin
    figures = ", ".join(f"{precision} ({beside(ms, limit_ms, 3)} ms)" for precision, ms in over.items())
    held = [precision for precision in bundle.manifest.models if precision not in over]
    rest = f"{' and '.join(held)} hold{'s' * (len(held) == 1)} it" if held else "no file here holds it"
    return f"warning: over the study's limit of {limit_ms:.12g} ms on {bundle.manifest.profile}{by}: {figures}; {rest}"


def _next(bundle: Bundle) -> tuple[str, ...]:
    """What is done with a bundle of its kind."""
    folder = shlex.quote(str(bundle.folder))
    tried = (f"edgenas classify {folder} IMAGE...",) if bundle.kind == "classification" else ()
    return (*tried, *serve_commands(bundle.folder, bundle.manifest.profile))


def trtexec_of(bundle: Bundle) -> list[str]:
    """How the chosen file is built by hand on the target's boards, where TensorRT runs there; it differs between versions."""
    from edgenas.hardware.matrix import trtexec_lines

    chosen = bundle.manifest.chosen_precision
    return trtexec_lines(bundle.manifest.profile, bundle.manifest.models[chosen].artifact.path, chosen)


def document_of(bundle: Bundle) -> dict[str, Any]:
    """The document of cli.md, with scores and latencies."""
    import msgspec

    from edgenas.bundle import CARD

    manifest = bundle.manifest
    files = {
        precision: {
            "path": model.artifact.path,
            "sha256": model.artifact.sha256,
            "weight_bits": model.weight_bits,
            "size_mb": model.artifact.size_mb,
            "opset": model.artifact.opset,
            "scores": [score_document(score) for score in model.scores],
            "latencies": msgspec.to_builtins(model.latencies),
        }
        for precision, model in manifest.models.items()
    }
    return {
        "bundle": str(bundle.folder),
        "batch": manifest.batch,
        "model_card": str(bundle.folder / CARD),
        "files": files,
        "parity": msgspec.to_builtins(bundle.parity),
        "chosen_precision": manifest.chosen_precision,
        "notes": list(manifest.notes),
    }


def score_words(score: Score, metric: Metric) -> str:
    """97.20 (95.9 to 98.1)."""
    from edgenas.engine.scores import interval_words

    return f"{metric.number(score.value)}{interval_words(score.interval, metric)}"


def score_document(score: Score) -> dict[str, Any]:
    """A score as the manifest has it."""
    import msgspec

    return dict(msgspec.to_builtins(score))


def text_of(bundle: Bundle) -> str:
    """One line per precision."""
    from edgenas.bundle import CARD

    manifest = bundle.manifest
    metric, classes = bundle.metric, bundle.kind == "classification"
    header = (
        "",
        "precision",
        "file",
        "size MB",
        f"val {metric.name} {metric.unit}".rstrip(),
        "latency ms",
        "max abs",
        "cosine",
        *(["top-1 agreement"] if classes else []),
    )
    rows = []
    for precision, model in manifest.models.items():
        parity = bundle.parity[precision]
        rows.append(
            (
                "->" if precision == manifest.chosen_precision else "",
                precision,
                model.artifact.path,
                f"{model.artifact.size_mb:.3f}",
                score_words(model.scores[0], metric),
                ", ".join(f"{x.ms:.3f} {x.origin} ({x.profile})" for x in model.latencies),
                f"{parity.max_abs:.2g}",
                f"{parity.cosine:.6f}",
                *([f"{100 * parity.top1_agreement:.1f} %"] if classes else []),
            )
        )
    return table(header, rows) + f"\n\nbundle {bundle.folder} (what it is, in words: {CARD})"
