"""`edgenas init`: a project file to start from."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.options import method_names, task_names
from edgenas.cli.output import emit

PROJECT = """\
# An EdgeNAS project: `edgenas search {name}` reads it, and flags on the command line overrule it.
# Lines that begin with # are the defaults, or examples where there is none; remove the # to change one.

# --- what the network must do
data = {data}                    # digits, fashion-mnist, cifar10, ... or a folder with one folder of images per class
task = {task}            # classification or faces
# data_dir = "~/datasets"             # where named data sets lie (else EDGENAS_DATA, else ~/.cache/edgenas/data)
# image_size = 64                     # of the network's input, pixels; or "64x320": height x width; default: the data's own
# fit = "crop"                        # crop, stretch or pad: how images of another shape become it
# skip_damaged = true                 # leave out image files that cannot be read
# balance = "sampling"                # sampling or weights: classes of unequal size count alike
# metric = "macro_f1"                 # accuracy, balanced_accuracy or macro_f1: what guides the search
# flip = false                        # mirror training images; default: for cifar, fashion-mnist and faces

# --- where it must run: `edgenas targets` lists the names; several are searched for at once
target = [{target}]
# precision = "fp16"                  # default: each target's own

# --- limits, checked before a network is trained
# max_latency_ms = 1.5
# margin = true                       # judge latencies by the upper end of their interval, not by the figure
# max_params = 500000
# max_mmacs = 300.0                   # millions of multiply-accumulates of one image
# max_size_mb = 1.0
# max_memory_mb = 8.0
# max_energy_mj = 5.0                 # only where a board measures energy

# --- how to search
method = {method}                  # guided, gnas, trgnas, nse, nal, random, evolution, nsga2, tpe or gp
# preset = "tiny"                     # tiny (default on a CPU), t, m or trg: see `edgenas search --help`
# min_depth = 4                       # the preset's bounds, one by one
# max_depth = 10
# min_width = 8
# max_width = 24
# width_step = 4
# control = "random"                  # spend the same budget on random networks and show both

# --- how long to train each candidate
recipe = "fast"                       # `edgenas search --help` lists them; or a TOML file
# budget = 10.0                       # minutes for the whole search: chooses the next two for this machine
# epoch_scale = 1.0
# search_images = 3000                # a stratified subsample of the training images
# policy = "gnas"                     # gnas (as the method has it), fixed or gpu-seconds: how long a candidate is trained
seed = 0
# far = 0.01                          # faces: the false accept rate at which TAR is judged

# --- gnas and trgnas only
# confirm_seeds = 2                   # keep a change only where it exceeds the noise of this many more seeds; default: 0
# final_width = "matched"             # gnas; matched or macro: the width that `edgenas train` takes

# --- nse only
# pool = 27                           # 19, 27 or 72 operations
# rounds = 3
# from_study = "studies/NAME"         # start from a finished study's space

# --- guided and the baselines: any space; nal: one of its tables (from_study: the study or file of `edgenas nal fit`)
# space = "nasbench101"               # or chain, stages, fbnet, nasbench201, darts, or one of an installed package
# warm_start = ["studies/NAME"]       # guided: finished studies of other data over the same space
# start = "FILE.onnx"                 # in place of a space: the cuts of this trained network, beginning with its layers

# --- single rules of the method; a name that it does not have is refused with those that it has
# [rules]
# trials = 24
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
    text = PROJECT.format(name=file, target=", ".join(map(json.dumps, targets)), **quoted)
    try:
        with file.open("x", encoding="utf-8") as project:
            project.write(text)
    except FileExistsError:
        raise EdgenasError(f"{file} is there already: edit it, or name another file") from None
    except OSError as error:
        raise EdgenasError(f"{file} cannot be written: {error.strerror}: choose another file") from error
    emit({"file": str(file)}, as_json=as_json, text=f"{file} written: edit it, then run `edgenas search {file}`")
