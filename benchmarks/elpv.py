"""ELPV's solar cells, five splits: a fine-tuned public network, its searched cuts, a search from scratch, and teachers.

    python -m benchmarks.elpv --cells FOLDER --reference lite0.onnx [--splits 5] [--folder studies/elpv]
    [--cut-epochs 16] [--fresh-epochs 30] [--reference-epochs 8] [--arms cut fresh]

FOLDER: of `python scripts/elpv.py FOLDER --image-size 128`; docs/tutorials/solar-cells.md says where lite0.onnx comes from.
Every command is one that a user has, in two studies of each split. `cut`: `edgenas search --start` among the cuts of the
reference, `fresh`: `edgenas search --space stages`; then `train`, `compare --reference`, `train --teacher` (the reference as
it was fine-tuned on that split), `compare`. A search has a fixed number of trainings, so that a busy machine decides nothing.
Scores are of the test images of every split, one seed; seconds are of a core, as the operating system counts them. Beside
them: logistic regression on the reference's frozen features, what each network is predicted with on OTHER, and on both
targets the smallest network of a first convolution, one dense stage and a head. Every step is a file under --folder; an
interrupted run goes on, a training inside a step at its beginning. Result, also of fewer splits (n says of how many):
benchmarks/results/elpv.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.live_arms import timed
from benchmarks.steps import record, step
from edgenas.engine.references import references_in
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.networks import network_from_architecture
from edgenas.networks.public import public_network
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Architecture, Classes, Stage, StagesArchitecture
from edgenas.store import Store
from edgenas.tasks import Split, TaskSettings, load_task

CPU = torch.device("cpu")
RESULT = Path(__file__).parent / "results" / "elpv.json"
TARGET, OTHER, PARAMS = "jetson", "raspberry-pi-5", 300_000
SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
SIDE = 128  # px
STRENGTH = 0.01  # C of the logistic regression, on features of mean 0 and deviation 1
# `final` for images that have no up: mirrored and turned; less is cut out, since a defect may be small.
RECIPE = """epochs = 30
batch_size = 1024
lr = 0.8
nesterov = true
weight_decay = 5e-4
decay_norm_and_bias = false
schedule = "linear"
warmup_epochs = 1.0
clip_norm = 5.0
label_smoothing = 0.05
crop = 0.125
cutout = 0.25
flip = true
turns = true
ema = 0.998

[cpu]
batch_size = 128
"""
SEARCH = """target = ["{target}"]
method = "guided"
recipe = "{recipe}"
max-params = {params}
{more}

[rules]
trials = {trials}
epochs = {epochs}
"""
# EfficientNet-Lite0 at 128 px: 0.89 ms predicted; its first two stages alone: 0.40. From scratch what these two take.
# 4 epochs from scratch are chance (the search says so, and ends); what begins with trained layers is above it after two.
SEARCHES = {
    "cut": {"more": 'max-latency-ms = 0.6\nstart = "{reference}"', "trials": 6, "epochs": 2},
    "fresh": {"more": 'max-latency-ms = 0.39\nspace = "stages"', "trials": 8, "epochs": 12},
}


def arms_of(asked: argparse.Namespace, split: int, which: str) -> dict[str, Any]:
    """A study of one split: the searched network, the reference, and the searched one taught by it, each with scores, size,
    latency and seconds. What is done already is read."""
    data, study = asked.cells / f"split-{split}", asked.folder / f"{which}-{split}"
    project, recipe = files(asked.folder, which, asked.reference)
    one = ("--seeds", "1", "--workers", "1")
    epochs = asked.cut_epochs if which == "cut" else asked.fresh_epochs
    own = (*one, "--recipe", str(recipe), "--epochs", str(epochs))
    theirs = (*one, "--reference", str(asked.reference), "--epochs", str(asked.reference_epochs))

    def done(name: str, *arguments: str) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            document, spent = timed(*arguments)
            return {"document": document, **spent}

        return step(asked.folder / f"{which}-{split}-{name}.json", f"{which} {split}: {name}", run, CPU)

    where = ("--data", str(data), "--study", str(study), "--seed", str(split), "--workers", "1")
    search = done("search", "search", str(project), *where)
    plain = done("plain", "train", str(study), *own)
    beside = done("compare", "compare", str(study), *theirs)
    taught = done("taught", "train", str(study), *own, "--teacher", str(asked.reference))
    again = done("compare-taught", "compare", str(study), *theirs)
    whole, cut = elsewhere(study, beside["document"]["winners"][0]["trial"])
    return {
        "reference": shown(beside["document"]["references"][0], beside) | {"other_ms": whole},
        "plain": shown(beside["document"]["winners"][0], plain, search) | {"other_ms": cut},
        "taught": shown(again["document"]["winners"][0], taught, search) | {"other_ms": cut},
        "search_at_chance": search["document"]["at_chance"],
        "sentences": {
            arm: said["document"]["sentence"].replace(str(asked.reference), asked.reference.name)
            for arm, said in (("plain", beside), ("taught", again))
        },
    }


def elsewhere(study: Path, trial: int) -> tuple[float, float]:
    """Predicted ms on OTHER: of the reference, and of what was searched."""
    with Store.read(study) as store:
        (reference,) = references_in(store)
        chosen = next(one for one in store.ledger() if one.number == trial)
    return predicted(OTHER, reference.architecture), predicted(OTHER, chosen.candidate.architecture)


def predicted(target: str, network: Architecture) -> float:
    """ms, at the target's own precision."""
    return latency_from_workload(profile_from_name(target), network).ms


