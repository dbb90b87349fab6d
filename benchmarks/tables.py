"""Searches simulated on published tables of trained networks: no training, the table answers.

    python -m benchmarks.tables nasbench201|nasbench101|accel [--file FILE.npz] [--device NAME] [--dataset NAME]
                                [--methods A,B] [--seeds N] [--cost C] [--json]

One table, one device, one budget of C full trainings. Per method, over the seeds: `hypervolume` of the front of (error, log
axis), 1 = the table's own front, and its `sd`; `accuracy` of the network chosen under a limit on the axis and `regret`, the
points that it stays behind the best member there, both means of three limits (quantiles .2, .5, .8 of the axis), each a search of
its own; `beats_random`: share (0 to 1) of the seeds in which the hypervolume is higher than random's with the same seed. What a
search sees and what judges it: table_files.py. What a choice means that is no row: table_space.py. GNAS's ladder is left out:
depth and width are choices of none of these tables.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table_files import LAYOUTS, Layout, Table, table_from
from benchmarks.table_scores import Scores, Truth, runs_of, scores_of, truth_of
from edgenas.engine.registry import METHODS, method_named
from edgenas.errors import EdgenasError, MissingExtraError
from edgenas.methods.spec import MethodSpec

SHARED = Path(os.environ.get("EDGENAS_SHARED", "../shared"))
FILES: dict[Layout, str] = {"nasbench201": "nb201", "nasbench101": "nb101_20000", "accel": "accel_nasbench"}
RANDOM = "random"


def methods_for(asked: str | None) -> dict[str, MethodSpec]:
    """Random first, then those asked for, or all that search any space."""
    names = asked.split(",") if asked else [name for name in METHODS.names() if method_named(name).spaces is None]
    specs = {name: method_named(name) for name in dict.fromkeys((RANDOM, *names))}
    for name, spec in specs.items():
        if spec.spaces is not None:
            raise EdgenasError(f"--methods {name}: it does not search every space; leave it out")
    return specs


def compared(truth: Truth, methods: dict[str, MethodSpec], seeds: int, cost: float, *, named: bool) -> dict[str, Any]:
    """The document. `named`: were the methods; where not, those whose library is missing are left out."""
    found = {name: list(_scored(truth, spec, seeds, cost, said=named)) for name, spec in methods.items()}
    return {name: summary(scores, found[RANDOM]) for name, scores in found.items() if scores}


def _scored(truth: Truth, spec: MethodSpec, seeds: int, cost: float, *, said: bool) -> Iterator[Scores]:
    """One seed after the other; none where a library is missing and the method was not `said`."""
    try:
        for seed in range(seeds):
            yield scores_of(truth, runs_of(truth, spec, cost, seed))
    except MissingExtraError as missing:
        if said:
            raise
        sys.stderr.write(f"{spec.name} is left out: {missing}\n")


def summary(scores: Sequence[Scores], random: Sequence[Scores]) -> dict[str, float]:
    """Means over the seeds; both in order of seeds."""
    covered = [one.hypervolume for one in scores]
    higher = [one.hypervolume > other.hypervolume for one, other in zip(scores, random, strict=True)]
    return {
        "hypervolume": statistics.fmean(covered),
        "sd": statistics.stdev(covered) if len(covered) > 1 else 0.0,
        "regret": statistics.fmean(points for one in scores for points in one.regret),
        "accuracy": statistics.fmean(percent for one in scores for percent in one.accuracy),
        "beats_random": statistics.fmean(higher),
    }


def words(document: dict[str, Any]) -> str:
    """The document as a table for people."""
    lines = [f"{'method':12} hypervolume   sd     regret  accuracy  beats random"]
    lines += [
        f"{name:12} {row['hypervolume']:.3f}         {row['sd']:.3f}  {row['regret']:5.2f}   {row['accuracy']:6.2f} %  "
        f"{row['beats_random']:.0%}"
        for name, row in document.items()
    ]
    return "\n".join(lines)


def checked(table: Table, cost: int) -> Table:
    """Raises EdgenasError where a search of this cost would train half of the table."""
    if 2 * cost > len(table.axis):
        raise EdgenasError(
            f"--cost {cost}: the table has {len(table.axis)} members; give at most {len(table.axis) // 2}"
        )
    return table


def whole(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 10000")
    return int(text)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("table", choices=LAYOUTS)
    made.add_argument(
        "--file", type=Path, help="default: the shared file of this layout, under EDGENAS_SHARED or ../shared"
    )
    made.add_argument(
        "--device", help="a device of the file, or a part of its name that no other has; default: help_raspi4; zcu102"
    )
    made.add_argument(
        "--dataset", help="of nasbench201: cifar10, cifar100 (default), ImageNet16-120, or another of the file"
    )
    made.add_argument("--methods", help="names, with commas between; default: all that are installed")
    made.add_argument("--seeds", type=whole, default=20)
    made.add_argument("--cost", type=whole, default=25, help="of each search, in full trainings")
    made.add_argument("--json", action="store_true")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    path = asked.file or SHARED / "data" / "nas" / f"{FILES[asked.table]}.npz"
    try:
        methods = methods_for(asked.methods)
        table = checked(table_from(asked.table, path, asked.device, asked.dataset), asked.cost)
        truth = truth_of(table)
        sys.stderr.write(f"{table.words()}; {asked.seeds} seeds of {asked.cost} full trainings\n")
        document = compared(truth, methods, asked.seeds, asked.cost, named=asked.methods is not None)
    except EdgenasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(json.dumps(document, indent=1) if asked.json else words(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
