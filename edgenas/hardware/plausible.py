"""Can these be milliseconds? What a table of measurements says about a device, held against what devices do.

Decided by the multiply-accumulates per second of the fastest row (small networks say nothing: they wait for launches). The
bounds lie well outside of what is sold, so that no honest table is refused:

- slower than 0.2 GMAC/s with TensorRT or ONNX Runtime: a Raspberry Pi Zero does more; 1 MMAC/s with another runtime;
- faster than 20 TMAC/s in FP32 (200 in FP16, 400 in INT8) at batch 1: no board or card reaches that with one image;
- where the target's own figures are known: 30 times off the datasheet's latencies in the median (shipped profiles are off by
  up to 12), and never faster than 4 times its peak (Winograd's convolutions save at most 2.25 times).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import Row, latencies
from edgenas.records import HardwareProfile, Precision

SLOWEST_MACS = {"tensorrt": 2e8, "onnxruntime": 2e8}  # per second, of the fastest row
SLOWEST_OTHER = 1e6
FASTEST_MACS = {"fp32": 2e13, "tf32": 1e14, "fp16": 2e14, "int8": 4e14}
OFF_DATASHEET = 30.0
OVER_PEAK = 4.0
OUTLIER = 10.0


def doubts(profile: HardwareProfile, rows: Sequence[Row]) -> list[str]:
    """Sentences about latencies that are hardly milliseconds of this device, or say nothing. Empty = nothing to say.

    Raises EdgenasError where they would be faster than the device's own peak.
    """
    networks = [row for row in rows if row.connected]
    if not networks:
        return []
    macs = np.array([row.workload.macs * row.batch for row in networks], float)
    ms = np.array([row.ms for row in networks])
    best = float((macs / ms).max()) * 1e3
    said = ["every latency is the same: nothing can be learned from them"] if len(ms) > 1 and np.ptp(ms) == 0 else []
    peak, known = profile.peaks.get(profile.precision), profile.bandwidth_gb_s is not None
    if peak is None or not known:
        slowest = SLOWEST_MACS.get(profile.runtime, SLOWEST_OTHER)
        return said + _absolute(best, slowest, FASTEST_MACS[profile.precision], profile)
    if best > OVER_PEAK * peak * 1e12 / 2:
        raise EdgenasError(
            f"the fastest row does {best / 1e9:,.0f} GMAC/s, and {profile.name} can do {peak * 500:,.0f} in {profile.precision}: "
            "is latency_ms in seconds? It must be in milliseconds"
        )
    bare = msgspec.structs.replace(profile, calibration=None)
    expected = np.array([latency.ms for latency in latencies(bare, networks, profile.precision)])
    return said + _relative(float(np.median(ms / expected)), profile)


def _absolute(best: float, slowest: float, fastest: float, profile: HardwareProfile) -> list[str]:
    if best < slowest:
        return [
            f"the fastest row does {best / 1e6:,.3g} million MACs per second, less than any device with {profile.runtime}: "
            "is latency_ms in microseconds? It must be in milliseconds"
        ]
    if best > fastest:
        return [
            f"the fastest row does {best / 1e9:,.0f} GMAC/s in {profile.precision}, more than any device does with one image: "
            "is latency_ms in seconds? It must be in milliseconds"
        ]
    return []


def _relative(ratio: float, profile: HardwareProfile) -> list[str]:
    if 1 / OFF_DATASHEET <= ratio <= OFF_DATASHEET:
        return []
    unit, times, how = ("microseconds", ratio, "slower") if ratio > 1 else ("seconds", 1 / ratio, "faster")
    return [
        f"the rows are {times:,.0f} times {how} than the datasheet of {profile.name} says (median): is latency_ms in {unit}? "
        "It must be in milliseconds"
    ]


def outliers(profile: HardwareProfile, rows: Sequence[Row], precision: Precision | None = None) -> list[str]:
    """A sentence per row that the calibrated profile's own fit misses by far: a slip of the pen, most likely."""
    found = latencies(profile, list(rows), precision or profile.precision)
    return [
        f"{row.name[:80]} was measured at {row.ms:g} ms, and the fit says {latency.ms:.4g}: check its row"
        for row, latency in zip(rows, found, strict=True)
        if not 1 / OUTLIER <= row.ms / latency.ms <= OUTLIER
    ]
