"""Asking the board where it matters, simulated on tables: what share of candidates is measured, and is the winner the same?

    python -m benchmarks.sparing [--seeds 10]

NAS-Bench-201 (accuracy after 12 epochs on validation images; latencies of measured devices as "the board"). A search sees 200
random cells; the latency limit is a quantile of the table. Either every candidate is measured, or (hardware/learned.py) the first
ten, then those near the limit for their interval, and the board is learned anew from 20, 40, 80, ... of them. The winner is the
most accurate candidate that is judged to hold the limit. Other devices help only where they are none of the board's kind.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgenas.architectures.from_text import network_from_text
from edgenas.hardware.calibrate import known_devices, profile_to_calibrate
from edgenas.hardware.learned import learned_from, learned_profile, must_be_measured
from edgenas.hardware.predictor import Row, latencies
from edgenas.records import Limits

SHARED = Path(os.environ.get("EDGENAS_SHARED", "../shared"))
DEVICES = ("latbench_embedded-gpu-jetson-nano-fp32", "help_raspi4", "help_pixel3", "help_titan_rtx_256", "help_gold_6240",
           "oneproxy_edgegpu_jetson_tx2")  # fmt: skip
CANDIDATES = 200


def table() -> tuple[list[Row], np.ndarray, dict[str, np.ndarray]]:
    data = np.load(SHARED / "data/nas/nb201.npz")
    names, form = [str(name) for name in data["op_names"]], "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    texts = [form.format(*[names[op] for op in ops]) for ops in data["ops"]]
    accuracy = next(data[key] for key in data.files if key.startswith("acc12_val"))
    devices = [str(name) for name in data["latency_devices"]]
    columns = {
        name: data["latency_ms"][:, place] for place, name in enumerate(devices) if any(d in name for d in DEVICES)
    }
    return [Row(text, network_from_text(text)) for text in texts], accuracy, columns


def winner_of(order: Sequence[int], latency: dict[int, float], accuracy: np.ndarray, limit: float) -> int:
    holding = [place for place in order if latency[place] <= limit]
    return max(holding, key=lambda place: accuracy[place], default=-1)


def simulated(
    rows: list[Row], accuracy: np.ndarray, ms: np.ndarray, device: str, at: float, seed: int
) -> dict[str, object]:
    rng = np.random.default_rng((seed, int(1000 * at)))
    possible = np.flatnonzero((ms > 0) & np.array([row.connected for row in rows]))
    limit = float(np.quantile(ms[possible], at))
    order = [int(place) for place in rng.choice(possible, CANDIDATES, replace=False)]
    blank = profile_to_calibrate(
        None, "board", "tensorrt" if "jetson" in device or "titan" in device else "tflite", "fp32"
    )
    others = known_devices()
    unseen = {space: {d: m for d, m in models.items() if not any(part in d for part in device.split("_")[1:])}
              for space, models in others.cells.items()}  # fmt: skip
    others, limits = msgspec.structs.replace(others, cells=unseen), Limits(latency_ms=limit)
    taken: list[Row] = []
    told: dict[int, float] = {}
    inside: list[bool] = []
    learned, rests_on = blank, 0
    for place in order:
        if learned_from(len(taken)) > rests_on:
            rests_on = learned_from(len(taken))
            learned = learned_profile(blank, taken[:rests_on], "fp32", 0, others)
        predicted = latencies(learned, [rows[place]], "fp32")[0] if rests_on else None
        if predicted is not None and predicted.low is not None and predicted.high is not None:
            inside.append(predicted.low <= ms[place] <= predicted.high)
        if predicted is None or must_be_measured(predicted, limits):
            taken.append(msgspec.structs.replace(rows[place], ms=float(ms[place])))
            told[place] = float(ms[place])
        else:
            told[place] = predicted.ms
    true = {place: float(ms[place]) for place in order}
    everything, winner = winner_of(order, true, accuracy, limit), winner_of(order, told, accuracy, limit)
    return {
        "device": device, "quantile": at, "seed": seed, "measured": len(taken), "of": CANDIDATES, "same": winner == everything,
        "holds": winner < 0 or bool(ms[winner] <= limit), "covered": float(np.mean(inside)),
        "lost_points": 0.0 if winner == everything else float(accuracy[everything] - accuracy[winner]),
    }  # fmt: skip


def words(runs: Sequence[dict[str, Any]]) -> str:
    share = np.mean([run["measured"] / run["of"] for run in runs])
    same, covered, holds = (np.mean([run[key] for run in runs]) for key in ("same", "covered", "holds"))
    lost = [run["lost_points"] for run in runs if not run["same"]]
    apart = f", others {np.mean(lost):.2f} points apart" if lost else ""
    return (
        f"{share:5.1%} measured, same winner {same:4.0%}{apart}, limit held {holds:4.0%}, intervals cover {covered:.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows, accuracy, columns = table()
    found: list[dict[str, Any]] = []
    for device, ms in columns.items():
        for at in (0.2, 0.5, 0.8):
            runs = [simulated(rows, accuracy, ms, device, at, seed) for seed in range(arguments.seeds)]
            found += runs
            print(f"{device:45} limit at {at:.0%}: {words(runs)}", flush=True)
    print(f"all {len(found)} searches of {CANDIDATES} candidates: {words(found)}")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
