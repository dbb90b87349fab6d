"""The figures of docs/search.md, written from benchmarks/results: nobody types them.

    python -m benchmarks.search_page

What stands between a line `<!-- NAME: written by python -m benchmarks.search_page -->` and the next `<!-- end -->` is made anew;
everything else on the page stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.live_summary import digits
from benchmarks.table_results import GP, JUDGED, OFTEN, RANDOM, goals

PAGE = Path(__file__).parents[1] / "docs" / "search.md"
RESULTS = Path(__file__).parent / "results"
COMMAND = "benchmarks.search_page"
MARK = "<!-- {}: written by python -m {} -->\n"
END = "<!-- end -->"
COSTS = ("10", "25", "50", "100")  # full trainings
COLUMNS = {RANDOM: "random", "evolution": "evolution", "nsga2": "NSGA-II", "tpe": "TPE", GP: "GP", "guided": "guided"}
GUIDED = "guided"
ALIKE = 1.25  # speeds of machines that differ by less are one
LEAST_SEEDS = 5  # fewer decide nothing
WORDS = {
    "accel": "Accel-NASBench",
    "nasbench101": "NAS-Bench-101",
    "nasbench201": "NAS-Bench-201",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet16": "ImageNet16-120",
    "zcu102": "ZCU102",
    "help_pixel3": "Pixel 3",
    "help_raspi4": "Raspberry Pi 4",
    "latbench_embedded-gpu-jetson-nano-fp32": "Jetson Nano",
    "oneproxy_hwnasbench_edgegpu_jetson_tx2": "Jetson TX2",
}
TASKS = {
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "elpv": "solar cells (ELPV, 64 px)",
    "photos": "1,500 photographs, 96 px",
}
COMPARED = (  # an arm, what it stands beside, and both in words
    ("guided chain", "above_random", "guided against random"),
    ("nsga2 chain", "above_random", "NSGA-II against random"),
    ("guided stages", "above_random", "guided against random, both in stages"),
    ("random stages", "above_chain", "random in stages against random in chains"),
    ("guided stages", "above_chain", "guided in stages against guided in chains"),
)
SPACES = {"chain": "chains", "stages": "stages"}
JUDGED_BY = (("hypervolume", "hypervolume"), ("test_accuracy", "accuracy"))
Figures = Mapping[str, Any]


def written(page: str, parts: Mapping[str, Callable[[], str]], command: str = COMMAND) -> str:
    """The page with every part of this command made anew. ValueError for a part that has no place on it."""
    for name, part in parts.items():
        mark = MARK.format(name, command)
        pattern = re.compile(re.escape(mark) + ".*?" + re.escape(END), re.DOTALL)
        page, count = pattern.subn(lambda _, new=mark + part() + END: new, page)
        if count != 1:
            raise ValueError(f"{name} has {count} places on the page: it must have one")
    return page


def parts(results: Path = RESULTS) -> dict[str, Callable[[], str]]:
    """What the page holds, by name."""
    tables = json.loads((results / "tables.json").read_text())
    live, again = (json.loads((results / f"{name}.json").read_text())["tasks"] for name in ("live", "live_again"))
    photos = [json.loads((results / f"{name}_photos.json").read_text()) for name in ("live", "live_again")]
    return {
        "photos in words": lambda: "".join(f"- {line}\n" for line in map(photos_words, photos)),
        "tables": lambda: markdown(table_rows(tables["tables"])),
        "tables in words": lambda: "".join(f"- {line}\n" for line in table_words(tables["tables"])),
        "live": lambda: markdown(live_rows(live)),
        "live in words": lambda: "".join(f"- {line}\n" for line in live_words(live)),
        "live again": lambda: markdown(live_rows(again)),
        "live again in words": lambda: "".join(
            f"- {line}\n" for line in (*live_words(again), *slower_words(again, live))
        ),
    }


def markdown(rows: Iterable[tuple[str, ...]]) -> str:
    """A table; the first row is its head."""
    head, *rest = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rest)) + "\n"


# ---------------------------------------------------------------- searches on published tables


def table_rows(tables: Mapping[str, Mapping[str, Mapping[str, Figures]]]) -> Iterable[tuple[str, ...]]:
    """Mean hypervolumes at each cost, how often guided is above random, and both their regrets."""
    yield ("table, axis", *COLUMNS.values(), "seeds in which guided is above random, %", "regret, random / guided")
    for name, of in tables.items():
        hypervolumes = (_at_costs(of.get(method, {}), lambda one: _short(one["hypervolume"])) for method in COLUMNS)
        regret = " / ".join(f"{of[method]['25']['regret']:.2f}" for method in (RANDOM, GUIDED))
        yield (table_name(name), *hypervolumes, _at_costs(of[GUIDED], _often), regret)


def table_name(name: str) -> str:
    """Of a table and its axis: `nasbench201 cifar10 help_pixel3` is NAS-Bench-201 CIFAR-10, Pixel 3."""
    layout, data, *device = name.split()
    shown = WORDS[layout] + (f" {WORDS[data]}" if layout == "nasbench201" else "")
    return f"{shown}, {WORDS[device[0]] if device else 'parameters'}"


def _at_costs(of: Mapping[str, Figures], cell: Callable[[Figures], str]) -> str:
    return " / ".join(cell(of[cost]) for cost in COSTS if cost in of)


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


def _often(one: Figures) -> str:
    percent = f"{100 * one['beats_random']:.0f}"
    return percent if one["beats_random"] >= OFTEN else f"**{percent}**"


def table_words(tables: Mapping[str, Mapping[str, Mapping[str, Figures]]]) -> Iterable[str]:
    """What the tables come to."""

    def often(*costs: str) -> str:
        found = [of[GUIDED][cost] for of in tables.values() for cost in costs if cost in of[GUIDED]]
        return f"{sum(one['beats_random'] >= OFTEN for one in found)} of {len(found)}"

    whole = goals(tables, GUIDED)
    above, below = whole["above_gp_in_the_mean"], whole["below_random_by_a_standard_error"]
    yield (
        f"After {' and '.join(JUDGED)} trainings guided is above random in nine of ten seeds on {often(*JUDGED)} tables and "
        f"costs; after 10 on {often('10')}, after 100 on {often('100')}."
    )
    yield (
        f"It is above the mean of GP on {above['tables']} of the {above['of']} tables and costs that GP has run on, and "
        + (f"below random by more than a standard error on {', '.join(below)}." if below else "nowhere below random.")
    )
    seeds = ((name, _seeds([of[method] for of in tables.values() if method in of])) for method, name in COLUMNS.items())
    yield f"Seeds: {', '.join(f'{name} {words}' for name, words in seeds if words)}."


def _seeds(tables: Sequence[Figures]) -> str:
    """How many each table has; where that depends on the cost, after how many trainings how many: "50 after 10 and 25"."""
    runs: dict[str, set[int]] = {}  # by cost
    for of in tables:
        for cost, one in of.items():
            runs.setdefault(cost, set()).add(one["n"])
    costs: dict[str, list[str]] = {}  # by number of seeds
    for cost in sorted(runs, key=int):
        least, most = min(runs[cost]), max(runs[cost])
        costs.setdefault(f"{least}" if least == most else f"{least} to {most}", []).append(cost)
    if len(costs) < 2:
        return "".join(costs)
    return ", ".join(f"{many} after {' and '.join(those)}" for many, those in costs.items())


# ---------------------------------------------------------------- real trainings


def live_rows(tasks: Mapping[str, Figures]) -> Iterable[tuple[str, ...]]:
    """Each method on each task, with what it is above random, seed by seed, where both have two seeds or more."""
    yield (
        "task",
        "method",
        "seeds",
        "test accuracy, %",
        "above random",
        "hypervolume",
        "above random",
        "networks",
        "ms",
    )
    for task, of in _in_order(tasks):
        for arm, row in sorted(of["arms"].items(), key=lambda pair: (pair[0].split()[1], pair[0])):
            yield (
                TASKS[task],
                arm.removesuffix(" chain"),
                str(len(row["seeds"])),
                _mean(row, "test_accuracy"),
                _above(row, "test_accuracy"),
                _mean(row, "hypervolume"),
                _above(row, "hypervolume"),
                _mean(row, "networks", spread=False),
                _mean(row, "latency_ms", spread=False),
            )


def _in_order(tasks: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    return [(name, tasks[name]) for name in TASKS if name in tasks]


def _mean(row: Figures, key: str, *, spread: bool = True) -> str:
    found = row[key]
    error = f" +- {found['se']:{digits(key)}}" if spread and found["se"] is not None else ""
    return f"{found['mean']:{digits(key)}}{error}"


def _above(row: Figures, key: str, against: str = "above_random") -> str:
    """By seed: both had the same images."""
    found = row.get(against, {}).get(key)
    if found is None or found["paired_mean"] is None:
        return ""
    error = "" if found["paired_se"] is None else f" +- {found['paired_se']:{digits(key)}}"
    return f"{found['paired_mean']:+{digits(key)}}{error}"


def live_words(tasks: Mapping[str, Figures]) -> Iterable[str]:
    """What each task comes to, against random, and in stages against chains; two standard errors over LEAST_SEEDS are a
    difference."""
    for task, of in _in_order(tasks):
        for arm, against, words in COMPARED:
            row = of["arms"].get(arm, {})
            if against not in row:
                continue
            said = [f"{name} {_verdict(row, key, against)}" for key, name in JUDGED_BY]
            pairs = row[against]["hypervolume"]["pairs"]
            yield f"{TASKS[task]}, {pairs} seed{'s' * (pairs != 1)} of both, {words}: {', '.join(said)}."
        for space, found in of.get("worth_of_macs", {}).items():
            yield (
                f"{TASKS[task]}, {found['networks']} networks of fronts in {SPACES[space]}: at equal score in the search e times "
                f"the MACs are worth {found['points']:+.1f} +- {found['se']:.1f} points after the longer training."
            )
        speeds = [speed for arm in of["arms"].values() for speed in arm.get("speed", {}).get("each", ())]
        if speeds and max(speeds) > ALIKE * min(speeds):
            yield (
                f"{TASKS[task]}: the machine was up to {max(speeds) / min(speeds):.1f} times as fast in one search as in "
                "another: equal minutes were no equal chances."
            )


def photos_words(result: Figures) -> str:
    """What the choices of searches on photographs come to, trained again and read on further images."""
    of, seeds = result["methods"], result["seeds_of_training"]
    each = (
        f"{method} {of[method]['further_accuracy']['mean']:.1f} % "
        f"({', '.join(format(one['further_accuracy']['mean'], '.1f') for one in of[method]['choices'])})"
        for method in (GUIDED, RANDOM)
    )
    above = of[GUIDED][f"above_{RANDOM}"]
    searches = len(above["each"])
    sure = searches >= LEAST_SEEDS and _is_sure(above["mean"], above["se"])
    verdict = ("above" if above["mean"] > 0 else "below") if sure else "not told from"
    return (
        f"{searches} searches, each choice trained {seeds} times, {result['images']:,} images: {', '.join(each)}; "
        f"guided is {verdict} random, {above['mean']:+.1f} +- {above['se']:.1f} points by seed."
    )


def slower_words(tasks: Mapping[str, Figures], others: Mapping[str, Figures]) -> Iterable[str]:
    """How fast the machine of these searches was beside that of others: by what random search trained, which is alike on both."""
    for task, of in _in_order(tasks):
        mine, theirs = (each["arms"]["random chain"]["images_per_second"]["mean"] for each in (of, others[task]))
        yield f"{TASKS[task]}: {mine:,.0f} images a second in random search's trainings, {theirs:,.0f} in those above."


def _verdict(row: Figures, key: str, against: str) -> str:
    """With the figures where the table has no column of them."""
    found = row[against][key]
    if found["pairs"] < LEAST_SEEDS:
        return f"not decided (it takes {LEAST_SEEDS} seeds)"
    sure = _is_sure(found["paired_mean"], found["paired_se"])
    word = ("higher" if found["paired_mean"] > 0 else "lower") if sure else "the same within two standard errors"
    return word if against == "above_random" else f"{word} ({_above(row, key, against)})"


def _is_sure(mean: float, standard_error: float) -> bool:
    """Is a mean difference another than none, over LEAST_SEEDS or more?"""
    return abs(mean) > 2 * standard_error


def main() -> None:
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), parts()), encoding="utf-8")


if __name__ == "__main__":
    main()
