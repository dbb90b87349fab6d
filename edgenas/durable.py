"""Writing so that a name holds all of the old or all of the new, whenever the process is killed or the power fails.

Everything is written beside its place, brought to the disk, and then put in place by one rename. What killed processes left
beside a place is removed when it is written next; what is being written is locked, and left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgenas.errors import EdgenasError
from edgenas.mounts import mounts_here, mounts_in

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
PART = re.compile(r"\.(.+)\.[0-9a-f]{8}")  # what is being written, beside its place
# What this kernel or file system cannot do: exchange names, bring a folder to the disk, lock (SMB, NFS, Lustre, some of FUSE).
NOT_HERE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.ENOLCK}


def replace_file(path: Path, content: bytes) -> None:
    """Write a file. EdgenasError, in one line, where that is not possible, and then an older file is as it was.

    Links are followed, the older file's mode is kept. What is no file (a pipe, /dev/stdout) is written to as it is.
    """
    try:
        _replace_file(path, content)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_place(path: Path, *, parents: bool = False) -> None:
    """EdgenasError, in one line, where `replace_file` could not write now: for commands that work long before they do.
    `parents`: the folders that are missing will be made."""
    try:
        real = Path(os.path.realpath(path))
        if real.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if real.is_file() or not real.exists():  # others are written to as they are
            try_folder(real.parent, parents=parents)
    except OSError as error:
        raise _cannot_write(path, error) from error


def try_folder(folder: Path, *, parents: bool = False) -> None:
    """The system's OSError where no file can be made in a folder; with `parents` in the nearest one that is there."""
    folder = folder.absolute()
    while parents and not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):  # on Linux without a name, so that a kill leaves nothing
        pass


def _cannot_write(path: Path, error: OSError) -> EdgenasError:
    return EdgenasError(f"cannot write {path}: {error.strerror}: choose another place, or make room")


def _replace_file(path: Path, content: bytes) -> None:
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    _sweep_files(path)
    with _part_of(path) as (part, descriptor):
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
        _write(descriptor, content)
        part.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside its place, with its descriptor, locked until it has its name: without a name it goes."""
    while True:
        part = _beside(path)
        descriptor = _new_file(part)
        try:
            _lock(descriptor)
            if _is_at(part, descriptor):  # else another writer swept it before it was locked
                yield part, descriptor
                return
        finally:
            part.unlink(missing_ok=True)
            os.close(descriptor)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)  # less the umask


def _write(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file, where it is there, with what killed processes left beside it."""
    _sweep_files(path)
    path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk; where the file system does that for files alone, nothing. OSError where it fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- folders


@contextlib.contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """An empty folder on the same file system; nothing of it stays behind."""
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    while True:
        partial = _beside(folder)
        partial.mkdir()
        try:
            held = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # another writer swept it before it was locked
            continue
        try:
            _lock(held)
            if _is_at(partial, held):
                yield partial
                return
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(held)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """New files in a folder, and the folder's own names, brought to the disk."""
    for name, content in files.items():
        descriptor = _new_file(folder / name)
        try:
            _write(descriptor, content)
        finally:
            os.close(descriptor)
    sync_folder(folder)


