"""NAS-Bench-201 strings <-> cells.

`|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|`
"""

from __future__ import annotations

import re
from typing import cast

from edgenas.architectures.cell import NASBENCH201_OPS
from edgenas.errors import EdgenasError
from edgenas.records import CellArchitecture, Classes, Nasbench201Cell

NODES = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")
CHANNELS, CELLS_PER_STAGE = 16, 5  # of the benchmark's networks


def nasbench201_from_text(text: str) -> CellArchitecture:
    """The benchmark's CIFAR-10 network of a cell string; disconnected cells too, because devices run them."""
    match = NODES.fullmatch(text)
    if match is None:
        raise EdgenasError(f"{text!r} is not a NAS-Bench-201 cell: write |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
    if unknown := sorted(set(match.groups()) - set(NASBENCH201_OPS)):
        raise EdgenasError(
            f"NAS-Bench-201 has no operation {unknown[0]!r}; its operations: {', '.join(NASBENCH201_OPS)}"
        )
    ops = cast("tuple[str, str, str, str, str, str]", match.groups())
    return CellArchitecture(Nasbench201Cell(ops), Classes(10), CHANNELS, CELLS_PER_STAGE)


def text_from_nasbench201(cell: Nasbench201Cell) -> str:
    """The benchmark's string of a cell."""
    return "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*cell.ops)
