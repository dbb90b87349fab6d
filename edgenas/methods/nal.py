"""NAL: Liang, Sun, "Automating Neural Architecture Design without Search", arXiv 2204.11838.

Its abstract is all that is public to us: a graph-attention network learns link prediction on what experts chose and then
writes new architectures, nothing being evaluated on the way. Sizes, loss, decoding and transfer are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from edgenas.architectures.cell import Cell, canonical_cell, check_cell
from edgenas.architectures.cell_graph import cells_from_graphs, graphs_from_cells
from edgenas.architectures.cell_space import FAMILIES, CellSpace
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods import CostOf, Method
from edgenas.methods.ladder import Training, nothing_trained
from edgenas.methods.nal_darts import draw_darts
from edgenas.methods.nal_model import LinkPredictor, load_predictor, write_graphs
from edgenas.ranges import Channels, Depth, Epochs, Networks, Operations
from edgenas.records import (
    Ask,
    Candidate,
    CellArchitecture,
    Choice,
    Decision,
    Limits,
    Record,
    Trial,
)

PATIENCE = 8  # draws per cell wanted; where these do not give enough distinct ones, that is an error
BATCH = 4096  # graphs written at once: keeps memory small
BORING, BOLDER = 0.25, 1.4  # where fewer than a quarter of a batch is new, the temperature rises
LEAST_POOL = 1024  # cells to choose the best from, also where few are asked for


@dataclass(frozen=True)
class Designs:
    """Distinct cells, best first by the judge's score; `drawn` graphs were written for them, of which `valid` were cells of the
    space as they were written."""

    cells: tuple[Cell, ...]
    scores: tuple[float, ...]
    drawn: int
    valid: int


def shipped_predictor(space: str) -> LinkPredictor:
    """The predictor that comes along for a space; DARTS uses that of NAS-Bench-101."""
    if space not in FAMILIES:
        raise EdgenasError(f"space {space!r} is unknown: {', '.join(FAMILIES)}")
    known = "nasbench101" if space == "darts" else space
    return load_predictor(Path(__file__).parent / "weights" / f"{known}.safetensors")


def design(
    predictor: LinkPredictor,
    space: str,
    count: int,
    seed: int = 0,
    *,
    or_fewer: bool = False,
    darts_operations: int = 7,
) -> Designs:
    """Half as many cells again as asked for are written; the best `count` are returned (`or_fewer`: or all that there are).

    Where few of the written cells are new, the sampling temperature rises step by step. The same seed gives the same cells.
    `darts_operations`: see `draw_darts`.
    """
    if count < 1:
        raise EdgenasError(f"--n {count}: ask for at least one cell")
    learned_in = "darts" if predictor.card.kinds else predictor.space
    if space != learned_in and (space, learned_in) != ("darts", "nasbench101"):
        raise EdgenasError(
            f"these weights were learned in {learned_in}, not for {space}: take --space {learned_in}, or fit others with "
            "`edgenas nal fit`"
        )
    rng = np.random.default_rng(seed)
    wanted = max(LEAST_POOL, count + count // 2)
    pool: dict[Cell, float] = {}
    drawn = valid = 0
    temperature = 1.0
    while len(pool) < wanted and drawn < PATIENCE * wanted:
        batch = min(BATCH, max(LEAST_POOL, int(1.4 * (wanted - len(pool)))))
        written = (
            draw_darts(predictor, batch, rng, darts_operations)
            if space == "darts"
            else draw_cells(predictor, batch, rng, temperature)
        )
        drawn += batch
        valid += len(written)
        before = len(pool)
        pool |= {cell: score for cell, score in written if cell not in pool}
        if len(pool) - before < BORING * batch:
            temperature *= BOLDER
    if len(pool) < count and not or_fewer:
        raise EdgenasError(
            f"--n {count}: {drawn} draws gave {len(pool)} distinct {space} cells; ask for at most that many"
        )
    if space != "darts":  # DARTS cells carry their likelihood already; what can be judged is judged
        cells = list(pool)
        scores = predictor.score(graphs_from_cells(space, cells))  # type: ignore[arg-type]  # no DARTS cell here
        pool = dict(zip(cells, scores.tolist(), strict=True))
    best = sorted(pool, key=lambda cell: -pool[cell])[:count]
    return Designs(tuple(best), tuple(pool[cell] for cell in best), drawn, valid)


def draw_cells(
    predictor: LinkPredictor, count: int, rng: np.random.Generator, temperature: float
) -> list[tuple[Cell, float]]:
    """Cells drawn from the author network, in canonical form, each with score 0. Invalid cells are left out."""
    cells: list[tuple[Cell, float]] = []
    drawn = Counter(cells_from_graphs(predictor.space, write_graphs(predictor, count, rng, temperature)))
    for cell, times in drawn.items():  # the same spelling comes often
        try:
            check_cell(cell)
        except EdgenasError:
            continue
        cells += [(canonical_cell(cell), 0.0)] * times
    return cells


# ---------------------------------------------------------------- as a search method


class NalRules(Record, frozen=True):
    """Which cells are designed, the network around them (None = as published), how many are trained, and for how many epochs."""

    space: str = "nasbench101"
    weights: str = ""  # a file of `edgenas nal fit`; empty: the shipped predictor
    weights_sha256: str = ""
    channels: Channels | None = None
    cells_per_stage: Depth | None = None
    designs: Networks = 4
    epochs: Epochs = 10
    darts_operations: Operations = 3  # of DARTS designs; 3: as in studies that began before all seven were reached


def nal(
    predictor: LinkPredictor,
    space: CellSpace,
    rules: NalRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    seed: int = 0,
) -> Method:
    """Design, keep the best designs that the limits allow, train those, choose. Nothing is trained to find them. In the place of
    one that is asked for and breaks a limit comes the next."""
    within = _within_limits(predictor, space, rules, cost, limits or Limits(), seed)
    designs = (Candidate(net, training.recipe_for(rules.epochs, cost(net)), "design") for net in within)
    waiting = list(islice(designs, rules.designs))
    trials: list[Trial] = []
    while waiting:
        candidate, *waiting = waiting
        (trial,) = yield Ask((candidate,), tuple(waiting))
        trials.append(trial)
        waiting += islice(designs, int(trial.status == "infeasible"))
    complete = [trial for trial in trials if trial.status == "complete"]
    if not complete:
        raise nothing_trained(trials)
    best = max(complete, key=lambda trial: (trial.scores[objective], -trial.cost.params))
    score = best.scores[objective]
    decision = Decision("design", "accept", f"the best of {len(complete)}", score=score, key=best.candidate.key)
    return Choice(best, {"epochs": rules.epochs}, (decision,))


def network_of(cell: Cell, space: CellSpace, rules: NalRules) -> CellArchitecture:
    """The network around a cell. Raises EdgenasError where the images do not fit it."""
    return msgspec.structs.replace(space, channels=rules.channels, cells_per_stage=rules.cells_per_stage).network(cell)


def _written(predictor: LinkPredictor, rules: NalRules, seed: int) -> Designs:
    count, operations = max(64 * rules.designs, 256), rules.darts_operations
    return design(predictor, rules.space, count, seed, or_fewer=True, darts_operations=operations)


def _within_limits(
    predictor: LinkPredictor, space: CellSpace, rules: NalRules, cost: CostOf, limits: Limits, seed: int
) -> Iterator[CellArchitecture]:
    """The networks that break no limit, in the order of their scores. Raises LimitError where there is none."""
    found = False
    smallest: tuple[int, str] | None = None
    for cell in _written(predictor, rules, seed).cells:
        network = network_of(cell, space, rules)
        price = cost(network)
        broken = limits.broken(price)
        if not broken:
            found = True
            yield network
        elif smallest is None or price.params < smallest[0]:
            smallest = price.params, "; ".join(broken)
    if not found:
        assert smallest is not None
        raise LimitError(
            f"no design meets the limits; the smallest: {smallest[1]}; raise the limit, or lower [rules] channels"
        )
