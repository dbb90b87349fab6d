"""What tools that measure write: one latency out of a file of trtexec, LoadGen (MLPerf), `edgenas bench --out` or AI Hub.

    trtexec --exportTimes=FILE     a JSON array with `computeMs` of every run
    trtexec > FILE                 its log, with the options, the shapes and the performance summary
    mlperf_log_summary.txt         LoadGen's summary for people; mlperf_log_detail.txt: the same as lines of JSON
    perf.yaml                      Qualcomm AI Hub Models: one network on many devices, runtimes and precisions

Of trtexec it is the median of GPU compute time (what our own engines are timed as), of MLPerf the median latency of a query.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from edgenas.errors import EdgenasError
from edgenas.files import read_bytes
from edgenas.hardware.csv_table import LEAST_MS, MOST_MS
from edgenas.hardware.measure import SPREAD_TO_DEVIATION, spread
from edgenas.hardware.perf_yaml import timed_from_perf_yaml
from edgenas.records import Precision, Record

LARGEST = 64 * 10**6  # bytes
MLLOG = ":::MLLOG "
FOREIGN = {"FP8", "FP4", "INT4"}  # of trtexec


class Timed(Record, frozen=True):
    """One latency, and what the file says of the run: `ms` of `batch` images. None = it does not say.

    `network`: the ONNX file as the log names it; `shapes`: of the engine's inputs. `noise`: the relative standard deviation of a
    measurement that calls itself unstable.
    """

    file: str
    ms: float
    batch: int | None = None
    precision: Precision | None = None
    network: str | None = None
    shapes: dict[str, tuple[int, ...]] = {}
    noise: float | None = None


def timed_from_log(path: Path, said: Mapping[str, str] | None = None) -> Timed:
    """The latency in a file of one of the kinds above, recognised by what is in it.

    `said`: what a table's row says beside (a perf.yaml needs its `device` and more). Raises EdgenasError, in one line, for
    everything else, and for runs that say no latency of a network.
    """
    text = read_bytes(path, LARGEST).decode("utf-8", errors="replace").lstrip("\ufeff")
    try:
        timed = _timed(path, text, said or {})
    except (ValueError, OverflowError) as error:  # of a number that is none
        raise EdgenasError(f"{path} is damaged: {str(error)[:120]!a}") from error
    if not (math.isfinite(timed.ms) and LEAST_MS <= timed.ms <= MOST_MS):
        raise EdgenasError(f"{path} says {timed.ms:g} ms, from {LEAST_MS:g} to {MOST_MS:g} are possible")
    return timed


def _timed(path: Path, text: str, said: Mapping[str, str]) -> Timed:
    name, start = path.name, text.lstrip()[:1]
    if path.suffix.lower() in (".yaml", ".yml"):
        ms, precision = timed_from_perf_yaml(text, name, said)
        return Timed(name, ms, 1, precision)
    if start in ("[", "{"):
        return _from_json(text, name)
    if MLLOG in text:
        return _from_mlperf(_details(text, name), name)
    if "MLPerf Results Summary" in text:
        return _from_mlperf(_summary(text), name)
    if "TensorRT.trtexec" in text or "=== Performance summary ===" in text:
        return _from_trtexec(text, name)
    raise EdgenasError(
        f"{path} is no file of times: possible are trtexec's --exportTimes and its log, mlperf_log_summary.txt, "
        "mlperf_log_detail.txt, perf.yaml and what `edgenas bench --out` writes"
    )


def is_log(path: Path) -> bool:
    """Is this a file for `timed_from_log`, rather than a table?"""
    if path.suffix.lower() in (".yaml", ".yml", ".json", ".log"):
        return True
    text = read_bytes(path, LARGEST).decode("utf-8", errors="replace")
    return MLLOG in text or "MLPerf Results Summary" in text or "TensorRT.trtexec" in text


# ---------------------------------------------------------------- JSON: trtexec's times, our own measurements


def _from_json(text: str, name: str) -> Timed:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EdgenasError(f"{name} is no whole JSON file: {str(error)[:120]}: was the run cut off?") from error
    if isinstance(document, dict) and isinstance(document.get("samples_ms"), list):
        return _from_measurement(document, name)
    if not isinstance(document, list) or not document or not all(isinstance(run, dict) for run in document):
        raise EdgenasError(f"{name} holds no times of runs: write it with trtexec --exportTimes={name}")
    if "count" in document[0] or "averageMs" in document[-1]:
        raise EdgenasError(f"{name} holds times of layers (--exportProfile): write those of runs, --exportTimes={name}")
    times = [_compute_ms(run, name) for run in document]
    return Timed(name, median(times))


def _compute_ms(run: dict[str, Any], name: str) -> float:
    value = run.get("computeMs")
    if value is None and {"startComputeMs", "endComputeMs"} <= run.keys():
        value = _number(run["endComputeMs"], name) - _number(run["startComputeMs"], name)
    if value is None:
        raise EdgenasError(f"{name} has a run without computeMs: write it with trtexec --exportTimes={name}")
    return _number(value, name)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise EdgenasError(f"{name} says {str(value)[:40]!r} where a number must be")
    return float(value)


def _from_measurement(document: dict[str, Any], name: str) -> Timed:
    """What `edgenas bench --out` keeps; unstable ones are as sure as their samples agree."""
    samples = [_number(value, name) for value in document["samples_ms"]]
    if not samples:
        raise EdgenasError(f"{name} holds a measurement without samples")
    if document.get("status") == "throttled":
        raise EdgenasError(
            f"{name} was measured while the device slowed itself down (throttled): cool it, and measure again"
        )
    precision = document.get("precision")
    batch = (document.get("detail") or {}).get("batch_size") if isinstance(document.get("detail"), dict) else None
    return Timed(
        name,
        median(samples),
        batch if isinstance(batch, int) and not isinstance(batch, bool) and batch > 0 else None,
        precision if precision in ("fp32", "fp16", "int8") else None,
        noise=spread(samples) / SPREAD_TO_DEVIATION
        if document.get("stable") is False and median(samples) > 0
        else None,
    )


# ---------------------------------------------------------------- trtexec's log


def _from_trtexec(text: str, name: str) -> Timed:
    command = _found(r"&&&& RUNNING TensorRT\.trtexec[^#\n]*#\s*(.*)", text) or ""
    if text.count("&&&& RUNNING TensorRT.trtexec") > 1:
        raise EdgenasError(f"{name} holds several runs of trtexec: put each into a file of its own")
    if "&&&& FAILED TensorRT.trtexec" in text:
        raise EdgenasError(f"{name} is of a run of trtexec that failed: look into its lines with [E]")
    streams = _found(r"\] (?:Inference )?Streams: (\d+)", text) or "1"
    if int(streams) > 1:
        raise EdgenasError(
            f"{name} is of {streams} streams at once, where none shows its own latency: measure one stream"
        )
    if (core := _found(r"\] DLACore:[ \t]*(\d+)", text)) is not None:
        raise EdgenasError(f"{name} is of DLA core {core}: profiles describe GPUs, so measure without --useDLACore")
    ms = _found(r"(?<!Total )GPU Compute(?: Time)?:[^\n]*?median = ([0-9.e+-]+) ms", text)
    ms = ms or _found(
        r"\] GPU Compute\s*\n(?:[^\n]*\] (?:min|max|mean): [^\n]*\n)*?[^\n]*\] median: ([0-9.e+-]+) ms", text
    )
    if ms is None:
        raise EdgenasError(f"{name} has no line with the median of GPU Compute Time: was inference skipped or cut off?")
    shapes = {key: tuple(map(int, dims.split("x"))) for key, dims in re.findall(
        r"\] (?:Created i|I)nput binding for (\S+) with dimensions ([0-9x]+)", text)}  # fmt: skip
    implicit = _found(r"\] Batch: (\d+)", text)
    batch = int(implicit) if implicit else next((shape[0] for shape in shapes.values() if len(shape) > 1), None)
    model = _found(r"\] Model:[ \t]*(\S[^\n]*?)[ \t]*\n", text) or _found(r"--onnx=(\S+)", command)
    return Timed(name, float(ms), batch, _trtexec_precision(text, command, name), model, {} if implicit else shapes)


def _trtexec_precision(text: str, command: str, name: str) -> Precision | None:
    """What the options allowed; None where the engine or the file's own types decide, as always from TensorRT 11 on. EdgenasError
    for a precision that profiles do not have."""
    version = _found(r"\[TensorRT v(\d+)", text) or ""
    eleven = len(version) == 6 and int(version[:2]) >= 11
    loaded = _found(r"\] Load engine:[ \t]*(\S+)", text) is not None and "--onnx" not in command
    if eleven or loaded or "--stronglyTyped" in command:
        return None
    allowed = _found(r"\] Precision: (\S+)", text)
    words = set((allowed or "").split("+"))
    if foreign := words & FOREIGN:
        raise EdgenasError(f"{name} ran in {' and '.join(sorted(foreign))}: profiles know fp32, tf32, fp16 and int8")
    if "FP32" not in words:
        return None
    if "INT8" in words:
        return "int8"
    if words & {"FP16", "BF16"}:
        return "fp16"
    return "tf32" if _rounds_to_tf32(text) else "fp32"


def _rounds_to_tf32(text: str) -> bool:
    """TensorRT's default for FP32 on tensor cores that have it, from compute capability 8.0 on."""
    capability = _found(r"\] Compute Capability: (\d+)\.", text)
    return "TF32 is enabled by default" in text and capability is not None and int(capability) >= 8


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None


