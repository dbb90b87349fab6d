"""benchmarks/results/tables.json: what searches on published tables came to."""

from __future__ import annotations

import datetime
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.table_picture import draw
from edgenas.engine.versions import version_of, versions
from edgenas.errors import EdgenasError
from edgenas.records import Record

PATH = Path(__file__).parent / "results" / "tables.json"
RANDOM, GP = "random", "gp"
OFTEN = 0.9  # of the seeds
JUDGED = ("25", "50")  # costs, in full trainings, that the goals speak of

Tables = dict[str, dict[str, dict[str, dict[str, Any]]]]  # table -> method -> cost -> figures


class Line(Record, frozen=True):
    """One search of the work file. regret, accuracy: under the three limits, () where it was not searched under them."""

    table: str
    method: str
    cost: int
    seed: int
    hypervolume: float
    regret: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.table, self.method, self.cost, self.seed


def lines_of(path: Path) -> list[Line]:
    """What the work file holds; a last line that was cut off is left out."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    return [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]


def summarised(lines: Iterable[Line]) -> Tables:
    """table -> method -> cost -> figures: n searches, mean hypervolume and its standard deviation, share of the seeds in which it
    is higher than random's; where there were searches under limits, how many and their mean regret and accuracy."""
    found: dict[tuple[str, str, int], dict[int, Line]] = defaultdict(dict)
    for line in lines:
        found[line.table, line.method, line.cost][line.seed] = line
    tables: Tables = {}
    for (table, method, cost), by_seed in sorted(found.items()):
        figures = _figures(by_seed, found.get((table, RANDOM, cost), {}))
        tables.setdefault(table, {}).setdefault(method, {})[str(cost)] = figures
    return tables


def _figures(by_seed: Mapping[int, Line], random: Mapping[int, Line]) -> dict[str, Any]:
    covered = [line.hypervolume for line in by_seed.values()]
    pairs = [(line.hypervolume, random[seed].hypervolume) for seed, line in by_seed.items() if seed in random]
    limited = [line for line in by_seed.values() if line.regret]
    figures = {
        "n": len(covered),
        "hypervolume": round(statistics.fmean(covered), 4),
        "sd": round(statistics.stdev(covered), 4) if len(covered) > 1 else 0.0,
        "pairs": len(pairs),
        "beats_random": round(statistics.fmean(one > other for one, other in pairs), 3) if pairs else None,
    }
    if limited:
        figures |= {
            "n_under_limits": len(limited),
            "regret": round(statistics.fmean(points for line in limited for points in line.regret), 3),
            "accuracy": round(statistics.fmean(percent for line in limited for percent in line.accuracy), 2),
        }
    return figures


def goals(tables: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]], method: str) -> dict[str, Any]:
    """On how many tables, at 25 and 50 full trainings each, the method is above random in nine of ten seeds; at any cost, on how
    many it is above GPSampler in the mean, and where it is below random by more than the standard error of the difference."""
    rows = [(table, cost, of) for table, of in tables.items() for cost in of.get(method, {})]
    judged = [(table, of[method][cost], of) for table, cost, of in rows if cost in JUDGED]
    often = [mine["beats_random"] >= OFTEN for _, mine, _ in judged if mine["beats_random"] is not None]
    against = [
        of[method][cost]["hypervolume"] > of[GP][cost]["hypervolume"] for _, cost, of in rows if cost in of.get(GP, {})
    ]
    below = [
        f"{table} at {cost}"
        for table, cost, of in rows
        if cost in of.get(RANDOM, {}) and _apart(of[method][cost], of[RANDOM][cost]) < -1
    ]
    return {
        "above_random_in_nine_of_ten": {"tables": sum(often), "of": len(often)},
        "above_gp_in_the_mean": {"tables": sum(against), "of": len(against)},
        "below_random_by_a_standard_error": below,
    }


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The difference of two means in its standard errors."""
    error = math.sqrt(one["sd"] ** 2 / one["n"] + other["sd"] ** 2 / other["n"])
    return float((one["hypervolume"] - other["hypervolume"]) / max(error, 1e-12))


def merged(written: Tables, found: Tables) -> Tables:
    """What was written before, with what was found anew from as many searches or more in the place of the same table, method and
    cost. Regret and accuracy under limits, where the new searches have none, stay."""
    tables = {table: {method: dict(costs) for method, costs in of.items()} for table, of in written.items()}
    for table, of in found.items():
        for method, costs in of.items():
            known = tables.setdefault(table, {}).setdefault(method, {})
            for cost, figures in costs.items():
                before = known.get(cost, figures)
                if all(figures[count] >= before[count] for count in ("n", "pairs")):
                    known[cost] = {**before, **figures}
    return tables


def refuse_other_optuna(written: Mapping[str, Any]) -> None:
    """EdgenasError where what is written is of another Optuna than is installed: its searches would be mixed with others."""
    before, now = written["versions"]["optuna"], version_of("optuna")
    if before != now:
        raise EdgenasError(
            f"{PATH.name} is of Optuna {before}, and {now} is installed: install the first, or remove {PATH} and search all "
            "tables anew with every method"
        )


def written_before() -> dict[str, Any] | None:
    """The document that is there; None where there is none."""
    return json.loads(PATH.read_text()) if PATH.exists() else None


def document_of(lines: Sequence[Line], written: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is written; `written`: the document before. Raises EdgenasError where that is of another Optuna."""
    tables, optuna = summarised(lines), version_of("optuna")
    if written is not None:
        refuse_other_optuna(written)
        tables = merged(written["tables"], tables)
    methods = sorted({method for of in tables.values() for method in of} - {RANDOM, GP})
    return {
        "benchmark": "tables",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "versions": {**versions(), "optuna": optuna},
        "what": "searches simulated on published tables: hypervolume of (error, log axis), 1 = the table's own front; cost in "
        "full trainings; regret and accuracy under three limits, in points and percent (benchmarks/tables.py)",
        "goals": {method: goals(tables, method) for method in methods},
        "tables": tables,
    }


def section(document: Mapping[str, Any]) -> str:
    """The results for people, in Markdown: hypervolumes at the costs that the goals speak of."""
    tables = document["tables"]
    methods = list(dict.fromkeys(method for of in tables.values() for method in of))
    rows = [f"| table, cost | {' | '.join(methods)} |", "|---|" + "---|" * len(methods)]
    for table, of in tables.items():
        for cost in JUDGED:
            cells = [_cell(of.get(method, {}).get(cost), method) for method in methods]
            if any(cells):
                rows.append(f"| {table}, {cost} | {' | '.join(cells)} |")
    return (
        "## Searches on published tables\n"
        f"{document['date']}, Optuna {document['versions']['optuna']}; {document['what']}. "
        "Mean (seeds; share of them above random)\n\n" + "\n".join(rows) + "\n"
    )


def _cell(figures: Mapping[str, Any] | None, method: str) -> str:
    if figures is None:
        return ""
    often = "" if method == RANDOM or figures["beats_random"] is None else f"; {figures['beats_random']:.0%}"
    return f"{figures['hypervolume']:.3f} ({figures['n']}{often})"


def write(lines: Sequence[Line]) -> None:
    """The results, and the picture of them. What the lines do not tell of stays as it was."""
    document = document_of(lines, written_before())
    PATH.write_text(json.dumps(document, indent=1) + "\n")
    draw(document["tables"])
    sys.stdout.write(f"{PATH}\n")
