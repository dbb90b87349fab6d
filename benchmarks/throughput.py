"""Training throughput: our loop against a plain loop as the papers wrote it; same networks, same data, one run.

    python -m benchmarks.throughput [--seconds 8] [--data-dir DIR]        (make bench)

The papers' loop: torchvision-style per-image transforms in a DataLoader with worker processes, batch 64, SGD, gradient clip,
`.item()` every step. Ours twice: with the papers' batch of 64, and as `fast` runs it. Rounds alternate, so that a
disturbance of the machine hits all; the first step of each round is thrown away. Raw samples are kept.
Device, versions and n stand in the result: benchmarks/results/throughput-<device>.json.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import ChainArchitecture, Classes, Recipe, Workload
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.loop import fresh_network, pinned_threads
from edgenas.training.memory import keep_freed_memory
from edgenas.training.recipes import recipe_from_name
from edgenas.training.step import Step

ROUNDS = 3
NETWORKS = {
    "tiny": (12, 6),  # width, depth: a member of the `tiny` preset
    "gnas-like": (24, 12),  # deeper than wide, as GNAS's are, at a size that a CPU trains
    "wide": (64, 6),
}
BACKWARD = 3  # forward and backward move and compute about three times what forward alone does
TrainBatch = Callable[[], int]  # trains one batch, returns its images


class PapersImages(Dataset[tuple[torch.Tensor, int]]):
    """One image at a time on the CPU: crop, flip, normalise, cutout, as the papers' transforms do."""

    def __init__(self, task: Task) -> None:
        self.images = np.pad(task.train.images, ((0, 0), (4, 4), (4, 4), (0, 0)))  # (N, H + 8, W + 8, C)
        self.labels = task.train.labels
        self.side = task.train.images.shape[1]
        self.mean, self.std = (
            torch.tensor(v)[:, None, None] for v in (task.preprocessing.mean, task.preprocessing.std)
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        top, left, y, x = torch.randint(0, 9, (2,)).tolist() + torch.randint(0, self.side, (2,)).tolist()
        image = torch.from_numpy(self.images[index, top : top + self.side, left : left + self.side].copy())
        tensor = image.permute(2, 0, 1).float().div(255)  # (C, H, W)
        if torch.rand(1) < 0.5:
            tensor = tensor.flip(2)
        tensor = (tensor - self.mean) / self.std
        tensor[:, max(0, y - 8) : y + 8, max(0, x - 8) : x + 8] = 0
        return tensor, int(self.labels[index])


def papers_loop(task: Task, architecture: ChainArchitecture, device: torch.device) -> TrainBatch:
    """The published training loop; on a CPU the main process computes and one worker process prepares images."""
    network = fresh_network(architecture, 0, device).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    workers = 1 if device.type == "cpu" else 4
    loader = DataLoader(
        PapersImages(task), 64, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True
    )

    def forever() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    batches = forever()
    network.train()

    def step() -> int:
        x, labels = (tensor.to(device) for tensor in next(batches))
        optimizer.zero_grad()
        outputs = network(x)
        loss = F.cross_entropy(outputs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        loss.item()  # the papers log every step
        (outputs.argmax(1) == labels).sum().item()
        return len(labels)

    return step


def our_loop(task: Task, architecture: ChainArchitecture, recipe: Recipe, device: torch.device) -> TrainBatch:
    """The steps that the evaluator runs."""
    data = DeviceImages(task.train, task.preprocessing, device, recipe.crop_padding)
    augmentation = Augmentation(data, recipe, torch.Generator(device).manual_seed(0))
    trained = Step(fresh_network(architecture, 0, device), task.loss(recipe), recipe, device)
    order = augmentation.order()
    batches = order[: len(order) // recipe.batch_size * recipe.batch_size].view(-1, recipe.batch_size)
    count = 0

    def step() -> int:
        nonlocal count
        trained(*augmentation.batch(batches[count % len(batches)], 0), recipe.lr * 0.01)
        count += 1
        return recipe.batch_size

    return step


def images_per_second(step: TrainBatch, seconds: float, device: torch.device) -> float:
    step()
    _wait(device)
    images, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        images += step()
    _wait(device)
    return images / (time.perf_counter() - started)


def bytes_in_a_batch(workload: Workload, batch: int) -> float:
    """Bytes that forward moves for an image of a batch at FP32: weights are read once for all of its images."""
    weights = sum(kernel.weights for kernel in workload.kernels)
    return workload.bytes_moved - 4 * weights * (1 - 1 / batch)


def floor_images_per_second(workload: Workload, batch: int, gb_per_second: float, bits: int) -> float:
    """What a training cannot exceed where each number that it needs moves once."""
    return gb_per_second * 1e9 / (BACKWARD * bytes_in_a_batch(workload, batch) * bits / 32)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def architecture_of(task: Task, width: int, depth: int) -> ChainArchitecture:
    """A separable chain for the task's images."""
    size = task.preprocessing
    return chain(width, depth, (0,) * depth, (3,) * depth, task.head, size.channels, size.input_size)  # type: ignore[arg-type]


def measure(
    task: Task, device: torch.device, seconds: float, networks: dict[str, tuple[int, int]]
) -> list[dict[str, Any]]:
    fast = recipe_from_name("fast", task, device.type)
    papers = msgspec.structs.replace(fast, batch_size=64)
    rows = []
    for name, (width, depth) in networks.items():
        architecture = architecture_of(task, width, depth)
        loops = {
            "papers": papers_loop(task, architecture, device),
            "ours_batch_64": our_loop(task, architecture, papers, device),
            "ours_fast": our_loop(task, architecture, fast, device),
        }
        samples: dict[str, list[float]] = {loop: [] for loop in loops}
        for _ in range(ROUNDS):
            for loop, step in loops.items():
                with pinned_threads(1, device):
                    samples[loop].append(images_per_second(step, seconds, device))
        medians = {loop: statistics.median(values) for loop, values in samples.items()}
        workload = workload_from_architecture(architecture)
        row = {
            "network": name,
            "width": width,
            "depth": depth,
            "params": workload.params,
            "macs": workload.macs,
            "bytes_moved": workload.bytes_moved,
            "images_per_second": medians,
            "samples": samples,
            "ratio_batch_64": medians["ours_batch_64"] / medians["papers"],
            "ratio_fast": medians["ours_fast"] / medians["papers"],
            "fast_batch": fast.batch_size,
            "gb_per_second": BACKWARD * workload.bytes_moved * medians["ours_fast"] / 1e9,
        }
        rows.append(row)
        sys.stderr.write(
            f"{name}: papers {medians['papers']:.0f}, ours at batch 64 {medians['ours_batch_64']:.0f} "
            f"(x {row['ratio_batch_64']:.2f}), fast {medians['ours_fast']:.0f} images/s (x {row['ratio_fast']:.2f})\n"
        )
    return rows


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each of the 3 x 3 x 3 measurements")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keep_freed_memory()
    task = load_task(TaskSettings(arguments.data, data_dir=arguments.data_dir))
    assert isinstance(task.head, Classes)
    result = {
        "benchmark": "throughput",
        "device": device_name(device),
        "cores_used": "one thread computes in every loop; the papers' loop has one more process that loads",
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
        "data": arguments.data,
        "n": ROUNDS,
        "seconds_each": arguments.seconds,
        "rows": measure(task, device, arguments.seconds, NETWORKS),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"throughput-{device.type}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
