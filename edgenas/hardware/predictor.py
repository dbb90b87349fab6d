"""Milliseconds of a network on a device that is not here: from its workload and the device's prices."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgenas.architectures.cell import live_edges
from edgenas.architectures.from_onnx import OnnxNetwork, read_onnx
from edgenas.architectures.from_text import network_from_text
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.block_model import BlockModel
from edgenas.hardware.carried import Sure, carried_prices, carried_sureness
from edgenas.hardware.cell_model import CellModel
from edgenas.hardware.intervals import factor_of, is_judged, judged_of, kind_of, kind_of_space
from edgenas.hardware.kernel_model import KernelModel, loads_of
from edgenas.hardware.kernels import PRICES, Tiles, batched, quantities, tiles_of
from edgenas.hardware.least_squares import Array
from edgenas.hardware.profile import precision_of, relative_of
from edgenas.image_sizes import size_in_words
from edgenas.ranges import BatchSize
from edgenas.records import (
    Architecture,
    Calibration,
    CellArchitecture,
    FbnetArchitecture,
    HardwareProfile,
    Latency,
    Nasbench201Cell,
    Precision,
    Record,
    Workload,
)

CELLS, BLOCKS = "nasbench201", "fbnet"  # spaces with a predictor of their own
SMALLEST_MS = 1e-6


class Models(Record, frozen=True):
    """The parameters of a calibration: the kernels' prices, and a predictor for every space that was measured.

    `precisions`: the kernels' prices at those precisions, beside the profile's own, that were measured too.
    """

    kernels: KernelModel | None = None
    cells: dict[str, CellModel] = {}
    blocks: dict[str, BlockModel] = {}
    precisions: dict[Precision, KernelModel] = {}

    def __post_init__(self) -> None:
        others = [name for name in self.cells if not name.startswith(f"{CELLS} ")]
        others += [name for name in self.blocks if not name.startswith(f"{BLOCKS} ")]
        if others:
            raise ValueError(f"{others[0]!r} is no space with a predictor of that kind")


class Row(Record, frozen=True):
    """One network and what it takes.

    Of an ONNX file also: the precision that its nodes compute in, the batch that it is made for, and the numbers in its
    weights. `batch`: images per run, all of which `ms` is for. `noise`: relative standard deviation of repeated measurements,
    whose mean `ms` is. `ran_in`: the precision that it ran in, where that was said.
    """

    name: str
    network: Architecture | Workload
    ms: float = 1.0
    precision: Precision = "fp32"
    fixed_batch: int = 1
    noise: float | None = None
    batch: BatchSize = 1
    params: int | None = None
    ran_in: Precision | None = None

    @property
    def connected(self) -> bool:
        """False for cells that never read their input: devices run them, but there is no network to speak of."""
        return not (space_of(self.network).startswith(CELLS) and not any(live_edges(self.cell)))

    @property
    def workload(self) -> Workload:
        if isinstance(self.network, Workload):
            return self.network
        if not self.connected:
            raise EdgenasError(
                f"{self.name} never connects its input to its output: only its own space can be predicted"
            )
        return workload_from_architecture(self.network)

    @property
    def cell(self) -> Nasbench201Cell:
        assert isinstance(self.network, CellArchitecture)
        assert isinstance(self.network.cell, Nasbench201Cell)
        return self.network.cell


def row_from_text(text: str) -> Row:
    """The network of one line: JSON, NAS-Bench-201 string, `fbnet:...` or `convnet_...`."""
    return Row(text, network_from_text(text))


def row_from_onnx(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Row:
    """The network of an ONNX file; `shapes`: sizes of inputs with free sides."""
    return row_from_network(path.name, read_onnx(path, shapes))


def row_from_network(name: str, network: OnnxNetwork) -> Row:
    """The row of a network that was read from an ONNX file."""
    return Row(name, network.workload, precision=network.precision, fixed_batch=network.fixed_batch,
               params=network.params)  # fmt: skip


def space_of(network: Architecture | Workload) -> str:
    """The space with a predictor of its own that a network belongs to, with its settings; "" for all other networks."""
    if isinstance(network, CellArchitecture) and isinstance(network.cell, Nasbench201Cell):
        px = size_in_words(network.image_size)
        return f"{CELLS} {network.channels}x{network.cells_per_stage} {network.in_channels}x{px}"
    if isinstance(network, FbnetArchitecture):
        return f"{BLOCKS} {network.in_channels}x{network.image_size}"
    return ""


def predict(
    profile: HardwareProfile, models: Models, rows: Sequence[Row], precision: Precision | None = None
) -> tuple[Array, list[bool]]:
    """Milliseconds of each row at a precision that was measured (None = the profile's own), and whether it lies outside of
    what was calibrated."""
    precision = precision or profile.precision
    if precision != profile.precision:
        return _by_kernels(profile, models.precisions[precision], rows, precision)
    ms, outside = np.zeros(len(rows)), [False] * len(rows)
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        space = space_of(row.network) if row.batch == 1 else ""  # the spaces' own predictors know single images only
        places.setdefault(space if space in models.cells or space in models.blocks else "", []).append(index)
    for space, indices in places.items():
        if space in models.cells:
            ms[indices] = models.cells[space].predict([rows[index].cell for index in indices])
        elif space in models.blocks:
            ms[indices] = models.blocks[space].predict([rows[index].workload for index in indices])
        else:
            if models.kernels is None:
                raise EdgenasError(
                    f"the calibration of {profile.name} holds no connected network to predict others from"
                )
            ms[indices], far = _by_kernels(profile, models.kernels, [rows[index] for index in indices], precision)
            for index, is_far in zip(indices, far, strict=True):
                outside[index] = is_far
    return np.maximum(ms, SMALLEST_MS), outside


def _by_kernels(
    profile: HardwareProfile, kernels: KernelModel, rows: Sequence[Row], precision: Precision
) -> tuple[Array, list[bool]]:
    tiles = tiles_of_profile(profile, precision, fitted=True)
    loads = loads_of_rows(rows, tiles, precision)
    return np.maximum(kernels.predict(loads), SMALLEST_MS), [kernels.extrapolates(load) for load in loads]


def loads_of_rows(rows: Sequence[Row], tiles: Tiles, precision: Precision) -> list[Array]:
    """The quantities of every row's kernels, for all images of its batch."""
    loads = loads_of([row.workload for row in rows], tiles, precision)
    return [batched(load, row.batch) for load, row in zip(loads, rows, strict=True)]


def latency_from_workload(
    profile: HardwareProfile, network: Workload | Architecture, precision: Precision | None = None
) -> Latency:
    """Latency of one inference at batch 1, with its origin: `predicted` by a calibrated profile, else `datasheet`."""
    return latencies(profile, [Row("the network", network)], precision)[0]


def latencies(profile: HardwareProfile, rows: Sequence[Row], precision: Precision | None = None) -> list[Latency]:
    """Latency of every row on the profile's device, with the interval that holds nine of ten measurements of such networks."""
    precision = precision_of(profile, precision)
    if profile.calibration is None:
        return _by_datasheet(profile, rows, precision)
    models = models_of(profile.calibration)
    measured = precision == profile.precision or precision in models.precisions
    ms, outside = predict(profile, models, rows, precision if measured else None)
    ratio = np.ones(len(rows)) if measured else _ratio(profile, rows, precision)
    least = [(1.0, False)] * len(rows) if measured else _sureness_of_relative(profile, rows, precision)
    return [
        _predicted(profile, row, float(value), precision, relative, beyond=beyond, by_ratio=not measured)
        for row, value, beyond, relative in zip(rows, ms * ratio, outside, least, strict=True)
    ]


def _predicted(
    profile: HardwareProfile, row: Row, ms: float, precision: Precision, least: Sure, *, beyond: bool, by_ratio: bool
) -> Latency:
    assert profile.calibration is not None
    judged, models = judged_of(profile.calibration), models_of(profile.calibration)
    kind = kind_of_row(row, models)
    factor = factor_of(judged, precision, kind, beyond=beyond, by_ratio=by_ratio)
    if factor is not None and least[0] is not None:
        factor = max(factor, least[0])
    return Latency(
        ms,
        "predicted",
        profile.name,
        n=profile.calibration.n,
        extrapolated=beyond or by_ratio or not is_judged(judged, precision, kind),
        detail=conditions(profile, precision),
        low=None if factor is None else ms / factor,
        high=None if factor is None else ms * factor,
        precision=precision,
    )


def kind_of_row(row: Row, models: Models) -> str:
    """The kind of network that a row is judged as: of its own space where that has a predictor here."""
    if not row.connected:
        return "cell"
    space = space_of(row.network) if row.batch == 1 else ""
    return kind_of_space(space) if space in models.cells or space in models.blocks else kind_of(row.workload)


def _by_datasheet(profile: HardwareProfile, rows: Sequence[Row], precision: Precision) -> list[Latency]:
    tiles = tiles_of_profile(profile, precision, fitted=False)
    prices = prices_of(profile, precision)
    vector = np.array([prices[name] for name in PRICES])
    own = None if profile.error_band is None else 1 + profile.error_band
    detail, found = conditions(profile, precision), []
    relatives = _sureness_of_relative(profile, rows, precision)
    for load, (carried, beyond) in zip(loads_of_rows(rows, tiles, precision), relatives, strict=True):
        ms = float(load.sum(axis=0) @ vector)
        factor = None if own is None or carried is None else own * carried
        low, high = (None, None) if factor is None else (ms / factor, ms * factor)
        found.append(
            Latency(ms, "datasheet", profile.name, extrapolated=beyond, detail=detail, low=low, high=high,
                    precision=precision)
        )  # fmt: skip
    return found


def _sureness_of_relative(profile: HardwareProfile, rows: Sequence[Row], precision: Precision) -> list[Sure]:
    """Of every row: how sure the kernels' prices are that were carried here; a factor of 1 where none were."""
    relative = relative_of(profile)
    if relative is None or relative.calibration is None or _fitted(relative, relative.precision) is None:
        return [(1.0, False)] * len(rows)
    models = models_of(relative.calibration)
    kernels = msgspec.to_builtins(Models(models.kernels, precisions=models.precisions))  # other predictors stay there
    bare = msgspec.structs.replace(relative.calibration, parameters=kernels)
    alone = msgspec.structs.replace(relative, calibration=bare)
    return carried_sureness(alone, precision, lambda other, at: latencies(other, rows, at))


def kernel_latencies_ms(
    profile: HardwareProfile, network: Workload | Architecture, precision: Precision | None = None
) -> list[float]:
    """What each kernel contributes to the network's latency, ms, in execution order."""
    precision = precision_of(profile, precision)
    row = Row("the network", network)
    models = models_of(profile.calibration) if profile.calibration else Models()
    kernels = models.precisions.get(precision, models.kernels)
    tiles = tiles_of_profile(profile, precision, fitted=kernels is not None)
    prices = kernels.prices if kernels else prices_of(profile, precision)
    each = quantities(row.workload, tiles, precision) @ np.array([prices.get(name, 0.0) for name in PRICES])
    total = latencies(profile, [row], precision)[0].ms
    return [float(ms) for ms in each * total / each.sum()]


def _ratio(profile: HardwareProfile, rows: Sequence[Row], precision: Precision) -> Array:
    """How much longer each network is expected to take at a precision that was not fitted than at the profile's own."""
    own = _fitted(profile, profile.precision)
    here = prices_of(profile, profile.precision) if own is None else own.prices
    there = _unfitted_prices(profile, precision, here)
    found = []
    for at, prices in ((precision, there), (profile.precision, here)):
        loads = loads_of_rows(rows, tiles_of_profile(profile, at, fitted=own is not None), at)
        vector = np.array([prices.get(name, 0.0) for name in PRICES])
        found.append(np.array([load.sum(axis=0) for load in loads]) @ vector)
    return np.asarray(found[0] / found[1])


def _unfitted_prices(profile: HardwareProfile, precision: Precision, here: Mapping[str, float]) -> dict[str, float]:
    """By the efficiencies of a relative that was fitted at this precision, else by the profile's own at its own precision."""
    relative = relative_of(profile)
    if relative is None or _fitted(relative, precision) is None:
        relative = profile
    prices = carried_prices(profile, precision, relative, _fitted)
    return prices | {name: here[name] for name in ("base", "launch")}


def models_of(calibration: Calibration) -> Models:
    """The fitted models of a calibration, strictly read, once."""
    return _models(msgspec.json.encode(calibration.parameters))


@functools.lru_cache(maxsize=64)
def _models(parameters: bytes) -> Models:
    try:
        return msgspec.json.decode(parameters, type=Models)
    except msgspec.ValidationError as error:
        raise EdgenasError(
            f"the calibration in the profile is damaged: parameters: {error}: calibrate again"
        ) from error


def prices_of(profile: HardwareProfile, precision: Precision) -> dict[str, float]:
    """Prices of a profile without a calibration: its datasheet, at its relative's efficiencies. Raises EdgenasError."""
    return carried_prices(profile, precision, relative_of(profile), _fitted)


def _fitted(profile: HardwareProfile, precision: Precision) -> KernelModel | None:
    if profile.calibration is None:
        return None
    models = models_of(profile.calibration)
    return models.kernels if precision == profile.precision else models.precisions.get(precision)


def tiles_of_profile(profile: HardwareProfile, precision: Precision, *, fitted: bool) -> Tiles:
    """The tiles that a profile's runtime computes in; `fitted`: for prices that come from measurements of it."""
    return tiles_of(
        profile.runtime, precision, profile.compute_capability, fitted=fitted, instruction_set=profile.instruction_set
    )


def conditions(profile: HardwareProfile, precision: Precision) -> str:
    """Runtime and version, precision, batch size and power mode, for people and manifests."""
    parts = [f"{profile.runtime} {profile.runtime_version}", precision, f"batch {profile.batch_size}"]
    return ", ".join([*parts, profile.power_mode] if profile.power_mode else parts)
