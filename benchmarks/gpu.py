"""Everything that is claimed of a GPU, in short steps that go on after an interruption.

    python -m benchmarks.gpu [--data-dir DIR]         (make bench-gpu)
    python -m benchmarks.gpu --dry-run                the same steps at a size that a CPU finishes in minutes

Steps: bandwidth (the floor), training throughput against it and against the papers' loop, then for each data set the full
GNAS search at <= 0.47 M parameters and 3 final trainings. A step whose result is there is not run again; a search or a
training that was interrupted goes on where it stopped. Results: benchmarks/results/gpu-*.json (dry runs: in a folder of
their own) with device, versions, seeds, n; benchmarks/README.md is written from whatever results there are.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.readme import write_readme
from benchmarks.steps import edgenas, step
from benchmarks.throughput import NETWORKS, measure
from edgenas.tasks import TaskSettings, load_task

LARGER = {"gnas-cifar10-t": (46, 26), "gnas-cifar10-m": (102, 21)}  # width, depth of published networks
PUBLISHED = {  # last epoch, percent; search hours on one GPU (GNAS, arXiv 2502.03553)
    "cifar10": {"test_accuracy": 95.77, "search_hours": 5.82},
    "fashion-mnist": {"test_accuracy": 95.85, "search_hours": 2.52},
    "cifar100": {"test_accuracy": 76.15, "search_hours": 3.97},
}


class Size(NamedTuple):
    """How large the steps are."""

    data: tuple[str, ...]
    networks: dict[str, tuple[int, int]]
    seconds: float
    search: tuple[str, ...]
    train: tuple[str, ...]


FULL = Size(
    ("cifar10", "fashion-mnist", "cifar100"),
    {**NETWORKS, **LARGER},
    6.0,
    ("--preset", "t", "--max-params", "470000"),
    ("--seeds", "3"),
)
DRY = Size(
    ("digits",),
    {"tiny": (8, 4)},
    0.3,
    ("--preset", "tiny", "--max-depth", "5", "--search-images", "300", "--epoch-scale", "0.2", "--max-params", "20000"),
    ("--seeds", "1", "--epochs", "2"),
)


def bandwidth(device: torch.device, megabytes: int = 512) -> dict[str, Any]:
    """GB/s of copying on the device, read and written bytes counted: what bandwidth-bound networks can hope for."""
    source = torch.empty(megabytes << 18, device=device)  # float32
    target = torch.empty_like(source)
    samples = []
    for _ in range(10):
        _wait(device)
        started = time.perf_counter()
        target.copy_(source)
        _wait(device)
        samples.append(2 * source.numel() * 4 / (time.perf_counter() - started) / 1e9)
    return {"gb_per_second": sorted(samples[2:])[4], "samples": samples}


def throughput(device: torch.device, size: Size, data_dir: str | None, floor: float) -> dict[str, Any]:
    """Our loop, the papers' loop and the bandwidth floor: forward and backward move about three times the forward's bytes,
    at two bytes a number under bf16."""
    task = load_task(TaskSettings(size.data[0], data_dir=data_dir))
    rows = measure(task, device, size.seconds, size.networks)
    bytes_per_number = 2 if device.type == "cuda" else 4
    for row in rows:
        row["floor_images_per_second"] = floor * 1e9 / (3 * row["bytes_moved"] * bytes_per_number / 4)
        row["share_of_floor"] = row["images_per_second"]["ours_fast"] / row["floor_images_per_second"]
    return {"rows": rows, "data": size.data[0]}


def full_search(name: str, size: Size, data_dir: str | None, folder: Path) -> dict[str, Any]:
    """`edgenas search`, then `edgenas train`: both go on where an earlier run stopped."""
    study = str(folder / "studies" / name)
    where = ("--data-dir", data_dir) if data_dir else ()
    search = edgenas("search", "--data", name, "--target", "jetson", "--study", study, *size.search, *where)
    train = edgenas("train", study, *size.train, *where)
    minutes = (search["seconds"] + train["seconds"]) / 60
    return {
        "data": name,
        "search": {key: search[key] for key in ("chosen", "trials", "infeasible", "failed", "seconds")},
        "train": train,
        "all_in_minutes": minutes,
        "published": PUBLISHED.get(name),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--dry-run", action="store_true", help="small sizes, any device, results apart")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: no CUDA device here: run it where there is one, or add --dry-run")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = DRY if arguments.dry_run else FULL
    folder = arguments.out or Path("benchmarks/results/dry-run" if arguments.dry_run else "benchmarks/results")
    floor = step(folder / "gpu-bandwidth.json", "bandwidth", lambda: bandwidth(device), device)["gb_per_second"]
    speed = folder / "gpu-throughput.json"
    step(speed, "throughput", lambda: throughput(device, size, arguments.data_dir, floor), device)
    for name in size.data:
        path = folder / f"gpu-search-{name}.json"
        step(path, f"search {name}", lambda name=name: full_search(name, size, arguments.data_dir, folder), device)  # type: ignore[misc]
    if not arguments.dry_run:
        write_readme(folder)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
