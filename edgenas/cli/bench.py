"""`edgenas bench`: measure one model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.output import emit, say
from edgenas.errors import EdgenasError

if TYPE_CHECKING:
    from edgenas.hardware.measure import Timing
    from edgenas.records import Measurement


def bench(
    model: str | None = typer.Argument(
        None, help="MODEL.onnx, or a study whose choice is measured; default: the newest study."
    ),
    target: str = typer.Option(
        "host-cpu", help="host-cpu, ssh://[USER@]HOST[:PORT][/PATH/TO/EDGENAS], https://HOST:PORT or http://HOST:PORT."
    ),
    mlperf: bool = typer.Option(
        False, "--mlperf", help="At least 1,024 runs and 600 s, as MLPerf's single stream; see p90."
    ),
    runtime: str | None = typer.Option(
        None, help="host-cpu: the runtime, onnxruntime, tensorrt, or that of a package. Default: onnxruntime."
    ),
    provider: str | None = typer.Option(None, help="host-cpu: ONNX Runtime's provider, cpu or cuda. Default: cpu."),
    threads: int | None = typer.Option(None, min=1, help="host-cpu: how many threads compute. Default: 1."),
    batch: int = typer.Option(1, min=1, max=1024, help="Images per run."),
    shape: list[str] = typer.Option(
        [], help="Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."
    ),
    token_file: Path | None = typer.Option(None, help="The agent's token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="PEM file of the CA to trust for https:// boards, in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    out: Path | None = typer.Option(None, help="Keep the whole measurement with its raw samples in this JSON file."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Measure the latency of a model, here or on a board: beside a reference network, so that it says whether it can be trusted.

    Example: edgenas bench model.onnx --target host-cpu

    Example: edgenas bench model.onnx --target https://board:8765 --token-file token --ca ca.pem

    Example: edgenas bench yolo.onnx --shape images=1x3x320x320
    """
    import msgspec

    from edgenas.durable import check_place, replace_file
    from edgenas.hardware.measure import BENCH, MLPERF, MeasureError, percentiles, reference_ratio, spread

    if out is not None:
        check_place(out)  # before minutes of work
    content, name = _content(model, shape)
    timing = MLPERF if mlperf else BENCH
    try:
        measurement = _measure(content, target, timing, runtime, provider, threads, batch, token_file, ca)
    except MeasureError as error:  # the file that was opened is a copy: say whose it is
        raise MeasureError(error.status, re.sub(r"\S*/0\.onnx", lambda _: name, str(error))) from error
    if out is not None:
        replace_file(out, msgspec.json.encode(measurement))
    document = {
        "model": name,
        "ms": percentiles(measurement),
        "n": measurement.detail["runs"],
        "reference_ratio": reference_ratio(measurement),
        "spread": round(spread(measurement.samples_ms), 6),
        "stable": measurement.stable,
        "status": measurement.status,
        "profile": measurement.profile,
        "host": measurement.host,
        "runtime": measurement.runtime,
        "batch_size": batch,
        "precision": measurement.precision,
        "int8": measurement.detail["settings"].get("int8"),
        "settings": measurement.detail["settings"],
        "device": measurement.detail["device"],
        "energy_mj": measurement.detail.get("energy_mj"),
        "warnings": measurement.detail["warnings"],
    }
    emit(document, as_json=as_json, text=_text(document))


def _content(model: str | None, shape: list[str]) -> tuple[bytes, str]:
    """The ONNX file with its weights; a study stands for the network that it chose, with seeded random weights, at the precision
    that it was judged at."""
    from edgenas.architectures.onnx_file import portable_model, shapes_from_text
    from edgenas.engine.final import began_by
    from edgenas.engine.folders import is_study, study_folder
    from edgenas.files import refuse_folder
    from edgenas.hardware.candidates import BUILT, model_from_architecture
    from edgenas.hardware.profile import profiles_of
    from edgenas.store import Store

    shapes = shapes_from_text(shape)
    if model is not None and (model.lower().endswith(".onnx") or Path(model).is_file()):
        return portable_model(Path(model), shapes), model
    if shapes:
        raise EdgenasError("--shape belongs to ONNX files: the size of a study's network is part of its architecture")
    if model is not None and not is_study(model) and any(Path(model).glob("*.onnx")):
        refuse_folder(Path(model), (".onnx",))
    folder = study_folder(model)
    with Store.read(folder) as store:
        choice, study = store.choice, store.study
    if choice is None:
        began = began_by(study.method)
        raise EdgenasError(f"{folder} has chosen no network yet: run the same `{began}` again to go on")
    precision = study.precision if study.precision in BUILT else "fp32"
    if precision != study.precision:
        say(
            f"warning: {folder} was judged at {study.precision}, whose scales are made from images: measured is {precision}; "
            "export the network, and measure its file"
        )
    architecture, profile = choice.trial.candidate.architecture, profiles_of(study)[0]
    content = model_from_architecture(architecture, profile, precision)
    return content, f"{folder}, trial {choice.trial.number}"


def _measure(
    content: bytes,
    target: str,
    timing: Timing,
    runtime: str | None,
    provider: str | None,
    threads: int | None,
    batch: int,
    token_file: Path | None,
    ca: Path | None,
) -> Measurement:
    from edgenas.hardware.measure import measure
    from edgenas.hardware.profile import HOST_CPU
    from edgenas.hardware.worker import Load
    from edgenas.remote.boards import open_board, refuse_without_board
    from edgenas.runtimes import check_provider

    if target == HOST_CPU:
        refuse_without_board(token_file, ca, here=True)
        runtime, provider = runtime or "onnxruntime", provider or "cpu"
        check_provider(runtime, provider)
        load = Load("", runtime=runtime, provider=provider, threads=threads or 1, batch_size=batch)
        named = provider if runtime == "onnxruntime" else runtime
        return measure([content], load, timing, f"host-{named}", say=say)[0]
    if not target.startswith(("https://", "http://", "ssh://")):
        raise EdgenasError(
            f"target {target!r}: measured are host-cpu, ssh://.., https://.. and http://..; `edgenas predict` knows others"
        )
    for flag, value in (("--runtime", runtime), ("--provider", provider), ("--threads", threads)):
        if value is not None:
            raise EdgenasError(
                f"{flag} {value} is for host-cpu: a board measures with the one that its agent was given (ssh:// takes it in the "
                f"address: ?{flag.removeprefix('--')}={value})"
            )
    from edgenas.remote.job import job_for, runtime_of

    board = open_board(target, token_file, ca, say)
    described = board.info()
    say(f"board {target}: {described['device']['model']}")
    runtime, model = runtime_of(described), described["device"]["model"]
    return board.measure(content, job_for(content, model, timing, batch_size=batch, runtime=runtime))


def _text(document: dict[str, Any]) -> str:
    ms = document["ms"]
    lines = [
        f"{document['model']}: median {ms['median']:.4g} ms, p90 {ms['p90']:.4g} ms, p99 {ms['p99']:.4g} ms",
        f"{document['n']} runs on {document['host']}, {document['runtime']}, {document['precision']}; "
        f"spread {document['spread']:.1%}, {document['status']}",
    ]
    if document["int8"] is not None:
        from edgenas.runtimes.int8 import MEANING

        lines.append(f"INT8 sums are {MEANING.get(document['int8'], document['int8'])}")
    if document["energy_mj"] is not None:
        lines.append(f"{document['energy_mj']:.4g} mJ per run")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in document["warnings"])])