def put_in_place(partial: Path, folder: Path) -> None:
    """`partial` becomes `folder`; what was there before, if anything, is removed. The system's OSError where nothing was changed,
    EdgenasError where `folder` is the new one and only the older one could not be removed.

    Where names cannot be exchanged, the older folder stands aside as `.NAME.old` for a moment; `recover` gives it its name back
    if this process dies in it.
    """
    folder, old = folder.absolute(), partial
    if _named(partial, folder):
        sync_folder(folder.parent)
        return
    with alone_in(folder):
        if not exchanged(partial, folder):
            old = stood_aside(folder)
            folder.rename(old)
            partial.rename(folder)
    try:
        sync_folder(folder.parent)  # before the older one is destroyed
        _remove(old)
        sync_folder(folder.parent)
    except OSError as error:
        raise EdgenasError(
            f"{folder} is the new one; the older one is left in {old} ({error.strerror}): remove it"
        ) from error


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else replaces this folder, nor writes in it after asking this, as long as this lasts."""
    while True:
        held = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _lock(held)
            if _is_at(folder, held):  # else another one took its place
                yield
                return
        finally:
            os.close(held)


def has_to_stay(folder: Path) -> str:
    """Why no other folder can take the place of this one, in a few words; nothing where one can."""
    real = folder.resolve()
    with contextlib.suppress(FileNotFoundError):  # the working directory was removed
        if Path.cwd().resolve().is_relative_to(real):
            return "is or holds the working directory"
    points = {
        point for point, _ in mounts_in(mounts_here())
    }  # also folders of the same file system, which is_mount misses
    if real.is_mount() or str(real) in points:
        return "is a mount point"
    if real.is_dir() and not os.access(real, os.W_OK | os.X_OK):
        return "is read-only"
    return ""


def _named(partial: Path, folder: Path) -> bool:
    """Give it the name; False where a folder has it, be it since a moment ago."""
    if folder.is_dir():
        return False
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _remove(folder: Path) -> None:
    """Remove a folder, also while another writer sweeps it."""
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def exchanged(one: Path, other: Path) -> bool:
    """Give each the other's name in one step; False where this system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def stood_aside(folder: Path) -> Path:
    """Where an older folder waits while a new one takes its place."""
    folder = folder.absolute()
    return folder.parent / f".{folder.name}.old"


def recover(folder: Path, known: set[str]) -> None:
    """Tidy up behind killed writers of `folder`, among folders that hold nothing but `known` names.

    An older folder that stood aside gets its name back, or goes where the new one is there; partial ones go.
    """
    folder = folder.absolute()
    old = stood_aside(folder)
    with contextlib.suppress(FileNotFoundError):  # another writer has just tidied up
        if old.is_dir() and contents(old) <= known:
            if folder.exists():
                _remove(old)
            else:
                old.rename(folder)
    for left in _left_behind(folder, "a-z0-9_"):  # as the first version named them
        if left.is_dir():
            with contextlib.suppress(FileNotFoundError, PermissionError), _unheld(left) as free:
                if free and contents(left) <= known:
                    shutil.rmtree(left, ignore_errors=True)


# ---------------------------------------------------------------- what is beside


def _beside(path: Path) -> Path:
    path = path.absolute()
    return path.parent / f".{_beginning(path.name)}.{secrets.token_hex(4)}"


def _beginning(name: str) -> str:
    """At most 100 letters and 200 bytes of it: the name of a file has at most 255 bytes."""
    name = name[:100]
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return name


def _left_behind(path: Path, letters: str = "0-9a-f") -> list[Path]:
    """What has a name as `_beside` gives them."""
    path = path.absolute()
    pattern = re.compile(rf"\.{re.escape(_beginning(path.name))}\.[{letters}]{{8}}")
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return [left for left in beside if pattern.fullmatch(left.name) and not left.is_symlink()]


def _sweep_files(path: Path) -> None:
    for left in _left_behind(path):
        if left.is_file():
            with contextlib.suppress(FileNotFoundError, PermissionError), _unheld(left) as free:  # gone; another user's
                if free:
                    left.unlink()


def contents(folder: Path) -> set[str]:
    """The names in a folder. What a killed writer left beside a file counts as that file; a folder's name ends in a slash."""
    return {f"{entry.name}/" if entry.is_dir() else PART.sub(r"\1", entry.name) for entry in folder.iterdir()}


@contextlib.contextmanager
def _unheld(path: Path) -> Iterator[bool]:
    """Is nobody writing it? Then nobody begins to as long as this lasts. No, where the file system cannot tell."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait until nobody else holds it. Where the file system has no locks nobody sweeps either."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
