"""`edgenas export`: a trained network as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.binomial import wilson
from edgenas.cli.output import emit, say, table
from edgenas.report.scores import interval_words

if TYPE_CHECKING:
    from edgenas.bundle import Bundle, Score
    from edgenas.export.release import Trained, Wishes
    from edgenas.records import FinalTraining
    from edgenas.store import Store


def export(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    out: Path = typer.Option(..., help="Folder to write; an older bundle there is replaced."),
    trial: int | None = typer.Option(None, help="Number of the trial; the chosen one if left out."),
    data: str | None = typer.Option(None, help="After train --from-trained: the data whose weights are meant."),
    precision: str = typer.Option("fp32", help="Comma-separated: fp32, fp16, int8; or auto: the fastest that passes."),
    target: str | None = typer.Option(None, help="Profile that sets opset and IR; the study's own if left out."),
    input_type: str = typer.Option(
        "float32", "--input", help="float32, or uint8: pixels, normalised inside the model."
    ),
    max_drop: float = typer.Option(0.5, help="Points that FP16 or INT8 may lose on the validation split."),
    reduce_range: bool = typer.Option(
        False,
        "--reduce-range",
        help="INT8 weights of 7 bits: for x86-64 without VNNI, where they are faster; less exact.",
    ),
    engine: bool = typer.Option(False, help="Also build a TensorRT engine for this machine."),
    triton: Path | None = typer.Option(None, help="Also write a Triton model repository there."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Export a trained network as ONNX, prove that it computes the same, and write a bundle.

    Example: edgenas export --out bundle --precision fp32,fp16,int8
    """
    from edgenas.cli.studies import study_folder
    from edgenas.export.release import bundle_from_trained
    from edgenas.store import Store

    wishes = wishes_from(precision, input_type, max_drop, reduce_range)
    if engine:
        from edgenas.runtimes.tensorrt import engine_from_onnx, probe_gpu, tensorrt_module

        tensorrt_module()  # before minutes of work
        probe_gpu()
    folder = study_folder(study)
    with Store.read(folder) as store:
        trained = trained_from_store(store, trial, target, data)
    bundle = bundle_from_trained(out, trained, wishes)
    document, text = document_of(bundle), text_of(bundle)
    document["failed"] = {} if wishes.auto else dict(bundle.manifest.left_out)
    for note in bundle.manifest.notes:
        say(note)
    if triton is not None:
        from edgenas.export.triton import write_triton

        document["triton"] = str(write_triton(bundle, triton))
        text += f"\nTriton repository {document['triton']}"
    if engine:
        chosen = bundle.manifest.chosen_precision
        document["engine"] = str(engine_from_onnx(bundle.path(chosen), chosen).path)
        text += f"\nengine {document['engine']}"
    emit(document, as_json=as_json, text=text)
    if document["failed"]:
        for name, reason in document["failed"].items():
            say(f"error: {name} is not in the bundle: {reason}")
        say(
            f"{out} holds {', '.join(document['files'])}; to get it without this error ask for these alone (--precision)"
        )
        raise typer.Exit(1)


def wishes_from(precision: str, input_type: str, max_drop: float, reduce_range: bool = False) -> Wishes:
    """The options, checked."""
    from edgenas.errors import EdgenasError
    from edgenas.export.release import PRECISIONS, Wishes

    if input_type not in ("float32", "uint8"):
        raise EdgenasError(f"--input {input_type} was asked for; possible: float32, uint8")
    uint8 = input_type == "uint8"
    if precision == "auto":
        return Wishes(auto=True, uint8=uint8, max_drop=max_drop, reduce_range=reduce_range)
    names = [name.strip() for name in precision.split(",")]
    if unknown := [name for name in names if name not in PRECISIONS]:
        raise EdgenasError(f"precision {', '.join(unknown)} was asked for; possible: {', '.join(PRECISIONS)}, or auto")
    chosen = tuple(known for name in names for known in PRECISIONS if known == name)
    if reduce_range and "int8" not in chosen:
        raise EdgenasError(f"--reduce-range is about int8, and --precision is {precision}: add int8, or leave it out")
    return Wishes(tuple(dict.fromkeys(chosen)), uint8=uint8, max_drop=max_drop, reduce_range=reduce_range)


