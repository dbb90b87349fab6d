"""Bodies on their way in: how much of them may be held at once, and their inflation and decoding off the event loop."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgenas.serve.errors import RequestRefused

T = TypeVar("T")
STEP = 1 << 20  # bytes that are inflated before they are counted
WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's wbits


class Budget:
    """Bytes of all bodies together that the server may hold; used from the event loop and from the reader's thread."""

    def __init__(self, limit: int) -> None:
        self.limit, self._held = limit, 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """RequestRefused with 503 where all bodies together would be too many."""
        with self._lock:
            if self._held + size > self.limit:
                raise RequestRefused(503, f"bodies of {self.limit} bytes are being held already", Retry_After="1")
            self._held += size

    def give(self, size: int) -> None:
        with self._lock:
            self._held -= size


class Share:
    """What one request holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._size = budget, 0

    def take(self, size: int) -> None:
        self._budget.take(size)
        self._size += size

    def close(self) -> None:
        self._budget.give(self._size)
        self._size = 0


class Reader:
    """One thread for work that would hold up the event loop, and with it the answers to health checks."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def inflated(body: bytes, encoding: str, limit: int, take: Callable[[int], None]) -> bytes:
    """The body decompressed, never to more than `limit` bytes, each of them taken from the budget first."""
    inflater = zlib.decompressobj(WINDOW[encoding])
    parts, size, rest = [], 0, body
    try:
        while rest and not inflater.eof:
            parts.append(inflater.decompress(rest, min(STEP, limit + 1 - size)))
            rest = inflater.unconsumed_tail
            size += len(parts[-1])
            if size > limit:
                raise RequestRefused(413, f"the decompressed body is larger than {limit} bytes")
            take(len(parts[-1]))
    except zlib.error as error:
        raise RequestRefused(400, f"the {encoding} body is damaged (deflate is zlib's format): {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise RequestRefused(400, f"the {encoding} body is cut short or followed by other bytes")
    return b"".join(parts)
