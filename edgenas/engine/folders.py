"""Which folder a study is in: one that is named, the newest one, or the one of a search's settings."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edgenas.engine.contents import contents_in
from edgenas.engine.plan import written_plan
from edgenas.errors import StudyError
from edgenas.identity import canonical_json, later_defaults
from edgenas.methods.settings import SearchSettings
from edgenas.records import Record, StudyRecord
from edgenas.store import Store, flat

ROOT = Path("studies")
Tell = Callable[[str], None]


class Asked(Record, frozen=True):
    """What sets one study apart from another: the settings, targets by their profiles, files by what they say, and whether boards
    measure."""

    study: StudyRecord  # its plan, hardware and versions count for nothing here
    settings: SearchSettings
    boards: bool
    contents: dict[str, str] = {}  # of the files that the settings name, as far as it is known


def asked_in(store: Store) -> Asked:
    """What a study was asked for."""
    written = written_plan(store.study)
    return Asked(store.study, written.asked, written.boards, contents_in(store))


def is_study(name: str) -> bool:
    """Is there a study with this folder or name?"""
    return any(map(_holds_study, (Path(name), ROOT / name)))


def _holds_study(folder: Path) -> bool:
    """StudyError where that cannot be seen: a name that is too long, a folder that may not be entered."""
    try:
        return (folder / "study.db").is_file()
    except OSError as error:
        raise StudyError(f"no study can be looked for in {str(folder)!r:.120}: {error.strerror}") from error


def study_folder(name: str | None, tell: Tell = lambda _: None) -> Path:
    """The folder of the study that is named, here or else below ROOT; without a name the newest one. What the name alone does not
    say is told."""
    if name is not None:
        found = [folder for folder in (Path(name), ROOT / name) if _holds_study(folder)]
        if len({folder.resolve() for folder in found}) > 1:
            tell(f"study {name}: the folder of this name here; the study that is called so is {found[1]}")
        if found:
            return found[0]
        known = sorted(path.parent.name for path in ROOT.glob("*/study.db"))
        possible = (
            f"studies here: {', '.join(known)}" if known else "there is no study here: run `edgenas search` first"
        )
        raise StudyError(f"no study {name!r} (no study.db in it or in {ROOT / name}): {possible}")
    found = sorted(ROOT.glob("*/study.db"), key=_written_at)
    if not found:
        raise StudyError(f"there is no study under {ROOT}/: run `edgenas search` first, or name a study's folder")
    tell(f"study {found[-1].parent}")
    return found[-1].parent


def _written_at(database: Path) -> float:
    """Seconds since 1970, as the study says it; of one that cannot be read, or says nothing (before 0.2), its file's time."""
    with contextlib.suppress(StudyError):
        written = Store.written_at(database.parent)
        if written is not None:
            return written
    return database.stat().st_mtime


def default_folder(asked: Asked) -> Path:
    """studies/<data>-<target>-<method>-<8 hex of all settings but where the data lie>: other settings make another study."""
    values = {**msgspec.to_builtins(asked.settings), "boards": asked.boards, "data_dir": None}
    values |= {"contents": asked.contents} if asked.contents else {}
    later = msgspec.to_builtins(later_defaults(SearchSettings))
    named = {name: value for name, value in values.items() if name not in later or value != later[name]}
    settings = hashlib.sha256(canonical_json(named)).hexdigest()[:8]
    study = asked.study
    data = called_data(study.data, study.task)
    target = study.profiles[0] if len(study.profiles) == 1 else f"{study.profiles[0]}+{len(study.profiles) - 1}"
    return ROOT / f"{data}-{target}-{study.method}-{settings}"


def called_data(data: str, task: str) -> str:
    """What folders of studies call their data: a data set's name, or that of the folder or file, wherever it is seen from."""
    from edgenas.tasks.datasets import OF_TASKS

    return data if data in OF_TASKS.get(task, ()) or not Path(data).exists() else Path(data).resolve().name


def named_folder(name: str) -> Path:
    """Where a study that is called so by --study is written: a folder, or a name below ROOT."""
    if Path(name.strip()).name in ("", ".."):  # ./ is as little a name as .
        raise StudyError(f"--study {name!r} was asked for: give a name, such as first, or a folder, such as ./first")
    return Path(name) if "/" in name else ROOT / name


def folder_to_write(name: str | None, asked: Asked, tell: Tell) -> Path:
    """The folder of a search: the one that is named; else that of its settings, whatever an earlier version called it.

    Says so where a new study would begin beside an unfinished one that only another method sets apart: the default of an
    earlier version, perhaps.
    """
    if name is not None:
        return named_folder(name)
    folder = default_folder(asked)
    if Store.is_in(folder):
        return folder
    others = list(_studies())
    for other, there, _ in others:
        if not differences(there, asked):
            return other
    for other, there, finished in others:
        same = not differences(_of_method(there, asked.study.method), asked)
        if same and not finished and asked.settings.method == SearchSettings().method:
            tell(
                f"{other} holds an unfinished study of the same settings by another method: "
                f"`--method {there.study.method}` goes on with it; this one begins with {asked.settings.method}"
            )
    return folder


def differences(there: Asked, asked: Asked) -> list[str]:
    """A sentence for every setting in which a study differs from what is asked now; where its data lie is none."""
    old, new = _compared(there), _compared(asked)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    found = [f"{name} is {old.get(name)!r} there, {new.get(name)!r} asked" for name in names]
    for name in sorted({*there.contents} & {*asked.contents}):
        file = getattr(asked.settings, name)
        if file == getattr(there.settings, name) and asked.contents[name] != there.contents[name]:
            found.append(f"{file} is not the file that it began with")
    return found


def _compared(asked: Asked) -> dict[str, object]:
    study = asked.study
    named = {"method": study.method, "task": study.task, "data": study.data, "seed": study.seed}
    at = {"profiles": study.profiles, "precision": study.precision, "limits": study.limits}
    settings = {**msgspec.to_builtins(asked.settings), "data_dir": None, "boards": asked.boards}
    return flat(msgspec.to_builtins({**named, **at, "settings": settings}))


def _of_method(asked: Asked, method: str) -> Asked:
    return Asked(
        msgspec.structs.replace(asked.study, method=method),
        msgspec.structs.replace(asked.settings, method=method),
        asked.boards,
        asked.contents,
    )


def _studies() -> Iterator[tuple[Path, Asked, bool]]:
    """(folder, what was asked, is it finished) of every study under ROOT that can be read."""
    for path in sorted(ROOT.glob("*/study.db")):
        with contextlib.suppress(StudyError), Store.read(path.parent) as store:
            yield path.parent, asked_in(store), store.choice is not None
