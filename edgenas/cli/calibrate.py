"""`edgenas calibrate`: measured networks make a profile that predicts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.output import BOUNDED, emit, say, say_next
from edgenas.errors import EdgenasError
from edgenas.ranges import MOST_SEED

if TYPE_CHECKING:
    from edgenas.hardware.calibration import Calibrated


def calibrate(
    study: str | None = typer.Argument(None, help="A study whose own measurements are taken (see --board of search)."),
    measurements: list[Path] = typer.Option(
        [], help="CSV with the columns architecture,latency_ms, or a log of trtexec; repeatable."
    ),
    board: str | None = typer.Option(
        None,
        help="Measure a designed set of networks now: https://.., http://.., ssh://.. (edgenas agent) or host-cpu.",
    ),
    out: Path = typer.Option(..., help="The calibrated profile, FILE.toml, to be used as --target."),
    target: str | None = typer.Option(None, help="The profile to calibrate: a name, an alias or a file."),
    new: str | None = typer.Option(None, help="Name of a device that has no profile yet, in place of --target."),
    runtime: str | None = typer.Option(
        None, help="Runtime of a new device: onnxruntime, tensorrt or another, such as tflite."
    ),
    precision: str | None = typer.Option(
        None, help="Precision of the measurements: fp32, fp16 or int8; left out, the target's own."
    ),
    samples: int | None = typer.Option(
        None,
        min=1,
        help="How many networks are fitted; all others judge. Left out, four in five. With --board: how many are measured [50].",
    ),
    seed: int = typer.Option(0, min=0, max=MOST_SEED, help="Seed by which the networks are chosen."),
    shape: list[str] = typer.Option(
        [], help="Size of an ONNX input with free sides, such as images=1x3x320x320; repeatable."
    ),
    token_file: Path | None = typer.Option(None, help="The agent's token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="PEM file of the CA to trust for https:// boards, in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout."),
) -> None:
    """Fit a device's latency predictor on measurements: on N random networks, judged on all the others.

    Architectures are ONNX files (relative to the table), torchvision:NAME, timm:NAME, our JSON, NAS-Bench-201 strings, fbnet: and
    22 digits, or convnet_... names. Columns batch, precision and input_px are read where they are there; a column log, in place
    of latency_ms, names a file of trtexec (--exportTimes, or its log), MLPerf (mlperf_log_summary.txt) or AI Hub (perf.yaml).
    What was measured several times is averaged. With --board nothing needs to be measured before: untrained networks are made,
    measured there and kept beside --out; the same command goes on where it was stopped.

    Example: edgenas calibrate --target jetson-nano --measurements nano.csv --samples 50 --out my-nano.toml

    Example: edgenas calibrate --target jetson --board http://board:8765 --token-file token --samples 50 --out my-orin.toml

    Example: edgenas calibrate studies/pi --target raspberry-pi-5 --out my-pi.toml
    """
    from edgenas.hardware.profile import check_profile_file, write_profile
    from edgenas.remote.boards import refuse_without_board
    from edgenas.remote.calibration import calibration_by_board

    if sum((study is not None, bool(measurements), board is not None)) != 1:
        raise EdgenasError(
            "say what was measured: a STUDY, --measurements FILE, or --board URL to measure now; one of them"
        )
    check_profile_file(out)
    how: dict[str, Any] = {
        "target": target,
        "new": new,
        "runtime": runtime,
        "precision": precision,
        "samples": samples,
        "seed": seed,
    }
    if board is not None:
        result = calibration_by_board(board, out, **how, shapes=shape, token_file=token_file, ca=ca, say=say)
    else:
        refuse_without_board(token_file, ca)
        result = _of_measurements(study, measurements, shape, how)
    for warning in result.warnings:
        say(f"warning: {warning}")
    write_profile(result.profile, out)
    keys = ("n", "held_out", "spearman", "kendall", "mape", "within_5", "within_10", "worst_under")
    document = {key: getattr(result.card, key) for key in keys} | {"confidence": result.profile.confidence}
    if result.shortfall:
        say(f"warning: {out} is an estimate, not calibrated: {result.shortfall}")
    text = "\n".join(f"{key:12} {value if value is None or isinstance(value, int | str) else f'{value:.4f}'}"
                     for key, value in document.items())  # fmt: skip
    emit({**document, "warnings": result.warnings}, as_json=json, text=f"{text}\nwritten to {out}")
    if not json:
        say_next(f"edgenas search --target {shlex.quote(str(out))} --data FOLDER {BOUNDED}")


def _of_measurements(study: str | None, measurements: list[Path], shape: list[str], how: dict[str, Any]) -> Calibrated:
    from edgenas.architectures.onnx_file import shapes_from_text
    from edgenas.cli.zoo import zoo
    from edgenas.engine.folders import study_folder
    from edgenas.hardware.calibration import calibration
    from edgenas.hardware.study_rows import calibration_of_study
    from edgenas.store import Store

    if study is not None and shape:
        raise EdgenasError(
            "--shape belongs to ONNX files: the size of a study's networks is part of their architectures"
        )
    if study is not None:
        folder = study_folder(study, say)
        with Store.read(folder) as store:
            return calibration_of_study(store, **how)
    return calibration(measurements, **how, shapes=shapes_from_text(shape), zoo=zoo)
