"""Could networks be ranked without training them? NASWOT on noise beside the counts that are free anyway.

    python -m benchmarks.zero_cost          reads benchmarks/results/methods.json (and policies.json)

NASWOT (Mellor et al., "Neural Architecture Search without Training", ICML 2021): log |K| of the agreement of the ReLUs' binary
codes between the inputs of one batch, at initialisation; here noise, the mean over seeds. Kendall's tau with accuracies that this
repository measured, beside those of MACs and parameters: a first cut pays only where it ranks better than these.
Result: benchmarks/results/zero-cost.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.steps import record
from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import ChainArchitecture, Classes
from edgenas.training.loop import fresh_network

CPU = torch.device("cpu")
BATCH, SEEDS = 64, 5


class ReluCodes(TorchFunctionMode):
    """Counts, for every pair of inputs, the ReLUs that treat both alike."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.agreements = torch.zeros(batch, batch, dtype=torch.float64)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.relu:
            code = (args[0] > 0).flatten(1).double()  # (B, units)
            self.agreements += code @ code.T + (1 - code) @ (1 - code).T
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def naswot(architecture: ChainArchitecture, seed: int) -> float:
    """log |K| of one initialisation on one batch of noise."""
    network = fresh_network(architecture, seed, CPU).train()
    noise = torch.Generator().manual_seed(seed)
    x: Tensor = torch.randn(
        BATCH, architecture.in_channels, architecture.image_size, architecture.image_size, generator=noise
    )
    with ReluCodes(BATCH) as codes:
        network(x)
    return float(torch.linalg.slogdet(codes.agreements).logabsdet)


def ranked(networks: list[ChainArchitecture], accuracies: list[float]) -> dict[str, Any]:
    """Kendall's tau of each cheap figure with the accuracies."""
    workloads = [workload_from_architecture(network) for network in networks]
    figures = {
        "naswot": [statistics.fmean(naswot(network, seed) for seed in range(SEEDS)) for network in networks],
        "macs": [float(w.macs) for w in workloads],
        "params": [float(w.params) for w in workloads],
        "depth": [float(network.depth) for network in networks],
    }
    taus = {name: float(kendalltau(values, accuracies).statistic) for name, values in figures.items()}
    return {"networks": len(networks), "kendall": taus, "accuracies": accuracies, "figures": figures}


def measure(results: Path) -> dict[str, Any]:
    judged = json.loads((results / "methods.json").read_text())["judge"]["networks"]
    mixed = [msgspec.convert(row["architecture"], ChainArchitecture) for row in judged]
    policies = json.loads((results / "policies.json").read_text())
    plain = [chain(w, d, (0,) * d, (3,) * d, Classes(10), 1, 16) for w, d in policies["networks"]]
    long = [statistics.fmean(values) for values in zip(*policies["long"]["val_accuracy"], strict=True)]
    return {
        "batch": BATCH,
        "seeds": SEEDS,
        "sets": {
            "networks that searches chose": ranked(mixed, [row["val_accuracy"] for row in judged]),
            "separable chains of all sizes": ranked(plain, long),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    results = parser.parse_args().results
    path = results / "zero-cost.json"
    record(path, "zero-cost", lambda: measure(results), CPU)
    sys.stdout.write(path.read_text())


if __name__ == "__main__":
    main()
