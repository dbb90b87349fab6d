"""How well latency is predicted on networks that were not measured: every table of docs/results/hardware.md, in one command.

    python -m benchmarks.predictor [--seeds 10]

Random calibration rows, all other rows of the device as the test. Writes benchmarks/results/predictor.{json,md}.
"""

import argparse
import json
import platform
import re
import time
from pathlib import Path

import numpy as np
import scipy
from scipy.stats import rankdata

from benchmarks.latency_tables import BIMODAL, fbnet, jetson_nano, nasbench201
from edgenas.hardware import block_model, cell_model
from edgenas.hardware.calibrate import GPU_BASE_MS, known_devices
from edgenas.hardware.kernel_model import fit_kernels, loads_of
from edgenas.hardware.kernels import COMPUTE, datasheet_prices, tiles_of
from edgenas.hardware.least_squares import Array, fit_prices
from edgenas.hardware.predictor import space_of
from edgenas.hardware.profile import profile_from_name

RESULTS = Path(__file__).parent / "results"
SAME_HARDWARE = {"titanxp": "titanx", "latbench_desktop-cpu": "desktop", "latbench_desktop-gpu": "desktop"}


def spearman(predicted: Array, measured: Array) -> float:
    if np.ptp(predicted) == 0:  # three rows may tell nothing apart
        return 0.0
    return float(np.corrcoef(rankdata(predicted), rankdata(measured))[0, 1])


def split(rows: Array, count: int, seed: int) -> tuple[Array, Array]:
    order = np.random.default_rng(seed).permutation(rows)
    return order[:count], order[count:]


def hardware(column: str) -> str:
    """Columns of one machine at several batch sizes are one piece of hardware: never a source for each other."""
    name = re.sub(r"^help_|_\d+$", "", column)
    for prefix, same in SAME_HARDWARE.items():
        if name.startswith(prefix):
            return same
    return name


# ---------------------------------------------------------------- NAS-Bench-201 and FBNet


class Cells:
    """NAS-Bench-201: every cell counted once by every reading."""

    def __init__(self) -> None:
        self.table = nasbench201()
        self.cells = [row.cell for row in self.table.networks]
        self.counted = {name: cell_model.quantities(self.cells, name) for name in cell_model.READINGS}
        counts = self.counted["everything"]
        self.flops = 9 * counts[:, 3] + counts[:, 2]  # of 3x3 and 1x1 convolutions; the rest is the same for all
        self.known = known_devices().cells[space_of(self.table.networks[0].network)]

    def fit(self, rows: Array, ms: Array, others: list) -> cell_model.CellModel:
        chosen = [self.cells[row] for row in rows]
        own = cell_model.fit_cells(chosen, ms)
        return own.helped_by(others, chosen, ms) if others else own

    def predict(self, model: cell_model.CellModel, rows: Array) -> Array:
        return sum(r.weight * (self.counted[name][rows] @ np.array(r.prices)) for name, r in model.readings.items())


class Blocks:
    """FBNet at 32 px."""

    def __init__(self) -> None:
        self.table = fbnet()
        self.workloads = [row.workload for row in self.table.networks]
        self.counted = block_model.quantities(self.workloads)
        self.flops = np.array([float(workload.macs) for workload in self.workloads])
        self.known = known_devices().blocks[space_of(self.table.networks[0].network)]

    def fit(self, rows: Array, ms: Array, others: list) -> block_model.BlockModel:
        chosen = [self.workloads[row] for row in rows]
        own = block_model.fit_blocks(chosen, ms)
        return own.helped_by(others, chosen, ms) if others else own

    def predict(self, model: block_model.BlockModel, rows: Array) -> Array:
        return self.counted[rows] @ np.array(model.prices)


def ranks(space: Cells | Blocks, count: int, seeds: int, *, transfer: bool = False) -> dict[str, dict[str, float]]:
    """Mean and worst Spearman of every device from `count` rows; `transfer`: helped by devices of other hardware."""
    result = {}
    for device, latencies in space.table.columns.items():
        others = (
            [model for name, model in space.known.items() if hardware(name) != hardware(device)] if transfer else []
        )
        each, errors, flops = [], [], []
        for seed in range(seeds):
            chosen, held_out = split(np.flatnonzero(latencies > 0), count, seed)
            predicted = space.predict(space.fit(chosen, latencies[chosen], others), held_out)
            each.append(spearman(predicted, latencies[held_out]))
            errors.append(float(np.median(np.abs(predicted / latencies[held_out] - 1))))
            flops.append(spearman(space.flops[held_out], latencies[held_out]))
        result[device] = {"spearman": float(np.mean(each)), "worst": min(each), "median_error": float(np.mean(errors)),
                          "flops_spearman": float(np.mean(flops))}  # fmt: skip
    return result


def mean(devices: dict[str, dict[str, float]], key: str = "spearman") -> float:
    return float(np.mean([values[key] for name, values in devices.items() if name != BIMODAL]))


# ---------------------------------------------------------------- Jetson Nano


