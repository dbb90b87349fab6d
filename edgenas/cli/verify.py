"""`edgenas verify`: do the finalists hold their limit on the board?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.output import emit, say, table
from edgenas.errors import EdgenasError

if TYPE_CHECKING:
    from edgenas.records import HardwareProfile, Limits, Trial
    from edgenas.remote.client import Board
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
    token_file: Path | None = typer.Option(None, help="The agent's token (also: EDGENAS_AGENT_TOKEN)."),
    ca: Path | None = typer.Option(
        None, help="https:// boards: PEM file of the CA to trust in place of the system's (also: EDGENAS_AGENT_CA)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Measure a study's finalists on a board. Exit code 3 where one breaks the study's latency or energy limit there.

    Example: edgenas verify studies/digits --board http://127.0.0.1:8765

    Example: edgenas verify studies/digits --board https://board:8765 --token-file token --ca ca.pem
    """
    from edgenas.cli.studies import study_folder
    from edgenas.hardware.profile import profiles_of
    from edgenas.remote.boards import MEASURED, open_board
    from edgenas.store import Store

    folder = study_folder(study)
    with Store.read(folder) as store:
        limits, precision, profile = store.study.limits, store.study.precision, profiles_of(store.study)[0]
        finalists = _finalists(store, trial)
    there = open_board(board, token_file, ca, say)
    info = there.info()
    say(f"board {board}: {info['device']['model']}, {info['runtime']} {info['runtime_version']}, {MEASURED}")
    if (info["runtime"], MEASURED) != (profile.runtime, precision):
        say(
            f"warning: the limits were set for {profile.runtime} in {precision}: another quantity than what is measured here"
        )
    document = [_verified(finalist, there, profile, limits) for finalist in finalists]
    rows = [
        (
            str(item["trial"]),
            f"{item['predicted']:.4g}",
            item["origin"],
            f"{item['measured']['median']:.4g}",
            f"{item['measured']['p90']:.4g}",
            "-" if item["limit"] is None else f"{item['limit']:g}",
            "yes" if item["holds"] else "NO",
        )
        for item in document
    ]
    header = ("trial", "search ms", "origin", "median ms", "p90 ms", "limit ms", "holds")
    emit(document, as_json=as_json, text=table(header, rows))
    if not all(item["holds"] for item in document):
        raise typer.Exit(3)


def _finalists(store: Store, numbers: list[int] | None) -> list[Trial]:
    """The named trials, or the chosen one and the front."""
    from edgenas.methods import CONTROL
    from edgenas.report.front import front
    from edgenas.report.scores import objective_of

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
    finalists = front(trials, objective_of(store.study), store.study.profiles[0])
    finalists = [*([choice.trial] if choice else []), *finalists]
    return list({trial.candidate.architecture.fingerprint: trial for trial in reversed(finalists)}.values())[::-1]


def _verified(trial: Trial, board: Board, profile: HardwareProfile, limits: Limits) -> dict[str, Any]:
    from edgenas.hardware.candidates import model_from_architecture
    from edgenas.hardware.measure import BENCH, percentiles
    from edgenas.remote.job import job_for

    model = model_from_architecture(trial.candidate.architecture, profile)
    measurement = board.measure(model, job_for(model, profile.name, BENCH))
    ms, energy = percentiles(measurement), measurement.detail.get("energy_mj")
    searched = trial.cost.latencies[profile.name]
    if limits.energy_mj is not None and energy is None:
        say(
            f"trial {trial.number}: {board.url} has no power sensor, so the limit of {limits.energy_mj:g} mJ is not verified"
        )
    slow = limits.latency_ms is not None and ms["median"] > limits.latency_ms
    hungry = limits.energy_mj is not None and energy is not None and energy > limits.energy_mj
    return {
        "trial": trial.number,
        "predicted": searched.ms,
        "origin": searched.origin,
        "measured": {"median": ms["median"], "p90": ms["p90"], "energy_mj": energy},
        "runtime": measurement.runtime,
        "precision": measurement.precision,
        "status": measurement.status,
        "warnings": measurement.detail["warnings"],
        "limit": limits.latency_ms,
        "energy_limit": limits.energy_mj,
        "holds": not slow and not hungry,
    }
