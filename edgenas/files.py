"""Reading files that come from outside: regular ones, of a size that was thought of."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgenas.errors import EdgenasError


def read_bytes(path: Path, largest: int) -> bytes:
    """The whole content. Raises EdgenasError, in one line, for what is missing, no file (a pipe, a device) or larger."""
    try:
        # Without waiting: a pipe that nobody writes to would never open.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise EdgenasError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise EdgenasError(f"{path} cannot be read: Is a directory")
        if not stat.S_ISREG(found.st_mode):
            raise EdgenasError(f"{path} cannot be read: it is a pipe or a device, not a file")
        content = b"" if found.st_size > largest else file.read(largest + 1)
    if found.st_size > largest or len(content) > largest:
        raise EdgenasError(
            f"{path} cannot be read: it has more than {largest / 1e6:g} MB, too many for what it should be"
        )
    return content
