"""Where files for another server go, beside a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path

from edgenas.durable import try_folder
from edgenas.errors import EdgenasError


def destination(flag: str, what: str, root: Path, name: str, sign: str, before: Sequence[str]) -> Path:
    """ROOT/NAME. EdgenasError where it cannot be written, or holds something else: `what` is there has a file called `sign`. That
    is written last; what a killed export left has only names of the patterns `before`, of which the first is written first. A
    pattern may have a folder: "1/model.onnx"."""
    folder = root / name
    try:
        if folder.exists() and not (folder / sign).is_file() and not _may_be_filled(folder, before):
            raise EdgenasError(f"{folder} exists and is no {what}: choose another {flag} folder")
        for path in (path for pattern in before for path in folder.glob(pattern)):
            if not path.is_file():
                raise EdgenasError(f"{path} is no file: choose another {flag} folder")
        for parent in {folder / pattern.split("/")[0] for pattern in before if "/" in pattern}:
            if parent.exists() and not parent.is_dir():
                raise EdgenasError(f"{parent} is no folder: choose another {flag} folder")
        try_folder(folder, parents=True)
    except OSError as error:
        raise EdgenasError(f"{folder} cannot be written: {error.strerror}: choose another {flag} folder") from error
    return folder


def _may_be_filled(folder: Path, before: Sequence[str]) -> bool:
    """Is it empty, or what a killed export left? Hidden names are not looked at: nothing is written over them, and a kill leaves
    some, too."""
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    tops = [pattern.split("/")[0] for pattern in before]
    ours = all(any(fnmatchcase(name, top) for top in tops) for name in names)
    return not names or (ours and any(fnmatchcase(name, tops[0]) for name in names))


def check_apart(places: Mapping[str, Path]) -> None:
    """EdgenasError where what one flag writes would lie in the folder of another: `places`, by flag."""
    for (one, first), (other, second) in combinations(
        {flag: path.resolve() for flag, path in places.items()}.items(), 2
    ):
        if first.is_relative_to(second) or second.is_relative_to(first):
            raise EdgenasError(
                f"{one} would write {places[one]}, {other} {places[other]}: choose two folders, none in the other"
            )
