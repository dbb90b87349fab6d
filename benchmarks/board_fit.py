"""One model for a family of boards: efficiencies per kind of kernel that all of them share, clocks and bandwidths of each board.

    ms(network, board) = base(how it was measured) + launches * launch(board) + sum over prices p of
                         quantity_p * datasheet price_p(board, precision) * inefficiency_p * slowness_group(p)(board)

Quantities and datasheet prices are the predictor's own (hardware/kernels.py). Everything is positive, so logarithms are fitted:
maximum a posteriori, soft-L1 loss, priors around what such chips reach. Compute inefficiencies are per precision and tied to each
other; a byte costs the same at every precision. Boards may differ from their datasheet in compute, depthwise compute and traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from benchmarks.board_rows import Published
from edgenas.hardware.kernel_model import KernelModel, _soft, _soft_slope
from edgenas.hardware.kernels import (
    BANDWIDTH_EFFICIENCY,
    COLUMN,
    COMPUTE,
    DEPTHWISE,
    EFFICIENCY,
    PRICES,
    SURCHARGES,
    TRAFFIC,
    batched,
    datasheet_prices,
    quantities,
)
from edgenas.hardware.least_squares import Array
from edgenas.hardware.predictor import tiles_of_profile
from edgenas.records import HardwareProfile, Precision, Workload

NOISE = 0.08  # log error of two honest sources
BYTES = (*TRAFFIC, *SURCHARGES)
TERMS = (*COMPUTE, *BYTES)
TIES = (  # log differences within one precision, and their deviations: kernels of one kind, bytes of one memory
    ("dense", "pointwise", 0.25), ("dense", "dense2", 0.3), ("depthwise3", "depthwise2", 0.5), ("depthwise5", "depthwise4", 0.3),
    ("depthwise5", "depthwise7", 0.3), ("read", "write", 0.3), ("read", "weights", 0.3),
)  # fmt: skip


@dataclass(frozen=True)
class Prior:
    """What chips of a kind reach: shares of the peak and of the bandwidth, with the deviation of their logarithms."""

    compute: dict[str, tuple[float, float]]
    traffic: dict[str, tuple[float, float]]
    launch_ms: float
    base_ms: float
    boards: tuple[
        float, float, float
    ]  # deviations of a board's compute, depthwise compute and traffic from its datasheet
    precisions: float = 0.3  # deviation between precisions


@dataclass(frozen=True)
class Sample:
    """One row, its board's profile, and its quantities by price."""

    row: Published
    load: Array
    nominal: Array  # datasheet prices, in the order of TERMS


def sample(row: Published, workload: Workload, profile: HardwareProfile) -> Sample:
    load = batched(
        quantities(workload, tiles_of_profile(profile, row.precision, fitted=True), row.precision), row.batch
    )
    prices = datasheet_prices(profile, row.precision)
    return Sample(row, load.sum(axis=0), np.array([prices[name] for name in TERMS]))


