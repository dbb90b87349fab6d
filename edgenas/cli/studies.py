"""Which study a command means: a folder, a name under studies/, or the newest one."""

from __future__ import annotations

from pathlib import Path

from edgenas.cli.output import say
from edgenas.errors import StudyError

ROOT = Path("studies")


def study_folder(name: str | None) -> Path:
    """The folder of the study that is named; without a name the newest one, which is then printed."""
    if name is not None:
        for folder in (Path(name), ROOT / name):
            if (folder / "study.db").is_file():
                return folder
        known = sorted(path.parent.name for path in ROOT.glob("*/study.db"))
        possible = (
            f"studies here: {', '.join(known)}" if known else "there is no study here: run `edgenas search` first"
        )
        raise StudyError(f"no study {name!r} (no study.db in it or in {ROOT / name}): {possible}")
    found = sorted(ROOT.glob("*/study.db"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise StudyError(f"there is no study under {ROOT}/: run `edgenas search` first, or name a study's folder")
    say(f"study {found[-1].parent}")
    return found[-1].parent
