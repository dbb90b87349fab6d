"""The choices of the searches on 1,500 photographs, each trained several times and read on 10,000 further photographs.

    python -m benchmarks.live_photos [--folder studies/live] [--methods random guided] [--seeds 5] [--result FILE]

The task's own test split has 300 images, and every choice is trained once there: a standard error of 2.8 points, to which the
training's own spread is added. Here the recipe and the steps are the same, the seeds others, and the images are CIFAR-10's 10,000
test images, enlarged and compressed as the task's own: no search and no training has seen them. Networks are those of the arms
that benchmarks.live has run in --folder. Every training is a file there; an interrupted run goes on. Result:
benchmarks/results/live_photos.json; of the slower machine's searches live_again_photos.json, with --seeds 3.
"""

from __future__ import annotations

import argparse
import functools
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image

from benchmarks.live import records
from benchmarks.live_arms import Judge
from benchmarks.live_summary import spread, used
from benchmarks.live_tasks import SHARED, TASKS, photograph
from benchmarks.steps import record, step
from edgenas.records import Architecture
from edgenas.tasks import Split
from edgenas.training.loop import outputs_of
from scripts.convert_shared_data import images_from_mosaics

CPU = torch.device("cpu")
RESULT = Path(__file__).parent / "results" / "live_photos.json"
TASK = "photos"


def further_photographs() -> Split:
    """(10000, 96, 96, 3), made as the task's own are."""
    cifar = SHARED / "data/cifar10"
    labels = np.load(cifar / "labels.npz")["test"].astype(np.int64)
    files = map(io.BytesIO, map(photograph, images_from_mosaics(cifar, "test")))
    return Split(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]), labels)


def trained(judge: Judge, architecture: Architecture, seed: int, further: Split) -> dict[str, Any]:
    """Accuracy of one training on the task's test images and on the further ones, percent."""
    network, recipe = judge.network(architecture, seed)
    found = {}
    for name, split in (("test_accuracy", judge.whole.test), ("further_accuracy", further)):
        outputs = outputs_of(network, split, judge.whole.preprocessing, CPU, recipe.threads)
        found[name] = 100 * float((outputs.argmax(1).numpy() == split.labels).mean())
    return found


def rows(folder: Path, methods: list[str], seeds: int) -> dict[str, Any]:
    """By method: the accuracies of each search's choice, and what they come to."""
    task = TASKS[TASK].of(0)
    task.prepare(folder / "data")
    judge, further = Judge(task, folder / "data", folder / "trained" / task.data), further_photographs()
    arms = [run for run in used(records(folder)) if (run["task"], run["space"]) == (TASK, "chain")]
    found: dict[str, Any] = {}
    for method in methods:
        searches = {run["seed"]: run["final"] for run in arms if run["method"] == method}
        choices = []
        for search, shown in sorted(searches.items()):
            name = shown["fingerprint"]
            architecture = msgspec.convert(judge.known(name)["architecture"], Architecture)
            files = [folder / "photos-again" / f"{name}-{seed}.json" for seed in range(1, seeds + 1)]
            each = [
                step(
                    file,
                    file.stem,
                    functools.partial(trained, judge, architecture, seed, further),
                    CPU,
                    {"steps": task.steps},
                )
                for seed, file in enumerate(files, 1)
            ]
            scores = {key: spread([one[key] for one in each]) for key in ("test_accuracy", "further_accuracy")}
            choices.append({"search": search, "params": shown["params"], "macs": shown["macs"], **scores})
        found[method] = {
            "choices": choices,
            "further_accuracy": spread([one["further_accuracy"]["mean"] for one in choices]),
        }
    for method in methods[1:]:
        pairs = zip(found[method]["choices"], found[methods[0]]["choices"], strict=True)
        found[method][f"above_{methods[0]}"] = spread(
            [one["further_accuracy"]["mean"] - other["further_accuracy"]["mean"] for one, other in pairs]
        )
    return {"seeds_of_training": seeds, "images": len(further), "methods": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("studies/live"))
    parser.add_argument(
        "--methods", nargs="*", default=["random", "guided"], help="The first is what others are held against."
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = record(asked.result, "live_photos", lambda: rows(asked.folder.resolve(), asked.methods, asked.seeds), CPU)
    for method, row in found["methods"].items():
        each = ", ".join(f"{one['further_accuracy']['mean']:.2f}" for one in row["choices"])
        print(f"{method}: {row['further_accuracy']['mean']:.2f} % ({each})")


if __name__ == "__main__":
    main()
