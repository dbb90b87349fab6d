"""What leaves the house: files, and what was measured of them."""

from __future__ import annotations

from typing import Any, Literal

from edgenas.records.base import Precision, Record


class Artifact(Record, frozen=True):
    """One exported file; shapes name their dynamic dimensions."""

    path: str  # relative to its bundle
    format: Literal["onnx", "tensorrt"]
    precision: Precision
    sha256: str
    size_mb: float
    opset: int
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]


class Measurement(Record, frozen=True):
    """Raw samples of one model on one device; medians and percentiles are derived, never stored alone."""

    profile: str
    host: str
    runtime: str
    precision: str
    warmup: int
    samples_ms: tuple[float, ...]
    stable: bool = True
    status: str = "ok"  # ok | unstable | throttled | oom | unsupported_op | timeout | mismatch
    detail: dict[str, Any] = {}
