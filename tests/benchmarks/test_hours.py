"""Hours on one H100: the model by hand, and the published searches as their logs have them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.hours import (
    DATA,
    Images,
    Passes,
    candidates,
    drawn_paths,
    given,
    gnas_search,
    hours_of,
    seconds_of,
    step_seconds,
)
from benchmarks.reproduce import HOURS, hours
from benchmarks.reproductions import SETTINGS
from benchmarks.throughput import bytes_in_a_batch, floor_images_per_second
from edgenas.architectures.published import PUBLISHED
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Kernel, Workload
from tests.docs.blocks import ROOT

# 1x1 from 16 to 32 channels at 10x10: 1,600 numbers in, 3,200 out, 512 weights, 51,200 multiplications.
ONE = Workload((Kernel("conv", 16, 32, 10, 10, 10, 10, inputs=(-1,)),))
GOLDEN = ROOT / "tests" / "golden"
TRACES = [
    ("gnas_cifar10_t", "cifar10", "t", "gnas", (26, 46, 30)),
    ("gnas_cifar100_t", "cifar100", "t", "gnas", (21, 56, 24)),
    ("gnas_emnist_t", "emnist", "t", "gnas", (17, 50, 21)),
    ("gnas_kmnist_t", "kmnist", "t", "gnas", (18, 50, 24)),
    ("gnas_fashion_m", "fashion-mnist", "m", "gnas", (16, 120, 19)),
    ("trgnas_cifar10", "cifar10", "trg", "trgnas", (16, 56, 20)),
]


def test_weights_are_read_once_for_a_batch() -> None:
    assert bytes_in_a_batch(ONE, 1) == 4 * (1600 + 3200 + 512)
    assert bytes_in_a_batch(ONE, 64) == 4 * (1600 + 3200 + 8)


def test_the_floor_moves_three_times_what_forward_moves() -> None:
    moved = 4 * (1600 + 3200 + 8)
    assert floor_images_per_second(ONE, 64, 100.0, 32) == pytest.approx(100e9 / (3 * moved))
    assert floor_images_per_second(ONE, 64, 100.0, 16) == pytest.approx(2 * 100e9 / (3 * moved))


def test_a_step_takes_the_longest_of_bytes_multiplications_and_kernels() -> None:
    """Of the H100's data sheet: 3,350 GB/s; TF32 494, FP32 67, FP16 989 TFLOP/s."""
    least, most = step_seconds(ONE, 64, 32)  # 3.7 MB: 1.1 us, less than 3 kernels of 2 us and 7 of 5
    assert (least, most) == pytest.approx((6e-6, 35e-6))
    moved = 64_000 * 3 * 4 * (1600 + 3200 + 512 / 64_000) / 3350e9
    least, most = step_seconds(ONE, 64_000, 32)
    assert (least, most) == pytest.approx((moved, 4 * moved))
    assert step_seconds(ONE, 64_000, 16)[0] == pytest.approx(moved / 2)
    # 512 to 512 channels, 3x3, at 8x8: 151 million multiplications for 0.26 MB
    dear = Workload((Kernel("conv", 512, 512, 8, 8, 8, 8, inputs=(-1,), kernel=(3, 3), padding=(1, 1)),))
    operations = 2 * 3 * 64_000 * 512 * 512 * 9 * 64
    assert step_seconds(dear, 64_000, 32) == pytest.approx((operations / 494e12, operations / 67e12))
    assert step_seconds(dear, 64_000, 16) == pytest.approx((operations / 989e12, 4 * operations / 989e12))


def test_what_is_only_seen_costs_a_third_and_a_fitness_step_is_counted() -> None:
    network = PUBLISHED["gnas-cifar10-t"]
    one = seconds_of(Passes(network, 64, 6400.0))
    assert seconds_of(Passes(network, 64, 0.0, 3 * 6400.0)) == pytest.approx(one)
    assert seconds_of(Passes(network, 64, 6400.0, dearer=2.0)) == pytest.approx([2 * each for each in one])
    assert hours_of([Passes(network, 64, 6400.0)] * 2) == pytest.approx([2 * each / 3600 for each in one])


def test_a_given_network_sees_its_epochs_of_all_images_or_of_nine_tenths() -> None:
    three = given("gnas-cifar10-t", "cifar10", "paper-final", 600, 3)()
    assert [(each.batch, each.trained, each.seen, each.bits) for each in three] == [(64, 600 * 50_000, 10_000, 32)] * 3
    (held,) = given("gnas-cifar10-t", "cifar10", "paper-final", 2, 1, held_out=True)()
    assert (held.trained, held.seen) == (2 * 45_000, 10_000 + 2 * 5_000)
    (grey,) = given("nsenet", "kmnist", "paper-final", 1, 1)()
    assert (grey.architecture.in_channels, grey.architecture.head.count) == (1, 10)  # type: ignore[union-attr]


@pytest.mark.parametrize(("trace", "data", "preset", "method", "found"), TRACES)
def test_the_candidates_that_are_counted_are_those_of_the_published_log(
    trace: str, data: str, preset: str, method: str, found: tuple[int, int, int]
) -> None:
    """All depths and widths with their epochs; of the micro phases, whose networks hang on what was accepted, how many."""
    rows = json.loads((GOLDEN / f"{trace}.json").read_text())["rows"]
    counted = candidates(DATA[data], preset, method, found)
    assert len(counted) == len(rows)
    macro = [
        (row["phase"], row["depth"], row["width"], row["epochs"]) for row in rows if row["phase"] in ("depth", "width")
    ]
    ours = [(c.phase, c.architecture.depth, c.architecture.width, c.recipe.epochs) for c in counted]  # type: ignore[union-attr]
    assert [each for each in ours if each[0] in ("depth", "width")] == macro
    assert Counter((each[0], each[3]) for each in ours) == Counter((row["phase"], row["epochs"]) for row in rows)


def test_the_deepest_network_that_was_tried_follows_from_the_published_epochs() -> None:
    """CIFAR-10: 48 epochs at width 46 are 9 steps of 2 below 64 channels, so depths went up to 30: 86 trainings."""
    assert len(gnas_search("cifar10", "t", 26, 46, 48)()) == 86


def test_paths_of_a_supernet_hold_half_of_the_operations_in_every_cell_that_needs_one() -> None:
    images = Images(100, 10, 10, 3, 224)
    paths = drawn_paths(images, 27, operations=5, keep=0.5)
    counts = [len(cell.ops) for path in paths for cell in path.cells]  # type: ignore[union-attr]
    assert all(len(cell.ops) >= 1 for path in paths for cell in path.cells if cell.kind != "N")  # type: ignore[union-attr]
    assert 2.2 < sum(counts) / len(counts) < 2.9
    assert len({workload_from_architecture(path).macs for path in paths}) == len(paths)


def test_the_written_hours_are_what_is_computed_of_the_first_setting() -> None:
    written = json.loads(HOURS.read_text())["commands"]
    for command in SETTINGS[0].commands:
        assert command.work is not None
        least, most = hours_of(command.work())
        assert written[SETTINGS[0].key(command)] == [float(f"{least:.2g}"), float(f"{most:.2g}")]


@pytest.mark.slow
def test_the_written_hours_are_what_is_computed(tmp_path: Path) -> None:
    assert json.loads(HOURS.read_text()) == hours()
