"""`edgenas nal fit`: a table of cells, or a study, becomes a link predictor."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from edgenas.cli.help import Group, add
from edgenas.cli.output import emit, say
from edgenas.ranges import MOST_SEED

if TYPE_CHECKING:
    from edgenas.architectures.cell import Cell
    from edgenas.methods.nal_model import LinkPredictor
    from edgenas.methods.nal_table import CellTable, DartsTable, Lesson

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def nal() -> None:
    """Learn what good cells look like, for `--method nal`: from a table, or from a study.

    Example: edgenas nal fit --table nb101_20000.npz --out cells.safetensors
    """


def fit(
    table: str = typer.Option(
        ...,
        help="NAS-Bench-101's .tfrecord, NATS-Bench's folder NATS-tss-..-simple, an .npz table of such cells, or a study that "
        "trained cells.",
    ),
    column: str | None = typer.Option(None, help="The table's accuracies. Default: val_acc_108ep, acc12_val_cifar10."),
    out: Path | None = typer.Option(
        None, help="The file to write. Default: STUDY/nal.safetensors; needed for a table."
    ),
    experts: float = typer.Option(0.01, min=0.0, max=1.0, help="Share of the best cells to learn writing from."),
    hold_out: float | None = typer.Option(
        None,
        min=0.0,
        max=0.9,
        help="Share of the cells to judge on, never learned from. Default: 0.2, or 0 where that are fewer than 8 cells.",
    ),
    start: Literal["scratch", "shipped"] | None = typer.Option(
        None, help="Which weights the training begins from. Default: scratch for a table, shipped for a study."
    ),
    target: str | None = typer.Option(None, help="Experts are those within the limits on this device."),
    max_latency_ms: float | None = typer.Option(None, help="Limit on experts, predicted for --target."),
    max_params: int | None = typer.Option(None, help="Limit on experts."),
    max_mmacs: float | None = typer.Option(None, help="Limit on experts, millions of multiply-accumulates at 32 px."),
    seed: int = typer.Option(0, min=0, max=MOST_SEED, help="Seed of the training."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Fit the link predictor that draws cells: a minute or two on one core for 20,000 cells. `edgenas design --weights FILE` then
    uses it.

    Example: edgenas nal fit --table nb101_20000.npz --out cells.safetensors
    """
    from edgenas.durable import check_place
    from edgenas.errors import EdgenasError
    from edgenas.methods.nal import shipped_predictor
    from edgenas.methods.nal_evidence import held_out_report
    from edgenas.methods.nal_model import save_predictor
    from edgenas.methods.nal_table import DartsTable, lesson, share_held_out
    from edgenas.version import __version__

    began = time.monotonic()
    known, folder = _table(table, column)
    out = out or (folder / "nal.safetensors" if folder else None)
    if out is None:
        raise EdgenasError(f"--table {table}: say where the predictor goes, --out FILE.safetensors")
    check_place(out, parents=True)  # before minutes of work
    start = start or ("shipped" if folder else "scratch")
    allowed, limits = _limits(target, max_latency_ms, max_params, max_mmacs)
    unseen = 1.0
    if start == "shipped" and not isinstance(known, DartsTable):
        unseen = shipped_predictor(known.space).card.held_out
    share = share_held_out(known, hold_out, unseen)
    learned = lesson(known, experts, share, allowed)
    say(f"{known.name}: {len(known.cells)} cells, {len(learned.seen)} to learn from, {len(learned.experts)} experts")
    about = (known.name, known.column, len(learned.seen), len(learned.experts), share, limits, seed, __version__)
    if isinstance(known, DartsTable):
        predictor = _fitted_to_darts(known, learned, start, about)
    else:
        predictor = _fitted(known, learned, start, about)
    save_predictor(predictor, out)
    document: dict[str, Any] = {
        "weights": str(out),
        "size_mb": out.stat().st_size / 1e6,
        "space": "darts" if isinstance(known, DartsTable) else known.space,
        "cells": len(learned.seen),
        "experts": len(learned.experts),
        "held_out": None if isinstance(known, DartsTable) else held_out_report(predictor, known, learned, seed),
        "seconds": round(time.monotonic() - began, 1),
    }
    emit(document, as_json=as_json, text="\n".join(f"{key}: {value}" for key, value in document.items()))


About = tuple[str, str, int, int, float, str, int, str]  # of a PredictorCard, from `table` on


