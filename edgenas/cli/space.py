"""`edgenas space`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import typer

from edgenas.cli.output import emit

if TYPE_CHECKING:
    from edgenas.architectures.subspace import Round
    from edgenas.records import Metric


def space(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show how an nse search's space evolved: what each round looked at, per cell, and what survived it.

    Example: edgenas space studies/fashion-mnist-jetson-orin-nano-8gb-super-nse-1a2b3c4d
    """
    from edgenas.architectures.subspace import Round
    from edgenas.engine.folders import study_folder
    from edgenas.errors import StudyError
    from edgenas.store import Store

    folder = study_folder(study)
    with Store.read(folder) as store:
        rounds = list(store.all("round", Round).values())
        method, metric = store.study.method, store.study.metric
    if method != "nse":
        raise StudyError(f"{folder} is a study of method {method}: only nse evolves a space")
    if not rounds:
        raise StudyError(f"{folder} has no finished round yet: run the same `edgenas search` again to go on")
    emit(_document(str(folder), rounds), as_json=as_json, text=_text(rounds, metric))


def _document(folder: str, rounds: list[Round]) -> dict[str, Any]:
    space = rounds[0].plan.space
    return {
        "study": folder,
        "pool": space.pool,
        "cells": [
            {"kind": cell.kind, "out_channels": cell.out_channels}
            for cell in space.member(tuple(ops[:1] for ops in rounds[0].plan.subspace)).cells
        ],
        "unit": rounds[0].plan.unit,
        "target": rounds[0].plan.target,
        "rounds": [
            {
                "round": played.plan.number,
                "subspace": played.plan.subspace,
                "fitness": played.fitness,
                "kept": played.kept,
                "scored": len(played.networks),
                "front": [msgspec.to_builtins(network) for network in played.survivors],
                "seconds": round(played.seconds, 1),
            }
            for played in rounds
        ],
        "surviving": rounds[-1].kept,
    }


def _text(rounds: list[Round], metric: Metric) -> str:
    """Per round and cell the operations with their fitness; kept ones marked with *, dropped ones with -."""
    blocks = []
    for played in rounds:
        plan, best = played.plan, min(played.survivors, key=lambda network: network.error)
        head = f"round {plan.number}: {len(played.networks)} networks scored, front of {len(played.survivors)}, best "
        head += f"{metric.words(metric.error(best.error))} at {best.cost:.4g} {plan.unit} (target {plan.target:.4g}), "
        head += f"{played.seconds:.0f} s"
        lines = [head]
        cells = zip(plan.space.kinds, plan.subspace, played.fitness, played.kept, strict=True)
        for index, (kind, ops, alphas, kept) in enumerate(cells):
            words = [_word(op, alpha, op in kept) for op, alpha in zip(ops, alphas, strict=True)]
            lines.append(f"  cell {index} {kind}  " + "  ".join(words))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n\n* kept for the next round   - dropped in training   (fitness in brackets)"


def _word(op: int, alpha: float | None, kept: bool) -> str:
    mark = "*" if kept else ("-" if alpha is None else " ")
    return f"{mark}{op}" + (f" ({alpha:+.2f})" if alpha is not None else "")
