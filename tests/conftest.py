"""What every test needs: a place of its own for decoded images, and threads that wait asleep."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Before torch is loaded, here and in every process that a test starts: a thread that waits for its sibling does not keep a core
# busy meanwhile. Two workers of pytest with trainings in two threads each take a quarter of the time so.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images of tests lie in a temporary folder, not in the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "EDGENAS_CACHE", str(tmp_path_factory.mktemp("images")))
        yield
