"""`edgenas verify`: do the finalists, or the files of a bundle, hold their limit on the board?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgenas.cli.output import emit, say, table
from edgenas.errors import EdgenasError

if TYPE_CHECKING:
    from edgenas.bundle import Bundle
    from edgenas.records import HardwareProfile, Precision, Trial
    from edgenas.remote.client import Board
    from edgenas.remote.verification import Verified
    from edgenas.store import Store


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
        None, help="Measure this bundle's own files; without STUDY no limit is held against them."
    ),
    precision: str | None = typer.Option(
        None, help="Of a bundle: comma-separated fp32, fp16, int8. Default: all that it has."
    ),
    token_file: Path | None = typer.Option(None, help="The agent's token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="https:// boards: PEM file of the CA to trust in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Measure a study's finalists, or a bundle's files, on a board. Exit code 3 where one breaks the study's latency or energy
    limit there.

    Example: edgenas verify studies/digits --board http://127.0.0.1:8765

    Example: edgenas verify studies/digits --bundle bundle --board https://board:8765 --token-file token --ca ca.pem
    """
    from edgenas.remote.boards import open_board

    if bundle is None and precision is not None:
        raise EdgenasError("--precision chooses among a bundle's files: name one with --bundle, or leave it out")
    there = open_board(board, token_file, ca, say)
    if bundle is None:
        found = _study(study, trial, there)
    else:
        if trial:
            raise EdgenasError("--trial chooses among a study's networks, and --bundle names the files: leave one out")
        found = _bundle(bundle, study, precision, there)
    for item in found:
        _say_what_matters(item, board)
    emit(found, as_json=as_json, text=_text(found))
    if not all(item.holds for item in found):
        raise typer.Exit(3)


def _study(study: str | None, numbers: list[int] | None, board: Board) -> list[Verified]:
    from edgenas.engine.folders import study_folder
    from edgenas.hardware.profile import profiles_of
    from edgenas.remote.verification import verified_trial
    from edgenas.store import Store

    with Store.read(study_folder(study)) as store:
        limits, precision, profile = store.study.limits, store.study.precision, profiles_of(store.study)[0]
        finalists = _finalists(store, numbers)
    _greet(board, profile, precision)
    return [verified_trial(finalist, board, profile, precision, limits) for finalist in finalists]


def _bundle(folder: Path, study: str | None, precision: str | None, board: Board) -> list[Verified]:
    """The files as they lie there; limits and what the search knew come from the study, where one is named."""
    from edgenas.bundle import read_bundle
    from edgenas.engine.folders import study_folder
    from edgenas.hardware.profile import profile_from_name, profiles_of
    from edgenas.records import Limits
    from edgenas.remote.verification import verified_bundle
    from edgenas.store import Store

    held = read_bundle(folder)
    precisions = _precisions(held, precision)
    if study is None:
        say(f"no study was named, so no limit is held against {folder}")
        profile, limits, trial = profile_from_name(held.manifest.profile), Limits(), None
    else:
        with Store.read(study_folder(study)) as store:
            profile, limits = profiles_of(store.study)[0], store.study.limits
            trial = _trial_of(held, store)
    _greet(board, profile, None)
    return verified_bundle(held, board, profile, precisions, trial, limits)


def _precisions(bundle: Bundle, asked: str | None) -> tuple[Precision, ...]:
    from edgenas.hardware.profile import checked_precision

    if asked is None:
        return tuple(bundle.manifest.models)
    chosen = [checked_precision(name.strip()) for name in asked.split(",")]
    for one in chosen:
        bundle.path(one or "fp32")  # raises where the bundle has none
    return tuple(dict.fromkeys(one for one in chosen if one is not None))


def _trial_of(bundle: Bundle, store: Store) -> Trial:
    fingerprint = bundle.manifest.fingerprint
    found = [trial for trial in store.ledger() if trial.candidate.architecture.fingerprint == fingerprint]
    if not found:
        raise EdgenasError(
            f"{bundle.folder} holds network {fingerprint}, which {store.folder} does not know: name its own study"
        )
    choice = store.choice
    chosen = [trial for trial in found if choice is not None and trial.number == choice.trial.number]
    return (chosen or found)[0]


def _greet(board: Board, profile: HardwareProfile, precision: Precision | None) -> None:
    info = board.info()
    at = f", {precision}" if precision else ""
    say(f"board {board.url}: {info['device']['model']}, {info['runtime']} {info['runtime_version']}{at}")
    if info["runtime"] != profile.runtime:
        say(f"warning: the limits were set for {profile.runtime}: another quantity than what is measured here")


def _finalists(store: Store, numbers: list[int] | None) -> list[Trial]:
    """The named trials, or the chosen one and the front."""
    from edgenas.engine.fronts import front
    from edgenas.methods import CONTROL

    trials = [trial for trial in store.ledger() if trial.status == "complete" and trial.candidate.phase != CONTROL]
    if not trials:
        raise EdgenasError(f"{store.folder} has no trained network yet: run `edgenas search` first")
    if numbers:
        found = {trial.number: trial for trial in trials}
        if missing := [number for number in numbers if number not in found]:
            raise EdgenasError(
                f"no trained trial {missing[0]} in {store.folder}; possible: {', '.join(map(str, found))}"
            )
        return [found[number] for number in numbers]
    choice = store.choice
    finalists = front(trials, store.study.metric.objective, store.study.profiles[0])
    finalists = [*([choice.trial] if choice else []), *finalists]
    return list({trial.candidate.architecture.fingerprint: trial for trial in reversed(finalists)}.values())[::-1]


# ---------------------------------------------------------------- words


def _name(item: Verified) -> str:
    return item.file or f"trial {item.trial}"


def _say_what_matters(item: Verified, board: str) -> None:
    """What a person must not miss: a limit that was not verified, a shaky measurement, a prediction that did not hold."""
    if item.energy_limit is not None and item.measured.energy_mj is None:
        say(f"{_name(item)}: {board} has no power sensor, so the limit of {item.energy_limit:g} mJ is not verified")
    if item.status != "ok":
        say(
            f"{_name(item)}: the measurement is {item.status} ({'; '.join(item.warnings)}): measure again on a calm board"
        )
    if item.beyond and item.interval is not None and item.ratio is not None:
        low, high = item.interval
        say(
            f"{_name(item)}: the board takes {item.ratio:.2f} times what the search went by, outside of {low:.4g} to {high:.4g} "
            "ms: calibrate the target with this board (`edgenas calibrate --board`)"
        )


def _text(found: list[Verified]) -> str:
    rows = [
        (
            str(item.trial) if item.file is None else item.file,
            item.precision,
            "-" if item.predicted is None else f"{item.predicted:.4g}",
            item.origin or "-",
            f"{item.measured.median:.4g}",
            f"{item.measured.p90:.4g}",
            item.status,
            "-" if item.ratio is None else f"x{item.ratio:.2f}" + (" beyond" if item.beyond else ""),
            "-" if item.limit is None else f"{item.limit:g}",
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
