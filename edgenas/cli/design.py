"""`edgenas design`: cells at once, nothing searched, nothing trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from edgenas.cli.options import CellFamily, target_names
from edgenas.cli.output import emit, say, table
from edgenas.image_sizes import size_asked
from edgenas.ranges import MOST_SEED

if TYPE_CHECKING:
    from edgenas.architectures.cell import Cell
    from edgenas.methods.nal import Designs
    from edgenas.records import CellArchitecture, Cost, Limits

MOST_DESIGNS = 1_000_000
FILTERED_POOL = 1024  # designs looked at, best first, where they must meet a limit


def design(
    space: CellFamily = typer.Option("nasbench101", help="Cells of this benchmark's kind."),
    n: int = typer.Option(10, min=1, max=MOST_DESIGNS, help="How many distinct cells."),
    target: str | None = typer.Option(
        None, autocompletion=target_names, help="Predict every design's latency there; the fastest comes first."
    ),
    max_latency_ms: float | None = typer.Option(None, help="Leave out what is slower on the target."),
    max_params: int | None = typer.Option(None, help="Leave out what has more parameters."),
    max_mmacs: float | None = typer.Option(None, help="Leave out what has more million multiply-accumulates."),
    channels: int | None = typer.Option(
        None, min=1, max=65_536, help="Channels of the first stage. Default: as published (128, 16, 36)."
    ),
    cells_per_stage: int | None = typer.Option(
        None, min=1, max=1_000, help="Cells of each stage. Default: as published (3, 5, 6)."
    ),
    classes: int = typer.Option(10, min=2, max=1_000_000, help="Classes of the networks around the cells."),
    image_size: str = typer.Option(
        "32", metavar="SIDE|HxW", help="Size of the networks' input, pixels: 64, or 64x320 (height x width)."
    ),
    weights: Path | None = typer.Option(None, help="A file of `edgenas nal fit`. Default: the shipped predictor."),
    seed: int = typer.Option(0, min=0, max=MOST_SEED, help="Seed of the cells: another one gives other cells."),
    out: Path | None = typer.Option(None, help="Write every network there as an architecture's JSON file."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    json_lines: bool = typer.Option(False, "--json-lines", help="Print one JSON line per cell."),
) -> None:
    """Design cells without any search: written and ranked by a link predictor learned from benchmark cells (after NAL).

    Without a target the best come first (score: how many halvings of the benchmark a cell should survive; DARTS: log
    likelihood). With one, the best that meet the limits are printed, fastest first. Offline, on the CPU, in seconds.

    Example: edgenas design --target jetson --space nasbench101 --n 5
    """
    from edgenas.architectures.cell import cell_network
    from edgenas.errors import EdgenasError
    from edgenas.methods.nal import design as design_cells
    from edgenas.methods.nal import shipped_predictor
    from edgenas.methods.nal_model import load_predictor
    from edgenas.records import Classes, Limits

    if as_json and json_lines:
        raise EdgenasError("--json prints one document, --json-lines a line for every cell: give one of them")
    began, size = time.monotonic(), size_asked(image_size)
    predictor = shipped_predictor(space) if weights is None else load_predictor(weights)

    def network(cell: Cell) -> CellArchitecture:
        return cell_network(cell, Classes(classes), channels=channels, cells_per_stage=cells_per_stage, image_size=size)

    limits = _limits(target, {"max_latency_ms": max_latency_ms, "max_params": max_params, "max_mmacs": max_mmacs})
    filtered = target is not None or limits != Limits()
    wanted = max(FILTERED_POOL, 8 * n) if filtered else n
    found = design_cells(predictor, space, wanted, seed, or_fewer=filtered)
    if filtered:
        designs = _within(found, network, n, target, limits)
    else:
        designs = [(cell, score, None) for cell, score in zip(found.cells, found.scores, strict=True)]
    lines = [_line(*item) for item in designs]
    if out is not None:
        _write(out, [network(cell) for cell, _, _ in designs])
    if json_lines:
        emit(None, as_json=False, text="\n".join(msgspec.json.encode(line).decode() for line in lines))
        return
    document: dict[str, Any] = {
        "space": space,
        "designs": lines,
        "operations": _operations(designs),
        "drawn": found.drawn,
        "valid_before_repair": found.valid / found.drawn,
        "learned_from": msgspec.to_builtins(predictor.card),
        "seconds": round(time.monotonic() - began, 2),
    }
    emit(document, as_json=as_json, text=_text(lines))


def _limits(target: str | None, asked: dict[str, float | int | None]) -> Limits:
    """The limits that were asked for. EdgenasError for one that is no number, and for a latency nowhere."""
    from edgenas.engine.settings import settings_from
    from edgenas.errors import EdgenasError

    limits = settings_from(None, asked).limits
    if limits.latency_ms is not None and target is None:
        raise EdgenasError(
            f"--max-latency-ms {limits.latency_ms:.12g}: on which --target? `edgenas targets` lists them"
        )
    return limits


def _within(
    found: Designs,
    network: Callable[[Cell], CellArchitecture],
    n: int,
    target: str | None,
    limits: Limits,
) -> list[tuple[Cell, float, Cost | None]]:
    """The best n that meet the limits, fastest first where there is a target."""
    from edgenas.errors import LimitError
    from edgenas.hardware.cost import CostModel
    from edgenas.hardware.profile import profile_from_name, resolved

    profiles = [] if target is None else [profile_from_name(target)]
    for profile in profiles:
        say(resolved(target or "", profile))
    cost = CostModel(profiles, None, limits)
    kept: list[tuple[Cell, float, Cost | None]] = []
    nearest: tuple[float, str] | None = None
    for cell, score in zip(found.cells, found.scores, strict=True):
        price = cost(network(cell))
        size = _size(price, limits)
        if broken := limits.broken(price):
            nearest = min(nearest or (size, "; ".join(broken)), (size, "; ".join(broken)))
        else:
            kept.append((cell, score, price))
        if len(kept) == n:
            break
    if not kept:
        raise LimitError(f"none of {len(found.cells)} designs meets the limits; the nearest: {nearest and nearest[1]}")
    if len(kept) < n:
        say(f"warning: {len(kept)} of {len(found.cells)} designs meet the limits, {n} were asked for")
    return sorted(kept, key=lambda item: _size(item[2], limits)) if target is not None else kept


def _size(cost: Cost | None, limits: Limits) -> float:
    """What designs are told apart by: latency where there is a target, else the limited one of MACs and parameters."""
    assert cost is not None  # under limits every cost is known
    latency = next(iter(cost.latencies.values()), None)
    if latency is not None:
        return latency.ms
    return float(cost.params if limits.mmacs is None else cost.macs)


def _operations(designs: list[tuple[Cell, float, Cost | None]]) -> dict[str, int]:
    """How often each operation stands in the cells."""
    from collections import Counter

    from edgenas.architectures.cell import operations_of

    return dict(Counter(op for cell, _, _ in designs for op in operations_of(cell)))


def _line(cell: Cell, score: float, cost: Cost | None) -> dict[str, Any]:
    """The JSON of one design."""
    from edgenas.architectures.nasbench201 import text_from_nasbench201
    from edgenas.records import DartsCell, Nasbench101Cell

    if isinstance(cell, Nasbench101Cell):
        line: dict[str, Any] = {"matrix": cell.matrix, "ops": cell.ops}
    elif isinstance(cell, DartsCell):
        line = {"normal": cell.normal, "reduce": cell.reduce}
    else:
        line = {"string": text_from_nasbench201(cell), "ops": cell.ops}
    line["score"] = round(score, 6)
    if cost is not None:
        line |= {"params": cost.params, "macs": cost.macs}
        for latency in cost.latencies.values():
            line |= {"ms": latency.ms, "origin": latency.origin, "profile": latency.profile}
    return line


def _write(folder: Path, networks: list[CellArchitecture]) -> None:
    from edgenas.database import one_line
    from edgenas.durable import replace_file

    with one_line(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for place, architecture in enumerate(networks, 1):
            replace_file(folder / f"design-{place:04d}.json", architecture.canonical_json())
        for older in folder.glob("design-*.json"):  # of a longer list
            number = older.stem.removeprefix("design-")
            if len(number) >= 4 and number.isdecimal() and int(number) > len(networks):
                older.unlink()
    say(f"{len(networks)} architectures in {folder}")


def _text(lines: list[dict[str, Any]]) -> str:
    header = ("score", "ms", "cell") if "ms" in lines[0] else ("score", "cell")
    rows = []
    for line in lines:
        ms = (f"{line['ms']:.3f}",) if "ms" in line else ()
        rows.append((f"{line['score']:.3f}", *ms, _cell_text(line)))
    return table(header, rows)


def _cell_text(line: dict[str, Any]) -> str:
    """A cell in one line: every operation with the numbers of the vertices that it reads."""
    if "matrix" in line:
        matrix, ops = line["matrix"], line["ops"]
        reads = [",".join(str(i) for i in range(vertex) if matrix[i][vertex]) for vertex in range(len(ops))]
        return " ".join(f"{op}({read})" if read else op for op, read in zip(ops, reads, strict=True))
    if "string" in line:
        return str(line["string"])
    return " / ".join(" ".join(f"{op}({source})" for op, source in line[part]) for part in ("normal", "reduce"))
