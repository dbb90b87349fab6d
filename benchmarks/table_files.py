"""Published tables of trained networks: NAS-Bench-201, NAS-Bench-101 and Accel-NASBench, or any file of the same layouts.

What a search sees after so many epochs is the validation accuracy, where the file has one, else the test accuracy; what judges it
is the test accuracy of the longest training, where the file has one, else the validation accuracy. Only means are published
(NAS-Bench-201) or single runs (the others): nothing is added to them. Members are the rows that have all of these, and the axis,
and whose cell connects its input to its output. In the shared files:

    table        epochs          a search sees                             judged by             axis
    nasbench201  12, 200         validation after 12, test after 200 (it   test after 200        latency on one device
                                 has no validation accuracy after 200)
    nasbench101  4, 12, 36, 108  validation                                validation after 108  parameters
    accel        1 = as trained  validation                                validation            latency on one device
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.table_cells import cells_101, cells_201, edges_of, paths_of
from benchmarks.table_space import TableSpace, at_least, counted
from benchmarks.table_stages import StageSpace, staged, values_of
from edgenas.architectures.cell import live_edges
from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.space import NamedChoices
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Classes, Cost, Latency, Limits

Layout = Literal["nasbench201", "nasbench101", "accel"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Floats = NDArray[np.float64]
PUBLISHED = {"ImageNet16-120": "imagenet16"}  # NAS-Bench-201's own name of a data set -> the shared file's
IMAGES = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet16": (120, 16)}  # classes, pixels
# The first of these is taken where no device is named: Raspberry Pi 4, Pixel 3, Jetson Nano, Jetson TX2; ZCU102.
DEVICES = (
    "help_raspi4",
    "help_pixel3",
    "latbench_embedded-gpu-jetson-nano-fp32",
    "oneproxy_hwnasbench_edgegpu_jetson_tx2",
    "zcu102",
)
FEW = 20  # members that a table must have
STAGES = 7  # of an Accel-NASBench network


@dataclass(frozen=True, eq=False)
class Table:
    """One file, one data set, one device: all that a search can ask of it.

    device: "" where the axis is parameters. axis: ms or parameters of each member. seen: by epochs, percent; judged: percent.
    """

    layout: Layout
    dataset: str
    device: str
    space: TableSpace
    axis: Floats
    seen: Mapping[int, Floats]
    judged: Floats
    costs: dict[int, Cost] = field(default_factory=dict)

    @property
    def full(self) -> int:
        """Epochs of a full training."""
        return max(self.seen)

    def words(self) -> str:
        """What it is, in a line."""
        axis = f"ms on {self.device}" if self.device else "parameters"
        epochs = ", ".join(map(str, sorted(self.seen)))
        return f"{self.layout} {self.dataset}: {len(self.axis)} members, accuracies after {epochs} epochs, axis {axis}"

    def cost(self, row: int) -> Cost:
        """What is known of a member before training: its latency or parameters as published, all else counted."""
        if row not in self.costs:
            price = counted(self.space.real, self.space.architecture(row))
            if self.device:
                ms = Latency(float(self.axis[row]), "measured", self.device)
                self.costs[row] = msgspec.structs.replace(price, latencies={self.device: ms})
            else:
                self.costs[row] = msgspec.structs.replace(price, params=int(self.axis[row]))
        return self.costs[row]

    def limits(self, most: float) -> Limits:
        """At most this much of the axis."""
        return Limits(latency_ms=most) if self.device else Limits(params=int(most))


def table_from(layout: Layout, path: Path, device: str | None = None, dataset: str | None = None) -> Table:
    """The table of a file. Raises EdgenasError, in one line, for what cannot be used."""
    data = _arrays(path)
    if dataset is not None and layout != "nasbench201":
        raise EdgenasError(f"--dataset {dataset}: a {layout} table has one data set; leave it out")
    try:
        return _table(layout, LOADERS[layout](data, device, dataset))
    except EdgenasError as error:
        raise EdgenasError(f"{path}: {error}") from error


def _arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            data = np.load(file, allow_pickle=False)
            if not isinstance(data, np.lib.npyio.NpzFile):
                raise ValueError("one array without a name")
            return dict(data)
    except (OSError, ValueError, BadZipFile, EOFError, zlib.error) as error:
        raise EdgenasError(f"{path} is no table: {error}; give an .npz file of the shared layouts (--file)") from error


@dataclass(frozen=True)
class Contents:
    """What a layout's file holds. network: of a row. usable: rows that are networks, (n,). scores: (epochs, split) -> (n,), as
    written. axis: (n,), None where it is to be counted."""

    dataset: str
    device: str
    real: NamedChoices
    network: Callable[[int], Architecture]
    code: Callable[[Architecture], NDArray[np.float32]]
    usable: NDArray[np.bool_]
    scores: Mapping[tuple[int, str], NDArray[Any]]
    axis: NDArray[Any] | None


def _nasbench201(data: Mapping[str, NDArray[Any]], device: str | None, dataset: str | None) -> Contents:
    columns = _matching(data, r"acc(\d+)_(val|test)_(.+)", "acc200_test_NAME")
    names = sorted({match[3] for match in columns})
    chosen = PUBLISHED.get(dataset or "", dataset) or ("cifar100" if "cifar100" in names else names[0])
    if chosen not in names:
        raise EdgenasError(f"it has no data set {dataset!r}: give --dataset {', '.join(names)}")
    cells = cells_201(_whole(data, "ops"), _names(data, "op_names"))
    classes, side = IMAGES.get(chosen, IMAGES["cifar10"])
    space = CellSpace(Classes(classes), 3, side, "nasbench201")
    named: dict[str, NDArray[Any]] = {}
    if "latency_ms" in data:
        devices, ms = _names(data, "latency_devices"), data["latency_ms"]
        if ms.shape != (len(cells), len(devices)) or ms.dtype.kind not in "fiu":
            raise EdgenasError(
                f"latency_ms is {ms.dtype} {ms.shape}: give ({len(cells)}, {len(devices)}), a column for each device"
            )
        named = dict(zip(devices, ms.T, strict=True))
    name = _device(named, device)
    scores = {(int(match[1]), match[2]): column for match, column in columns.items() if match[3] == chosen}
    connected = np.array([any(live_edges(cell)) for cell in cells], bool)
    return Contents(
        chosen, name, space, lambda row: space.network(cells[row]), edges_of, connected, scores, named.get(name)
    )  # fmt: skip


def _nasbench101(data: Mapping[str, NDArray[Any]], device: str | None, _: str | None) -> Contents:
    columns = _matching(data, r"(val|test)_acc_(\d+)ep", "val_acc_108ep")
    cells = cells_101(_whole(data, "adj"), _whole(data, "ops"), _whole(data, "n_vertices"))
    space = CellSpace(Classes(10), 3, 32, "nasbench101")
    name = _device(_latencies(data), device) if device is not None else ""
    scores = {(int(match[2]), match[1]): column for match, column in columns.items()}
    axis = _latencies(data)[name] if name else data.get("params")
    return Contents(
        "cifar10", name, space, lambda row: space.network(cells[row]), paths_of, np.ones(len(cells), bool), scores, axis
    )  # fmt: skip


def _accel(data: Mapping[str, NDArray[Any]], device: str | None, _: str | None) -> Contents:
    scores = {(1, split): data[f"{split}_top1"] for split in ("val", "test") if f"{split}_top1" in data}
    if not scores:
        raise EdgenasError(f"it has no val_top1: {', '.join(sorted(data))}")
    names, archs = _names(data, "columns"), _whole(data, "arch").astype(int)
    if archs.ndim != 2 or archs.shape[1] != len(names) or len(names) != STAGES * 4:
        raise EdgenasError(f"arch is {archs.shape}, columns {len(names)}: give (n, {STAGES * 4}), four for each stage")
    values = tuple(tuple(sorted(set(column.tolist()))) for column in archs.T)
    space = StageSpace(tuple(names), values)

    def code(network: Architecture) -> NDArray[np.float32]:
        zipped = zip(values, values_of(network), strict=True)
        return np.array([entry for possible, chosen in zipped for entry in at_least(possible, chosen)], np.float32)

    named = _latencies(data)
    name = _device(named, device)
    rows = [staged(tuple(row)) for row in archs.tolist()]
    return Contents("imagenet", name, space, rows.__getitem__, code, np.ones(len(rows), bool), scores, named.get(name))


LOADERS = {"nasbench201": _nasbench201, "nasbench101": _nasbench101, "accel": _accel}


def _table(layout: Layout, found: Contents) -> Table:
    """The members, in the order of the file. Raises EdgenasError where columns do not fit or too few rows can be used."""
    count = len(found.usable)
    for (epochs, split), column in found.scores.items():
        if column.shape != (count,) or column.dtype.kind not in "fiu":
            raise EdgenasError(
                f"its {split} accuracies after {epochs} epochs are {column.dtype} {column.shape}: give ({count},)"
            )
    if found.axis is not None and (found.axis.shape != (count,) or found.axis.dtype.kind not in "fiu"):
        raise EdgenasError(f"its latencies or parameters are {found.axis.dtype} {found.axis.shape}: give ({count},)")
    seen = {
        epochs: _of(found.scores, epochs, "val", "test") for epochs in sorted({epochs for epochs, _ in found.scores})
    }
    judged = _of(found.scores, max(seen), "test", "val")
    known = [*seen.values(), judged]
    usable = found.usable & np.all([np.isfinite(column) for column in known], axis=0)
    if found.axis is not None:
        usable &= np.isfinite(found.axis) & (found.axis > 0)
    rows = np.flatnonzero(usable)
    if len(rows) < FEW:
        raise EdgenasError(f"{len(rows)} of its {count} rows have every accuracy and the axis; {FEW} are needed")
    percent = 1.0 if max(float(column[rows].max()) for column in known) > 1 else 100.0
    networks = [found.network(int(row)) for row in rows]
    if found.axis is None:
        axis = np.array([found.real.workload(network).params for network in networks], float)
    else:
        axis = found.axis[rows].astype(float)
    codes = np.stack([found.code(network) for network in networks])
    name = " ".join(filter(None, (layout, found.dataset, found.device)))
    space = TableSpace(name, found.real, networks.__getitem__, found.code, codes, axis)
    scaled = {epochs: percent * column[rows].astype(float) for epochs, column in seen.items()}
    return Table(layout, found.dataset, found.device, space, axis, scaled, percent * judged[rows].astype(float))


def _of(scores: Mapping[tuple[int, str], NDArray[Any]], epochs: int, *splits: str) -> NDArray[Any]:
    """The accuracies of the first of these splits that there is."""
    return next(scores[epochs, split] for split in splits if (epochs, split) in scores)


def _column(data: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in data:
        raise EdgenasError(f"it has no {name!r}: {', '.join(sorted(data))}; see the layout of this table")
    return data[name]


def _whole(data: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """A column of whole numbers."""
    column = _column(data, name)
    if column.dtype.kind not in "iu" or not column.size:
        raise EdgenasError(f"{name} is {column.dtype} {column.shape}: give whole numbers, a row for each network")
    return column


def _names(data: Mapping[str, NDArray[Any]], name: str) -> list[str]:
    """A column of words."""
    column = _column(data, name)
    if column.dtype.kind not in "SU" or column.ndim != 1:
        raise EdgenasError(f"{name} is {column.dtype} {column.shape}: give words")
    return [str(word) for word in column.astype(str)]


def _matching(data: Mapping[str, NDArray[Any]], pattern: str, example: str) -> dict[re.Match[str], NDArray[Any]]:
    """Columns whose whole name matches. Raises EdgenasError where there is none."""
    found = {match: data[name] for name in sorted(data) if (match := re.fullmatch(pattern, name))}
    if not found:
        raise EdgenasError(f"it has no accuracies, such as {example!r}: {', '.join(sorted(data))}")
    return found


def _latencies(data: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefix = "latency_ms_"
    found = {name.removeprefix(prefix): data[name] for name in sorted(data) if name.startswith(prefix)}
    for name, column in found.items():
        if column.dtype.kind not in "fiu":
            raise EdgenasError(f"{prefix}{name} is {column.dtype}: give numbers")
    return found


def _device(named: Mapping[str, NDArray[Any]], asked: str | None) -> str:
    """The device asked for, by its name or a part that no other name has; else the first of DEVICES, else the one with the most
    latencies; "" where the table has none."""
    if asked is None:
        known = [name for name in DEVICES if name in named]
        return known[0] if known else max(named, key=lambda name: np.isfinite(named[name]).sum(), default="")
    if asked in named:
        return asked
    parts = [name for name in named if asked.lower() in name.lower()]
    if len(parts) != 1:
        raise EdgenasError(f"--device {asked}: {len(parts)} devices are called so; it has {', '.join(named) or 'none'}")
    return parts[0]
