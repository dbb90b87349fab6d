"""Latency of FBNet networks: five prices suffice, for launches, dense and depthwise MACs, activations and weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgenas.hardware.least_squares import Array, fit_prices
from edgenas.ranges import AnyPrice
from edgenas.records import Record, Workload

RIDGE = 1e-6
OWN_SHARE, MIXTURE_RIDGE = 0.5, 1e-2  # where other devices help


class BlockModel(Record, frozen=True):
    """ms, ms per launch, per dense MAC, per depthwise MAC, per activation element, per weight."""

    prices: tuple[AnyPrice, AnyPrice, AnyPrice, AnyPrice, AnyPrice, AnyPrice]

    def predict(self, workloads: Sequence[Workload]) -> Array:
        return np.asarray(quantities(workloads) @ np.array(self.prices))

    def helped_by(self, others: Sequence[BlockModel], workloads: Sequence[Workload], ms: Array) -> BlockModel:
        """This model averaged with the non-negative mixture of other devices' models that fits the rows best."""
        theirs = np.column_stack([np.ones(len(workloads)), *(other.predict(workloads) for other in others)])
        constant, *shares = ((1 - OWN_SHARE) * fit_prices(theirs, ms, MIXTURE_RIDGE)).tolist()
        prices = OWN_SHARE * np.array(self.prices)
        for share, other in zip(shares, others, strict=True):
            prices += share * np.array(other.prices)
        base, launch, dense, depthwise, activations, weights = prices.tolist()
        return BlockModel((base + constant, launch, dense, depthwise, activations, weights))


def fit_blocks(workloads: Sequence[Workload], ms: Array) -> BlockModel:
    """Non-negative prices of the least relative error."""
    base, launch, dense, depthwise, activations, weights = fit_prices(quantities(workloads), ms, RIDGE).tolist()
    return BlockModel((base, launch, dense, depthwise, activations, weights))


def quantities(workloads: Sequence[Workload]) -> Array:
    """One row per network: 1, launches (a residual addition is one of its own), MACs, elements, weights."""
    rows = []
    for workload in workloads:
        kernels = workload.kernels
        launches = len(kernels) + sum(kernel.residual is not None for kernel in kernels)
        depthwise = sum(kernel.macs for kernel in kernels if kernel.kind == "depthwise")
        elements = sum(kernel.input_elements + kernel.output_elements for kernel in kernels)
        rows.append([1, launches, workload.macs - depthwise, depthwise, elements, sum(k.weights for k in kernels)])
    return np.array(rows, dtype=np.float64)
