"""All methods on all published tables, resumable: what docs/search.md and benchmarks/results/tables.json say of them.

    python -m benchmarks.table_runs --work FILE.jsonl [--methods A,B] [--seeds 50] [--costs 10,25,50,100] [--limited 10]
    python -m benchmarks.table_runs --work FILE.jsonl --write

The first adds one line per table, method, cost and seed to the work file, and skips those that are there; the second makes the
results and the picture of what is there; of what has fewer seeds in the work file than in the results these stay. To add seeds
of one method, search random's, too, with which they are compared. Seeds come in tens, over all tables, so that a run that is cut
short is even. Methods that decide nothing by their budget (ANYTIME) are run once, at the largest cost, and looked at on the way.
The first `limited` seeds are searched under the three limits, too, at the cost COST_UNDER_LIMITS.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.table_files import Layout, table_from
from benchmarks.table_results import Line, lines_of, refuse_other_optuna, write, written_before
from benchmarks.table_scores import Runs, Truth, scores_of, truth_of, under_limits
from benchmarks.table_searches import searched
from benchmarks.tables import FILES, SHARED
from edgenas.engine.registry import method_named
from edgenas.errors import EdgenasError

JETSON_TX2 = "oneproxy_hwnasbench_edgegpu_jetson_tx2"
JETSON_NANO = "latbench_embedded-gpu-jetson-nano-fp32"
ANYTIME = ("random", "evolution", "nsga2", "tpe", "gp")
COST_UNDER_LIMITS = 25
CHUNK = 10  # seeds


@dataclass(frozen=True)
class Case:
    """A table as the command takes it; file: None = the shared one."""

    layout: Layout
    device: str | None = None
    dataset: str | None = None
    file: Path | None = None


CASES = (
    *(
        Case("nasbench201", device, dataset)
        for device in ("help_raspi4", JETSON_NANO, "help_pixel3", JETSON_TX2)
        for dataset in ("cifar100", "cifar10", "imagenet16")
    ),
    Case("nasbench101"),
    Case("accel"),
)


def searches(truth: Truth, method: str, seed: int, costs: Sequence[int], *, limited: bool) -> Iterator[Line]:
    """The lines of one method and seed."""
    spec = method_named(method)
    longest = searched(truth.table, spec, max(costs), seed) if method in ANYTIME else None
    for cost in costs:
        free = longest or searched(truth.table, spec, cost, seed)
        caps = under_limits(truth.table, spec, cost, seed) if limited and cost == COST_UNDER_LIMITS else ()
        scores = scores_of(truth, Runs(free, caps), None if longest is None else cost)
        yield Line(truth.table.space.name, method, cost, seed, scores.hypervolume, scores.regret, scores.accuracy)


def run(
    work: Path, methods: Sequence[str], seeds: int, costs: Sequence[int], limited: int, cases: Sequence[Case] = CASES
) -> None:
    """Add what is missing. A last line that was cut off goes."""
    if work.exists():
        text = work.read_bytes()
        os.truncate(work, text.rfind(b"\n") + 1)
    there = {line.key for line in lines_of(work)}
    truths: dict[Case, Truth] = {}
    for start in range(0, seeds, CHUNK):
        for case in cases:
            truth = truths[case] = truths.get(case) or truth_for(case)
            for method in methods:
                for seed in range(start, min(seeds, start + CHUNK)):
                    missing = [cost for cost in costs if (truth.table.space.name, method, cost, seed) not in there]
                    if missing:
                        found = searches(truth, method, seed, missing, limited=seed < limited)
                        added = b"".join(msgspec.json.encode(line) + b"\n" for line in found)
                        with work.open("ab") as file:
                            file.write(added)
                sys.stderr.write(f"{truth.table.space.name}: {method}, seeds from {start}\n")


def truth_for(case: Case) -> Truth:
    """The case's shared table."""
    path = case.file or SHARED / "data" / "nas" / f"{FILES[case.layout]}.npz"
    return truth_of(table_from(case.layout, path, case.device, case.dataset))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--methods", default="random,evolution,nsga2,tpe,guided")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--costs", default="10,25,50,100")
    parser.add_argument("--limited", type=int, default=10, help="seeds that are searched under limits, too")
    parser.add_argument("--write", action="store_true", help="make the results and the picture of the work file")
    asked = parser.parse_args(arguments)
    try:
        if asked.write:
            write(lines_of(asked.work))
        else:
            if (written := written_before()) is not None:
                refuse_other_optuna(written)  # before hours of searching
            costs = [int(cost) for cost in asked.costs.split(",")]
            run(asked.work, asked.methods.split(","), asked.seeds, costs, asked.limited)
    except EdgenasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
