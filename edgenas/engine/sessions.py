"""What a search or a training does before it writes a study: may it go on with it, and with which versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from edgenas.engine.plan import written_plan
from edgenas.engine.versions import versions
from edgenas.errors import StudyError
from edgenas.records import Session
from edgenas.store import Store


def refuse_unresumable(store: Store, boards: bool) -> None:
    """Raise StudyError where an unfinished study does not say how to go on, or where its latencies come from elsewhere than
    `boards` (is one given?)."""
    measured = written_plan(store.study).boards
    if measured and not boards:
        raise StudyError(f"{store.folder} measures its candidates on a board: give its --board URL")
    if boards and not measured:
        raise StudyError(
            f"{store.folder} was begun without a board: leave --board out, or search again under --study NAME"
        )


def refuse_other_meaning(store: Store) -> None:
    """Raise StudyError for an unfinished search whose rules or schedule meant something else when it began (identity 1)."""
    study = store.study
    changed = {
        "the schedule cosine-epoch": written_plan(study).training.recipe.schedule == "cosine-epoch",
        "when TRG-NAS stops": study.method == "trgnas",
        "what NSE aims at under a latency limit": study.method == "nse" and study.limits.latency_ms is not None,
    }
    other = [what for what, concerned in changed.items() if concerned]
    if store.identity == 1 and other:
        raise StudyError(
            f"{store.folder} was begun before {' and '.join(other)} was mended: go on with the edgenas that began it, or search "
            "again under another --study NAME"
        )


def begin_session(store: Store, command: str, tell: Callable[[str], None]) -> None:
    """Put on record what this process writes the study with; say so where that is not what wrote it before."""
    known = list(store.all("session", Session).values())
    before, now = (known[-1].versions if known else store.study.versions), versions()
    changed = [
        f"{name} {before.get(name, 'none')} before, {now.get(name, 'none')} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changed:
        tell(
            f"warning: other versions than this study was written with ({'; '.join(changed)}): scores may differ "
            "from what those gave"
        )
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    store.put("session", f"{len(known):04d}", Session(command, began, len(store.ledger()), now))
