"""Real data that the repository may not carry: found beside the checkout, or by EDGENAS_SHARED_DATA."""

import os
from pathlib import Path

import pytest


def shared_data(name: str) -> Path:
    """The path of a shared data file or folder; skips the test, saying why, where it is missing."""
    root = Path(os.environ.get("EDGENAS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = root / name
    if not path.exists():
        pytest.skip(f"real data {name} is not here (looked in {root}; set EDGENAS_SHARED_DATA)")
    return path
