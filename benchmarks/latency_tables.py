"""The measured latency tables, as calibration rows; found by EDGENAS_SHARED_DATA or in ../shared/data beside the checkout."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np

from edgenas.architectures.cell import NASBENCH201_OPS
from edgenas.architectures.convnet import workload_from_convnet
from edgenas.architectures.fbnet import fbnet_from_text
from edgenas.hardware.predictor import Row
from edgenas.records import CellArchitecture, Classes, Nasbench201Cell

DATA = Path(os.environ.get("EDGENAS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "nas"
BIMODAL = "latbench_embedded-tpu-edgetpu-large"  # falls back to its host for some cells: reported, kept out of means


class Table:
    """One space: its networks, and a column of latencies (ms, NaN = not measured) for each device."""

    def __init__(self, networks: list[Row], columns: dict[str, np.ndarray]) -> None:
        self.networks, self.columns = networks, columns

    def rows(self, device: str, *, connected: bool = False) -> list[Row]:
        """The device's measured rows; `connected` leaves out cells that never read their input."""
        return [
            Row(row.name, row.network, float(ms))
            for row, ms in zip(self.networks, self.columns[device], strict=True)
            if ms > 0 and (not connected or row.connected)
        ]


def nasbench201() -> Table:
    data = np.load(DATA / "nb201.npz")
    names = [str(name) for name in data["op_names"]]
    assert set(names) == set(NASBENCH201_OPS)
    cells = [Nasbench201Cell(tuple(names[op] for op in ops)) for ops in data["ops"]]
    networks = [Row(f"cell {i}", CellArchitecture(cell, Classes(10), 16, 5)) for i, cell in enumerate(cells)]
    return Table(networks, _columns(data["latency_devices"], data["latency_ms"]))


def fbnet() -> Table:
    data = np.load(DATA / "fbnet_5000.npz")
    texts = ["fbnet:" + "".join(map(str, arch)) for arch in data["arch"]]
    return Table([Row(text, fbnet_from_text(text)) for text in texts], _columns(data["devices"], data["latency_ms"]))


def jetson_nano() -> tuple[Table, np.ndarray]:
    """The TensorRT table, and the MACs that its authors counted (biases included)."""
    with gzip.open(DATA / "jetson_nano_tensorrt.csv.gz", "rt", newline="") as file:
        lines = list(csv.DictReader(file))
    networks = [Row(line["model_name"], workload_from_convnet(line["model_name"])) for line in lines]
    ms = np.array([float(line["average_latency_ms"]) for line in lines])
    return Table(networks, {"jetson-nano": ms}), np.array([float(line["total_macs"]) for line in lines])


def _columns(names: np.ndarray, latencies: np.ndarray) -> dict[str, np.ndarray]:
    return {str(name): latencies[:, index].astype(np.float64) for index, name in enumerate(names)}