def files(folder: Path, which: str, reference: Path) -> tuple[Path, Path]:
    """The project file and the recipe, written once."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe, project = folder / "cells.toml", folder / f"{which}.toml"
    more = str(SEARCHES[which]["more"]).format(reference=reference)
    text = SEARCH.format(target=TARGET, recipe=recipe, params=PARAMS, **{**SEARCHES[which], "more": more})
    for path, said in ((recipe, RECIPE), (project, text)):
        if path.exists() and path.read_text() != said:
            raise EdgenasError(f"{path} has other settings than this benchmark: name another --folder")
        path.write_text(said)
    return project, recipe


def shown(competitor: dict[str, Any], *spent: dict[str, Any]) -> dict[str, Any]:
    """What a comparison says of one network, and what its steps cost. Its three scores: of the one run."""
    latency = next(iter(competitor["cost"]["latencies"].values()))
    return {
        **{name: values[0] for name, values in competitor["scores"].items() if name in SCORES},
        "params": competitor["cost"]["params"],
        "macs": competitor["cost"]["macs"],
        "latency_ms": latency["ms"],
        "latency_interval": [latency["low"], latency["high"]],
        "epochs": competitor["epochs"],
        "cpu_seconds": [one["cpu_seconds"] for one in spent],
    }


def frozen_scores(reference: Path, data: Path) -> dict[str, Any]:
    """Logistic regression on what the network gives to its last layer, as it is published."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, f1_score

    task = load_task(TaskSettings(str(data)))
    public = public_network(str(reference), task.head, task.preprocessing, task.train.images[:256])
    assert public.tensors is not None
    network = network_from_architecture(public.began)
    network.load_state_dict(network.state_dict() | public.tensors)
    network.kernels[-1] = nn.Flatten()

    def features(*splits: Split) -> NDArray[np.float32]:
        images = np.concatenate([split.images for split in splits])
        with torch.no_grad():
            inputs = (input_from_pixels(images[i : i + 64], public.preprocessing) for i in range(0, len(images), 64))
            return np.concatenate([network.eval()(torch.from_numpy(x)).numpy() for x in inputs])

    known, told = features(task.train, task.val), np.concatenate([task.train.labels, task.val.labels])
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    model = LogisticRegression(C=STRENGTH, max_iter=2000).fit((known - mean) / deviation, told)
    right, said = task.test.labels, model.predict((features(task.test) - mean) / deviation)
    return {
        "accuracy": 100 * float((said == right).mean()),
        "balanced_accuracy": 100 * float(balanced_accuracy_score(right, said)),
        "macro_f1": 100 * float(f1_score(right, said, average="macro")),
    }


def over_splits(splits: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one kind of arm mean and deviation of each number over the splits that are done, n of them."""
    numbers = [key for key, value in splits[0].items() if isinstance(value, int | float)]
    each = {key: [float(split[key]) for split in splits] for key in numbers}
    spread = {
        key: {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}
        for key, values in each.items()
    }
    return {"n": len(splits), **spread}


def summary(studies: dict[str, list[dict[str, Any]]], frozen: list[dict[str, Any]]) -> dict[str, Any]:
    """All arms over their splits, "cut reference" and so on."""
    found = {"frozen": over_splits(frozen)}
    for which, splits in studies.items():
        for arm in ("reference", "plain", "taught") if splits else ():
            found[f"{which} {arm}"] = over_splits([split[arm] for split in splits])
    return found


def main() -> None:
    """Run what is missing; the result is written anew after every study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--arms", nargs="*", choices=tuple(SEARCHES), default=list(SEARCHES))
    parser.add_argument("--folder", type=Path, default=Path("studies/elpv"))
    parser.add_argument("--fresh-epochs", type=int, default=30)
    parser.add_argument("--cut-epochs", type=int, default=16, help="of a cut: 16 take about as long as 8 of the whole")
    parser.add_argument("--reference-epochs", type=int, default=8)
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    asked.cells, asked.reference, asked.folder = (
        path.resolve() for path in (asked.cells, asked.reference, asked.folder)
    )
    least = StagesArchitecture((Stage("dense", 8, 1, 3, 2),), Classes(2), 1, SIDE, stem_width=8)
    settings = {
        "smallest_ms": {target: predicted(target, least) for target in (TARGET, OTHER)},
        "recipe": RECIPE,
        "searches": SEARCHES,
        "epochs": {"cut": asked.cut_epochs, "fresh": asked.fresh_epochs, "reference": asked.reference_epochs},
    }
    frozen: list[dict[str, Any]] = []
    for split in range(asked.splits):
        path, data = asked.folder / f"frozen-{split}.json", asked.cells / f"split-{split}"
        frozen.append(step(path, f"frozen {split}", lambda data=data: frozen_scores(asked.reference, data), CPU))  # type: ignore[misc]
    studies: dict[str, list[dict[str, Any]]] = {which: [] for which in asked.arms}
    for which in asked.arms:
        for split in range(asked.splits):
            studies[which].append(arms_of(asked, split, which))
            found = {"settings": settings, "over_splits": summary(studies, frozen), "splits": studies, "frozen": frozen}
            record(asked.result, "elpv", lambda found=found: found, CPU)  # type: ignore[misc]


if __name__ == "__main__":
    main()
