"""`edgenas space`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import typer

from edgenas.cli.options import Preset, refuse_beside, space_names, target_names
from edgenas.cli.output import emit, say_next, table
from edgenas.image_sizes import ImageSize, sides_of, size_asked

if TYPE_CHECKING:
    from edgenas.architectures.subspace import Round
    from edgenas.records import Metric

NETWORKS = {
    "chain": "layers one after another, whose width doubles twice (gnas, trgnas)",
    "stages": "three to seven stages of equal blocks: MobileNets, ResNets, ...",
    "multibranch": "cells of several branches (nse)",
    "nasbench101": "one cell, repeated (nal)",
    "nasbench201": "one cell, repeated (nal)",
    "darts": "one cell, repeated (nal)",
    "fbnet": "22 inverted residual blocks, for images of 32 or 224 px",
}


def space(
    what: str | None = typer.Argument(
        None,
        metavar="STUDY|SPACE",
        help="A space: chain, stages, fbnet, ...; or a study of method nse, by folder or name. Left out: the newest study, if "
        "nse made it, else the spaces.",
        autocompletion=space_names,
    ),
    image_size: str = typer.Option(
        "32",
        metavar="SIDE|HxW",
        help="Size of the networks' input in a space, pixels: 64, or 64x320 (height x width).",
    ),
    channels: int = typer.Option(3, help="Channels of the images that a space is for: 1 grey, 3 colour."),
    classes: int = typer.Option(10, help="How many classes a space is for."),
    preset: Preset = typer.Option("tiny", help="Preset whose bounds chain and stages have."),
    target: str = typer.Option(
        "jetson",
        autocompletion=target_names,
        help="Device of the latencies shown; it decides the steps of widths in stages, too.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show a space: what can be chosen in it, and how large its networks are; or how the space of an nse search evolved: what
    each round looked at, per cell, and what survived it.

    Example: edgenas space

    Example: edgenas space stages --image-size 96 --classes 4

    Example: edgenas space chain --image-size 64x320

    Example: edgenas space studies/fashion-mnist-jetson-orin-nano-8gb-super-nse-1a2b3c4d
    """
    from edgenas.engine.folders import is_study

    named = what is not None and what in space_names() and not is_study(what)
    if not named:
        of_space = {
            "--image-size": (image_size, "32"),
            "--channels": (channels, 3),
            "--classes": (classes, 10),
            "--preset": (preset, "tiny"),
            "--target": (target, "jetson"),
        }
        refuse_beside(of_space, "is for a space, such as chain, and none is named")
    if what is not None and named:
        _show_space(what, (channels, size_asked(image_size), classes), preset, target, as_json=as_json)
    elif what is None and not _newest_evolved():
        _list_spaces(as_json=as_json)
    else:
        _show_rounds(what, as_json=as_json)


def _newest_evolved() -> bool:
    """Is there a study here, and the newest one of method nse?"""
    from edgenas.engine.folders import ROOT, study_folder
    from edgenas.store import Store

    if not any(ROOT.glob("*/study.db")):
        return False
    with Store.read(study_folder(None)) as store:
        return store.study.method == "nse"


def _list_spaces(*, as_json: bool) -> None:
    names = space_names()
    rows = [(name, NETWORKS.get(name, "of another package")) for name in names]
    emit({"spaces": names}, as_json=as_json, text=table(("space", "its networks"), rows))
    if not as_json:
        say_next(f"edgenas space {names[0]}")


def _show_space(name: str, data: tuple[int, ImageSize, int], preset: str, target: str, *, as_json: bool) -> None:
    from edgenas.engine.space_facts import facts_in_words, facts_of

    facts = facts_of(name, data, preset, target)
    height, width = sides_of(facts.image_size)
    title = f"{name} for {facts.in_channels} x {height} x {width}, {data[2]} classes"
    lines = facts_in_words(facts)
    emit(msgspec.to_builtins(facts), as_json=as_json, text=f"{title}\n\n{table(('choice', 'values'), lines)}")


def _show_rounds(study: str | None, *, as_json: bool) -> None:
    from edgenas.architectures.subspace import Round
    from edgenas.engine.folders import is_study, study_folder
    from edgenas.errors import StudyError
    from edgenas.store import Store

    if study is not None and not is_study(study):
        raise StudyError(f"{study!r} is no study here, and no space: {', '.join(space_names())}")
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
    from edgenas.architectures.subspace import kept_by

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
                "kept": kept,
                "scored": len(played.networks),
                "front": [msgspec.to_builtins(network) for network in played.survivors],
                "seconds": round(played.seconds, 1),
            }
            for played, kept in zip(rounds, kept_by(rounds), strict=True)
        ],
        "surviving": rounds[-1].kept,
    }


def _text(rounds: list[Round], metric: Metric) -> str:
    """Per round and cell the operations with their fitness; kept ones marked with *, dropped ones with -."""
    from edgenas.architectures.subspace import kept_by

    blocks = []
    for played, going_on in zip(rounds, kept_by(rounds), strict=True):
        plan, best = played.plan, min(played.survivors, key=lambda network: network.error)
        head = f"round {plan.number}: {len(played.networks)} networks scored, front of {len(played.survivors)}, best "
        head += f"{metric.words(metric.error(best.error))} at {best.cost:.4g} {plan.unit} (target {plan.target:.4g}), "
        head += f"{played.seconds:.0f} s"
        lines = [head]
        cells = zip(plan.space.kinds, plan.subspace, played.fitness, going_on, strict=True)
        for index, (kind, ops, alphas, kept) in enumerate(cells):
            words = [_word(op, alpha, op in kept) for op, alpha in zip(ops, alphas, strict=True)]
            lines.append(f"  cell {index} {kind}  " + "  ".join(words))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n\n* kept for the next round   - dropped in training   (fitness in brackets)"


def _word(op: int, alpha: float | None, kept: bool) -> str:
    mark = "*" if kept else ("-" if alpha is None else " ")
    return f"{mark}{op}" + (f" ({alpha:+.2f})" if alpha is not None else "")
