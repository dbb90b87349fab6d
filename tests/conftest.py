"""What every test needs: a place of its own for decoded images, threads that wait asleep, and nothing prepared twice."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgenas.export import onnx
from tests import warm
from tests.traced_once import traced_once

# Before torch is loaded, here and in every process that a test starts: a thread that waits for its sibling does not keep a core
# busy meanwhile. Two workers of pytest with trainings in two threads each take a quarter of the time so.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

COLD = "EDGENAS_TESTS_COLD"  # where it is set, every test has what the fixture `cold` gives
TRACED = onnx._traced


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images of tests lie in a temporary folder, not in the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "EDGENAS_CACHE", str(tmp_path_factory.mktemp("images")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is loaded or traced twice that was before, see tests/warm.py and tests/traced_once.py."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get(COLD):
            if sys.platform == "linux":
                warm.SURROUNDINGS.update(os.environ)
                patch.setattr(subprocess, "Popen", warm.Warm)
            base = tmp_path_factory.getbasetemp()
            shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "traced"
            shared.mkdir(exist_ok=True)
            patch.setattr(onnx, "_traced", traced_once(TRACED, shared))
        yield


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of what is otherwise saved: its children load all they need, its networks are traced."""
    monkeypatch.setattr(subprocess, "Popen", warm.Cold)
    monkeypatch.setattr(onnx, "_traced", TRACED)


# Of several workers (`--dist loadfile --no-loadscope-reorder`) none is left with one of these while the others have ended.
LONGEST = (
    "tests/cli/test_export.py",
    "tests/cli/test_compare.py",
    "tests/cli/test_search.py",
    "tests/cli/test_train.py",
    "tests/engine/test_teachers.py",
    "tests/cli/test_guided.py",
    "tests/cli/test_kills.py",
    "tests/contracts/test_methods.py",
    "tests/engine/test_given.py",
    "tests/export/test_families.py",
    "tests/training/test_workers.py",
    "tests/api/test_block.py",
    "tests/outside/test_outside.py",
    "tests/benchmarks/test_gpu.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.location[0], len(LONGEST)))


def pytest_collection_finish() -> None:
    """What was loaded until now stays: the collector need not walk over it during the tests, half a second each time."""
    gc.collect()
    gc.freeze()
