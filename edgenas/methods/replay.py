"""A macro-micro search on recorded accuracies: the published logs are traces, and the rules must lead where they led."""

from __future__ import annotations

import functools
from typing import Annotated, Literal, TypeAlias

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training, chain_of
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.ranges import Channels, ClassCount, Depth, Epochs, Percent, Side
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

Phase: TypeAlias = Literal["depth", "width", "ops", "kernels"]
Digit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=9)]  # a row has the kernels of its layers as one digit each
Named: TypeAlias = tuple[str, int, int, str, str]  # phase, depth, width, ops, kernels: one candidate


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
    kernels: tuple[Digit, ...]


class TraceRow(msgspec.Struct, frozen=True):
    """One recorded training; accuracies in percent, ops and kernels as digit strings, one digit a layer."""

    phase: Phase
    depth: Depth
    width: Channels
    ops: Annotated[str, msgspec.Meta(pattern=r"^[01]+\Z")]
    kernels: Annotated[str, msgspec.Meta(pattern=r"^[1-9]+\Z")]
    epochs: Epochs
    train: Percent
    val: Percent

    def __post_init__(self) -> None:
        if not self.depth == len(self.ops) == len(self.kernels):
            raise ValueError(
                f"depth {self.depth} needs as many ops and kernels, not {len(self.ops)} and {len(self.kernels)}"
            )


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

    Raises EdgenasError, naming the candidate, where the rules ask for one that was never recorded, and for one that was
    recorded twice.
    """
    bounds = msgspec.structs.asdict(trace.space)
    space = ChainSpace(head=Classes(bounds.pop("num_outputs")), **bounds)
    training = Training(Recipe("recorded", epochs=1, batch_size=64, lr=0.025))
    if trace.method == "gnas":
        method = gnas(space, GnasRules(), training, cost_without_device)
    else:
        method = trgnas(space, TrgnasRules(), training, cost_without_device)
    rows: dict[Named, TraceRow] = {}
    for row in trace.rows:
        named = (row.phase, row.depth, row.width, row.ops, row.kernels)
        if named in rows:
            raise EdgenasError(f"the trace has a second {_row_words(named)}: leave one out")
        rows[named] = row
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


def _row_words(named: Named) -> str:
    phase, depth, width, ops, kernels = named
    return f"{phase} row of depth {depth}, width {width}, ops {ops}, kernels {kernels}"


def _answer(ask: Ask, rows: dict[Named, TraceRow], trained: int) -> tuple[Trial, ...]:
    return tuple(_trial(candidate, rows, trained + index) for index, candidate in enumerate(ask.needed, start=1))


def _trial(candidate: Candidate, rows: dict[Named, TraceRow], number: int) -> Trial:
    cost = cost_without_device(candidate.architecture)
    trial = Trial(candidate, "complete", cost, seed=0, number=number)
    net = chain_of(trial)
    ops, kernels = ("".join(map(str, values)) for values in (net.ops, net.kernels))
    named = (candidate.phase, net.depth, net.width, ops, kernels)
    row = rows.get(named)
    if row is None:
        raise EdgenasError(
            f"the trace has no {_row_words(named)}, which the rules ask for next: record that candidate, or check the trace's "
            "space"
        )
    return msgspec.structs.replace(trial, scores={"val_accuracy": row.val, "train_accuracy": row.train})
