"""What a teacher is worth: one student, the same seeds and minutes, with and without.

    python -m benchmarks.teachers [--data fashion-mnist cifar10] [--elpv FOLDER] [--teacher largest] [--search 3] [--train 6]
    [--seeds 3] [--data-dir DIR] [--folder studies/teachers] [--max-params 50000] [--epochs N] [--epoch-scale F] [--workers N]
    [--reference lite0.onnx] [--by-reference] [--images N] [--no-free]

For every data set one `edgenas search --budget SEARCH`, then `edgenas train --seeds N --budget TRAIN` twice on its choice:
plain, and with `--teacher`. Equal minutes: the teacher's forward passes, and for `largest` its own training (half of the
minutes), are inside them. A third training, `free`, gives student and teacher as many epochs each as the plain one had, by its
recipe. With --epochs nothing is timed, so that it can run beside other work: the search takes its method's own epochs times
--epoch-scale, plain and `free` train so many epochs by the recipe `final`, and there is no `taught`. FOLDER: class folders, such
as scripts/elpv.py writes. Beside the plain one `edgenas compare --reference` says whether searching paid. Every step is a file
under --folder; an interrupted run goes on.
--images: only so many images of each data set are trained on, a tenth of them more validate, as class folders under --folder.
Result: benchmarks/results/teachers.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.steps import edgenas, record, step
from edgenas.tasks import TaskSettings, load_task

KEPT = ("params", "epochs", "recipe", "seeds", "seconds", "test_accuracy", "val_accuracy")
DECIDES = ("teacher", "search", "train", "seeds", "max_params", "epochs", "epoch_scale", "reference", "images")
CPU = torch.device("cpu")
RESULT = Path(__file__).parent / "results" / "teachers.json"


def arms(asked: argparse.Namespace, data: str) -> dict[str, Any]:
    """Plain, with the teacher in equal minutes, and with it in equal epochs, on one data set."""
    name = Path(data).name
    study = asked.folder / name
    if asked.images is not None:
        data = str(smaller(data, asked.data_dir, asked.images, asked.folder / f"{name}-images"))
    place = () if asked.data_dir is None else ("--data-dir", str(asked.data_dir))
    workers = () if asked.workers is None else ("--workers", str(asked.workers))

    def searched() -> dict[str, Any]:
        limits = ("--max-params", str(asked.max_params), "--target", "jetson")
        long = ("--budget", str(asked.search)) if asked.epochs is None else ("--epoch-scale", str(asked.epoch_scale))
        found = edgenas("search", "--data", data, *place, *limits, *long, *workers, "--study", str(study))
        return {"chosen": found["chosen"]}

    def trained(*more: str) -> dict[str, Any]:
        found = edgenas("train", str(study), "--seeds", str(asked.seeds), *more, *workers, *place)
        return {key: found[key] for key in KEPT}

    def path(arm: str) -> Path:
        return asked.folder / f"{name}-{arm}.json"

    decides = {key: value for key, value in vars(asked).items() if key in DECIDES}
    step(path("search"), f"{name}: search", searched, CPU, decides)
    alike = ("--budget", str(asked.train)) if asked.epochs is None else ("--epochs", str(asked.epochs))
    plain = step(path("plain"), f"{name}: without a teacher", lambda: trained(*alike), CPU, decides)
    teacher = ("--teacher", asked.teacher)
    found: dict[str, Any] = {"plain": plain}
    if asked.reference is not None:

        def compared() -> dict[str, Any]:
            said = edgenas("compare", str(study), "--reference", asked.reference, *workers, *place)
            return {"sentence": said["sentence"]}

        beside = step(path("compare"), f"{name}: beside {asked.reference}", compared, CPU, decides)
        found["compare"] = beside["sentence"].replace(asked.reference, Path(asked.reference).name)
    if asked.epochs is None:
        taught = step(
            path("taught"), f"{name}: taught by {asked.teacher}", lambda: trained(*alike, *teacher), CPU, decides
        )
        found |= {"taught": taught, "gain": gain(plain, taught)}
    if asked.epochs is None and asked.reference is not None and asked.by_reference:
        known = ("--teacher", asked.reference)
        taught = step(
            path("by-reference"), f"{name}: taught by {asked.reference}", lambda: trained(*alike, *known), CPU, decides
        )
        found |= {"by_reference": taught, "by_reference_gain": gain(plain, taught)}
    if asked.no_free:
        return found
    epochs = ("--epochs", str(plain["epochs"]), "--recipe", plain["recipe"])
    free = step(
        path("free"),
        f"{name}: taught, as many epochs as without",
        lambda: trained(*epochs, *teacher),
        CPU,
        decides,
    )
    return {**found, "free": free, "free_gain": gain(plain, free)}


def smaller(data: str, data_dir: Path | None, images: int, folder: Path) -> Path:
    """A part of a data set, the same share of every class, as class folders; all test images."""
    task = load_task(TaskSettings(data, data_dir=None if data_dir is None else str(data_dir)))
    for split, part, most in (
        ("train", task.train, images),
        ("val", task.val, images // 10),
        ("test", task.test, len(task.test)),
    ):
        for label, name in enumerate(task.classes):
            place = folder / split / name.replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            for number in np.flatnonzero(part.labels == label)[: most // len(task.classes)]:
                file = place / f"{number:05}.png"
                if not file.exists():
                    Image.fromarray(np.asarray(part.images[number]).squeeze()).save(file)
    return folder


def gain(plain: dict[str, Any], taught: dict[str, Any]) -> dict[str, float]:
    """Points that the mean test accuracy rises by, with the standard error of that difference over the seeds."""
    one, other = plain["test_accuracy"]["each"], taught["test_accuracy"]["each"]
    errors = [statistics.variance(each) / len(each) for each in (one, other) if len(each) > 1]
    return {"points": statistics.fmean(other) - statistics.fmean(one), "standard_error": sum(errors) ** 0.5}


def main() -> None:
    """Run all arms, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["fashion-mnist", "cifar10"])
    parser.add_argument("--elpv", type=Path)
    parser.add_argument("--teacher", default="largest")
    parser.add_argument("--search", type=float, default=3)
    parser.add_argument("--train", type=float, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-params", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, help="In place of minutes.")
    parser.add_argument("--epoch-scale", type=float, default=0.5, help="Of the search, with --epochs.")
    parser.add_argument("--workers", type=int, help="Processes of searches and trainings.")
    parser.add_argument("--reference", help="A public network that stands beside the plain training.")
    parser.add_argument(
        "--by-reference",
        action="store_true",
        help="The reference teaches, too, as it was trained beside the plain one.",
    )
    parser.add_argument("--images", type=int, help="How many images are trained on.")
    parser.add_argument("--no-free", action="store_true", help="Leave out the training for as many epochs.")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("studies/teachers"))
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    named = [*asked.data, *([] if asked.elpv is None else [str(asked.elpv)])]
    found = {Path(data).name: arms(asked, data) for data in named}
    reference = None if asked.reference is None else Path(asked.reference).name
    places = ("folder", "result", "data_dir")
    settings = {key: str(value) for key, value in vars(asked).items() if key not in places} | {"reference": reference}
    kept = {
        name: {key: _without_settings(value) if isinstance(value, dict) else value for key, value in each.items()}
        for name, each in found.items()
    }
    record(asked.result, "teachers", lambda: {"settings": settings, "data": kept}, CPU)


def _without_settings(step: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key != "asked"}


if __name__ == "__main__":
    main()
