"""perf.yaml of Qualcomm AI Hub Models: one network's latencies by precision, device and runtime, in their two forms.

    precisions: {float: {components: {NAME: {performance_metrics: {DEVICE: {onnx: {inference_time_milliseconds: 0.43}}}}}}}
    models: [{name: NAME, performance_metrics: [{reference_device_info: {name: DEVICE}, torchscript_onnx: {inference_time: 9}}]}]

The older form's times are in microseconds. `float` runs in FP16 on the NPU; w8a16 and mixed precisions are none of ours, and
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgenas.errors import EdgenasError, pip_line
from edgenas.records import Precision, Record

RUNTIMES = {"torchscript_onnx": "onnx", "torchscript_onnx_tflite": "tflite", "torchscript_onnx_qnn": "qnn_dlc",
            "onnxruntime": "onnx", "qnn": "qnn_dlc"}  # fmt: skip
PRECISIONS: dict[str, Precision] = {"w8a8": "int8", "int8": "int8", "fp16": "fp16", "fp32": "fp32"}
MOST_LISTED = 12


class Found(Record, frozen=True):
    """One latency of the file."""

    component: str
    device: str
    runtime: str
    precision: Precision | None
    ms: float


def timed_from_perf_yaml(text: str, name: str, said: Mapping[str, str]) -> tuple[float, Precision | None]:
    """The one latency that the row's columns `device`, `runtime` (onnx, tflite, ...), `precision` and `component` single out.

    Raises EdgenasError, naming what is possible, where that is none or several, or of another precision than ours.
    """
    document = _document(text, name)
    found = [*_new_form(document), *_old_form(document)]
    if not found:
        raise EdgenasError(
            f"{name} is no perf.yaml of AI Hub Models: it has no performance_metrics with an inference time"
        )
    for column in ("device", "runtime", "precision", "component"):
        if column == "precision":
            found = _ours(found, name)
        wanted = said.get(column, "").strip()
        values = sorted({str(getattr(one, column)) for one in found})
        if not wanted and len(values) > 1:
            raise EdgenasError(
                f"{name} knows several values of {column}: give the row a column {column}, {_either(values)}"
            )
        wanted = RUNTIMES.get(wanted.lower(), wanted) if column == "runtime" else wanted
        kept = [one for one in found if not wanted or str(getattr(one, column)).lower() == wanted.lower()]
        if not kept:
            raise EdgenasError(f"{name} has no {column} {wanted[:60]!r}{_beside(found, column)}: {_either(values)}")
        found = kept
    if len(found) > 1:
        raise EdgenasError(f"{name} has {len(found)} latencies for that row: keep the one that is meant")
    return found[0].ms, found[0].precision


def _ours(found: list[Found], name: str) -> list[Found]:
    """Those whose precision is one of ours."""
    ours = [one for one in found if one.precision is not None]
    if not ours:
        raise EdgenasError(
            f"{name} has no latency{_beside(found, 'precision')} in a precision of ours: possible are float, "
            f"{', '.join(PRECISIONS)}"
        )
    return ours


def _either(values: list[str]) -> str:
    more = f" and {len(values) - MOST_LISTED} more" if len(values) > MOST_LISTED else ""
    return f"one of {', '.join(values[:MOST_LISTED])}{more}"


def _beside(found: list[Found], column: str) -> str:
    """What was chosen before this column."""
    chosen = {"device": "", "runtime": f" on {found[0].device}"}.get(column)
    return f" on {found[0].device} with {found[0].runtime}" if chosen is None else chosen


def _document(text: str, name: str) -> Any:
    try:
        import yaml
    except ImportError as missing:
        raise EdgenasError(f"{name}: reading YAML needs PyYAML: {pip_line('calibrate')}") from missing
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise EdgenasError(f"{name} is no YAML: {' '.join(str(error).split())[:160]}") from error


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), entry) for key, entry in value.items())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _new_form(document: Any) -> Iterator[Found]:
    for precision, of_precision in _items(_get(document, "precisions")):
        for component, of_component in _items(_get(of_precision, "components")):
            for device, of_device in _items(_get(of_component, "performance_metrics")):
                for runtime, metrics in _items(of_device):
                    ms = _get(metrics, "inference_time_milliseconds")
                    if _is_time(ms):
                        yield Found(component, device, runtime, _precision(precision, metrics), float(ms))


def _old_form(document: Any) -> Iterator[Found]:
    for model in _list(_get(document, "models")):
        for entry in _list(_get(model, "performance_metrics")):
            device = _get(_get(entry, "reference_device_info"), "name")
            for runtime, metrics in _items(entry):
                us = _get(metrics, "inference_time")
                if _is_time(us):
                    precision = _precision(str(_get(metrics, "precision")), metrics)
                    name = RUNTIMES.get(runtime, runtime)
                    yield Found(str(_get(model, "name")), str(device), name, precision, float(us) / 1e3)


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _precision(name: str, metrics: Any) -> Precision | None:
    if name == "float":
        return "fp16" if _get(metrics, "primary_compute_unit") == "NPU" else "fp32"
    return PRECISIONS.get(name)