def trained_from_store(store: Store, trial: int | None, target: str | None, data: str | None = None) -> Trained:
    """The trained network of a trial, the seed that did best on validation. EdgenasError where there is none yet."""
    from edgenas.cli.train import whole_task
    from edgenas.errors import StudyError
    from edgenas.export.release import Trained
    from edgenas.hardware.profile import profile_from_name, profiles_of
    from edgenas.networks.weights import load_weights

    final = final_training(store, trial, data)
    other = None if final.data == store.study.data else final.data
    task = whole_task(store, other, final.data_dir, final.architecture)
    if (task.classes, task.preprocessing) != (final.classes, final.preprocessing):
        raise StudyError(
            f"{final.data} is not what trial {final.trial} was trained on (its classes or pixel statistics are others): "
            "restore it, or run `edgenas train` again"
        )
    best = max(final.runs, key=lambda run: run.val[final.metric])
    if not best.weights_sha256:
        say(f"{best.weights} was saved before weights had a SHA-256 in the study: only its score can be checked")
    path = store.folder / "weights" / Path(best.weights).name
    network = load_weights(final.architecture, path, best.weights_sha256)
    profile = profile_from_name(target) if target else profiles_of(store.study)[0]
    recipe, score = final.recipe.fingerprint, best.val[final.metric]
    return Trained(network, final.architecture, task, profile, final.data, recipe, score=score)


def final_training(store: Store, trial: int | None, data: str | None) -> FinalTraining:
    """The final training of a trial on `data`; the only one where that is left out."""
    from edgenas.errors import StudyError
    from edgenas.records import FinalTraining

    choice = store.choice
    if trial is None and choice is None:
        raise StudyError(f"{store.folder} has no choice yet: run the same `edgenas search` again, or give --trial N")
    number = trial if trial is not None or choice is None else choice.trial.number
    trained = store.all("final", FinalTraining)
    found = {key: final for key, final in trained.items() if final.trial == number}
    if not found:
        others = sorted({final.trial for final in trained.values()})
        hint = f" (trained: {', '.join(map(str, others))})" if others else ""
        raise StudyError(
            f"trial {number} of {store.folder} has no trained weights{hint}: "
            f"run `edgenas train {store.folder} --trial {number}` first"
        )
    on = {final.data: final for final in found.values()}
    if data is None and len(on) > 1:
        raise StudyError(f"trial {number} was trained on {', '.join(on)}: say which with --data")
    if data is not None and data not in on:
        raise StudyError(f"trial {number} was not trained on {data}: possible: {', '.join(on)}")
    return on[data] if data is not None else next(iter(on.values()))


def document_of(bundle: Bundle) -> dict[str, Any]:
    """The document of cli.md, with scores and latencies."""
    import msgspec

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
        "files": files,
        "parity": msgspec.to_builtins(bundle.parity),
        "chosen_precision": manifest.chosen_precision,
        "notes": list(manifest.notes),
    }


def score_words(score: Score) -> str:
    """97.20 (95.9 to 98.1)."""
    interval = interval_words(wilson(score.value, score.n)) if score.metric == "accuracy" else ""
    return f"{score.value:.2f}{interval}"


def score_document(score: Score) -> dict[str, Any]:
    """A score as the manifest has it; an accuracy with its 95 % interval over its n images."""
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(score)
    return document | ({"interval": wilson(score.value, score.n)} if score.metric == "accuracy" else {})


def text_of(bundle: Bundle) -> str:
    """One line per precision."""
    manifest = bundle.manifest
    metric = next(iter(manifest.models.values())).scores[0].metric
    header = (
        "",
        "precision",
        "file",
        "size MB",
        f"val {metric} %",
        "latency ms",
        "max abs",
        "cosine",
        "top-1 agreement",
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
                score_words(model.scores[0]),
                ", ".join(f"{x.ms:.3f} {x.origin} ({x.profile})" for x in model.latencies),
                f"{parity.max_abs:.2g}",
                f"{parity.cosine:.6f}",
                f"{100 * parity.top1_agreement:.1f} %",
            )
        )
    return table(header, rows) + f"\n\nbundle {bundle.folder}"
