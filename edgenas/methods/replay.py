"""A macro-micro search on recorded accuracies: the published logs are traces, and the rules must lead where they led."""

from __future__ import annotations

import functools
from typing import Literal

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training, chain_of
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.ranges import Channels, ClassCount, Depth, Epochs, Percent, Side, Window
from edgenas.records import (
    Architecture,
    Ask,
    Candidate,
    Choice,
    Classes,
    Cost,
    Decision,
    Recipe,
    Trial,
)


class TraceSpace(msgspec.Struct, frozen=True):
    """The bounds that the recorded search ran in."""

    in_channels: Channels
    num_outputs: ClassCount
    image_size: Side
    max_width: Channels
    min_depth: Depth
    max_depth: Depth
    min_width: Channels
    width_step: Channels
    kernels: tuple[Window, ...]


class TraceRow(msgspec.Struct, frozen=True):
    """One recorded training; accuracies in percent, ops and kernels as digit strings."""

    phase: str
    depth: Depth
    width: Channels
    ops: str
    kernels: str
    epochs: Epochs
    train: Percent
    val: Percent


class Trace(msgspec.Struct, frozen=True):
    """A recorded search. What it led to (`expected`) is not read."""

    method: Literal["gnas", "trgnas"]
    space: TraceSpace
    rows: tuple[TraceRow, ...]


class Replay(msgspec.Struct, frozen=True):
    """What the rules made of a trace."""

    choice: Choice
    decisions: tuple[Decision, ...]
    trials: tuple[Trial, ...]


@functools.lru_cache(maxsize=4096)
def cost_without_device(architecture: Architecture) -> Cost:
    """Parameters, MACs and bytes; no latency."""
    workload = workload_from_architecture(architecture)
    return Cost(workload.params, workload.macs, workload.bytes_moved, workload.size_mb(), workload.memory_mb())


def replay(trace: Trace) -> Replay:
    """Run the method of a trace, answering every question from its rows.

    Raises EdgenasError, naming the candidate, where the rules ask for one that was never recorded.
    """
    bounds = msgspec.structs.asdict(trace.space)
    space = ChainSpace(head=Classes(bounds.pop("num_outputs")), **bounds)
    training = Training(Recipe("recorded", epochs=1, batch_size=64, lr=0.025))
    if trace.method == "gnas":
        method = gnas(space, GnasRules(), training, cost_without_device)
    else:
        method = trgnas(space, TrgnasRules(), training, cost_without_device)
    rows = {(row.phase, row.depth, row.width, row.ops, row.kernels): row for row in trace.rows}
    decisions: list[Decision] = []
    trials: list[Trial] = []
    ask = next(method)
    while True:
        decisions += ask.decisions
        answers = _answer(ask, rows, len(trials))
        trials += answers
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            return Replay(choice, (*decisions, *choice.decisions), tuple(trials))


def _answer(ask: Ask, rows: dict[tuple[str, int, int, str, str], TraceRow], trained: int) -> tuple[Trial, ...]:
    return tuple(_trial(candidate, rows, trained + index) for index, candidate in enumerate(ask.needed, start=1))


def _trial(candidate: Candidate, rows: dict[tuple[str, int, int, str, str], TraceRow], number: int) -> Trial:
    cost = cost_without_device(candidate.architecture)
    trial = Trial(candidate, "complete", cost, seed=0, number=number)
    net = chain_of(trial)
    ops, kernels = ("".join(map(str, values)) for values in (net.ops, net.kernels))
    row = rows.get((candidate.phase, net.depth, net.width, ops, kernels))
    if row is None:
        raise EdgenasError(
            f"the trace has no {candidate.phase} row of depth {net.depth}, width {net.width}, ops {ops}, kernels {kernels}, "
            "which the rules ask for next: record that candidate, or check the trace's space"
        )
    return msgspec.structs.replace(trial, scores={"val_accuracy": row.val, "train_accuracy": row.train})
