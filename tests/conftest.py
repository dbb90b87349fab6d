"""What every test needs: a place of its own for decoded images."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images of tests lie in a temporary folder, not in the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "EDGENAS_CACHE", str(tmp_path_factory.mktemp("images")))
        yield
