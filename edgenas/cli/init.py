"""`edgenas init`: a project file to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from edgenas.cli.options import method_names, task_names
from edgenas.cli.output import emit

PROJECT = """\
# An EdgeNAS project: `edgenas search {name}` reads it, and flags on the command line overrule it.
# Lines that begin with # are the defaults; of settings that have none they are examples, and say so. Remove the # to change one.

# --- what the network must do
data = {data}                    # digits, fashion-mnist, cifar10, ... or a folder with one folder of images per class
task = {task}            # classification or faces
# data_dir = "~/datasets"             # example: where named data sets lie (else EDGENAS_DATA, else ~/.cache/edgenas/data)
# image_size = 64                     # example: of the network's input, pixels; or "64x320": height x width (else the data's own)
# fit = "crop"                        # crop, stretch or pad: how images of another shape become it
# skip_damaged = false                # true: leave out image files that cannot be read
# balance = "none"                    # sampling or weights: classes of unequal size count alike
# metric = "accuracy"                 # accuracy, balanced_accuracy or macro_f1: what guides the search
# flip = false                        # example: mirror training images (else for cifar, fashion-mnist and faces)

# --- where it must run: `edgenas targets` lists the names; several are searched for at once
target = [{target}]
# precision = "fp16"                  # example: one that the targets have (else each target's own)

# --- limits, checked before a network is trained; none is set by default
# max_latency_ms = 1.5                # example
# margin = false                      # true: judge latencies by the upper end of their interval, not by the figure
# max_params = 500000                 # example
# max_mmacs = 300.0                   # example: millions of multiply-accumulates of one image
# max_size_mb = 1.0                   # example
# max_memory_mb = 8.0                 # example
# max_energy_mj = 5.0                 # example: only where a board measures energy

# --- how to search
method = {method}                  # guided, gnas, trgnas, nse, nal, random, evolution, nsga2, tpe or gp
# preset = "tiny"                     # tiny (default on a CPU), t, m or trg: see `edgenas search --help`
# min_depth = 4                       # the bounds of a chain, one by one; these are those of the preset tiny
# max_depth = 10
# min_width = 4
# max_width = 24
# width_step = 4
# control = "random"                  # example: spend the same budget on random networks and show both

# --- how long to train each candidate
recipe = "fast"                       # `edgenas search --help` lists them; or a TOML file
# budget = 10.0                       # example: minutes for the whole search; chooses the next two for this machine
# epoch_scale = 1.0
# search_images = 3000                # example: a stratified subsample of the training images (else all)
# policy = "gnas"                     # gnas (as long as the method says, whichever it is), fixed or gpu-seconds: for how long
#                                       candidates are trained
seed = 0
# far = 0.01                          # faces: the false accept rate at which TAR is judged

# --- gnas and trgnas only
# confirm_seeds = 0                   # 2: keep a change only where it exceeds the noise of two more seeds
# final_width = "matched"             # matched or macro: the width that `edgenas train` takes

# --- nse only
# pool = 19                           # 19 (default of the preset tiny), 27 (of the others) or 72 operations
# rounds = 3                          # example: at most so many (else until the whole pool was tried)
# from_study = "studies/NAME"         # example: start from a finished study's space

# --- guided and the baselines: any space; nal: one of its tables (from_study: the study or file of `edgenas nal fit`)
# space = "chain"                     # or stages, multibranch, fbnet, nasbench101 (default of nal), nasbench201, darts, or one
#                                       of an installed package
# warm_start = ["studies/NAME"]       # example, for guided: finished studies of other data over the same space
# start = "FILE.onnx"                 # example: in place of a space, the subnetworks of this trained network

# --- single rules of the method; a name that it does not have is refused with those that it has
# [rules]
# trials = 24                         # example: of guided and the baselines
"""


def init(
    file: Path = typer.Argument(Path("edgenas.toml"), help="The file to write; an existing one is left alone."),
    data: str = typer.Option("digits", help="A data set's name or a folder of class folders."),
    target: list[str] | None = typer.Option(None, help="Device profile; repeatable. Default: jetson."),
    task: str = typer.Option("classification", autocompletion=task_names, help="classification or faces."),
    method: str = typer.Option(
        "guided",
        autocompletion=method_names,
        help="guided, gnas, trgnas, nse, nal, random, evolution, nsga2, tpe or gp.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Write a project file for `edgenas search FILE`: all settings, commented, accepted as it is.

    Example: edgenas init project.toml --data fashion-mnist --target jetson-nano
    """
    import json

    from edgenas.engine.settings import settings_from
    from edgenas.errors import EdgenasError
    from edgenas.hardware.profile import profile_from_name

    targets = target or ["jetson"]
    for name in targets:
        profile_from_name(name)
    settings_from(None, {"data": data, "target": targets, "task": task, "method": method})
    quoted = {
        name: json.dumps(value, ensure_ascii=False)
        for name, value in (("data", data), ("task", task), ("method", method))
    }
    text = PROJECT.format(name=shlex.quote(str(file)), target=", ".join(map(json.dumps, targets)), **quoted)
    try:
        with file.open("x", encoding="utf-8") as project:
            project.write(text)
    except FileExistsError:
        raise EdgenasError(f"{file} is there already: edit it, or name another file") from None
    except OSError as error:
        raise EdgenasError(f"{file} cannot be written: {error.strerror}: choose another file") from error
    line = shlex.join(["edgenas", "search", str(file)])
    emit({"file": str(file)}, as_json=as_json, text=f"{file} written: edit it, then run `{line}`")
