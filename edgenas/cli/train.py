"""`edgenas train`: the chosen network from scratch, long, over several seeds; the test set once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.onward import say_onward
from edgenas.cli.options import FinalWidth, study_names, target_names, task_names
from edgenas.cli.output import emit, say
from edgenas.engine.counts import counted
from edgenas.engine.scores import best_run, interval_words, metric_of, name_of

if TYPE_CHECKING:
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


def train(
    study: str | None = typer.Argument(
        None,
        autocompletion=study_names,
        help="A study's folder or name (default: the newest); or a network to train without a search, on --data: an "
        "architecture's JSON file, or a published network's name.",
    ),
    trial: int | None = typer.Option(None, help="Train this trial. Default: the search's choice."),
    seeds: int = typer.Option(3, min=1, help="Trainings with different seeds."),
    epochs: int | None = typer.Option(None, min=1, help="Epochs of each training. Default: the recipe's."),
    recipe: str | None = typer.Option(
        None,
        help="final, brief, fast, paper, paper-final, paper-final-emnist, paper-darts, paper-darts-imagenet, paper-nse-imagenet "
        "or a recipe's TOML file. Default: final; brief where --budget leaves few epochs.",
    ),
    budget: float | None = typer.Option(
        None, help="Minutes that all trainings may take: chooses the epochs that fit, on this machine."
    ),
    final_width: FinalWidth | None = typer.Option(
        None, help="gnas, trgnas: the width to train, matched or macro. Default: what the search was told, or matched."
    ),
    data: str | None = typer.Option(
        None, help="Data to go on with by --from-trained, or those of a network without a search."
    ),
    data_dir: str | None = typer.Option(None, help="Where named data sets lie (also: EDGENAS_DATA)."),
    from_trained: bool = typer.Option(False, "--from-trained", help="Go on from the trained weights, on --data."),
    all_images: bool = typer.Option(
        False, "--all-images", help="Train on the validation images, too, as papers do: no score on them is left."
    ),
    start: str | None = typer.Option(
        None,
        help="Fine-tune this network in place of a trial's: FILE.onnx, torchvision:NAME=FILE.pth or timm:NAME=FILE (or "
        "=download).",
    ),
    teacher: str | None = typer.Option(
        None,
        help="Learn also from the outputs of: FILE.onnx, torchvision:NAME (of `edgenas compare`, or with =FILE.pth), what "
        "--start has trained, a study, OUTPUTS.npz, or largest: the space's largest network, trained first.",
    ),
    target: list[str] | None = typer.Option(
        None, autocompletion=target_names, help="Targets of a network without a search. Default: jetson."
    ),
    task: str | None = typer.Option(
        None, autocompletion=task_names, help="Task of a network without a search, as of edgenas search."
    ),
    name: str | None = typer.Option(
        None,
        "--study",
        help="Name or folder of the study of a network without a search. Default: made from network and data.",
    ),
    teacher_mean: str | None = typer.Option(
        None,
        help="What --teacher FILE.onnx takes, if it does not say: (pixel - mean) / std of pixels 0 to 255. One number or three.",
    ),
    teacher_std: str | None = typer.Option(None, help="See --teacher-mean."),
    teacher_views: int | None = typer.Option(
        None,
        min=0,
        help="Faces: how many views of the training images a recogniser is shown. Default: 30 each, 12000 at most.",
    ),
    workers: int | None = typer.Option(
        None, min=1, help="How many processes train. Default: one per seed, two a core at most."
    ),
    processes: int = typer.Option(
        1,
        min=1,
        help="How many processes train each seed together, each a part of every batch: one per GPU, on a CPU two a core at most.",
    ),
    checkpoint_s: float | None = typer.Option(
        None, help="Least seconds between two checkpoints of a training; 0: after every epoch. Default: 30."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Train the chosen network from scratch: over several seeds; the test set is read once.

    Runs that are finished are kept: the same command goes on after an interruption, in a run from its last checkpoint.

    Example: edgenas train --seeds 3 --budget 5

    Example: edgenas train --teacher largest --budget 20

    Example: edgenas train gnas-cifar10-t --data cifar10 --recipe paper

    Example: edgenas train --seeds 1 --processes 4 --all-images

    Example: edgenas train --teacher mobilefacenet.onnx --teacher-mean 127.5 --teacher-std 128

    Example: edgenas train --start efficientnet.onnx --epochs 10
    """
    from edgenas.cli.progress import TrainingView, interruptible
    from edgenas.engine.folders import study_folder
    from edgenas.engine.given import is_given, network_asked, train_given
    from edgenas.engine.train import train as train_final
    from edgenas.engine.training_asked import TrainingAsked
    from edgenas.faces.pixels import pixels_from_text

    wanted = network_asked(study, data, target, task, name, from_trained=from_trained)  # None: a study's
    given = is_given(study)
    asked = TrainingAsked(
        trial,
        seeds,
        epochs,
        recipe,
        budget,
        final_width,
        None if given else data,
        data_dir,
        from_trained,
        workers,
        time.monotonic(),
        start,
        teacher,
        checkpoint_s,
        processes,
        all_images,
        pixels_from_text(teacher_mean, teacher_std),
        teacher_views,
    )
    with interruptible(), TrainingView() as view:
        if wanted is not None:
            folder, final = train_given(wanted, asked, view.hear)
        else:
            folder = study_folder(study, say)
            final = train_final(folder, asked, view.hear)
    emit(document(folder, final), as_json=as_json, text=text(folder, final))
    if not as_json:
        say_onward(folder)


def document(folder: Path, final: FinalTraining) -> dict[str, Any]:
    """As cli.md has it. Of every score that is a mean over seeds <name>_interval, its 95 % interval, where that is known."""
    import msgspec

    from edgenas.confusion import METRICS

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
    from edgenas.engine.verdict import interval_of_runs

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
