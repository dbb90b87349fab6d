"""Milliseconds of well-known networks on boards that people own: predicted, and measured by others.

    python -m benchmarks.boards                    judge: fitted on some networks, held against others; and today's profiles
    python -m benchmarks.boards --write            fit the shipped profiles again (profiles/*.toml)
    python -m benchmarks.boards --picture          docs/images/boards.svg: predicted against measured, all boards
    python -m benchmarks.boards --searches         what a search chooses with today's profiles, and with those of --before
        [--before CHECKOUT] [--cache FOLDER] [--onnx FOLDER] [--json]

Networks are held out by design (a family such as ResNet, with all sizes, inputs, precisions and boards), by source and by board:
a row is never judged by a fit that saw its network. Needs timm beside torchvision; minutes at first, seconds from the cache.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy.stats import kendalltau

from benchmarks.board_before import predicted_before
from benchmarks.board_families import FAMILIES, Boards
from benchmarks.board_fit import Family, sample
from benchmarks.board_rows import CACHE, GROUPS, Published, published, with_workloads
from edgenas.hardware.intervals import half_width, kind_of, weights_of
from edgenas.hardware.least_squares import Array
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_name
from edgenas.records import HardwareProfile, Workload

RESULTS = Path(__file__).parent / "results" / "boards.json"
FITTED = {*GROUPS.values(), "MLPerf"}
SPLITS: dict[str, Callable[[Published], Hashable]] = {
    "network": lambda row: row.network,
    "design": lambda row: row.family,
    "source": lambda row: row.group,
    "board": lambda row: row.device,
}


@dataclass(frozen=True)
class Judged:
    """A family of boards: its rows with their networks, its fit, and what fits that saw less said of each row."""

    boards: Boards
    rows: list[Published]
    workloads: list[Workload]
    family: Family
    theta: Array
    held_out: dict[str, Array]  # by split
    others: list[tuple[Published, Workload]]  # of sources that are never fitted
    missing: dict[str, int]

    @property
    def ms(self) -> Array:
        return np.array([row.ms for row in self.rows])


def rows_of(boards: Boards) -> list[Published]:
    """The table's rows of a family, under the names of its profiles, at the precision that is computed."""
    found = []
    for row, _ in published():
        at = msgspec.structs.replace(row, precision=dict(boards.other_names).get(row.precision, row.precision))
        if device := boards.device(at):
            found.append(msgspec.structs.replace(at, device=device))
    return found


def judge(boards: Boards, cache: Path, files: Path | None, splits: Sequence[str] = tuple(SPLITS)) -> Judged:
    """Fit a family on all that is published, and judge it by fits that did not see what they predict."""
    known, missing = with_workloads(rows_of(boards), cache, files)
    fitted = [(row, workload) for row, workload in known if row.group in FITTED]
    others = [(row, workload) for row, workload in known if row.group not in FITTED]
    family = Family([sample(row, workload, boards.profile(row.device)) for row, workload in fitted], boards.prior)
    theta = family.fit(np.arange(len(fitted)))
    found = {name: family.held_out(SPLITS[name]) for name in splits}
    return Judged(boards, [row for row, _ in fitted], [w for _, w in fitted], family, theta, found, others, missing)


# ---------------------------------------------------------------- figures


def figures(predicted: Array, rows: Sequence[Published]) -> dict[str, float | int]:
    """Errors of predictions against measurements, every network counted once. NaN predictions are left out."""
    there = np.flatnonzero(~np.isnan(predicted))
    rows, predicted = [rows[place] for place in there], predicted[there]
    if not rows:
        return {}
    log = np.log(predicted / np.array([row.ms for row in rows]))
    weights, networks = weights_of([row.network for row in rows])
    return {
        "networks": networks,
        "rows": len(rows),
        "ratio": float(np.exp(weights @ log)),
        "error": float(np.exp(weights @ np.abs(log)) - 1),
        "within_1.25": float(weights @ (np.abs(log) <= np.log(1.25))),
        "within_1.5": float(weights @ (np.abs(log) <= np.log(1.5))),
        "worst": float(np.exp(log[np.argmax(np.abs(log))])),
        "kendall": tau(predicted, rows),
    }


