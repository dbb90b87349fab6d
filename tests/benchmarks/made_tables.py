"""Small tables in the shared layouts, made up: accuracies follow from the networks, so that a search has something to find."""

import random
from pathlib import Path

import numpy as np

from edgenas.architectures.cell import NASBENCH101_OPS, NASBENCH201_OPS
from edgenas.architectures.cell_space import CellSpace
from edgenas.records import CellArchitecture, Classes, Nasbench101Cell

WORTH = np.array([-3.0, 0.5, 1.5, 2.5, 0.0])  # of NASBENCH201_OPS, points
PLACES = {op: place for place, op in enumerate(NASBENCH101_OPS)} | {"input": -1, "output": -2}


def nasbench201(path: Path, rows: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """Two devices, `board` with latencies that are missing for every fifth row; data sets `flowers` and `weeds`."""
    rng = np.random.default_rng(seed)
    every = np.array(np.meshgrid(*[range(5)] * 6)).reshape(6, -1).T
    ops = every[rng.permutation(len(every))[:rows]].astype(np.uint8)
    worth = WORTH[ops].sum(1)
    test = 70 + worth + rng.normal(0, 0.3, rows)
    ms = np.stack([2 + (WORTH[ops] + 3).sum(1) * rng.uniform(0.9, 1.1, rows) for _ in range(2)], 1).astype(np.float32)
    ms[::5, 0] = np.nan
    data = {
        "op_names": np.array(NASBENCH201_OPS),
        "ops": ops,
        "acc200_test_flowers": test.astype(np.float32),
        "acc12_val_flowers": (test - 20 + rng.normal(0, 2, rows)).astype(np.float32),
        "acc12_test_flowers": np.zeros(rows, np.float32),
        "acc200_test_weeds": (test - 10).astype(np.float32),
        "latency_ms": ms,
        "latency_devices": np.array(["any_board", "other_phone"]),
    }
    np.savez(path, **data)
    return data


def nasbench101(path: Path, rows: int = 120, seed: int = 0) -> dict[str, np.ndarray]:
    """Cells that the space draws; accuracies are shares; no parameters, so that they must be counted."""
    rng, drawing = np.random.default_rng(seed), random.Random(seed)
    space = CellSpace(Classes(10), 3, 32, "nasbench101")
    drawn = [space.draw(drawing) for _ in range(rows)]
    cells = [net.cell for net in drawn if isinstance(net, CellArchitecture) and isinstance(net.cell, Nasbench101Cell)]
    pairs = list(zip(*np.triu_indices(7, 1), strict=True))
    bits = [sum(1 << i for i, (a, b) in enumerate(pairs) if b < len(c.ops) and c.matrix[a][b]) for c in cells]
    ops = [[PLACES[op] for op in cell.ops] + [-9] * (7 - len(cell.ops)) for cell in cells]
    convolutions = np.array([sum(op.startswith("conv") for op in cell.ops) for cell in cells])
    final = 0.8 + 0.02 * convolutions + rng.normal(0, 0.004, rows)
    data = {
        "n_vertices": np.array([len(cell.ops) for cell in cells], np.uint8),
        "adj": np.array(bits, np.int32),
        "ops": np.array(ops, np.int8),
        "val_acc_36ep": (final - 0.1).astype(np.float32),
        "val_acc_108ep": final.astype(np.float32),
    }
    np.savez(path, **data)
    return data


def accel(path: Path, rows: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    """One device; every tenth latency is missing."""
    rng = np.random.default_rng(seed)
    values = ((1, 4, 6), (3, 5), (1, 2, 3), (0, 1))
    arch = np.stack([rng.choice(values[column % 4], rows) for column in range(28)], 1).astype(np.int8)
    size = arch[:, 0::4].sum(1) * arch[:, 2::4].sum(1)
    ms = (1 + 0.05 * size * rng.uniform(0.9, 1.1, rows)).astype(np.float32)
    ms[::10] = np.nan
    data = {
        "columns": np.array([f"block{block}_{what}" for block in range(7) for what in ("e", "k", "l", "se")]),
        "arch": arch,
        "val_top1": (50 + 3 * np.log(size) + arch[:, 3::4].sum(1) * 0.3).astype(np.float32),
        "latency_ms_stick": ms,
    }
    np.savez(path, **data)
    return data
