"""Where files for another server go, beside a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from edgenas.durable import try_folder
from edgenas.errors import EdgenasError


def destination(flag: str, what: str, root: Path, name: str, sign: str, before: Sequence[str]) -> Path:
    """ROOT/NAME. EdgenasError where it cannot be written, or holds something else: `what` is there has a file called `sign`. That
    is written last; what a killed export left has only names of the patterns `before`, of which the first is written first."""
    folder = root / name
    try:
        if folder.exists() and not (folder / sign).is_file() and not _may_be_filled(folder, before):
            raise EdgenasError(f"{folder} exists and is no {what}: choose another {flag} folder")
        try_folder(folder, parents=True)
    except OSError as error:
        raise EdgenasError(f"{folder} cannot be written: {error.strerror}: choose another {flag} folder") from error
    return folder


def _may_be_filled(folder: Path, before: Sequence[str]) -> bool:
    """Is it empty, or what a killed export left? Hidden names are not looked at: nothing is written over them, and a kill leaves
    some, too."""
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    ours = all(any(fnmatchcase(name, pattern) for pattern in before) for name in names)
    return not names or (ours and any(fnmatchcase(name, before[0]) for name in names))