def nano(seeds: int) -> dict:
    table, macs = jetson_nano()
    workloads, ms = [row.workload for row in table.networks], table.columns["jetson-nano"]
    counted = np.array([w.macs + sum(k.output_elements for k in w.kernels if k.bias) for w in workloads])
    profile = profile_from_name("jetson-nano")
    loads = loads_of(workloads, tiles_of(profile.runtime, "fp32", profile.compute_capability, fitted=True), "fp32")
    prior = {**datasheet_prices(profile, "fp32"), "base": GPU_BASE_MS}
    flops = np.column_stack([np.ones(len(ms)), [w.macs for w in workloads]])
    additive = additive_table(workloads)
    result: dict = {"macs_largest_relative_error": float(np.max(np.abs(counted / macs - 1))), "networks": len(ms)}
    for count in (20, 100, 300):
        cards: dict[str, list] = {"edgenas": [], "flops": [], "additive": []}
        for seed in range(seeds):
            chosen, held_out = split(np.arange(len(ms)), count, seed)
            model = fit_kernels([loads[i] for i in chosen], ms[chosen], prior, known_device=True, seed=seed)
            cards["edgenas"].append(card(model.predict([loads[i] for i in held_out]), ms[held_out]))
            for name, columns in (("flops", flops), ("additive", additive)):
                prices = fit_prices(columns[chosen], ms[chosen], 1e-6)
                cards[name].append(card(np.maximum(columns[held_out] @ prices, 1e-3), ms[held_out]))
        result[str(count)] = {
            name: {key: float((max if key == "worst_under" else np.mean)([c[key] for c in each])) for key in each[0]}
            for name, each in cards.items()
        }
    return result


def additive_table(workloads: list) -> Array:
    """The usual additive model: a constant, and for every kind and kernel side its launches and its MACs, unrounded."""
    kinds = sorted({(kernel.kind, kernel.kernel) for workload in workloads for kernel in workload.kernels})
    column = {kind: index for index, kind in enumerate(kinds)}
    rows = np.zeros((len(workloads), 1 + 2 * len(kinds)))
    rows[:, 0] = 1
    for row, workload in zip(rows, workloads, strict=True):
        for kernel in workload.kernels:
            place = 1 + 2 * column[kernel.kind, kernel.kernel]
            row[place] += 1
            row[place + 1] += kernel.macs
    return rows


def card(predicted: Array, measured: Array) -> dict[str, float]:
    error = predicted / measured - 1
    return {
        "within_5": float(np.mean(np.abs(error) <= 0.05)), "within_10": float(np.mean(np.abs(error) <= 0.1)),
        "spearman": spearman(predicted, measured), "mape": float(np.mean(np.abs(error))),
        "worst_under": float(max(0.0, -error.min())),
    }  # fmt: skip


# ---------------------------------------------------------------- the report


def markdown(result: dict) -> str:
    lines = ["### Spearman on all networks that were not calibrated on", "", "| device | rows | mean | worst seed | median error | FLOPs alone |", "|---|---|---|---|---|---|"]  # noqa: E501  # fmt: skip
    for title, space, counts in (("NAS-Bench-201", "nasbench201", (20,)), ("FBNet", "fbnet", (10, 20))):
        for count in counts:
            devices = result[space][str(count)]
            for device, v in devices.items():
                note = " (bimodal, not in the mean)" if device == BIMODAL else ""
                lines.append(
                    f"| {device}{note} | {count} | {v['spearman']:.3f} | {v['worst']:.3f} | {100 * v['median_error']:.1f} % "
                    f"| {v['flops_spearman']:.3f} |"
                )
            lines.append(
                f"| **{title}, mean** | {count} | **{mean(devices):.4f}** | | | {mean(devices, 'flops_spearman'):.3f} |"
            )
    lines += ["", "### Few rows, with and without other devices (mean Spearman; same hardware never a source)", "",
              "| space | rows | alone | helped |", "|---|---|---|---|"]  # fmt: skip
    for space in ("nasbench201", "fbnet"):
        for count, values in result["transfer"][space].items():
            lines.append(f"| {space} | {count} | {values['alone']:.3f} | {values['helped']:.3f} |")
    nano_ = result["jetson_nano"]
    lines += ["", f"### Jetson Nano, TensorRT, {nano_['networks']} networks (MACs of every row within "
              f"{nano_['macs_largest_relative_error']:.1e} of the file's)", "",
              "| rows | model | within 5 % | within 10 % | Spearman | mean error | worst underestimate |", "|---|---|---|---|---|---|---|"]  # noqa: E501  # fmt: skip
    for count in ("20", "100", "300"):
        for name, v in nano_[count].items():
            lines.append(
                f"| {count} | {name} | {v['within_5']:.3f} | {v['within_10']:.3f} | {v['spearman']:.4f} | "
                f"{100 * v['mape']:.1f} % | {100 * v['worst_under']:.0f} % |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    started = time.perf_counter()
    cells, blocks = Cells(), Blocks()
    result = {
        "seeds": seeds,
        "machine": platform.processor() or platform.machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "compute_classes": list(COMPUTE),
        "nasbench201": {"20": ranks(cells, 20, seeds)},
        "fbnet": {str(count): ranks(blocks, count, seeds) for count in (10, 20)},
        "transfer": {
            name: {
                str(count): {
                    "alone": mean(ranks(space, count, seeds)),
                    "helped": mean(ranks(space, count, seeds, transfer=True)),
                }
                for count in (3, 5)
            }
            for name, space in (("nasbench201", cells), ("fbnet", blocks))
        },
        "jetson_nano": nano(seeds),
    }
    result["seconds"] = round(time.perf_counter() - started, 1)
    (RESULTS / "predictor.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "predictor.md").write_text(markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
