"""What references and teachers are worth, on their pages, written from benchmarks/results: nobody types the figures.

    python -m benchmarks.taught_page

docs/tutorials/solar-cells.md has the five splits (results/elpv.json), docs/results/training.md what a teacher adds in equal
minutes (results/teachers.json).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search_page import markdown, written

COMMAND = "benchmarks.taught_page"
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CELLS, TRAINING = ROOT / "docs/tutorials/solar-cells.md", ROOT / "docs/results/training.md"
ARMS = {
    "frozen": "the reference's features as published, logistic regression",
    "cut reference": "EfficientNet-Lite0, fine-tuned",
    "cut plain": "its cut that the search chose",
    "cut taught": "the same cut, taught by Lite0",
    "fresh plain": "from scratch, space `stages`",
    "fresh taught": "the same network, taught by Lite0",
}
DATA = {"fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
LEAST = "two convolutions of 8 channels"
SURE = 1.96  # standard errors
Figures = Mapping[str, Any]


def cell_rows(found: Figures) -> Iterable[tuple[str, ...]]:
    """Each network over the splits: scores with their deviation, sizes, latency, and minutes of a core for all that it took."""
    yield (
        "network",
        "splits",
        "accuracy, %",
        "balanced, %",
        "macro-F1, %",
        "parameters",
        "M MACs",
        "ms, Jetson",
        "ms, Pi 5",
        "minutes",
    )
    for arm, words in ARMS.items():
        one = found["over_splits"].get(arm)
        if one is not None:
            scores = (_spread(one[key]) for key in ("accuracy", "balanced_accuracy", "macro_f1"))
            yield (
                words,
                str(one["n"]),
                *scores,
                *(_sizes(found, arm, one) if "params" in one else ("", "", "", "", "")),
            )


def _spread(one: Figures) -> str:
    return f"{one['mean']:.1f}" + ("" if one["sd"] is None else f" +- {one['sd']:.1f}")


def _sizes(found: Figures, arm: str, one: Figures) -> tuple[str, ...]:
    minutes = statistics.fmean(sum(each["cpu_seconds"]) / 60 for each in _each(found, arm))
    jetson, pi = (f"{one[key]['mean']:.2f}" for key in ("latency_ms", "other_ms"))
    return f"{one['params']['mean']:,.0f}", f"{one['macs']['mean'] / 1e6:.0f}", jetson, pi, f"{minutes:.0f}"


def _each(found: Figures, arm: str) -> Sequence[Figures]:
    which, role = arm.split()
    return [split[role] for split in found["splits"][which]]


def cell_words(found: Figures) -> Iterable[str]:
    """Each searched network against the reference, split by split."""
    for arm, words in ARMS.items():
        which, _, role = arm.partition(" ")
        if role in ("plain", "taught") and arm in found["over_splits"]:
            ours, theirs = _each(found, arm), _each(found, f"{which} reference")
            pairs = list(zip(ours, theirs, strict=True))
            points = [one["accuracy"] - other["accuracy"] for one, other in pairs]
            ratios = [
                100 * statistics.fmean(one[key] / other[key] for one, other in pairs)
                for key in ("latency_ms", "other_ms")
            ]
            smaller = statistics.fmean(other["params"] / one["params"] for one, other in pairs)
            name = words[0].upper() + words[1:]
            yield (
                f"{name}: {difference(points)} against the fine-tuned reference, with 1/{smaller:.0f} of its parameters, in "
                f"{ratios[0]:.0f} % of its predicted latency on the Jetson, {ratios[1]:.0f} % on the Raspberry Pi 5."
            )
    least = found["settings"]["smallest_ms"]
    reference = statistics.fmean(split["reference"]["latency_ms"] for split in found["splits"]["cut"])
    yield (
        f"No network takes a third of the reference's time on the Jetson by these predictions: the smallest one, of {LEAST} and "
        f"a head, is predicted with {least['jetson']:.2f} ms, {100 * least['jetson'] / reference:.0f} % of it; most of it is the "
        "time to start."
    )


def difference(points: Sequence[float]) -> str:
    """Of paired accuracies: mean with its standard error, and whether that excludes none."""
    mean = statistics.fmean(points)
    if len(points) < 2:
        return f"{mean:+.1f} points (one split)"
    error = statistics.stdev(points) / math.sqrt(len(points))
    return f"{mean:+.1f} +- {error:.1f} points ({_sure(mean, error)})"


def _sure(mean: float, error: float) -> str:
    return (
        "no difference within two standard errors" if abs(mean) <= SURE * error else "better" if mean > 0 else "worse"
    )


def teacher_rows(found: Figures) -> Iterable[tuple[str, ...]]:
    """Each data set: the student without a teacher, with it in the same minutes, and with it for as many epochs."""
    yield ("data", "parameters", "training", "epochs", "seconds", "test accuracy, %", "gain, points")
    for name, words in DATA.items():
        of = found["data"].get(name)
        if of is None:
            continue
        for arm, said, gain in (
            ("plain", "without a teacher", None),
            ("taught", "the largest network teaches, in the same minutes", "gain"),
            ("by_reference", "the fine-tuned reference teaches, in the same minutes", "by_reference_gain"),
            ("free", "the largest network teaches, for as many epochs", "free_gain"),
        ):
            if arm in of:
                one = of[arm]
                score = f"{one['test_accuracy']['mean']:.2f} +- {one['test_accuracy']['std']:.2f}"
                added = "" if gain is None else f"{of[gain]['points']:+.2f} +- {of[gain]['standard_error']:.2f}"
                row = (f"{one['params']:,}", said, str(one["epochs"]), f"{one['seconds']:.0f}", score, added)
                yield (words, *row)


def teacher_words(found: Figures) -> Iterable[str]:
    """What each gain comes to."""
    for name, words in DATA.items():
        of = found["data"].get(name, {})
        for gain, said in (
            ("gain", "taught by the largest network in equal minutes"),
            ("by_reference_gain", "taught by the fine-tuned reference in equal minutes"),
            ("free_gain", "taught by the largest network in equal epochs"),
        ):
            if gain in of:
                yield f"{words}, {said}: {_sure(of[gain]['points'], of[gain]['standard_error'])}."
        if "compare" in of:
            yield f'{words}, `edgenas compare`: "{of["compare"]}"'


def parts(results: Path = RESULTS) -> dict[Path, dict[str, Callable[[], str]]]:
    """What each page holds, by name; of the results that are there."""

    def listed(lines: Iterable[str]) -> str:
        return "".join(f"- {line}\n" for line in lines)

    found: dict[Path, dict[str, Callable[[], str]]] = {}
    if (results / "elpv.json").exists():
        cells = json.loads((results / "elpv.json").read_text())
        found[CELLS] = {
            "five splits": lambda: markdown(cell_rows(cells)),
            "five splits in words": lambda: listed(cell_words(cells)),
        }
    if (results / "teachers.json").exists():
        teachers = json.loads((results / "teachers.json").read_text())
        found[TRAINING] = {
            "teachers": lambda: markdown(teacher_rows(teachers)),
            "teachers in words": lambda: listed(teacher_words(teachers)),
        }
    return found


def main() -> None:
    for page, made in parts().items():
        page.write_text(written(page.read_text(encoding="utf-8"), made, COMMAND), encoding="utf-8")


if __name__ == "__main__":
    main()
