"""What a child process of ours needs: `python -m edgenas....` must find the very package that starts it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[2]


def child_environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`inherited`, with this package to be found first and where it was found now."""
    path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path}
