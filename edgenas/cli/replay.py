"""`edgenas replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import typer

from edgenas.cli.output import emit, table


def replay(
    trace: Path = typer.Argument(help="A recorded search: method, space and rows of accuracies."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document (the default text is a table)."),
) -> None:
    """Run a method's rules on recorded accuracies: its decisions, without any training.

    Example: edgenas replay tests/golden/gnas_cifar10_t.json --json
    """
    from edgenas.methods.ladder import chain_of
    from edgenas.methods.replay import Trace
    from edgenas.methods.replay import replay as run_replay
    from edgenas.store import read_json

    recorded = read_json(trace, Trace)
    result = run_replay(recorded)
    chosen = result.choice.trial
    document: dict[str, Any] = {
        "method": recorded.method,
        "macro": result.choice.macro,
        "architecture": msgspec.to_builtins(chain_of(chosen)),
        "params": chosen.cost.params,
        "macs": chosen.cost.macs,
        "decisions": msgspec.to_builtins(result.decisions),
    }
    rows = [
        (d.phase, str(d.depth), str(d.width), f"{d.score:.2f}" if d.score is not None else "-", d.verdict, d.reason)
        for d in result.decisions
    ]
    net = chain_of(chosen)
    text = table(("phase", "depth", "width", "score", "verdict", "reason"), rows)
    text += f"\n\n{recorded.method}: depth {net.depth}, width {net.width}, {chosen.cost.params:,} parameters"
    emit(document, as_json=as_json, text=text)
