"""`edgenas search`: flags in, one call, the front out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgenas.cli.onward import say_onward
from edgenas.cli.options import (
    Balance,
    ClassMetric,
    Control,
    FinalWidth,
    Fit,
    Policy,
    Pool,
    Precision,
    Preset,
    method_names,
    space_names,
    study_names,
    target_names,
    task_names,
)
from edgenas.cli.output import emit
from edgenas.errors import EdgenasError

# what does not decide the result
NOT_SETTINGS = {
    "file",
    "study",
    "resume",
    "workers",
    "processes",
    "ray",
    "board",
    "token_file",
    "ca",
    "reference",
    "as_json",
}


def search(
    file: Path | None = typer.Argument(
        None,
        help="A project file (TOML): any setting that decides what is searched (edgenas init lists them), and a [rules] table.",
    ),
    target: list[str] | None = typer.Option(
        None, autocompletion=target_names, help="Device profile, name or TOML file; repeatable. Default: jetson."
    ),
    data: str | None = typer.Option(None, help="A data set's name or a folder of class folders. Default: digits."),
    data_dir: str | None = typer.Option(None, help="Where named data sets lie (also: EDGENAS_DATA)."),
    task: str | None = typer.Option(
        None,
        autocompletion=task_names,
        help="classification, faces, or one of another package. Default: classification.",
    ),
    method: str | None = typer.Option(
        None,
        autocompletion=method_names,
        help="gnas, trgnas, nse, nal, guided, random, evolution, nsga2, tpe, gp, or one of another package. Default: guided.",
    ),
    preset: Preset | None = typer.Option(
        None,
        help="Bounds of chains and epochs. tiny (default on a CPU): depth 4-10, width 4-24; t (default on a GPU): 10-100, 16-64; "
        "m: 10-100, 16-128; trg (default of trgnas on a GPU): 10-20, 16-72.",
    ),
    min_depth: int | None = typer.Option(None, help="Fewest layers of a chain, or blocks in all stages."),
    max_depth: int | None = typer.Option(None, help="Most layers of a chain, or blocks in all stages."),
    min_width: int | None = typer.Option(None, help="Fewest channels: of a chain where it begins, of stages anywhere."),
    max_width: int | None = typer.Option(
        None, help="Most channels: of a chain where it begins (they double twice in it), of stages anywhere."
    ),
    width_step: int | None = typer.Option(None, help="Channels from one possible width to the next."),
    recipe: str | None = typer.Option(
        None,
        help="fast, brief, paper, final, paper-final, paper-final-emnist, paper-darts, paper-darts-imagenet, paper-nse-imagenet "
        "or a recipe's TOML file. Default: fast.",
    ),
    epoch_scale: float | None = typer.Option(None, help="Factor on every candidate's epochs."),
    search_images: int | None = typer.Option(
        None, help="Search on so many of the training images, of every class its share."
    ),
    budget: float | None = typer.Option(
        None, help="Minutes that the search may take: chooses --epoch-scale and --search-images for this machine."
    ),
    max_latency_ms: float | None = typer.Option(None, help="Limit on an image's latency on every target, ms."),
    margin: bool | None = typer.Option(
        None, "--margin", help="Judge latencies by the upper end of their interval. Default: by the figure."
    ),
    max_params: int | None = typer.Option(None, help="Limit on parameters."),
    max_mmacs: float | None = typer.Option(None, help="Limit on an image's multiply-accumulates, millions."),
    max_size_mb: float | None = typer.Option(None, help="Limit on the weights' size at the target's precision, MB."),
    max_memory_mb: float | None = typer.Option(None, help="Limit on peak activations plus weights, MB."),
    max_energy_mj: float | None = typer.Option(None, help="Limit on energy per inference, where a board measures it."),
    policy: Policy | None = typer.Option(
        None,
        help="How long candidates train: gnas (as long as the method says, whichever it is), fixed (all for as many epochs), or "
        "gpu-seconds (all at equal cost). Default: gnas.",
    ),
    confirm_seeds: int | None = typer.Option(
        None, help="gnas, trgnas: repeat close decisions with this many more seeds."
    ),
    control: Control | None = typer.Option(None, help="Spend the same budget on random networks, and show both."),
    image_size: str | None = typer.Option(
        None,
        metavar="SIDE|HxW",
        help="Size of the network's input, pixels: 64, or 64x320 for a height of 64 and a width of 320. Default: the data's own.",
    ),
    fit: Fit | None = typer.Option(
        None, help="Images of another shape are cropped to their middle, stretched, or padded with grey. Default: crop."
    ),
    skip_damaged: bool | None = typer.Option(
        None, "--skip-damaged", help="Leave out image files that cannot be read. Default: refuse the folder."
    ),
    balance: Balance | None = typer.Option(
        None,
        help="Where classes are of unequal size: draw all equally often (sampling), or weigh errors (weights). Default: none.",
    ),
    metric: ClassMetric | None = typer.Option(None, help="What guides a search of classes. Default: accuracy."),
    flip: bool | None = typer.Option(None, help="Mirror training images. Default: for cifar, fashion-mnist and faces."),
    seed: int | None = typer.Option(None, help="Seed of the splits and of every training. Default: 0."),
    far: float | None = typer.Option(None, help="Faces: the false accept rate at which TAR is judged. Default: 1e-2."),
    precision: Precision | None = typer.Option(
        None, help="Precision to judge latencies at, one that the target has. Default: its own."
    ),
    final_width: FinalWidth | None = typer.Option(
        None, help="gnas, trgnas: the width that edgenas train takes. Default: matched."
    ),
    pool: Pool | None = typer.Option(
        None, help="NSE: how many operations there are to choose from. Default: 19 in the preset tiny, else 27."
    ),
    rounds: int | None = typer.Option(None, help="NSE: at most this many rounds."),
    from_study: str | None = typer.Option(
        None,
        "--from",
        help="NSE: a finished study, whose space is searched on. NAL: the study or file of `nal fit`.",
    ),
    warm_start: list[str] | None = typer.Option(
        None, help="guided: a study of other data in the same space, whose results it begins from. May be repeated."
    ),
    start: str | None = typer.Option(
        None,
        help="guided, random, evolution, nsga2, tpe, gp: a trained network of stages, FILE.onnx or torchvision:NAME=FILE.pth; "
        "its subnetworks (some of its blocks and stages) are searched, each beginning with its weights.",
    ),
    space: str | None = typer.Option(
        None,
        autocompletion=space_names,
        help="nal: nasbench101 (default), nasbench201 or darts. guided, random, evolution, nsga2, tpe, gp: "
        "chain (default), stages, multibranch, one of these, fbnet, or one of another package.",
    ),
    reference: list[str] | None = typer.Option(
        None,
        help="A public network that `edgenas compare` will train beside the winner: torchvision:NAME, timm:NAME, either with "
        "=FILE.pth, or FILE.onnx; repeatable.",
    ),
    study: str | None = typer.Option(
        None, help="Name or folder of the study. Default: made from data, target, method and settings."
    ),
    resume: str | None = typer.Option(
        None,
        metavar="STUDY",
        autocompletion=study_names,
        help="Go on with this study, name or folder.",
    ),
    workers: int | None = typer.Option(
        None, min=0, help="How many processes train; 0: this one does. Default: one per core, or one per GPU."
    ),
    processes: int = typer.Option(
        1,
        min=1,
        help="NSE: how many processes train its supernet together, each a part of every batch; --workers is as many or more.",
    ),
    ray: str | None = typer.Option(None, help="A Ray cluster's address, or auto."),
    board: list[str] | None = typer.Option(
        None, help="Measure candidates on this board: https://.., http://.. or ssh://..; repeatable."
    ),
    token_file: Path | None = typer.Option(None, help="The boards' token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="PEM file of the CA to trust for https:// boards, in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Find networks for a device: macro-micro search with every candidate's latency known before it is trained.

    Running the same command again goes on where it stopped, and prints a finished search at once. So does
    --resume STUDY, without the settings: only --workers, --processes, --ray, --board, --token-file, --ca and --data-dir may stand
    beside it.

    Example: edgenas search --target jetson --data fashion-mnist --max-latency-ms 0.45 --budget 4

    Example: edgenas search --resume digits-night --workers 4
    """
    given = {name: value for name, value in locals().items() if name not in NOT_SETTINGS}
    from edgenas.cli.front_page import front_document, front_text
    from edgenas.cli.progress import SearchView, interruptible
    from edgenas.engine.call import Where
    from edgenas.engine.engine import go_on
    from edgenas.engine.engine import search as run_search
    from edgenas.engine.folders import study_folder
    from edgenas.engine.settings import settings_from

    where = Where(study, workers, ray, tuple(board or ()), token_file, ca, tuple(reference or ()), processes)
    with SearchView(boards=where.boards, token_file=token_file) as view, interruptible(view.resuming):
        if resume is None:
            folder = run_search(settings_from(file, given), where, view.hear)
        else:
            _refuse_settings(resume, {"file": file, **given, "study": study, "reference": reference})
            folder = study_folder(resume)
            go_on(folder, where, view.hear, data_dir)
    document = front_document(folder)
    emit(document, as_json=as_json, text=front_text(document))
    if not as_json:
        say_onward(folder)


def _refuse_settings(study: str, given: dict[str, Any]) -> None:
    """Raise EdgenasError for what was given beside --resume and is in the study already."""
    from edgenas.methods.settings import flag_of

    names = [name for name, value in given.items() if value is not None and name != "data_dir"]
    flags = ["a project file" if name == "file" else flag_of(name) for name in names]
    if flags:
        raise EdgenasError(
            f"--resume {study} takes every setting from that study: leave out {', '.join(flags)} (possible beside it: --workers, "
            "--processes, --ray, --board, --token-file, --ca, --data-dir)"
        )
