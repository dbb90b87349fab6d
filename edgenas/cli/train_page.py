"""A final training, as text and as one document."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgenas.confusion import METRICS
from edgenas.engine.counts import counted
from edgenas.engine.scores import best_run, interval_words, metric_of, name_of
from edgenas.engine.verdict import interval_of_runs
from edgenas.records import FinalRun, FinalTraining, Metric

OF_CLASSES = (  # of a run's report
    *(
        "accuracy",
        "accuracy_interval",
        "balanced_accuracy",
        "balanced_accuracy_interval",
        "macro_f1",
        "macro_f1_interval",
    ),
    *("classes", "confusion"),
)


def document(folder: Path, final: FinalTraining) -> dict[str, Any]:
    """As cli.md has it. Of every score that is a mean over seeds <name>_interval, its 95 % interval, where that is known."""
    metric, scored, exported = final.metric, metric_of(final), best_run(final)
    each = [run.test[metric] for run in final.runs]
    shared: dict[str, Any] = {
        "study": str(folder),
        "trial": final.trial,
        "network": name_of(final),
        "params": final.params,
        "metric": msgspec.to_builtins(scored),
        "epochs": final.recipe.epochs,
        "recipe": final.recipe.name,
        "seeds": len(final.runs),
        "processes": max(run.processes for run in final.runs),
        "all_images": final.all_images,
        f"val_{metric}": mean_of([run.val for run in final.runs], metric),
        "best_epoch": {
            "epochs": [run.best_epoch for run in final.runs],
            f"val_{metric}": mean_of([run.best_val for run in final.runs], metric),
            f"test_{metric}": statistics.fmean(run.best_test[metric] for run in final.runs),
            **_interval("val", [run.best_val for run in final.runs], scored, final),
            **_interval("test", [run.best_test for run in final.runs], scored, final),
        },
        "data": final.data,
        "inherited_percent": final.inherited_percent,
        "seconds": final.seconds,
        f"test_{metric}": over_seeds(each),
        **_interval("val", [run.val for run in final.runs], scored, final),
        **_interval("test", [run.test for run in final.runs], scored, final),
        "exported_seed": exported.seed,
    }
    mirrored = [run.mirrored for run in final.runs if run.mirrored]
    if mirrored:
        shared[f"test_{metric}_mirrored"] = over_seeds([scores[metric] for scores in mirrored])
        shared |= _interval("test", mirrored, scored, final, "_mirrored")
    if not scored.share:
        shared["test"] = exported.report
    for name, other in METRICS.items():
        if name != metric and all(name in run.test for run in final.runs):
            shared[f"test_{name}"] = over_seeds([run.test[name] for run in final.runs])
            shared |= _interval("test", [_with_reported(run, name) for run in final.runs], other, final)
    if "confusion" in exported.report:
        shared["test_report"] = {"seed": exported.seed, **{name: exported.report[name] for name in OF_CLASSES}}
    return shared


def _interval(
    split: str, runs: Sequence[Mapping[str, float]], metric: Metric, final: FinalTraining, suffix: str = ""
) -> dict[str, list[float]]:
    interval = interval_of_runs(runs, metric, final.images.get(split))
    return {} if interval is None else {f"{split}_{metric.name}{suffix}_interval": list(interval)}


def _with_reported(run: FinalRun, name: str) -> dict[str, float]:
    """The scores of a run on the test images, with the interval of `name` that only its report has: macro-F1's is drawn."""
    ends: list[float] | None = run.report.get(f"{name}_interval")
    return run.test if ends is None else {**run.test, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def mean_of(scores: Sequence[dict[str, float]], metric: str) -> float | None:
    """Over seeds; None of a training that has no such scores."""
    return statistics.fmean(each[metric] for each in scores) if all(scores) else None


def over_seeds(values: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "each": values}


def text(folder: Path, final: FinalTraining) -> str:
    """For people."""
    result = document(folder, final)
    test = result[f"test_{final.metric}"]
    interval = result.get(f"test_{final.metric}_interval")
    within = interval_words(interval, metric_of(final))
    over = f" over {final.images['test']} test images" if metric_of(final).share else " over the test set"
    known = "" if interval is None else f"; 95 % interval{over}{within}"
    shown = (
        f"{folder}: {name_of(final)}, {final.params:,} parameters, {counted(final.recipe.epochs, 'epoch')}\n"
        f"test {final.metric} {_mean_words(test, metric_of(final))} {_over(len(final.runs))} (last epoch){known}"
    )
    if "test_report" not in result:
        return shown
    from edgenas.cli.evaluate import summary_lines

    why = "the first" if final.all_images else "the best on validation"
    heading = f"test, seed {result['test_report']['seed']} ({why}, which is exported)"
    return "\n".join([shown, "", heading, *summary_lines(result["test_report"])])


def _mean_words(spread: dict[str, Any], metric: Metric) -> str:
    """97.20 +- 0.31 %; of one seed without the spread, which nobody knows."""
    if len(spread["each"]) == 1:
        return metric.words(spread["mean"])
    return f"{metric.number(spread['mean'])} +- {metric.words(spread['std'])}"


def _over(seeds: int) -> str:
    return f"over {counted(seeds, 'seed')}"
