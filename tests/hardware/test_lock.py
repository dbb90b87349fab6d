"""One measurement at a time, whoever measures."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.lock import NAME, device_lock
from edgenas.runtimes.child import child_environment

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="other users need root, setpriv"
)
LOCK = """
import sys; from pathlib import Path; from edgenas.hardware.lock import device_lock; from edgenas.errors import EdgenasError
try:
    with device_lock(patience_s=float(sys.argv[2]), folder=Path(sys.argv[1])): print("locked")
except EdgenasError as error: print(error)
"""


@pytest.fixture
def sticky() -> Iterator[Path]:
    """A folder like /tmp: everyone may write, nobody may remove another's file."""
    folder = Path(f"/tmp/edgenas-lock-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def locks_as(user: int, folder: Path, patience_s: float = 0) -> str:
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", sys.executable, "-c", LOCK]
    environment = {**child_environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, str(folder), str(patience_s)], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@needs_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_one_user_locked_another_one_can_lock_after(umask: int, sticky: Path) -> None:
    before = os.umask(umask)
    try:
        with device_lock(folder=sticky):
            assert "has held" in locks_as(65534, sticky)  # of another user, too: one at a time
    finally:
        os.umask(before)
    assert stat.S_IMODE((sticky / NAME).stat().st_mode) == 0o644
    assert locks_as(65534, sticky) == "locked"
    (sticky / NAME).unlink()
    assert locks_as(10001, sticky) == "locked"
    assert (sticky / NAME).stat().st_uid == 10001
    assert locks_as(65534, sticky) == "locked"
    with device_lock(folder=sticky):
        pass


@needs_root
def test_a_lock_that_cannot_be_read_names_who_can_remove_it(sticky: Path) -> None:
    (sticky / NAME).touch(mode=0o600)
    said = locks_as(65534, sticky)
    assert (
        said
        == f"the device lock {sticky}/{NAME} cannot be opened: Permission denied: its owner root or root can remove it"
    )


def test_the_lock_is_the_same_whatever_the_temporary_folder(tmp_path: Path) -> None:
    code = "import edgenas.hardware.lock as lock; print(lock.FOLDER)"
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert there.stdout.strip() == "/tmp"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "other")
    with pytest.raises(EdgenasError, match="cannot be opened"), device_lock(folder=tmp_path):
        pass
