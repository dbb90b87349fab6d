"""Memory: what training keeps of the C library's, which would give every large tensor back to the system and fault it in again,
and what is said where there is too little."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import sys
from collections.abc import Iterator

import torch

from edgenas.errors import TrainingError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_GIB = 1 << 30


SPARE = 512 << 20  # bytes of freed memory that a process may keep


class _Mallinfo2(ctypes.Structure):
    """malloc.h, glibc from 2.33 on."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def give_back_spare_memory() -> None:
    """Give freed blocks back to the system where they are more than SPARE: between a training and an evaluation, whose blocks
    have other sizes. Aligned blocks are seldom found again by glibc before 2.38, so that what is kept grows: to 3.8 GB instead
    of 1.0 in a training at 224 px. Elsewhere than with glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    count, trim = getattr(libc, "mallinfo2", None), getattr(libc, "malloc_trim", None)
    if count is None or trim is None:
        return
    count.restype = _Mallinfo2
    if count().fordblks > SPARE:
        trim(0)


def keep_freed_memory() -> bool:
    """Keep freed blocks in the process (glibc only; elsewhere False and nothing happens). 50,000 page faults a second less,
    about a tenth of the time of a small network's step."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all(mallopt(option, value) for option, value in ((_M_MMAP_THRESHOLD, _GIB), (_M_TRIM_THRESHOLD, _GIB)))


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Running out of memory is a TrainingError, on a GPU and on a CPU: the candidate's failure, or one line."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise
        raise TrainingError(
            f"out of memory: {str(error).splitlines()[0] if str(error) else 'allocation failed'}"
        ) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise TrainingError(f"out of memory: {str(error).splitlines()[0]}") from error
