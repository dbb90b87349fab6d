"""What a search chooses under a latency limit with the profiles of before and of now, judged by what others measured.

Candidates are MnasNet-space networks of known ImageNet accuracy (Accel-NASBench, ../shared/data/nas/accel_nasbench.npz): the
search takes the most accurate one whose predicted latency keeps the limit. Today's profiles judge the latencies;
they are held against published measurements of other networks (docs/hardware.md); the board's own verdict would be better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.board_before import predicted_before
from benchmarks.board_rows import SHARED, Published
from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Classes, Latency, Precision, Stage, StagesArchitecture, Workload

CHANNELS, STRIDES = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1)
CANDIDATES, SEED = 1500, 0
TARGETS: tuple[tuple[str, Precision], ...] = (("raspberry-pi-5", "fp32"), ("jetson-orin-nano-8gb-super", "fp16"))
QUANTILES = (0.1, 0.3, 0.6)  # of the candidates' latencies: tight, middling and wide limits


@dataclass(frozen=True)
class Candidate:
    """One network: its stages (expansion, kernel side, layers, squeeze-and-excitation), accuracy in percent, and kernels."""

    stages: tuple[tuple[int, int, int, int], ...]
    top1: float
    workload: Workload

    def __str__(self) -> str:
        return " ".join(f"e{e}k{k}x{n}{'s' if se else ''}" for e, k, n, se in self.stages)


def candidates() -> list[Candidate]:
    """A seeded sample of the table."""
    with np.load(SHARED / "nas" / "accel_nasbench.npz") as data:
        archs, top1 = data["arch"].astype(int), data["val_top1"]
    chosen = np.random.default_rng(SEED).permutation(len(archs))[:CANDIDATES]
    found = []
    for place in chosen:
        e, k, n, se = (archs[place][start::4].tolist() for start in range(4))
        stages = tuple(zip(e, k, n, se, strict=True))
        found.append(Candidate(stages, float(top1[place]), workload_from_stages(stages)))
    return found


def workload_from_stages(stages: Sequence[tuple[int, int, int, int]]) -> Workload:
    """The network that the table measured: parameters are its `mparams`."""
    blocks = tuple(
        Stage("mbconv", channels, count, side, stride, expansion, squeeze=bool(gate))
        for (expansion, side, count, gate), channels, stride in zip(stages, CHANNELS, STRIDES, strict=True)
    )
    return workload_from_architecture(
        StagesArchitecture(blocks, Classes(1000), 3, 224, stem_width=32, stem_stride=2, head_width=1280)
    )


def searches(checkout: Path | None) -> None:
    """Prints one table for every target; `checkout`: of the version to compare with."""
    networks = candidates()
    for target, precision in TARGETS:
        now = latencies(profile_from_name(target), [Row("candidate", one.workload) for one in networks], precision)
        ms = np.array([latency.ms for latency in now])
        rows = [Published(target, "", precision, 1, "candidate", "224", 1.0, "", "", "") for _ in networks]
        before = None if checkout is None else predicted_before(checkout, rows, [one.workload for one in networks])
        print(f"\n{target}, {precision}: {len(networks)} candidates of {ms.min():.3g} to {ms.max():.3g} ms\n")
        print("| limit | profile | top-1 | latency by today's profile | MMACs | network |\n|---|---|---|---|---|---|")
        for quantile in QUANTILES:
            limit = float(np.quantile(ms, quantile))
            for name, said in (("before", before), ("now", ms)):
                if said is not None:
                    print(f"| {limit:.3g} ms | {name} | {winner(networks, said, now, limit)} |")


def winner(networks: Sequence[Candidate], said: np.ndarray, now: Sequence[Latency], limit: float) -> str:
    """The most accurate network within the limit, as a row's last four cells."""
    inside = np.flatnonzero(said <= limit)
    if not len(inside):
        return "none is said to keep it | | |"
    place = max(inside, key=lambda index: networks[index].top1)
    one, latency = networks[place], now[place]
    sure = f"{latency.ms:.3g} ms ({latency.low:.3g} to {latency.high:.3g})"
    return f"{one.top1:.2f} % | {sure} | {one.workload.macs / 1e6:.0f} | {one}"
