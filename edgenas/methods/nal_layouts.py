"""The published files of NAS-Bench-101 (TFRecord) and NATS-Bench (a folder of pickles) as tables of cells.

NAS-Bench-101 (github.com/google-research/nasbench): every record is a JSON list: hash, epochs, adjacency matrix row by row as
"0101..", operations with commas, base64 of a protobuf ModelMetrics, whose field 1 is repeated: an EvaluationData before training,
half way, and at the end; its fields 4 and 5 are the accuracies on validation and test. A cell has three runs of each length.

NATS-Bench (github.com/D-X-Y/NATS-Bench), topology space: NATS-tss-v1_0-3ffb9-simple/000000.pickle.pbz2 and so on, each a
dictionary by epochs ("12", "200") of arch_str, dataset_seed {data: [seed, ..]} and all_results {(data, seed): epochs,
eval_acc1es {"set@epoch": percent}}. No pickle is unpickled: see plain_pickle.py.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgenas.architectures.cell import check_cell
from edgenas.architectures.cell_graph import GraphCell
from edgenas.architectures.nasbench201 import nasbench201_from_text
from edgenas.errors import EdgenasError
from edgenas.methods.nal_table import DEFAULT_COLUMN, CellTable, cell_table
from edgenas.methods.plain_pickle import finite, read_plain_pickle_bz2
from edgenas.methods.tfrecord import fields, records
from edgenas.records import Nasbench101Cell, Nasbench201Cell

Row = tuple[str, int, str, str, str]
COLUMN_101 = re.compile(r"(val|test)_acc_(\d+)ep")
COLUMN_201 = re.compile(r"acc(\d+)_(val|test)_(cifar10|cifar100|imagenet16)")
FINAL, VALIDATION, TEST = 2, 4, 5  # place of the evaluation at the end; fields
# (data, set) of NATS-Bench, as its API maps them
SETS = {
    ("cifar10", "val"): ("cifar10-valid", "x-valid"),
    ("cifar10", "test"): ("cifar10", "ori-test"),
    ("cifar100", "val"): ("cifar100", "x-valid"),
    ("cifar100", "test"): ("cifar100", "x-test"),
    ("imagenet16", "val"): ("ImageNet16-120", "x-valid"),
    ("imagenet16", "test"): ("ImageNet16-120", "x-test"),
}
PICKLE = ".pickle.pbz2"
LARGEST = 16 * 10**6  # bytes of one architecture's file, unpacked: ten runs of 200 epochs take about 1 MB


def table_from_tfrecord(path: Path, column: str | None = None) -> CellTable:
    """The cells of a NAS-Bench-101 file, each with its mean accuracy over the runs of that length. `column`: val_acc_108ep,
    test_acc_108ep, and of the full file 4, 12 and 36. EdgenasError for a damaged file or another column."""
    column = column or DEFAULT_COLUMN["nasbench101"]
    match = COLUMN_101.fullmatch(column)
    runs: dict[tuple[str, str], list[float]] = {}
    lengths: set[int] = set()
    number = 0
    try:
        for content in records(path):
            number += 1
            _, epochs, adjacency, operations, metrics = msgspec.json.decode(content, type=Row)
            lengths.add(epochs)
            if match is not None and epochs == int(match[2]):
                accuracy = final_accuracy(metrics, VALIDATION if match[1] == "val" else TEST)
                runs.setdefault((adjacency, operations), []).append(accuracy)
    except (msgspec.DecodeError, ValueError) as error:
        raise EdgenasError(f"{path}: record {number} is none of NAS-Bench-101 ({error})") from error
    if not runs:
        known = ", ".join(f"val_acc_{epochs}ep, test_acc_{epochs}ep" for epochs in sorted(lengths))
        raise EdgenasError(f"{path} has no accuracies {column!r}: it has {known or 'none'}")
    cells: list[GraphCell] = [_cell101(path, *spelling) for spelling in runs]
    return cell_table("nasbench101", path.name, column, cells, np.array([np.mean(found) for found in runs.values()]))


def final_accuracy(metrics: str, field: int) -> float:
    """The accuracy (0 to 1) at the end of a training, from base64 of a ModelMetrics. ValueError where it is not there."""
    message = base64.b64decode(metrics, validate=True)
    evaluations = [value for number, value in fields(message) if number == 1 and isinstance(value, bytes)]
    if len(evaluations) <= FINAL:
        raise ValueError("it has no evaluation at the end of training")
    known = dict(fields(evaluations[FINAL]))
    accuracy = known.get(field)
    if not isinstance(accuracy, float) or not 0 <= accuracy <= 1:
        raise ValueError(f"field {field} is no accuracy")
    return accuracy


def _cell101(path: Path, adjacency: str, operations: str) -> Nasbench101Cell:
    ops, side = tuple(operations.split(",")), math.isqrt(len(adjacency))
    try:
        if side * side != len(adjacency) or set(adjacency) - {"0", "1"}:
            raise EdgenasError(f"{adjacency!r:.60} is no square of 0 and 1")
        cell = Nasbench101Cell(
            tuple(tuple(map(int, adjacency[row * side : (row + 1) * side])) for row in range(side)), ops
        )
        check_cell(cell)
    except EdgenasError as error:
        raise EdgenasError(f"{path}: {error}") from error
    return cell


# ---------------------------------------------------------------- NATS-Bench


@dataclass(frozen=True)
class Wanted:
    """What is read of every architecture: the hyper-parameters' name ("12"), the training data, the set judged on."""

    hyper: str
    data: str
    judged: str


