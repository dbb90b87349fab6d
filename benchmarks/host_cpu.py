"""Measured twice, predicted once: 30 random chain networks on this machine, as `edgenas bench` measures them.

    python benchmarks/host_cpu.py [--networks 30] [--seed 0] [--quick]
    python benchmarks/host_cpu.py --judge       calibrates again, without measuring

Two sessions, one after the other; each network in a process of its own beside the reference network (at least 200 runs
and 3 s). Prints how well the sessions agree, then calibrates the predictor on 20 of the networks with `edgenas calibrate`
and judges it on the other 10, for ten draws of the 20. Everything goes to benchmarks/results/host_cpu.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy.stats import spearmanr

from edgenas.architectures.chain import chain
from edgenas.hardware.candidates import model_from_architecture
from edgenas.hardware.measure import BENCH, SEARCH, Timing, measure, percentiles, reference_ratio, spread
from edgenas.hardware.profile import profile_from_name
from edgenas.hardware.worker import Load
from edgenas.records import ChainArchitecture, Classes

DRAWS = 10
RESULTS = Path(__file__).parent / "results" / "host_cpu.json"


def random_chain(rng: random.Random) -> ChainArchitecture:
    depth = rng.randint(4, 10)  # the bounds of the preset tiny
    ops = tuple(rng.randint(0, 1) for _ in range(depth))
    kernels = tuple(rng.choice((3, 5)) for _ in range(depth))
    return chain(rng.randrange(4, 26, 2), depth, ops, kernels, Classes(10), 3, 32)


def session(networks: list[ChainArchitecture], timing: Timing, order: list[int]) -> list[dict[str, Any]]:
    host = profile_from_name("host-cpu")
    rows: list[dict[str, Any]] = [{} for _ in networks]
    for index in order:
        (m,) = measure([model_from_architecture(networks[index], host)], Load(""), timing, host.name)
        rows[index] = {
            **percentiles(m),
            "ratio": reference_ratio(m),
            "reference_ms": float(np.median(m.detail["reference_ms"])),
            "runs": m.detail["runs"],
            "spread": spread(m.samples_ms),
            "status": m.status,
            "host": m.host,
            "runtime": m.runtime,
        }
    return rows


def agreement(name: str, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    change = np.abs(np.log(first / second))
    figures = {
        "spearman": float(spearmanr(first, second).statistic),
        "median_change": float(np.median(change)),
        "p90_change": float(np.percentile(change, 90)),
    }
    print(
        f"{name:34} Spearman {figures['spearman']:.4f}, |ln change| median {figures['median_change']:.2%}, "
        f"p90 {figures['p90_change']:.2%}"
    )
    return figures


def calibrated(networks: list[ChainArchitecture], latencies: np.ndarray, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "measured.csv", Path(folder) / "host-cpu-here.toml"
        with table.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["architecture", "latency_ms"])
            for network, ms in zip(networks, latencies, strict=True):
                writer.writerow([network.canonical_json().decode(), f"{ms:.6f}"])
        command = ["calibrate", "--new", "host-cpu-here", "--runtime", "onnxruntime", "--precision", "fp32"]
        command += ["--measurements", str(table), "--samples", "20", "--seed", str(seed), "--out", str(out), "--json"]
        done = subprocess.run([sys.executable, "-m", "edgenas", *command], stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def judged(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Ten report cards: ratios to the reference network of the first session, in ms of its median there."""
    networks = msgspec.convert(document["networks"], type=list[ChainArchitecture])
    rows = document["sessions"][0]
    latencies = np.array([row["ratio"] for row in rows]) * float(np.median([row["reference_ms"] for row in rows]))
    cards = [calibrated(networks, latencies, seed) for seed in range(DRAWS)]
    for name in ("spearman", "mape", "within_10", "worst_under"):
        values = [card[name] for card in cards]
        print(
            f"predictor from 20 networks, {name} on the others: mean {np.mean(values):.3f}, {DRAWS} draws "
            f"{min(values):.3f} .. {max(values):.3f}"
        )
    return cards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", action="store_true", help="do not measure again")
    parser.add_argument("--quick", action="store_true", help="measure as a search does: 80 runs and .4 s")
    arguments = parser.parse_args()
    if arguments.judge:
        document = json.loads(RESULTS.read_text())
        document["report_cards"] = judged(document)
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        return
    rng, timing = random.Random(arguments.seed), SEARCH if arguments.quick else BENCH
    networks = [random_chain(rng) for _ in range(arguments.networks)]
    order = list(range(len(networks)))
    sessions = [session(networks, timing, order)]
    rng.shuffle(order)
    sessions.append(session(networks, timing, order))
    first = sessions[0]
    medians = [np.array([row["median"] for row in rows]) for rows in sessions]
    ratios = [np.array([row["ratio"] for row in rows]) for rows in sessions]
    stable = [sum(row["status"] == "ok" for row in rows) for rows in sessions]
    print(f"{first[0]['host']}, {first[0]['runtime']}, 1 thread, n = {len(networks)} networks, {timing}")
    print(
        f"medians {medians[0].min():.3f} to {medians[0].max():.3f} ms; stable by our own verdict: {stable[0]}, {stable[1]}"
    )
    spreads = [row["spread"] for rows in sessions for row in rows]
    print(f"spread within a measurement (IQR / median): median {np.median(spreads):.1%}, worst {max(spreads):.1%}")
    figures = {
        "plain medians": agreement("plain medians, test-retest", *medians),
        "reference ratios": agreement("ratios to the reference, test-retest", *ratios),
    }
    for network, one, two in zip(networks, *sessions, strict=True):
        words = f"depth {network.depth}, width {network.width}, {sum(network.ops)} dense"
        print(
            f"  {words:30} {one['median']:8.4f} {two['median']:8.4f} ms   ratio {one['ratio']:8.4f} {two['ratio']:8.4f}"
        )
    document = {
        "host": first[0]["host"],
        "runtime": first[0]["runtime"],
        "timing": msgspec.to_builtins(timing),
        "networks": [msgspec.to_builtins(network) for network in networks],
        "sessions": sessions,
        "agreement": figures,
    }
    document["report_cards"] = judged(document)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
