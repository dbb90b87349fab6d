"""Which files a folder's images are, as they are now: what tells whether pixels that were decoded before are still theirs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.durable import replace_file
from edgenas.errors import DataError
from edgenas.records import Record
from edgenas.tasks.decoding import Header, Unread, header_of

VERSION = 1  # of what is kept; another version is another cache
LISTING = "files.json"
NAMED = 20  # files that a message names
LOOKS = 100  # at files that change all the time; files that a folder is known by
SETTLED_NS = 50_000_000  # two changes of a file within one tick of the system's clock look like one


class Source(Record, frozen=True, array_like=True):
    """One image file: where it lies in its folder, and what changes with its content. No program can set the time of change
    (ctime) of a file, so that equal ones mean equal content."""

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int


class Listing(Record, frozen=True):
    """All images of a folder, in the order in which they are learned. `headers`: what is known of each, or why it cannot be
    read."""

    folder: str
    sources: tuple[Source, ...]
    headers: tuple[Header | str, ...]
    version: int = VERSION


def sources_of(root: Path, files: Sequence[Path]) -> tuple[Source, ...]:
    """The files as they are now. DataError where one is gone by now, or where they do not stop changing."""
    for _ in range(LOOKS):
        sources = tuple(_source(root, path) for path in files)
        newest = max((source.changed_ns for source in sources), default=0)
        if not 0 <= time.time_ns() - newest < SETTLED_NS:
            return sources
        time.sleep(SETTLED_NS / 1e9)
    raise DataError(f"{root} is being written to: run the command again when its images are whole")


def unchanged(root: Path, path: Path, source: Source) -> bool:
    """Is the file still as it was listed?"""
    try:
        return _source(root, path) == source
    except DataError:
        return False


def name_of_listing(sources: Sequence[Source]) -> str:
    """Other images, or other content of one, are another name; where the folder lies does not count."""
    return hashlib.sha256(msgspec.json.encode((VERSION, sources))).hexdigest()[:16]


def listing_in(entry: Path, root: Path, files: Sequence[Path], sources: tuple[Source, ...], threads: int) -> Listing:
    """What is kept in `entry` about these files; read from them, and kept, where nothing is. What could not be read is tried
    again each time: another Pillow may know it. DataError for what another try may read."""
    known = read_listing(entry)
    kept = known.headers if known is not None and known.sources == sources else ("",) * len(files)
    rows = [row for row, header in enumerate(kept) if isinstance(header, str)]
    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(rows, pool.map(header_of, [files[row] for row in rows]), strict=True))
    refuse_passing(root, files, {row: header for row, header in found.items() if isinstance(header, Unread)})
    read = {row: header.why if isinstance(header, Unread) else header for row, header in found.items()}
    headers = tuple(read.get(row, header) for row, header in enumerate(kept))
    listing = Listing(_name(root.resolve()), sources, headers)
    if headers != kept:
        replace_file(entry / LISTING, msgspec.json.encode(listing))
    elif known is not None and known.folder != listing.folder:  # it was renamed
        with contextlib.suppress(OSError):  # the cache may be another user's
            replace_file(entry / LISTING, msgspec.json.encode(listing))
    return listing


def refuse_passing(root: Path, files: Sequence[Path], unread: dict[int, Unread]) -> None:
    """Raise DataError for files (row -> why) that another try may read: they are not damaged, and never left out as such."""
    passing = {files[row]: unread[row].why for row in sorted(unread) if not unread[row].lasting}
    if passing:
        raise DataError(
            f"{root}: {len(passing)} of {len(files)} images could not be read this time: {named(passing, root)}: mend that, and "
            "run the command again (--skip-damaged leaves out only what is damaged)"
        )


def named(problems: dict[Path, str], root: Path) -> str:
    """All of them (the first NAMED), sorted by reason."""
    reasons: dict[str, list[str]] = {}
    for path, why in list(problems.items())[:NAMED]:
        reasons.setdefault(why, []).append(str(path.relative_to(root)))
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return "; ".join(f"{', '.join(paths)} ({why})" for why, paths in reasons.items()) + more


def read_listing(entry: Path) -> Listing | None:
    """The listing that is kept there; None where there is none, or none of this version."""
    try:
        listing = msgspec.json.decode((entry / LISTING).read_bytes(), type=Listing)
    except (OSError, msgspec.DecodeError):
        return None
    whole = listing.version == VERSION and len(listing.headers) == len(listing.sources)
    return listing if whole else None


def is_of(listing: Listing, folder: Path) -> bool:
    """Are these the images of a folder, also where it was renamed since?"""
    if listing.folder == _name(folder.resolve()):
        return True
    return any(unchanged(folder, folder / source.path, source) for source in listing.sources[:LOOKS])


def _name(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")  # any bytes may be a name


def rows_in(before: Listing, sources: Sequence[Source]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows here, rows there) of the files that are the same in both."""
    there = {source: row for row, source in enumerate(before.sources)}
    pairs = [(row, there[source]) for row, source in enumerate(sources) if source in there]
    here, other = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(here, dtype=np.int64), np.array(other, dtype=np.int64)


def _source(root: Path, path: Path) -> Source:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(
            f"{path} is gone since the folder was listed ({error.strerror}): run the command again"
        ) from error
    return Source(_name(path.relative_to(root)), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
