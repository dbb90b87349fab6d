"""What a process keeps of the memory that it freed, seen from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgenas.training.memory import SPARE

PROGRAM = """
import re, sys
import torch
from edgenas.training.memory import give_back_spare_memory, keep_freed_memory
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
assert keep_freed_memory()
blocks = [torch.ones(20 << 18) for _ in range(int(sys.argv[1]) // 20)]  # 20 MB each
last = torch.ones(1000)  # above them in the heap
del blocks
kept = anonymous()
give_back_spare_memory()
print(kept, anonymous())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")
@pytest.mark.parametrize(("megabytes", "given_back"), [((SPARE >> 20) + 100, True), ((SPARE >> 20) - 100, False)])
def test_freed_memory_beyond_half_a_gigabyte_goes_back_and_less_is_kept(megabytes: int, given_back: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(megabytes)], capture_output=True, text=True, check=True)
    kept, after = map(int, done.stdout.split())
    assert kept > megabytes
    assert (kept - after > megabytes - 40) == given_back
    assert given_back or kept - after < 40  # the kernel counts by the way, not exactly
