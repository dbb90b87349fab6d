"""A name holds all of the old or all of the new, whatever happens."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgenas import durable
from edgenas.durable import (
    check_place,
    exchanged,
    folder_beside,
    has_to_stay,
    put_in_place,
    recover,
    replace_file,
    stood_aside,
    write_files,
)
from edgenas.errors import EdgenasError
from edgenas.runtimes.child import child_environment

ROOT = Path(__file__).parents[1]
NAMES = {"a", "b"}


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def full(folder: Path, word: str) -> Path:
    """A folder with both files of one writer."""
    folder.mkdir()
    write_files(folder, {name: word.encode() for name in NAMES})
    return folder


def word_of(folder: Path) -> str:
    """Whose files these are; a mixture is none."""
    words = {(folder / name).read_text() for name in NAMES}
    assert len(words) == 1
    return words.pop()


# ---------------------------------------------------------------- files


def test_a_file_is_written_and_written_again_with_the_mode_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    replace_file(path, b"one")
    assert path.read_bytes() == b"one"
    path.chmod(0o640)
    replace_file(path, b"two")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
    assert names(tmp_path) == {"page.html"}


def test_a_file_is_replaced_by_another_one_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(b"old")
    (tmp_path / "reader").hardlink_to(tmp_path / "p.toml")  # what was opened before stays what it was
    replace_file(tmp_path / "p.toml", b"new")
    assert (tmp_path / "reader").read_bytes() == b"old"
    assert (tmp_path / "p.toml").read_bytes() == b"new"


def test_a_new_file_has_the_mode_of_any_other_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    replace_file(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_a_link_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"one")
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"two"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, b"spoken")
    reader.join(60)
    assert heard == [b"spoken"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "name",
    ["図" * 83 + ".html", "x" * 250 + ".html", "é" * 120 + ".html", "\udcff" * 240],
    ids=["Chinese", "long", "French", "no text"],
)
def test_a_name_as_long_as_may_be_is_written_and_what_was_left_beside_it_swept(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    left = durable._beside(file)
    left.write_text("of a killed writer")
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert not left.exists()


def test_where_the_disk_is_full_the_older_file_is_as_it_was(tmp_path: Path) -> None:
    """By a limit on the size of files, as `ulimit -f` sets it."""
    path = tmp_path / "page.html"
    path.write_bytes(b"good" * 10)
    code = (
        "import resource, signal, sys; from pathlib import Path; from edgenas.durable import replace_file\n"
        "from edgenas.errors import EdgenasError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: replace_file(Path(sys.argv[1]), b'x' * 5000)\n"
        "except EdgenasError as error: sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert path.read_bytes() == b"good" * 10
    assert names(tmp_path) == {"page.html"}


def test_what_a_killed_writer_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    left, busy, other = (
        tmp_path / name for name in (".page.html.0123abcd", ".page.html.ffffffff", ".page.html.backup00")
    )
    for path in (left, busy, other):
        path.write_bytes(b"part")
    with busy.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        replace_file(tmp_path / "page.html", b"whole")
    assert names(tmp_path) == {"page.html", busy.name, other.name}


def test_a_process_killed_while_it_writes_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    whole = {b"a" * 3_000_000, b"b" * 3_000_000}
    path.write_bytes(b"a" * 3_000_000)
    script = (
        "import itertools; from pathlib import Path; from edgenas.durable import replace_file; print('on', flush=True)\n"
        f"for letter in itertools.cycle((b'a', b'b')): replace_file(Path({str(path)!r}), letter * 3_000_000)"
    )
    for wait in (0.0, 0.01, 0.03, 0.07):
        writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(wait)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert path.read_bytes() in whole


def test_a_place_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgenasError, match=r"cannot write .*none/ours: No such file") as caught:
        replace_file(tmp_path / "none" / "ours", b"")
    assert "\n" not in str(caught.value)


def once_before(patch: pytest.MonkeyPatch, owner: object, name: str, then: Callable[[], None]) -> None:
    """`then` happens right before the first call of a function of the system: another writer's turn, at that moment."""
    real, turns = getattr(owner, name), [then]

    def call(*arguments: Any, **named: Any) -> Any:
        if turns:
            turns.pop()()
        return real(*arguments, **named)

    patch.setattr(owner, name, call)


@pytest.mark.parametrize(("owner", "name"), [(fcntl, "flock"), (os, "fsync"), (Path, "replace")])
def test_two_writers_of_a_file_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    """Whether one comes before the other's lock, while it writes, or before it gives its file the name."""
    path = tmp_path / "files.json"
    once_before(monkeypatch, owner, name, lambda: replace_file(path, b"other"))
    replace_file(path, b"own")
    assert path.read_bytes() == b"own"
    assert names(tmp_path) == {"files.json"}


