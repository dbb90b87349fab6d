"""A reader that is broken on purpose, for the tests of the fuzzer."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from edgenas.errors import EdgenasError
from tests.fuzz.engine import SilentChangeError


def reader(content: bytes, _: Path) -> None:
    """Wrong in every way that there is, by its first byte."""
    first = content[:1]
    if first == b"r":
        raise EdgenasError("refused, as it should be")
    if first == b"l":
        raise ValueError("a reader that lets a library's error out")
    if first == b"s":
        raise SilentChangeError("another result")
    if first == b"d":
        os.kill(os.getpid(), signal.SIGSEGV)
    if first == b"m":
        bytearray(3 * 10**9)
    if first == b"h":
        time.sleep(60)
    if first == b"c":
        until = time.process_time() + 0.4
        while time.process_time() < until:
            pass
    if first == b"x":
        sys.exit(3)
