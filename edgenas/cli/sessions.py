"""What a search or a training does before it writes: which study it goes on with, and with which versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import get_args

import msgspec

from edgenas.cli.output import say
from edgenas.cli.settings import MethodName, SearchSettings, default_folder, differences, versions
from edgenas.cli.studies import ROOT
from edgenas.errors import StudyError
from edgenas.records import Session, Study
from edgenas.store import Store

DECIDED = ("asked", "device", "task", "training", "space", "rules")  # what every search writes down before it begins


def study_to_write(name: str | None, asked: Study) -> Path:
    """The folder of a search: the one that is named; else that of its settings, whatever an earlier version called it.

    Says so where a new study would begin beside an unfinished one that only another method sets apart: the default of an
    earlier version, perhaps.
    """
    if name is not None:
        return Path(name) if "/" in name else ROOT / name
    folder = default_folder(asked)
    if Store.is_in(folder):
        return folder
    others = list(_studies())
    for other, there, _ in others:
        if not differences(there, asked):
            return other
    for other, there, finished in others:
        same = not differences(_of_method(there, asked.method), asked)
        if same and not finished and asked.method == SearchSettings().method:
            say(
                f"{other} holds an unfinished study of the same settings by another method: "
                f"`--method {there.method}` goes on with it; this one begins with {asked.method}"
            )
    return folder


def refuse_unresumable(store: Store, boards: bool) -> None:
    """Raise StudyError where an unfinished study does not say how to go on, or where its latencies come from elsewhere than
    `boards` (is one given?)."""
    study, folder = store.study, store.folder
    if study.method not in get_args(MethodName):
        raise StudyError(
            f"{folder} is a search by method {study.method!r}, this edgenas has {', '.join(get_args(MethodName))}: go on with "
            f"edgenas {study.versions.get('edgenas', 'of another version')}, which began it"
        )
    missing = [name for name in DECIDED if name not in study.settings]
    if missing:
        raise StudyError(
            f"{folder} does not say its {', '.join(missing)}, so that it cannot go on: it is no study of `edgenas search`"
        )
    measured = study.settings["asked"].get("boards", False)
    if measured and not boards:
        raise StudyError(f"{folder} measures its candidates on a board: give its --board URL")
    if boards and not measured:
        raise StudyError(f"{folder} was begun without a board: leave --board out, or search again under --study NAME")


def refuse_other_meaning(store: Store) -> None:
    """Raise StudyError for an unfinished search whose rules or schedule meant something else when it began (identity 1)."""
    study = store.study
    schedule = study.settings.get("training", {}).get("recipe", {}).get("schedule")
    changed = {
        "the schedule cosine-epoch": schedule == "cosine-epoch",
        "when TRG-NAS stops": study.method == "trgnas",
        "what NSE aims at under a latency limit": study.method == "nse" and study.limits.latency_ms is not None,
    }
    other = [what for what, concerned in changed.items() if concerned]
    if store.identity == 1 and other:
        raise StudyError(
            f"{store.folder} was begun before {' and '.join(other)} was mended: go on with the edgenas that began it, or search "
            "again under another --study NAME"
        )


def begin_session(store: Store, command: str) -> None:
    """Put on record what this process writes the study with; say so where that is not what wrote it before."""
    known = list(store.all("session", Session).values())
    before, now = (known[-1].versions if known else store.study.versions), versions()
    changed = [
        f"{name} {before.get(name, 'none')} before, {now.get(name, 'none')} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changed:
        say(
            f"other versions than this study was written with ({'; '.join(changed)}): scores may differ from what those gave"
        )
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    store.put("session", f"{len(known):04d}", Session(command, began, len(store.trials()), now))


def _of_method(study: Study, method: str) -> Study:
    asked = {**study.settings["asked"], "method": method}
    return msgspec.structs.replace(study, method=method, settings={**study.settings, "asked": asked})


def _studies() -> Iterator[tuple[Path, Study, bool]]:
    """(folder, study, is it finished) of every study under ROOT that can be read."""
    for path in sorted(ROOT.glob("*/study.db")):
        with contextlib.suppress(StudyError), Store.read(path.parent) as store:
            yield path.parent, store.study, store.choice is not None
