"""One copy of the data for any number of worker processes: an object whose arrays lie in a file that every process maps.

The file has no name. The system removes it with the last process that has it open, also after `kill -9`.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from typing import IO, Any

import cloudpickle

from edgenas.errors import EdgenasError

LEAST_BYTES = 1 << 16  # smaller arrays are pickled with their object
ALIGNED = 64  # bytes: where an array begins


class Shared:
    """`value` as it is now, for other processes. What is defined in a script or a notebook is taken along by value."""

    def __init__(self, value: object) -> None:
        arrays: list[pickle.PickleBuffer] = []

        def stays_inside(array: pickle.PickleBuffer) -> bool:
            if array.raw().nbytes < LEAST_BYTES:
                return True
            arrays.append(array)
            return False

        body = pickled(value, stays_inside)
        try:
            self.file: IO[bytes] = tempfile.TemporaryFile(prefix="edgenas-")  # noqa: SIM115  closed with its owner
            spans = [self._append(array.raw()) for array in arrays]
            self.start = self._append(pickle.dumps((body, spans)))[0]
            self.file.flush()
        except OSError as error:
            size = sum(array.raw().nbytes for array in arrays) / 1e6
            raise EdgenasError(
                f"no room for {size:.0f} MB of data in {tempfile.gettempdir()} ({error.strerror}), where worker processes share "
                "them: make room, set TMPDIR to a folder that has some, or take no workers (workers = 0)"
            ) from error

    def _append(self, content: bytes | memoryview) -> tuple[int, int]:
        """(where it begins, where it ends)."""
        end = self.file.seek(0, os.SEEK_END)
        start = self.file.seek(-(-end // ALIGNED) * ALIGNED)
        self.file.write(content)
        return start, self.file.tell()

    def close(self) -> None:
        """No further process can open it; those that have it open keep it."""
        self.file.close()


def open_shared(descriptor: int, start: int) -> Any:
    """The object of a `Shared`, from its open file and its `start`. A process that writes into an array gets its own
    copy of those pages; the other processes do not see it."""
    whole = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    body, spans = pickle.loads(whole[start:])
    return pickle.loads(body, buffers=[whole[first:last] for first, last in spans])


def pickled(value: object, stays_inside: Any = None) -> bytes:
    """Bytes that `pickle.loads` reads in another process. `stays_inside(PickleBuffer)`: see pickle's `buffer_callback`.

    Raises EdgenasError where an object cannot go to another process.
    """
    try:
        return cloudpickle.dumps(value, protocol=5, buffer_callback=stays_inside)  # type: ignore[no-any-return]
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, BufferError, RecursionError) as error:
        raise EdgenasError(not_pickled(value, error)) from error


def not_pickled(value: object, error: Exception) -> str:
    """The line about an object that cannot go to another process."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"{type(value).__name__} cannot be sent to worker processes ({reason.strip()}): keep open files, locks and generators "
        "out of it, or take no workers (workers = 0)"
    )