def tau(predicted: Array, rows: Sequence[Published]) -> float:
    """Kendall's tau over networks at one input size and batch (geometric means of repeated rows): how well they are ordered."""
    groups: dict[Hashable, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault((row.network, row.side, row.batch), []).append(place)
    if len(groups) < 3:
        return float("nan")
    pairs = [
        (np.mean(np.log(predicted[places])), np.mean([np.log(rows[place].ms) for place in places]))
        for places in groups.values()
    ]
    return float(kendalltau(*zip(*pairs, strict=True)).statistic)


def covered(predicted: Array, rows: Sequence[Published]) -> list[bool]:
    """Does each row lie in the interval that the errors of all *other* designs make?"""
    error = np.abs(np.log(predicted / np.array([row.ms for row in rows])))
    designs = [row.family for row in rows]
    found = []
    for place, design in enumerate(designs):
        rest = [other for other, name in enumerate(designs) if name != design]
        width = (
            half_width(error[rest], [(rows[other].device, rows[other].network) for other in rest]) if rest else np.inf
        )
        found.append(bool(error[place] <= width))
    return found


def report(judged: dict[str, Judged], before: Path | None) -> list[dict[str, Any]]:
    """One entry for every profile and precision that has networks."""
    table = []
    for name, one in judged.items():
        for device, precision in sorted({(row.device, row.precision) for row in one.rows}):
            if device not in one.boards.profiles:
                continue
            places = [place for place, row in enumerate(one.rows) if (row.device, row.precision) == (device, precision)]
            rows, workloads = [one.rows[place] for place in places], [one.workloads[place] for place in places]
            entry: dict[str, Any] = {"family": name, "profile": device, "precision": precision}
            for split, held_out in one.held_out.items():
                entry[split] = figures(held_out[places], rows)
            entry["covered"] = float(np.mean(_covered_in(one, places)))
            entry["shipped"] = figures(predicted_by(profile_from_name(device), rows, workloads), rows)
            if before is not None:
                entry["before"] = figures(predicted_before(before, rows, workloads), rows)
            table.append(entry)
    return table


def _covered_in(one: Judged, places: Sequence[int]) -> list[bool]:
    """Coverage of some rows, by the errors of their precision on all boards of the family."""
    precision = one.rows[places[0]].precision
    same = [place for place, row in enumerate(one.rows) if row.precision == precision]
    found = dict(zip(same, covered(one.held_out["design"][same], [one.rows[place] for place in same]), strict=True))
    return [found[place] for place in places]


def predicted_by(profile: HardwareProfile, rows: Sequence[Published], workloads: Sequence[Workload]) -> Array:
    """What a profile says of each row; NaN at precisions that it does not have."""
    found = np.full(len(rows), np.nan)
    for at in {row.precision for row in rows} & set(profile.precisions):
        places = [place for place, row in enumerate(rows) if row.precision == at]
        asked = [Row(rows[p].network, workloads[p], batch=rows[p].batch) for p in places]
        found[places] = [latency.ms for latency in latencies(profile, asked, at)]
    return found


def kinds(one: Judged) -> list[str]:
    """The kind that every row's network is judged as."""
    return [kind_of(workload) for workload in one.workloads]


def markdown(table: Sequence[dict[str, Any]]) -> str:
    """The table of docs/hardware.md."""
    lines = ["| profile | precision | networks | before: within 1.5x, error | design held out: within 1.25x, 1.5x, error | tau | source held out: error | in the interval |", "|---|---|---|---|---|---|---|---|"]  # noqa: E501  # fmt: skip
    for entry in table:
        held, old, source = entry["design"], entry.get("before") or {}, entry["source"]
        was = f"{100 * old['within_1.5']:.0f} %, {factor(old['error'])}" if old else "not predicted"
        other = factor(source["error"]) if source else "one source"
        order = f"{held['kendall']:.2f}" if np.isfinite(held["kendall"]) else "-"
        lines.append(
            f"| {entry['profile']} | {entry['precision']} | {held['networks']} | {was} | {100 * held['within_1.25']:.0f} %, "
            f"{100 * held['within_1.5']:.0f} %, {factor(held['error'])} | {order} | {other} | "
            f"{100 * entry['covered']:.0f} % |"
        )
    return "\n".join(lines)


def factor(error: float) -> str:
    return f"{1 + error:.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("write", "picture", "searches", "json"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--before", type=Path, help="a checkout of an older version to compare with")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument(
        "--onnx", type=Path, help="a folder of ONNX files, NAME.onnx, for networks that cannot be built here"
    )
    arguments = parser.parse_args()
    judged = {name: judge(boards, arguments.cache, arguments.onnx) for name, boards in FAMILIES.items()}
    if arguments.write:
        from benchmarks.board_profiles import write_profiles

        write_profiles(judged)
    table = report(judged, arguments.before)
    everything = [place for one in judged.values() for place in _covered_in_all(one)]
    document = {"profiles": table, "covered": float(np.mean(everything)), "rows": len(everything),
                "not_built": {name: one.missing for name, one in judged.items() if one.missing}}  # fmt: skip
    RESULTS.write_text(json.dumps(document, indent=1, default=float) + "\n")
    print(json.dumps(document, default=float) if arguments.json else markdown(table))
    if not arguments.json:
        print(f"\nIn the interval, all boards: {100 * document['covered']:.1f} % of {len(everything)} rows")
        print("Not built here:", ", ".join(sorted({name for one in judged.values() for name in one.missing})))
    if arguments.picture:
        from benchmarks.board_picture import draw

        draw(judged)
    if arguments.searches:
        from benchmarks.board_searches import searches

        searches(arguments.before)


def _covered_in_all(one: Judged) -> list[bool]:
    found: list[bool] = []
    for precision in {row.precision for row in one.rows}:
        places = [place for place, row in enumerate(one.rows) if row.precision == precision]
        found += _covered_in(one, places)
    return found


if __name__ == "__main__":
    main()
