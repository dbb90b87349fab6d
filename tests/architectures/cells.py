"""Published cells, and the rows of the NAS-Bench-101 table as cells."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenas.records import DartsCell, Nasbench101Cell

C3, C1, MP = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
NAMES = {-1: "input", -2: "output", 0: C3, 1: C1, 2: MP}

# The example cell of the NAS-Bench-101 repository: Inception-like.
BEST_101 = Nasbench101Cell(
    (
        (0, 1, 1, 1, 0, 1, 0),
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 1, 0, 0),
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 0, 0),
    ),
    ("input", C1, C3, C3, C3, MP, "output"),
)
DARTS_V2 = DartsCell(
    normal=(
        ("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2),
    ),
    reduce=(
        ("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
        ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1),
    ),
)  # fmt: skip


def nasbench101_cells(table: Mapping[str, Any], rows: slice) -> list[Nasbench101Cell]:
    """Rows of nb101_20000.npz, decoded as its README says, independently of edgenas."""
    bits = (table["adj"][rows, None] >> np.arange(21)) & 1
    cells = []
    for n, row, ops in zip(table["n_vertices"][rows], bits, table["ops"][rows], strict=True):
        matrix = np.zeros((7, 7), int)
        matrix[np.triu_indices(7, 1)] = row
        cells.append(
            Nasbench101Cell(
                tuple(tuple(line) for line in matrix[:n, :n].tolist()), tuple(NAMES[int(op)] for op in ops[:n])
            )
        )
    return cells
