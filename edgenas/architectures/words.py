"""An architecture in a few words, for lines of progress and tables."""

from __future__ import annotations

from collections import Counter

from edgenas.records import (
    Architecture,
    CellArchitecture,
    ChainArchitecture,
    DartsCell,
    FbnetArchitecture,
    MultiBranchArchitecture,
    OnnxArchitecture,
    StagesArchitecture,
)

LONGEST = 7  # stages that are shown
USUAL_KERNEL = 3
SHOWN = 3  # choices of an own network


def words_of(architecture: Architecture) -> str:
    """Of a chain "L8 W16" (layers, width); of other networks what was chosen, in about 20 to 60 characters."""
    if isinstance(architecture, ChainArchitecture):
        return f"L{architecture.depth} W{architecture.width}"
    if isinstance(architecture, MultiBranchArchitecture):
        branches = [len(cell.ops) for cell in architecture.cells if cell.ops]
        branch, cell = "branch" if sum(branches) == 1 else "branches", "cell" if len(branches) == 1 else "cells"
        return f"{sum(branches)} {branch} in {len(branches)} {cell}"
    if isinstance(architecture, FbnetArchitecture):
        return "".join(map(str, architecture.ops))  # as behind `fbnet:`
    if isinstance(architecture, CellArchitecture):
        return _cell_words(architecture)
    if isinstance(architecture, StagesArchitecture):
        return _stages_words(architecture)
    if isinstance(architecture, OnnxArchitecture):
        return architecture.name
    held = [f"{name} {value}" for name, value in architecture.choices.items()]
    return ", ".join([*held[:SHOWN], *(["..."] if held[SHOWN:] else [])])


def _cell_words(architecture: CellArchitecture) -> str:
    """The two most frequent operations of the cell (DARTS: of both cells), such as "2 conv3x3-bn-relu, 1 maxpool3x3"."""
    cell = architecture.cell
    ops = [op for op, _ in (*cell.normal, *cell.reduce)] if isinstance(cell, DartsCell) else cell.ops
    often = Counter(op for op in ops if op not in ("input", "output", "none")).most_common(2)
    return ", ".join(f"{count} {op}" for op, count in often) or "no operation"


def _stages_words(architecture: StagesArchitecture) -> str:
    """Per stage its block's first letter and width, then how many blocks and which kernel, if not 1 and 3: "m16 m24x2k5"."""
    words = []
    for stage in architecture.stages:
        repeats = f"x{stage.repeats}" if stage.repeats > 1 else ""
        kernel = f"k{stage.kernel}" if stage.kernel != USUAL_KERNEL else ""
        words.append(f"{stage.block[0]}{stage.width}{repeats}{kernel}")
    return " ".join([*words[:LONGEST], *(["..."] if words[LONGEST:] else [])])
