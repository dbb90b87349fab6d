"""What a child process of ours needs: `python -m edgenas....` must find the very package that starts it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def child_environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`inherited`, with this package to be found first and where it was found now."""
    path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path}


def die_with(parent: int) -> None:
    """From now on this process is killed when the one that started it is, even by `kill -9`; at once where it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
