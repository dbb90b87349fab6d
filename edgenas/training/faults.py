"""Which errors are the machine's and no network's: they end a search in one line, and make no failed trial of a candidate.

A full disk, too many open files, a disk that fails, a library that cannot be loaded: whatever the system refuses, it refuses the
next candidate, too. A GPU that a process has lost (an error after which all that the process asks of it fails) is there again
for a new process. Memory that runs out is not among them: how much a network needs is the network's.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

import torch

from edgenas.errors import EdgenasError, MachineError
from edgenas.runtimes import is_device_lost

ADVICE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EMFILE: "allow more open files (ulimit -n), or take fewer workers",
    errno.ENFILE: "close other programs, or take fewer workers",
    errno.EIO: "see that its disk works",
    errno.EAGAIN: "allow more processes (ulimit -u), or take fewer workers",
}
# Libraries hand on the system's words in errors of their own.
WORDS = {os.strerror(number).lower(): advice for number, advice in ADVICE.items()}
WORDS["can't start new thread"] = ADVICE[errno.EAGAIN]
KEPT = "run the same command again: what was trained is kept"


class DeviceLostError(MachineError):
    """A GPU that this process has lost; a new process may have it again. `args[0]`: which, and what it said."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}: {KEPT}; where one network does this each time, take worker processes (--workers 1)"
        )


def machine_fault(error: Exception, device: torch.device) -> EdgenasError | None:
    """The line that a search ends with, where this error, raised while `device` was computing, is the machine's; else None."""
    words = _first_line(error)
    advice = next((WORDS[said] for said in WORDS if said in str(error).lower()), None)
    if isinstance(error, EdgenasError):
        return MachineError(words) if advice else None
    if isinstance(error, OSError | ImportError):
        if getattr(error, "errno", None) == errno.ENOMEM:
            return None
        advice = advice or "see to that"
    if advice is not None:
        return MachineError(f"this machine cannot go on ({type(error).__name__}: {words}): {advice}, and {KEPT}")
    if is_device_lost(error) or not _answers(device):
        return DeviceLostError(f"{device} was lost ({words})")
    return None


@contextlib.contextmanager
def machine_faults(device: torch.device) -> Iterator[None]:
    """Raise the line in place of an error that is the machine's."""
    try:
        yield
    except EdgenasError:
        raise
    except (OSError, ImportError, RuntimeError) as error:
        fault = machine_fault(error, device)
        if fault is None:
            raise
        raise fault from error


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was given; torch's RuntimeError where it is lost, or was never there."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _answers(device: torch.device) -> bool:
    """Every call fails in a process that has lost its GPU."""
    try:
        wait_for(device)
    except (RuntimeError, AssertionError):  # AssertionError: torch was built without CUDA
        return False
    return True


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
