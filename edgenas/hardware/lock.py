"""One measurement at a time on a machine, whoever measures."""

from __future__ import annotations

import fcntl
import os
import pwd
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgenas.errors import EdgenasError

# The same for every user and job of this machine, whatever their TMPDIR.
FOLDER = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
NAME = "edgenas-device.lock"


def _silent(_: str) -> None:
    """Says nothing."""


def _never() -> bool:
    """Waits on."""
    return False


@contextmanager
def device_lock(
    say: Callable[[str], None] = _silent,
    patience_s: float = 900,
    folder: Path = FOLDER,
    given_up: Callable[[], bool] = _never,
) -> Iterator[None]:
    """Nobody else times anything on this machine meanwhile. EdgenasError where another has it for longer than `patience_s`, or
    until `given_up` says so."""
    lock = _open(folder / NAME)
    try:
        deadline, told = time.monotonic() + patience_s, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline or given_up():
                    raise EdgenasError(
                        f"another measurement has held {folder / NAME} for {patience_s:.0f} s: wait for it or stop it"
                    ) from None
                if not told:
                    say("waiting for another measurement on this machine to end")
                    told = True
                time.sleep(0.05)
        yield
    finally:
        os.close(lock)


def _open(path: Path) -> int:
    """For reading, which is enough to lock it: it belongs to whoever measured first, and to read is what all others may.

    It is not made where it is there: for another user's file in /tmp that is forbidden (fs.protected_regular).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        with suppress(FileExistsError):  # another process was faster
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(lock, 0o644)  # whatever the umask
            return lock
        return os.open(path, flags)
    except OSError as error:
        raise EdgenasError(
            f"the device lock {path} cannot be opened: {error.strerror}: {_owner(path)} or root can remove it"
        ) from error


def _owner(path: Path) -> str:
    try:
        return f"its owner {pwd.getpwuid(path.lstat().st_uid).pw_name}"
    except (OSError, KeyError):
        return "its owner"