# ---------------------------------------------------------------- MLPerf's LoadGen


def _details(text: str, name: str) -> dict[str, str]:
    """mlperf_log_detail.txt: its keys, in the words of the summary."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith(MLLOG):
            continue
        try:
            entry = json.loads(line[len(MLLOG) :])
        except (ValueError, RecursionError) as error:
            raise EdgenasError(f"{name} has a damaged line: {line[:80]!a}") from error
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            found[entry["key"]] = str(entry.get("value"))
    words = {
        "scenario": "effective_scenario", "mode": "effective_test_mode", "result": "result_validity",
        "samples_per_query": "effective_samples_per_query", "median": "result_50.00_percentile_latency_ns",
        "mean": "result_mean_latency_ns", "query_median": "result_50.00_percentile_per_query_latency_ns",
    }  # fmt: skip
    return {word: found[key] for word, key in words.items() if key in found}


def _summary(text: str) -> dict[str, str]:
    """mlperf_log_summary.txt: its first lines by name; of latencies those of samples and those of queries apart."""
    results, _, query = text.partition("Per-query latency")
    query, _, samples = query.partition("Per-sample latency")
    plain = results + samples
    patterns = {
        "scenario": (r"Scenario\s*:\s*([^\n]+)", results), "mode": (r"Mode\s*:\s*([^\n]+)", results),
        "result": (r"Result is\s*:\s*(\S+)", results), "samples_per_query": (r"samples_per_query\s*:\s*(\d+)", text),
        "median": (r"\n50\.00 percentile latency \(ns\)\s*:\s*([0-9.e+]+)", plain),
        "mean": (r"\nMean latency \(ns\)\s*:\s*([0-9.e+]+)", plain),
        "query_median": (r"\n50\.00 percentile latency \(ns\)\s*:\s*([0-9.e+]+)", query),
    }  # fmt: skip
    found = {word: _found(pattern, where) for word, (pattern, where) in patterns.items()}
    return {word: value.strip() for word, value in found.items() if value is not None}


def _from_mlperf(found: dict[str, str], name: str) -> Timed:
    scenario, mode = found.get("scenario", "").replace(" ", ""), found.get("mode", "")
    if not mode.startswith("Performance"):
        raise EdgenasError(f"{name} is of mode {mode or 'unknown'!r}: take the log of the performance run")
    if found.get("result") != "VALID":
        raise EdgenasError(f"{name} is of a run whose result is {found.get('result', 'missing')}: run it to its end")
    if scenario not in ("SingleStream", "MultiStream"):
        raise EdgenasError(
            f"{name} is of scenario {scenario or 'unknown'!r}, which has no latency of one run: take SingleStream or MultiStream"
        )
    single = scenario == "SingleStream"
    ns = (found.get("median") or found.get("mean")) if single else found.get("query_median")
    many = "1" if single else found.get("samples_per_query")
    if ns is None or many is None or not many.isdigit() or int(many) < 1:
        raise EdgenasError(f"{name} has no median latency: take the whole file that LoadGen wrote")
    try:
        return Timed(name, float(ns) / 1e6, int(many))
    except ValueError as error:
        raise EdgenasError(f"{name} says {ns[:40]!r} where nanoseconds must be") from error
