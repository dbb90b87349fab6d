"""`edgenas verify`: do the finalists, or the files of a bundle, hold their limit on the board?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgenas.cli.output import emit, say, say_next, table
from edgenas.ranges import beside

if TYPE_CHECKING:
    from edgenas.remote.verification import Verified


def verify(
    study: str | None = typer.Argument(None, help="A study's folder or name; the newest one if left out."),
    board: str = typer.Option(
        ...,
        help="https://HOST:PORT or http://HOST:PORT (edgenas agent), or ssh://[USER@]HOST[:PORT][/PATH/TO/EDGENAS].",
    ),
    trial: list[int] | None = typer.Option(
        None, help="Measure this trial; repeatable. Default: the choice and the front."
    ),
    bundle: Path | None = typer.Option(
        None, help="Measure this bundle's own files; without STUDY they are compared with no limit."
    ),
    precision: str | None = typer.Option(
        None, help="Precisions of a bundle to measure, comma-separated: fp32, fp16, int8. Default: all that it has."
    ),
    token_file: Path | None = typer.Option(None, help="The agent's token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="PEM file of the CA to trust for https:// boards, in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Measure a study's finalists, or a bundle's files, on a board. Exit code 3 where one breaks the study's latency or energy
    limit there.

    Example: edgenas verify studies/digits --board http://BOARD:8765 --token-file token

    Example: edgenas verify studies/digits --bundle bundle --board https://board:8765 --token-file token --ca ca.pem
    """
    from edgenas.engine.folders import study_folder
    from edgenas.engine.verify import refuse_mixed, verified_files, verified_study
    from edgenas.remote.boards import open_board

    refuse_mixed(bundle, trial or (), precision)
    there = open_board(board, token_file, ca, say)
    if bundle is None:
        found = verified_study(study_folder(study, say), trial or [], there, say)
    else:
        found = verified_files(bundle, None if study is None else study_folder(study), precision, there, say)
    for item in found:
        _say_what_matters(item, board)
    emit(found, as_json=as_json, text=_text(found))
    if not all(item.holds for item in found):
        raise typer.Exit(3)
    if not as_json and bundle is None:
        say_next(f"edgenas report {shlex.quote(str(study_folder(study)))}")


# ---------------------------------------------------------------- words


def _name(item: Verified) -> str:
    return item.file or f"trial {item.trial}"


def _say_what_matters(item: Verified, board: str) -> None:
    """What a person must not miss: a limit that was not verified, a shaky measurement, a prediction that did not hold."""
    if item.energy_limit is not None and item.measured.energy_mj is None:
        say(
            f"warning: {_name(item)}: {board} has no power sensor, so the limit of {item.energy_limit:.12g} mJ is not verified"
        )
    if item.status != "ok":
        say(
            f"warning: {_name(item)}: the measurement is {item.status} ({'; '.join(item.warnings)}): measure "
            "again on a calm board"
        )
    if item.beyond and item.interval is not None and item.ratio is not None:
        low, high = item.interval
        say(
            f"warning: {_name(item)}: the board takes {item.ratio:.2f} times what the search went by, outside of "
            f"{low:.4g} to {high:.4g} ms: calibrate the target with this board (`edgenas calibrate --board`)"
        )


def _beside(ms: float, limit: float | None) -> str:
    """With as many digits as show on which side of the limit it is."""
    return f"{ms:.4g}" if limit is None else beside(ms, limit)


def _text(found: list[Verified]) -> str:
    rows = [
        (
            str(item.trial) if item.file is None else item.file,
            item.precision,
            "-" if item.predicted is None else f"{item.predicted:.4g}",
            item.origin or "-",
            _beside(item.measured.median, item.limit),
            f"{item.measured.p90:.4g}",
            item.status,
            "-" if item.ratio is None else f"x{item.ratio:.2f}" + (" beyond" if item.beyond else ""),
            "-" if item.limit is None else f"{item.limit:.12g}",
            "yes" if item.holds else "NO",
        )
        for item in found
    ]
    header = (
        "trial",
        "precision",
        "search ms",
        "origin",
        "median ms",
        "p90 ms",
        "status",
        "to search",
        "limit ms",
        "holds",
    )
    return table(header, rows)
