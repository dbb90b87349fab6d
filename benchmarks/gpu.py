"""Everything that is claimed of a GPU, in calls of nine minutes that go on where the last one stopped.

    python -m benchmarks.gpu [--data-dir DIR] [--minutes 9]     (make bench-gpu; with exit code 75 it wants to be called again)
    python -m benchmarks.gpu --dry-run                          the same steps at a size that a CPU finishes in minutes

Steps: is training on CUDA what it is on a CPU (benchmarks/cuda_checks.py); bandwidth (the floor); training throughput against it
and against the papers' loop, a network at a time; then the commands of docs/reproduce.md for GNAS T on Fashion-MNIST and
CIFAR-10, from the one list of benchmarks/reproductions.py. A step whose result is there is not run again; a search or a training
is interrupted when the minutes are over, keeps what it has finished and goes on with the next call, as after a kill. Results:
benchmarks/results/gpu-*.json (dry runs: in a folder of their own) with device, versions, seeds, n.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.cuda_checks import checked
from benchmarks.readme import write_readme
from benchmarks.reproduce import prepared
from benchmarks.reproductions import FIRST, Command, Setting
from benchmarks.steps import Minutes, OutOfTimeError, edgenas, step
from benchmarks.throughput import NETWORKS, ROUNDS, architecture_of, floor_images_per_second, measure
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.runtimes.child import child_environment
from edgenas.tasks import TaskSettings, load_task

AGAIN = 75  # EX_TEMPFAIL: call it again
MINUTES = 9.0  # a lent machine gives ten to a call
LARGER = {"gnas-cifar10-t": (46, 26), "gnas-cifar10-m": (102, 21)}  # width, depth of published networks


@dataclass(frozen=True)
class Size:
    """How large the steps are. seconds: of each loop in a round of the throughput; setting_up: beside them, for one network."""

    data: str
    networks: Mapping[str, tuple[int, int]]
    seconds: float
    setting_up: float
    megabytes: int
    dry: bool


FULL = Size("cifar10", {**NETWORKS, **LARGER}, 6.0, 40.0, 512, dry=False)
DRY = Size("digits", {"tiny": (8, 4)}, 0.3, 2.0, 64, dry=True)


@dataclass(frozen=True)
class Place:
    """Where results, studies and data are, and for how long this call may go on."""

    folder: Path
    device: torch.device
    environment: Mapping[str, str]
    minutes: Minutes


def bandwidth(device: torch.device, megabytes: int) -> dict[str, Any]:
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


def throughput(name: str, size: Size, place: Place, floor: float) -> dict[str, Any]:
    """Of one network: our loop, the papers' loop and the bandwidth floor, under bf16 on CUDA."""
    data_dir = place.environment.get("EDGENAS_DATA")
    task = load_task(TaskSettings(size.data, data_dir=data_dir))
    (row,) = measure(task, place.device, size.seconds, {name: size.networks[name]})
    workload = workload_from_architecture(architecture_of(task, *size.networks[name]))
    bits = 16 if place.device.type == "cuda" else 32
    row["floor_images_per_second"] = floor_images_per_second(workload, row["fast_batch"], floor, bits)
    row["share_of_floor"] = row["images_per_second"]["ours_fast"] / row["floor_images_per_second"]
    return {"rows": [row], "data": size.data}


def reproduced(setting: Setting, command: Command, size: Size, place: Place) -> dict[str, Any]:
    """One command of the page, or its rehearsal; interrupted where the minutes end, it goes on in the next call."""
    arguments = command.rehearsed() if size.dry else command.arguments
    work = place.folder / "studies"
    work.mkdir(parents=True, exist_ok=True)
    document = edgenas(*arguments, minutes=place.minutes, folder=work, environment=place.environment)
    return {
        "setting": setting.name,
        "command": ["edgenas", *arguments],
        "document": document,
        "published": [msgspec.to_builtins(each) for each in setting.published],
    }


def steps(size: Size, place: Place) -> list[tuple[str, float, Callable[[], dict[str, Any]]]]:
    """(name, seconds that it needs in one go, what it does). A command can be interrupted: it needs none."""
    device = place.device
    floor = place.folder / "gpu-bandwidth.json"

    def speed(name: str) -> dict[str, Any]:
        return throughput(name, size, place, msgspec.json.decode(floor.read_bytes())["gb_per_second"])

    found: list[tuple[str, float, Callable[[], dict[str, Any]]]] = [
        ("gpu-checks", 5 if size.dry else 90, lambda: checked(device)),
        ("gpu-bandwidth", 1 if size.dry else 20, lambda: bandwidth(device, size.megabytes)),
    ]
    for name in size.networks:
        needs = size.setting_up + 3 * ROUNDS * size.seconds
        found.append((f"gpu-throughput-{name}", needs, lambda name=name: speed(name)))  # type: ignore[misc]
    for setting in FIRST:
        for command in setting.commands:
            each = lambda setting=setting, command=command: reproduced(setting, command, size, place)  # noqa: E731
            found.append((f"gpu-{setting.key(command).replace('/', '-')}", 0.0, each))
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def environment(folder: Path, data_dir: str | None, dry: bool) -> dict[str, str]:
    """Of the commands: where the data are. A dry run draws its own."""
    if dry:
        return prepared(folder / "studies")
    return child_environment() | ({"EDGENAS_DATA": str(Path(data_dir).resolve())} if data_dir else {})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of this call; 0: until everything is done")
    parser.add_argument("--dry-run", action="store_true", help="small sizes, any device, results apart")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="STEP", help="steps whose names begin so: gpu-gnas-cifar10"
    )
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(arguments)
    minutes = Minutes(asked.minutes or None)
    if not asked.dry_run and not torch.cuda.is_available():
        sys.stderr.write("benchmarks.gpu: no CUDA device here: run it where there is one, or add --dry-run\n")
        return 1
    size, results = DRY if asked.dry_run else FULL, Path("benchmarks/results")
    folder = asked.out or (results / "dry-run" if asked.dry_run else results)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    place = Place(folder, device, environment(folder, asked.data_dir, asked.dry_run), minutes)
    todo = [each for each in steps(size, place) if not asked.only or each[0].startswith(tuple(asked.only))]
    try:
        for name, needs, run in todo:
            path = folder / f"{name}.json"
            if not path.exists():
                minutes.begin(needs)
            step(path, name, run, device)
    except OutOfTimeError:
        left = [name for name, _, _ in todo if not (folder / f"{name}.json").exists()]
        sys.stderr.write(
            f"the minutes of this call are over, {len(left)} of {len(todo)} steps are left: the same command goes on\n"
        )
        return AGAIN
    except EdgenasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if not asked.dry_run:
        write_readme(folder)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