def _fitted(known: CellTable, learned: Lesson, start: str, about: About) -> LinkPredictor:
    """Author and judge, learned from the table; where it starts from the shipped ones, they go on learning."""
    from edgenas.architectures.cell_graph import graphs_from_cells
    from edgenas.methods.nal import shipped_predictor
    from edgenas.methods.nal_model import LinkPredictor, PredictorCard
    from edgenas.training.nal_fit import FitSettings, fit_author, fit_judge

    graphs, seed = graphs_from_cells(known.space, known.cells), about[6]
    first, levels = None, learned.levels
    if start == "shipped":
        shipped = shipped_predictor(known.space)
        first, levels = dict(shipped.weights), shipped.card.levels
    settings = FitSettings.for_table(len(learned.seen), from_scratch=first is None)
    weights = fit_author(known.space, graphs[learned.experts], settings, seed, first)
    weights |= fit_judge(known.space, graphs[learned.seen], learned.standing, levels, settings, seed, first)
    return LinkPredictor(PredictorCard(known.space, settings.heads, levels, *about), weights)


def _fitted_to_darts(known: DartsTable, learned: Lesson, start: str, about: About) -> LinkPredictor:
    """The shipped author of NAS-Bench-101, which goes on learning from the experts' graphs, with their windows, dilations and
    pools on its card; the judge, which ranks no DARTS cells, stays."""
    import msgspec

    from edgenas.errors import EdgenasError
    from edgenas.methods.nal import shipped_predictor
    from edgenas.methods.nal_darts import graphs_of, kinds_of
    from edgenas.methods.nal_model import LinkPredictor, PredictorCard
    from edgenas.training.nal_fit import FitSettings, fit_author

    if start == "scratch":
        raise EdgenasError("--start scratch is not for DARTS cells, which have no predictor of their own: leave it out")
    shipped, experts = shipped_predictor("darts"), [known.cells[row] for row in learned.experts]
    settings = FitSettings.for_table(len(learned.seen), from_scratch=False)
    weights = dict(shipped.weights)
    weights |= fit_author(shipped.card.space, graphs_of(experts), settings, about[6], shipped.weights)
    card = PredictorCard(shipped.card.space, settings.heads, shipped.card.levels, *about)
    return LinkPredictor(msgspec.structs.replace(card, kinds=kinds_of(experts)), weights)


def _table(name: str, column: str | None) -> tuple[CellTable | DartsTable, Path | None]:
    """The table, and the study's folder where it is one."""
    from edgenas.methods.nal_layouts import is_nats, table_from_nats, table_from_tfrecord
    from edgenas.methods.nal_table import table_from_npz, table_from_trials

    if name.endswith(".npz"):
        return table_from_npz(Path(name), column), None
    if name.endswith(".tfrecord"):
        return table_from_tfrecord(Path(name), column), None
    if is_nats(Path(name)):
        say(f"{name}: NATS-Bench, read file by file; all 15,625 take a quarter of an hour")
        return table_from_nats(Path(name), column), None
    from edgenas.engine.folders import study_folder
    from edgenas.store import Store

    folder = study_folder(name)
    with Store.read(folder) as store:
        return table_from_trials(str(folder), store.trials(), column or store.study.metric.objective), folder


def _limits(
    target: str | None, max_latency_ms: float | None, max_params: int | None, max_mmacs: float | None
) -> tuple[Callable[[Cell], bool] | None, str]:
    """The test that experts must pass, and its words for the predictor's card."""
    if target is None and max_params is None and max_latency_ms is None and max_mmacs is None:
        return None, ""
    from edgenas.architectures.cell import cell_network
    from edgenas.engine.settings import settings_from
    from edgenas.errors import EdgenasError
    from edgenas.hardware.cost import CostModel
    from edgenas.hardware.profile import profile_from_name, resolved
    from edgenas.records import Classes

    if (target is None) != (max_latency_ms is None):
        raise EdgenasError("experts are filtered by latency with both --target and --max-latency-ms")
    profiles = []
    if target is not None:
        profiles = [profile_from_name(target)]
        say(resolved(target, profiles[0]))
    asked = {"max_latency_ms": max_latency_ms, "max_params": max_params, "max_mmacs": max_mmacs}
    limits = settings_from(None, asked).limits
    cost = CostModel(profiles, None, limits)
    words = [f"{max_latency_ms:g} ms on {profiles[0].name}"] if profiles else []
    words += [f"{max_params} parameters"] if max_params is not None else []
    words += [f"{max_mmacs:.12g} M MACs"] if max_mmacs is not None else []
    return lambda cell: not limits.broken(cost(cell_network(cell, Classes(10)))), ", ".join(words)


add(app, fit)