def test_a_writer_that_finishes_while_another_one_sweeps_is_not_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, part = tmp_path / "files.json", tmp_path / ".files.json.0123abcd"
    part.write_bytes(b"other")
    once_before(monkeypatch, os, "open", lambda: part.rename(path))
    replace_file(path, b"own")
    assert path.read_bytes() == b"own"
    assert names(tmp_path) == {"files.json"}


def test_what_another_user_left_beside_a_file_is_not_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".files.json.0123abcd"
    left.write_bytes(b"theirs")

    def refuse() -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(left))  # as root here may open everything

    once_before(monkeypatch, os, "open", refuse)
    replace_file(tmp_path / "files.json", b"ours")
    assert names(tmp_path) == {"files.json", left.name}


def test_writers_in_many_processes_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "files.json"
    script = (
        "import sys; from pathlib import Path; from edgenas.durable import replace_file\n"
        "for _ in range(100): replace_file(Path(sys.argv[1]), sys.argv[2].encode() * 1000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), letter]) for letter in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert path.read_bytes() in {letter * 1000 for letter in (b"a", b"b", b"c")}
    assert names(tmp_path) == {"files.json"}


# ---------------------------------------------------------------- file systems that can less


def folders_cannot_be_synced(patch: pytest.MonkeyPatch, number: int) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    patch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS])
def test_a_file_system_that_brings_only_files_to_the_disk_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SMB answers EINVAL, FUSE what its program says."""
    folders_cannot_be_synced(monkeypatch, number)
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    for word in ("old", "new"):
        with folder_beside(tmp_path / "out") as partial:
            write_files(partial, dict.fromkeys(NAMES, word.encode()))
            put_in_place(partial, tmp_path / "out")
    assert word_of(tmp_path / "out") == "new"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    folders_cannot_be_synced(monkeypatch, number)
    with pytest.raises(EdgenasError, match=f"cannot write .*: {os.strerror(number)}"):
        replace_file(tmp_path / "file", b"new")


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_where_there_are_no_locks_it_is_written_and_nothing_of_others_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """NFS locks no file that is open for reading alone (EBADF), Lustre none at all unless it is mounted so (ENOSYS)."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".file.0123abcd").write_bytes(b"of a writer, dead or alive")
    full(tmp_path / "out", "old")
    full(tmp_path / ".out.0123abcd", "other")
    replace_file(tmp_path / "file", b"new")
    with folder_beside(tmp_path / "out") as partial:
        recover(tmp_path / "out", NAMES)
        write_files(partial, dict.fromkeys(NAMES, b"new"))
        put_in_place(partial, tmp_path / "out")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert word_of(tmp_path / "out") == "new"
    assert names(tmp_path) == {"file", "out", ".file.0123abcd", ".out.0123abcd"}


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(EdgenasError, match=r"cannot write .*: Input/output error"):
        replace_file(tmp_path / "file", b"new")


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_an_older_one(
    tmp_path: Path, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file system cannot exchange names, as NFS and macOS cannot."""
    if not can_exchange:
        monkeypatch.setattr(durable, "exchanged", lambda *_: False)
    out = full(tmp_path / "out", "old")
    with folder_beside(out) as partial:
        write_files(partial, dict.fromkeys(NAMES, b"new"))
        put_in_place(partial, out)
    assert word_of(out) == "new"
    assert names(tmp_path) == {"out"}


def test_where_the_older_folder_cannot_be_removed_it_is_said_that_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **named: object) -> None:
        if not named:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    out = full(tmp_path / "out", "old")
    with folder_beside(out) as partial:
        write_files(partial, dict.fromkeys(NAMES, b"new"))
        monkeypatch.setattr(shutil, "rmtree", busy)
        with pytest.raises(
            EdgenasError, match=rf"out is the new one; .* left in {partial} \(Device or resource busy\)"
        ):
            put_in_place(partial, out)
    assert (word_of(out), word_of(partial)) == ("new", "old")


def test_the_working_directory_and_what_it_lies_in_have_to_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    for name in (".", "..", "b/..", str(tmp_path / "a"), str(tmp_path), str(tmp_path / "link")):
        assert has_to_stay(Path(name)) == "is or holds the working directory"
    for name in ("b", "c", str(tmp_path / "ab")):
        assert not has_to_stay(Path(name))


STAYS = "import sys; from pathlib import Path; from edgenas.durable import has_to_stay; print(has_to_stay(Path(sys.argv[1])))"


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="mounts need root and unshare")
def test_a_mount_point_has_to_stay_also_one_of_the_same_file_system(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    script = f"mount --bind 'a b' 'a b' && {sys.executable} -c '{STAYS}' 'a b'"
    command = ["unshare", "-m", "sh", "-ec", script]
    done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, text=True, check=False)
    if "mount" in done.stderr and "denied" in done.stderr:
        pytest.skip("no mounts here")
    assert (done.stdout, done.stderr) == ("is a mount point\n", "")
    assert not has_to_stay(tmp_path / "a b")


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="other users need root and setpriv")
def test_a_folder_that_may_not_be_written_to_has_to_stay() -> None:
    command = ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-c", STAYS, "/usr"]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("is read-only\n", "")
    assert not has_to_stay(Path("/usr"))


def test_this_system_exchanges_names_in_one_step(tmp_path: Path) -> None:
    one, other = full(tmp_path / "one", "1"), full(tmp_path / "other", "2")
    if not exchanged(one, other):
        pytest.skip("no renameat2 with RENAME_EXCHANGE here")
    assert (word_of(one), word_of(other)) == ("2", "1")


def test_an_older_folder_that_stood_aside_gets_its_name_back(tmp_path: Path) -> None:
    """As a kill between the two renames leaves it where names cannot be exchanged."""
    out = tmp_path / "out"
    full(stood_aside(out), "old")
    recover(out, NAMES)
    assert word_of(out) == "old"
    full(stood_aside(out), "older")
    recover(out, NAMES)
    assert word_of(out) == "old"
    assert names(tmp_path) == {"out"}


def test_folders_of_killed_writers_go_and_those_of_anybody_else_stay(tmp_path: Path) -> None:
    out = full(tmp_path / "out", "good")
    full(tmp_path / ".out.0a1b2c3d", "partial")
    full(tmp_path / ".out.ajesbxd_", "partial of the first version")
    (full(tmp_path / ".out.mybackup", "mine") / "thesis.txt").write_text("years")
    (full(tmp_path / ".out.old", "mine") / "thesis.txt").write_text("years")
    with folder_beside(out) as busy:
        recover(out, NAMES)
        assert busy.is_dir()
    assert names(tmp_path) == {"out", ".out.mybackup", ".out.old"}


WRITER = """
import sys
from pathlib import Path
from edgenas.durable import folder_beside, put_in_place, recover, write_files
out, turn = Path(sys.argv[1]), 0
while True:
    turn += 1
    recover(out, {"a", "b"})
    with folder_beside(out) as partial:
        write_files(partial, dict.fromkeys("ab", str(turn).encode() * 1000))
        put_in_place(partial, out)
    print(turn, flush=True)
"""


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_moment_leaves_a_whole_folder_and_no_trace(tmp_path: Path, kills: int) -> None:
    out = full(tmp_path / "out", "0")
    for kill in range(kills):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()  # it writes now
        time.sleep(0.0007 * (kill % 29))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        word_of(out)
    recover(out, NAMES)
    assert names(tmp_path) == {"out"}


def write_folder(out: Path, word: str) -> None:
    recover(out, NAMES)
    with folder_beside(out) as partial:
        write_files(partial, dict.fromkeys(NAMES, word.encode()))
        put_in_place(partial, out)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(os, "open"), (fcntl, "flock"), (os, "fsync"), (Path, "rename"), (durable, "alone_in"), (shutil, "rmtree")],
)
def test_two_writers_of_a_folder_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        write_folder(out, "old")
    other = threading.Thread(target=write_folder, args=(out, "other"))

    def turn() -> None:
        other.start()
        other.join(1 if name == "rmtree" else 120)  # by then it waits until the first one has tidied up

    once_before(monkeypatch, owner, name, turn)
    write_folder(out, "own")
    if other.ident is not None:  # names that are exchanged are not renamed
        other.join(120)
    assert word_of(out) == ("other" if name == "rmtree" else "own")  # by then it has its place
    assert names(tmp_path) == {"out"}


def test_a_folder_that_another_writer_sweeps_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = full(tmp_path / "out", "old")
    full(tmp_path / ".out.0a1b2c3d", "partial")
    once_before(monkeypatch, os, "open", lambda: (tmp_path / ".out.0a1b2c3d").rename(tmp_path / "elsewhere"))
    write_folder(out, "new")
    assert word_of(out) == "new"
    assert names(tmp_path) == {"out", "elsewhere"}


def test_a_place_is_tried_before_work_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("new", "file", "link"):
        check_place(tmp_path / name)
    check_place(tmp_path / "a" / "b" / "new", parents=True)
    check_place(Path("/dev/null"))
    assert names(tmp_path) == {"file", "link"}
    assert (tmp_path / "file").read_text() == "old"
    for path, parents, why in (
        (tmp_path, False, "Is a directory"),
        (tmp_path / "a" / "new", False, "No such file or directory"),
        (tmp_path / "file" / "new", False, "Not a directory"),
        (tmp_path / "file" / "b" / "new", True, "Not a directory"),
        (Path("/proc/new"), False, "No such file or directory"),  # where nobody, not even root, makes files
    ):
        with pytest.raises(EdgenasError, match=f"^cannot write {path}: {why}: choose another place"):
            check_place(path, parents=parents)
