"""Devices, and what a network costs on them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from edgenas.ranges import (
    BatchSize,
    Correlation,
    Count,
    Error,
    Factor,
    GigabytesPerSecond,
    Megabytes,
    Microseconds,
    Share,
    Tera,
    Threads,
    Watts,
)
from edgenas.records.base import Confidence, Origin, Precision, Record


class HeldOut(Record, frozen=True):
    """How predictions of one kind of network compare with measurements of networks that the fit never saw.

    `factor`: nine of ten measurements lie within prediction / factor .. prediction * factor. `error`: geometric mean of the
    larger of measurement / prediction and its inverse, less 1. Every network counts once, however many rows it has.
    """

    networks: Count
    rows: Count
    factor: Factor
    error: Error
    within_125: Share
    within_150: Share
    kendall: Correlation | None = None


class Evidence(Record, frozen=True):
    """One source of the measurements that a calibration rests on: repository:path@commit, and what was measured there."""

    source: str
    precision: Precision
    networks: Count
    rows: Count
    what: str = ""


class Calibration(Record, frozen=True):
    """Fitted predictor of one profile and its report card on rows that it never saw.

    `judged`: by precision and kind of network, such as "fp16 whole"; `evidence`: where measurements of others were published.
    """

    model: str  # the spaces with a predictor of their own among the parameters, or "kernels"
    parameters: dict[str, Any]
    n: Count
    held_out: Count
    spearman: Correlation | None  # None where too few rows were held out
    kendall: Correlation | None
    mape: Error | None
    within_5: Share | None
    within_10: Share | None
    worst_under: Error | None  # largest (measured - predicted) / measured
    source: str
    date: str
    judged: dict[str, HeldOut] = {}
    evidence: tuple[Evidence, ...] = ()

    @property
    def in_words(self) -> str:
        """The report card in one sentence."""
        if self.mape is None or self.within_5 is None or self.within_10 is None or self.worst_under is None:
            return f"No network was held out to judge it ({self.source}, {self.date})"
        ranks = "" if self.spearman is None else f"Spearman {self.spearman:.3f}, "
        return (
            f"On {self.held_out} networks that the fit never saw: {ranks}mean error {100 * self.mape:.1f} %, "
            f"{100 * self.within_5:.0f} % within 5 %, {100 * self.within_10:.0f} % within 10 %, "
            f"worst underestimate {100 * self.worst_under:.1f} % ({self.source}, {self.date})"
        )


class PowerMode(Record, frozen=True):
    """A power mode by its own name, such as "15W" or "MAXN_SUPER"."""

    name: str
    watts: Watts | None = None
    clocks: str = ""


class HardwareProfile(Record, frozen=True):
    """One device + runtime + precision family (profiles/*.toml). Peaks are dense: TFLOP/s, for int8 TOPS."""

    name: str
    device: str
    runtime: str
    runtime_version: str
    precision: Precision  # the default one
    confidence: Confidence
    aliases: tuple[str, ...] = ()
    vendor: str = ""
    soc: str = ""
    compute_capability: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,2}\.[0-9])?$")] = ""
    precisions: tuple[Precision, ...] = ("fp32",)
    batch_size: BatchSize = 1
    threads: Threads = 1
    power_mode: str = ""
    power_modes: tuple[PowerMode, ...] = ()
    peaks: dict[str, Tera] = {}
    bandwidth_gb_s: GigabytesPerSecond | None = None
    memory_mb: Megabytes | None = None
    usable_memory_mb: Megabytes | None = None
    launch_overhead_us: Microseconds | None = None
    carried_from: str = ""  # the calibrated shipped profile whose efficiencies the datasheet latencies use
    error_band: Factor | None = None  # of uncalibrated latencies: a factor of 1 + error_band, times the relative's
    onnx_opset: Annotated[int, msgspec.Meta(ge=7, le=99)] = 18
    onnx_ir: Annotated[int, msgspec.Meta(ge=3, le=99)] = 10
    container_base: str = ""
    calibration: Calibration | None = None
    sources: dict[str, str] = {}
    notes: str = ""
    instruction_set: Literal["", "x86-64", "aarch64"] = (
        ""  # of a CPU: runtimes have other kernels for each; "" = not said
    )


class Latency(Record, frozen=True):
    """One inference at the profile's batch size, with its origin.

    `low`, `high`: where nine of ten measurements of such networks lie (ms); None for what was measured, for a datasheet without
    an error band, and where a calibration of an earlier version does not say how each kind of network did.
    """

    ms: float
    origin: Origin
    profile: str
    p90_ms: float | None = None
    n: int | None = None
    spread: float | None = None  # IQR / median of the samples
    extrapolated: bool = False
    energy_mj: float | None = None
    detail: str = ""  # runtime + version, precision, power mode, what was measured
    low: float | None = None
    high: float | None = None
    precision: Precision | None = None  # None: not said (written by earlier versions)
    stable: bool = True  # of what was measured: False where the machine was too busy, or slowed itself down


class Cost(Record, frozen=True):
    """What is known of an architecture before it is trained."""

    params: int
    macs: int
    bytes_moved: int
    size_mb: float
    memory_mb: float
    latencies: dict[str, Latency] = {}