class Family:
    """The samples of a family and, once fitted, its parameters."""

    def __init__(self, samples: Sequence[Sample], prior: Prior) -> None:
        self.samples, self.prior = list(samples), prior
        self.places: dict[Hashable, int] = {}
        self.mean: list[float] = []
        self.deviation: list[float] = []
        self.ties: list[tuple[int, int, float]] = []
        self._name_parameters()
        columns = [COLUMN[name] for name in TERMS]
        self.amounts = np.array([s.load[columns] * s.nominal for s in samples])  # ms by the datasheet
        self.launches = np.array([s.load[COLUMN["launch"]] for s in samples])
        self.exponents = np.array([self._exponents(s.row) for s in samples])  # (rows, terms, 2) parameters
        self.launch = np.array([self.places["launch", s.row.device] for s in samples])
        self.base = np.array([self.places["base", s.row.group] for s in samples])
        self.log_ms = np.log([s.row.ms for s in samples])
        self.weights = weights([s.row for s in samples])

    def _name_parameters(self) -> None:
        prior, rows = self.prior, [s.row for s in self.samples]
        precisions, boards = sorted({r.precision for r in rows}), sorted({r.device for r in rows})
        for precision in precisions:
            for name in COMPUTE:
                share, deviation = prior.compute[name]
                self._add((precision, name), np.log(EFFICIENCY[name] / share), deviation)
        for name in BYTES:
            share, deviation = prior.traffic[name]
            self._add(name, np.log(BANDWIDTH_EFFICIENCY / share), deviation)
        for board in boards:
            for group, deviation in zip(("compute", "depthwise", "traffic"), prior.boards, strict=True):
                self._add((group, board), 0.0, deviation)
            self._add(("launch", board), np.log(prior.launch_ms), 0.7)
        for group in sorted({r.group for r in rows}):
            self._add(("base", group), np.log(prior.base_ms), 1.0)
        for one, other, deviation in TIES:
            for precision in precisions:
                pair = (one, other) if one in BYTES else ((precision, one), (precision, other))
                self.ties.append((self.places[pair[0]], self.places[pair[1]], deviation))
        for name in COMPUTE:
            first = self.places[precisions[0], name]
            self.ties += [(first, self.places[precision, name], prior.precisions) for precision in precisions[1:]]

    def _add(self, name: Hashable, mean: float, deviation: float) -> None:
        self.places[name] = len(self.mean)
        self.mean.append(float(mean))
        self.deviation.append(deviation)

    def _exponents(self, row: Published) -> list[tuple[int, int]]:
        pairs = []
        for name in TERMS:
            group = "traffic" if name in BYTES else "depthwise" if name in (*DEPTHWISE, "grouped") else "compute"
            own = name if name in BYTES else (row.precision, name)
            pairs.append((self.places[own], self.places[group, row.device]))
        return pairs

    def predict(self, theta: Array, rows: Array) -> tuple[Array, Array]:
        """Milliseconds of some rows, and their derivatives by every parameter."""
        parts = self.amounts[rows] * np.exp(theta[self.exponents[rows]].sum(axis=2))
        launch, base = self.launches[rows] * np.exp(theta[self.launch[rows]]), np.exp(theta[self.base[rows]])
        slope = np.zeros((len(rows), len(theta)))
        for place in range(2):
            np.add.at(slope, (np.arange(len(rows))[:, None], self.exponents[rows][:, :, place]), parts)
        slope[np.arange(len(rows)), self.launch[rows]] += launch
        slope[np.arange(len(rows)), self.base[rows]] += base
        return parts.sum(axis=1) + launch + base, slope

    def fit(self, rows: Array, start: Array | None = None) -> Array:
        """The most probable parameters given some of the rows."""
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        ties, offset = np.zeros((len(self.ties), len(mean))), np.zeros(len(self.ties))
        for place, (one, other, width) in enumerate(self.ties):
            ties[place, one], ties[place, other] = 1 / width, -1 / width
            offset[place] = (mean[one] - mean[other]) / width
        scale = self.weights[rows] / NOISE

        def misfit(theta: Array) -> Array:
            error = (np.log(self.predict(theta, rows)[0]) - self.log_ms[rows]) * scale
            return np.concatenate([_soft(error), (theta - mean) / deviation, ties @ theta - offset])

        def slope(theta: Array) -> Array:
            ms, by = self.predict(theta, rows)
            gain = _soft_slope((np.log(ms) - self.log_ms[rows]) * scale) * scale / ms
            return np.vstack([by * gain[:, None], np.diag(1 / deviation), ties])

        return np.asarray(least_squares(misfit, mean if start is None else start, jac=slope, max_nfev=100).x)

    def base_ms(self, theta: Array) -> float:
        """The constant that is shipped: the mean of those of all ways to measure."""
        return float(np.mean([np.exp(theta[place]) for name, place in self.places.items() if name[0] == "base"]))

    def shipped(self, theta: Array, rows: Array) -> Array:
        """Milliseconds as a profile of these parameters says them, whatever way a row was measured."""
        return self.predict(theta, rows)[0] - np.exp(theta[self.base[rows]]) + self.base_ms(theta)

    def held_out(self, key: Callable[[Published], Hashable], fewest: int = 8) -> Array:
        """Predictions of every row by a fit that saw no row of the same key; NaN where too little is left to fit."""
        keys = [key(s.row) for s in self.samples]
        start, found = self.fit(np.arange(len(keys))), np.full(len(keys), np.nan)
        for one in dict.fromkeys(keys):
            inside = np.array([found_key == one for found_key in keys])
            if (~inside).sum() >= fewest:
                theta = self.fit(np.flatnonzero(~inside), start)
                found[inside] = self.shipped(theta, np.flatnonzero(inside))
        return found

    def model(self, theta: Array, profile: HardwareProfile, precision: Precision) -> KernelModel:
        """The prices of a board at a precision; a board that has no rows is as good as its datasheet."""
        nominal = datasheet_prices(profile, precision)
        prices = {"base": self.base_ms(theta), "launch": self._launch(theta, profile.name)}
        for name in TERMS:
            group = "traffic" if name in BYTES else "depthwise" if name in (*DEPTHWISE, "grouped") else "compute"
            own = theta[self.places[name if name in BYTES else (precision, name)]]
            board = self.places.get((group, profile.name))
            prices[name] = float(nominal[name] * np.exp(own + (0.0 if board is None else theta[board])))
        loads = [s.load for s in self.samples if s.row.precision == precision]
        largest = dict(zip(PRICES, np.max(loads, axis=0).tolist(), strict=True))
        return KernelModel({name: prices[name] for name in PRICES}, largest)

    def _launch(self, theta: Array, board: str) -> float:
        known = [place for name, place in self.places.items() if name[0] == "launch"]
        own = self.places.get(("launch", board))
        return float(np.exp(theta[own] if own is not None else np.mean(theta[known])))


def weights(rows: Sequence[Published]) -> Array:
    """Rows of one network on one board share a weight, and detectors, which most rows are of, count less than classifiers."""
    same = Counter((r.network, r.device, r.group, r.precision) for r in rows)
    kinds = Counter("yolo" in network.lower() for network, *_ in same)
    most = max(kinds.values())
    each = [(most / kinds["yolo" in r.network.lower()]) ** 0.25 for r in rows]
    counts = [same[r.network, r.device, r.group, r.precision] for r in rows]
    return np.array(each) / np.sqrt(counts)
