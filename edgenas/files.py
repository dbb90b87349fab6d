"""Reading files that come from outside: regular ones, of a size that was thought of."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.damaged import NPZ
from edgenas.errors import EdgenasError

# In what a person writes: a path from its ~ or ~NAME/ on.
HOMES = re.compile(r"(?:^|(?<=[=:]))~(?:[\w.-]*/.*)?$", re.DOTALL)


def at_home(path: str | Path) -> Path:
    """The path; one that begins with ~ or ~NAME lies in that user's home, as a shell has it. EdgenasError where there is none."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError) as error:
        user = Path(path).parts[0]
        why = (
            "this user has no home here: set HOME" if user == "~" else f"there is no user {user[1:]!r} here: mend that"
        )
        raise EdgenasError(f"{path}: {why}, or write the whole path") from error


def with_homes(text: str) -> str:
    """A name or a path as a person writes it, with the home in it where a path begins with ~ or ~NAME/, in front or behind = or :
    (torchvision:NAME=~/FILE). A shell leaves that of --out=~/x as it is, and Python all. Errors as those of `at_home`."""
    return HOMES.sub(lambda found: str(at_home(found[0])), text)


def read_bytes(path: Path, largest: int) -> bytes:
    """The whole content. Raises EdgenasError, in one line, for what is missing, no file (a pipe, a device) or larger."""
    try:
        # Without waiting: a pipe that nobody writes to would never open.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise EdgenasError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        kind = "Is a directory" if stat.S_ISDIR(found.st_mode) else "it is a pipe or a device, not a file"
        raise EdgenasError(f"{path} cannot be read: {kind}")
    with os.fdopen(descriptor, "rb") as file:
        content = b"" if found.st_size > largest else file.read(found.st_size + 1)  # takes memory for so much at once
        if len(content) > found.st_size:  # it grows, or is one of /proc
            content += file.read(largest + 1 - len(content))
    if found.st_size > largest or len(content) > largest:
        raise EdgenasError(
            f"{path} cannot be read: it has more than {largest / 1e6:g} MB, too many for what it should be"
        )
    return content


def refuse_folder(path: Path, suffixes: Sequence[str]) -> None:
    """Raise EdgenasError where `path` is a folder and a file was asked for: with the file in it that was meant."""
    if not path.is_dir():
        return
    inside = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes and file.is_file())
    meant = f"name the file in it: {inside[0]}" if inside else f"give a file ({', '.join(suffixes)})"
    raise EdgenasError(f"{path} is a folder: {meant}")


def read_text(path: Path, largest: int) -> str:
    """The whole content of a UTF-8 file, its line ends as \\n. Errors as those of `read_bytes`."""
    try:
        return read_bytes(path, largest).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise EdgenasError(f"{path} cannot be read: not a text file") from error


def lost(path: Path, sha256: str) -> str:
    """Why a file is not the one that was written, in a few words; "" where it is, or is there and its hash was not kept ("")."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "is not the file that was written (its SHA-256 differs)" if sha256 and found != sha256 else ""


def read_npz(path: Path, largest: int) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file of at most `largest` bytes, unpacked. Raises EdgenasError, in one line, for anything else.

    Sizes are looked at before memory is taken: an archive may promise more than it holds, or hold more than it weighs.
    """
    content = read_bytes(path, largest)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > largest:
                raise EdgenasError(f"{path} cannot be read: unpacked it has more than {largest / 1e6:g} MB")
            for member in members:
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _array(file, member.file_size)
    except EdgenasError:
        raise
    except NPZ as error:
        raise EdgenasError(
            f"{path} cannot be read as an .npz file ({error}): it is damaged, or something else"
        ) from error
    return arrays


def _array(file: Any, size: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of NumPy's format")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    wanted = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or wanted > size:
        raise ValueError(f"an array of shape {shape} and type {dtype} does not fit into {size} bytes")
    content = file.read(wanted)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