def is_nats(path: Path) -> bool:
    """A folder of NATS-Bench's pickles, or one of its files?"""
    return path.name.endswith(PICKLE) or (path / f"meta{PICKLE}").is_file() or (path / f"000000{PICKLE}").is_file()


def table_from_nats(path: Path, column: str | None = None) -> CellTable:
    """The cells of a folder of NATS-Bench's topology space, each with its mean accuracy (percent) over seeds. `column`:
    acc12_val_cifar10 or another of 12 or 200 epochs, val or test, cifar10, cifar100 or imagenet16."""
    column = column or DEFAULT_COLUMN["nasbench201"]
    match = COLUMN_201.fullmatch(column)
    if match is None:
        names = ", ".join(f"acc12_{judged}_{data}" for data, judged in SETS)
        raise EdgenasError(f"{path} has no accuracies {column!r}: it has {names}, and the same of 200 epochs")
    if path.is_file():
        raise EdgenasError(
            f"{path} is all of NATS-Bench in one pickle, which takes more memory than it is worth: name the folder "
            "NATS-tss-v1_0-3ffb9-simple (its fast mode)"
        )
    wanted = Wanted(match[1], *SETS[match[3], match[2]])
    files = sorted(file for file in path.glob(f"*{PICKLE}") if file.name.removesuffix(PICKLE).isdecimal())
    found = [row for file in files for row in _rows(file, wanted, column)]
    if not found:
        raise EdgenasError(f"{path} holds no architecture with accuracies {column!r}")
    return cell_table(
        "nasbench201", path.name, column, [cell for cell, _ in found], np.array([acc for _, acc in found])
    )


def _rows(file: Path, wanted: Wanted, column: str) -> Iterator[tuple[Nasbench201Cell, float]]:
    """The cell of one file and its accuracy; nothing where it was not trained so."""
    value = read_plain_pickle_bz2(file, LARGEST)
    try:
        state = _of(value, wanted.hyper)
        if wanted.data not in _dictionary(_of(state, "dataset_seed")):
            return
        network = nasbench201_from_text(_text(_of(state, "arch_str")))
        results, seeds = _dictionary(_of(state, "all_results")), state["dataset_seed"][wanted.data]
        if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
            raise ValueError("it has no seeds")
        accuracies = [_final(results[wanted.data, seed], wanted.judged) for seed in seeds]
    except (KeyError, TypeError, ValueError, EdgenasError) as error:
        raise EdgenasError(
            f"{file} is no architecture of NATS-Bench's topology space with {column} ({error})"
        ) from error
    assert isinstance(network.cell, Nasbench201Cell)
    yield network.cell, float(np.mean(accuracies))


def _final(result: Any, judged: str) -> float:
    """Percent after the last epoch."""
    epochs = _of(result, "epochs")
    accuracy = finite(_of(_of(result, "eval_acc1es"), f"{judged}@{int(finite(epochs)) - 1}"))
    if not 0 <= accuracy <= 100:
        raise ValueError(f"{accuracy} is no accuracy in percent")
    return accuracy


def _of(value: Any, key: str) -> Any:
    found = _dictionary(value)
    if key not in found:
        raise ValueError(f"it has no {key!r}")
    return found[key]


def _dictionary(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError("a dictionary was expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text was expected")
    return value
