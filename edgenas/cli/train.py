"""`edgenas train`: the chosen network from scratch, long, over several seeds; the test set once."""

from __future__ import annotations

import time

import typer

from edgenas.cli.onward import say_onward
from edgenas.cli.options import FinalWidth, study_names, target_names, task_names
from edgenas.cli.output import emit, say


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
    start_mean: str | None = typer.Option(
        None, help="What --start FILE.onnx takes, if it does not say, as --teacher-mean. Default: ImageNet's."
    ),
    start_std: str | None = typer.Option(None, help="See --start-mean."),
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
    from edgenas.cli.train_page import document, text
    from edgenas.engine.folders import study_folder
    from edgenas.engine.given import network_asked, train_given
    from edgenas.engine.train import train as train_final
    from edgenas.engine.training_asked import TrainingAsked
    from edgenas.faces.pixels import pixels_from_text

    wanted = network_asked(study, data, target, task, name, from_trained=from_trained)  # None: a study's
    asked = TrainingAsked(
        trial,
        seeds,
        epochs,
        recipe,
        budget,
        final_width,
        data if wanted is None else None,
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
        pixels_from_text(start_mean, start_std, "--start"),
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
