"""A child that begins warm is what it would be if it had begun cold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children begin warm on Linux alone")
TELLS = """
import json, os, sys
descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
print(json.dumps([os.getcwd(), sys.argv[1:], dict(os.environ), sys.path[0], os.getppid(), descriptors, sys.stdin.read()]))
print("a word", file=sys.stderr)
os.write(int(sys.argv[1]), b"passed on")
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder with a program that is started warm there."""
    monkeypatch.setitem(warm.LOADED, "tells", ("json",))
    stocks: dict[tuple[str, ...], warm.Stock] = {}
    monkeypatch.setattr(warm, "STOCKS", stocks)
    (tmp_path / "tells.py").write_text(TELLS)
    (tmp_path / "waits.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    monkeypatch.setitem(warm.LOADED, "waits", ("json",))
    yield tmp_path
    for stock in stocks.values():
        stock.close()


@pytest.mark.parametrize("code", [0, 3])
def test_it_has_the_same_surroundings_and_the_same_end(known: Path, code: int) -> None:
    def told(kind: type[subprocess.Popen[str]]) -> tuple[object, ...]:
        reading, writing = os.pipe()
        child = kind(
            [sys.executable, "-m", "tells", str(writing), str(code), "ä"], cwd=known, env={**os.environ, "WORD": "x"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(writing,),
        )  # fmt: skip
        os.close(writing)
        said = child.communicate("line", timeout=60)
        with open(reading, "rb") as file:  # noqa: PTH123
            return said, child.returncode, file.read()

    found = told(warm.Warm)
    assert warm.STOCKS
    assert found == told(warm.Cold)
    assert found[1:] == (code, b"passed on")


def test_it_can_be_killed_and_waited_for(known: Path) -> None:
    with warm.Warm([sys.executable, "-m", "waits"], cwd=known, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        assert child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.01)
        child.kill()
        assert child.wait(60) == -signal.SIGKILL == child.poll()
        assert child.stdout.read() == b""


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONPATH"])
def test_it_begins_cold_where_it_would_load_something_else(known: Path, name: str) -> None:
    child = warm.Warm([sys.executable, "-m", "waits"], cwd=known, env={**os.environ, name: "7"})
    began_cold = child._status is None
    child.kill()
    child.wait()
    assert began_cold
