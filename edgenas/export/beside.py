"""Where files for another server go, beside a bundle."""

from __future__ import annotations

from pathlib import Path

from edgenas.durable import try_folder
from edgenas.errors import EdgenasError


def destination(flag: str, what: str, root: Path, name: str, sign: str) -> Path:
    """ROOT/NAME. EdgenasError where it cannot be written, or holds something else: `what` is there has a file called `sign`."""
    folder = root / name
    if folder.exists() and not (folder / sign).is_file():
        raise EdgenasError(f"{folder} exists and is no {what}: choose another {flag} folder")
    try:
        try_folder(folder, parents=True)
    except OSError as error:
        raise EdgenasError(f"{folder} cannot be written: {error.strerror}: choose another {flag} folder") from error
    return folder
