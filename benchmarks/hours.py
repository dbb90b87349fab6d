"""Hours on one H100 of what the papers train, least and most, by the floor of benchmarks/throughput.py: never measured.

A step of a training is counted three times: its numbers moved once at the data sheet's bandwidth, its multiplications at the data
sheet's peak, and its kernels at the time that none is shorter than. The longest of these is `least`. `most` moves SLOWER times as
much, multiplies without tensor cores (bf16: at a quarter of their peak), and has more and longer kernels: layers as PyTorch runs
them read and write about twice what the floor counts (batch norm and ReLU are passes of their own), and none reaches the whole
bandwidth. Not counted: reading images from a disk.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.throughput import BACKWARD, bytes_in_a_batch
from edgenas.architectures.branch_spaces import published_space
from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.multibranch import pool_operations
from edgenas.architectures.published import PUBLISHED
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.settings import PRESETS
from edgenas.hardware.profile import profile_from_name
from edgenas.methods import Method
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training, chain_of
from edgenas.methods.replay import cost_without_device
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import Architecture, Candidate, Classes, Recipe, Trial, Workload
from edgenas.store import read_toml
from edgenas.training.recipes import FOLDER, RecipeFile

CARD = "h100"
KERNEL_US = (2.0, 5.0)  # that a kernel in a CUDA graph takes at least, however small: assumed
KERNELS = (3, 7)  # of a training step, for each fused kernel of the workload: assumed
SLOWER = 4.0
VALIDATION = 0.1  # of the training images


class Images(NamedTuple):
    """How many, and what they look like."""

    train: int
    test: int
    classes: int
    channels: int
    side: int


DATA = {
    "fashion-mnist": Images(60_000, 10_000, 10, 1, 32),
    "kmnist": Images(60_000, 10_000, 10, 1, 32),
    "emnist": Images(112_800, 18_800, 47, 1, 32),
    "cifar10": Images(50_000, 10_000, 10, 3, 32),
    "cifar100": Images(50_000, 10_000, 100, 3, 32),
    "imagenet": Images(1_281_167, 50_000, 1000, 3, 224),
}


@dataclass(frozen=True)
class Passes:
    """Images that one network is trained on, and others that it only sees; `bits` of a number that moves."""

    architecture: Architecture
    batch: int
    trained: float
    seen: float = 0.0
    bits: int = 32
    dearer: float = 1.0  # than a step of forward and backward


class Hours(NamedTuple):
    least: float
    most: float


Work = Callable[[], list[Passes]]


def hours_of(work: list[Passes]) -> Hours:
    """Of all of it, one after the other."""
    each = [seconds_of(passes) for passes in work]
    return Hours(*(sum(seconds[end] for seconds in each) / 3600 for end in (0, 1)))


def seconds_of(passes: Passes) -> tuple[float, float]:
    """(least, most). What is only seen costs the forward pass of a training step."""
    workload = workload_of(passes.architecture)
    steps = (passes.dearer * passes.trained + passes.seen / BACKWARD) / passes.batch
    least, most = step_seconds(workload, passes.batch, passes.bits)
    return steps * least, steps * most


@functools.lru_cache(maxsize=4096)
def workload_of(architecture: Architecture) -> Workload:
    return workload_from_architecture(architecture)


@functools.lru_cache(maxsize=4096)
def step_seconds(workload: Workload, batch: int, bits: int) -> tuple[float, float]:
    """(least, most) of one training step. FP32: at least on TF32 tensor cores, as torch has convolutions."""
    card = profile_from_name(CARD)
    assert card.bandwidth_gb_s is not None
    fast, slow = (
        (card.peaks["tf32"], card.peaks["fp32"]) if bits == 32 else (card.peaks["fp16"], card.peaks["fp16"] / SLOWER)
    )
    moved = batch * BACKWARD * bytes_in_a_batch(workload, batch) * bits / 32 / (card.bandwidth_gb_s * 1e9)
    operations = 2 * batch * BACKWARD * workload.macs / 1e12
    kernels = [len(workload.kernels) * per * us / 1e6 for per, us in zip(KERNELS, KERNEL_US, strict=True)]
    return max(moved, operations / fast, kernels[0]), max(SLOWER * moved, operations / slow, kernels[1])


def given(network: str, data: str, recipe: str, epochs: int, seeds: int, *, held_out: bool = False) -> Work:
    """`epochs` of a network by a recipe, on all images or but for those of validation, which are then seen after every epoch. A
    file of designs stands for the first one that `edgenas design` writes."""

    def work() -> list[Passes]:
        images, file = DATA[data], read_toml(FOLDER / f"{recipe}.toml", RecipeFile)
        trained = images.train * (1 - VALIDATION if held_out else 1)
        seen = images.test + (epochs * images.train * VALIDATION if held_out else 0)
        architecture = fitted(network_named(network), images)
        return seeds * [Passes(architecture, file.batch_size, epochs * trained, seen)]

    return work


def network_named(name: str) -> Architecture:
    if name in PUBLISHED:
        return PUBLISHED[name]
    return design_of(Path(name).parts[0] == "designs-imagenet")


@functools.cache
def design_of(large: bool) -> Architecture:
    """The best DARTS cell of the shipped predictor; of those below 600 M MACs at 224 px where it is `large`."""
    from edgenas.architectures.cell import cell_network
    from edgenas.methods.nal import design, shipped_predictor

    for cell in design(shipped_predictor("darts"), "darts", 64 if large else 1).cells:
        network = cell_network(cell, Classes(1000 if large else 10), image_size=224 if large else 32)
        if not large or workload_of(network).macs <= 600e6:
            return network
    raise AssertionError("none of 64 designs has 600 M MACs or fewer")


def fitted(architecture: Architecture, images: Images) -> Architecture:
    changed: Architecture = msgspec.structs.replace(
        architecture, head=Classes(images.classes), in_channels=images.channels
    )
    return changed


def gnas_search(data: str, preset: str, depth: int, width: int, epochs: int) -> Work:
    """Every candidate that the published search trained: depths up to the one that its `epochs` imply, widths until the third
    failure below `width`, each layer dense and each with a larger kernel."""
    steps = (PRESETS[preset].max_width - width) // PRESETS[preset].width_step
    deepest = epochs - GnasRules().width_epochs * steps
    return functools.partial(_of_search, data, preset, "gnas", (depth, width, deepest))


def trgnas_search(data: str, depth: int, width: int, deepest: int) -> Work:
    """The same of TRG-NAS, that looked at depths up to `deepest`."""
    return functools.partial(_of_search, data, "trg", "trgnas", (depth, width, deepest))


def _of_search(data: str, preset: str, method: str, found: tuple[int, int, int]) -> list[Passes]:
    images, file = DATA[data], read_toml(FOLDER / "paper.toml", RecipeFile)
    trained, seen = images.train * (1 - VALIDATION), images.train * VALIDATION
    return [
        Passes(candidate.architecture, file.batch_size, candidate.recipe.epochs * trained, seen)
        for candidate in candidates(images, preset, method, found)
    ]


def candidates(images: Images, preset: str, method: str, found: tuple[int, int, int]) -> list[Candidate]:
    """What the method asks for where accuracies lead to `found`: depth, width, and the deepest network that was tried."""
    bounds = PRESETS[preset]
    space = ChainSpace(
        head=Classes(images.classes), in_channels=images.channels, image_size=images.side, min_depth=bounds.min_depth,
        max_depth=bounds.max_depth, min_width=bounds.min_width, max_width=bounds.max_width, width_step=bounds.width_step,
        kernels=bounds.kernels,
    )  # fmt: skip
    training = Training(Recipe("paper", epochs=1, batch_size=64, lr=0.025))
    search: Method
    if method == "gnas":
        search = gnas(space, GnasRules(), training, cost_without_device)
    else:
        search = trgnas(space, TrgnasRules(), training, cost_without_device)
    asked: list[Candidate] = []
    ask = next(search)
    while True:
        asked += ask.needed
        answers = tuple(_answered(candidate, method, found) for candidate in ask.needed)
        try:
            ask = search.send(answers)
        except StopIteration:
            return asked


def _answered(candidate: Candidate, method: str, found: tuple[int, int, int]) -> Trial:
    """Depths up to the one found are better, each by a point; those up to the deepest equal it, but for the last, which fail;
    widths down to the one found are as good, narrower ones fail, and no change of a layer helps."""
    depth, width, deepest = found
    trial = Trial(candidate, "complete", cost_without_device(candidate.architecture), seed=0)
    net = chain_of(trial)
    fails = GnasRules().depth_fails if method == "gnas" else 1
    score = 50.0 + min(net.depth, depth)
    too_deep = candidate.phase == "depth" and net.depth > max(depth, deepest - fails)
    if too_deep or (candidate.phase == "width" and net.width < width):
        score -= 10
    elif candidate.phase in ("ops", "kernels"):
        score = 50.0 + depth
    return msgspec.structs.replace(trial, scores={"val_accuracy": score, "train_accuracy": 90.0})


def nse_search(data: str, pool: int, rounds: int) -> Work:
    """`rounds` supernets at the published size, and the networks that are scored with each: the published number, of 326 M MACs
    as NSENet-27 is. Then four final networks by `fast`."""
    return functools.partial(_of_nse_search, data, pool, rounds)


def _of_nse_search(data: str, pool: int, rounds: int) -> list[Passes]:
    from edgenas.architectures.subspace import SupernetRules
    from edgenas.engine.nse import PUBLISHED as PRESET

    images, file = DATA[data], read_toml(FOLDER / "supernet.toml", RecipeFile)
    rules = SupernetRules(Recipe("supernet", epochs=1, batch_size=file.batch_size, lr=file.lr))
    whole = images.train * (1 - VALIDATION)
    # A fitness step is two forward passes and one backward, four thirds of a weight step.
    dearer = 1 + 4 / 3 / rules.fitness_every
    trained = PRESET.supernet_epochs * whole * (1 - rules.held_out)
    paths = drawn_paths(images, pool, PRESET.rules.operations, rules.keep)
    supernet = [Passes(path, file.batch_size, trained / len(paths), 0.0, 16, dearer) for path in paths]
    scored = PRESET.rules.networks + PRESET.rules.cheap_networks
    seen = rules.calibration_batches * file.batch_size + whole * rules.held_out / 2
    scoring = Passes(fitted(PUBLISHED["nsenet-27"], images), file.batch_size, 0.0, scored * seen)
    return rounds * [*supernet, scoring] + nse_finals(data, "fast", 10, PRESET.rules.finals)()


def nse_finals(data: str, recipe: str, epochs: int, seeds: int = 1) -> Work:
    """Final networks of a search at the target of 333 M MACs: as NSENet."""
    return given("nsenet", data, recipe, epochs, seeds)


def drawn_paths(images: Images, pool: int, operations: int, keep: float, count: int = 16) -> list[Architecture]:
    """Networks as a supernet's weight step draws them: of `operations` of the pool in each cell each with probability `keep`."""
    rng = random.Random(0)
    space = published_space(pool, Classes(images.classes), images.channels, images.side)  # type: ignore[arg-type]
    paths: list[Architecture] = []
    for _ in range(count):
        cells = []
        for kind in space.kinds:
            there = rng.sample(range(len(pool_operations(space.pool))), operations)
            drawn = tuple(sorted(op for op in there if rng.random() < keep))
            cells.append(drawn or (() if kind == "N" else (there[0],)))
        paths.append(space.member(tuple(cells)))
    return paths
