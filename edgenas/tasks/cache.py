"""Images are decoded once: their pixels lie in a file that all processes map, and that later commands find again.

CACHE/<files>/<size>x<channels>-<fit>/ (such as 224x3-crop, 64x320x3-pad) has `pixels` (one row an image), `records` (see
mapped.py; a row's record is written
after its pixels, so that what a killed process left half done is seen) and `done`. <files> is a hash of the files' names, sizes
and times of change (listing.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import PIL
from numpy.typing import NDArray

from edgenas.durable import replace_file
from edgenas.errors import DataError
from edgenas.files import at_home
from edgenas.image_sizes import sides_of, size_in_words
from edgenas.records import Preprocessing, Record
from edgenas.tasks.cache_rows import CacheFiles, digest_of, sound_rows, write_row
from edgenas.tasks.decoding import Header, Unread, pixels_of, reader_here
from edgenas.tasks.listing import (
    Listing,
    Source,
    is_of,
    listing_in,
    name_of_listing,
    read_listing,
    refuse_passing,
    rows_in,
    sources_of,
    unchanged,
)
from edgenas.tasks.mapped import PIXELS, RECORDS
from edgenas.version import __version__

ROOT = Path("studies")
NAME = ".images"  # beside the studies
DONE, LOCK = "done", "lock"
CHUNK = 32  # images that a thread decodes before it says so
TOLD_SECONDS = 10.0
NAMED = 3  # files that a message names
LARGE = 16_000_000  # pixels of an image that is decoded while no other large one is: memory does not follow the cores
Tell = Callable[[str], None]


def cache_beside(studies: Path = ROOT) -> Path:
    """EDGENAS_CACHE, or the folder of decoded images beside the studies."""
    named = os.environ.get("EDGENAS_CACHE")
    return at_home(named) if named else studies / NAME


def cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # respects taskset and containers; Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class Loading:
    """Where decoded images are kept, who is told how far it is, and how many threads decode."""

    cache: Path = field(default_factory=cache_beside)
    tell: Tell = lambda _: None
    threads: int = field(default_factory=cores)


class Done(Record, frozen=True):
    """Written when every row was tried. `damaged`: row -> why `reader` cannot decode that file, whose header it reads."""

    pixels_bytes: int
    pixels_modified_ns: int
    damaged: dict[str, str] = {}
    reader: str = ""  # of older caches, which did not say it


def listed(root: Path, files: Sequence[Path], loading: Loading) -> tuple[Path, Listing]:
    """(the cache's folder for these files as they are now, what their headers say)."""
    sources = sources_of(root, files)
    entry = loading.cache / name_of_listing(sources)
    with _writable(loading.cache):
        entry.mkdir(parents=True, exist_ok=True)
        return entry, listing_in(entry, root, files, sources, loading.threads)


def decoded(
    entry: Path, root: Path, files: Sequence[Path], listing: Listing, how: Preprocessing, loading: Loading
) -> tuple[Path, dict[int, str]]:
    """(the folder with the pixels of all files, row by row; the rows that hold none, each with the reason).

    Rows that are there and sound are kept, whoever wrote them; the others are taken over from a cache of the same files, or
    decoded. DataError for files that another try may read; what was decoded beside them is kept.
    """
    folder = entry / f"{size_in_words(how.size)}x{how.channels}-{how.fit}"
    unreadable = {row: header for row, header in enumerate(listing.headers) if isinstance(header, str)}
    rows = CacheFiles(folder, len(files), (*sides_of(how.size), how.channels))
    with _writable(loading.cache):
        trusted, damaged, missing = _found(rows, unreadable)
        if trusted and not len(missing):  # nothing is written then: the cache may be another user's
            return folder, damaged
        folder.mkdir(exist_ok=True)
        with _locked(folder / LOCK, loading.tell):
            trusted, damaged, missing = _found(rows, unreadable)
            if not trusted or len(missing):
                _make_room(rows, len(missing), len(damaged), how, loading)
                unread = _fill(rows, missing, root, files, listing, how, loading)
                rows.synced()
                damaged |= {row: problem.why for row, problem in unread.items() if problem.lasting}
                known = {
                    str(row): why for row, why in damaged.items() if row not in unreadable
                }  # headers are read each time
                replace_file(folder / DONE, msgspec.json.encode(Done(*rows.stamp(), known, reader_here())))
                refuse_passing(root, files, unread)
    return folder, damaged


def _found(rows: CacheFiles, unreadable: dict[int, str]) -> tuple[bool, dict[int, str], NDArray[np.int64]]:
    """(was it finished, and not written to since; rows that hold no image, with the reason; rows that are missing)."""
    done = _done(rows)
    trusted = done is not None and rows.stamp() == (done.pixels_bytes, done.pixels_modified_ns)
    known = done.damaged if done is not None and done.reader == reader_here() else {}
    damaged = unreadable | {int(row): why for row, why in known.items()}
    return trusted, damaged, _missing(rows, list(damaged), trusted)


def _missing(rows: CacheFiles, damaged: list[int], trusted: bool) -> NDArray[np.int64]:
    """Rows that must be decoded. Where the pixels were last written by someone who did not finish, each is held against its
    record."""
    sound = sound_rows(rows, against_pixels=not trusted)
    sound[damaged] = True
    return np.flatnonzero(~sound)


def _fill(
    rows: CacheFiles,
    missing: NDArray[np.int64],
    root: Path,
    files: Sequence[Path],
    listing: Listing,
    how: Preprocessing,
    loading: Loading,
) -> dict[int, Unread]:
    """Fill the missing rows; those that cannot be, with the reason."""
    missing = _take_over(rows, missing, listing.sources, loading.cache)

    one_large = threading.Lock()

    def decode(chunk: NDArray[np.int64]) -> dict[int, Unread]:
        problems = {}
        for row in chunk.tolist():
            header = listing.headers[row]
            large = isinstance(header, Header) and header.size[0] * header.size[1] > LARGE
            with one_large if large else contextlib.nullcontext():
                pixels = pixels_of(files[row], how)
            if not unchanged(root, files[row], listing.sources[row]):
                pixels = Unread("it was changed while it was read", lasting=False)
            if isinstance(pixels, Unread):
                problems[row] = pixels
            else:
                write_row(rows, row, pixels)
        return problems

    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    unread: dict[int, Unread] = {}
    with ThreadPoolExecutor(loading.threads) as pool:
        try:
            begun = told = time.monotonic()
            for number, future in enumerate(as_completed([pool.submit(decode, chunk) for chunk in chunks]), 1):
                unread |= future.result()
                if time.monotonic() - told > TOLD_SECONDS:
                    told = time.monotonic()
                    loading.tell(_progress(min(number * CHUNK, len(missing)), len(missing), told - begun))
        finally:
            pool.shutdown(cancel_futures=True)
    return unread


def _progress(count: int, total: int, seconds: float) -> str:
    pace = count / seconds
    return f"decoded {count:,} of {total:,} images, {pace:.0f} a second, {(total - count) / pace / 60:.1f} minutes left"


def _make_room(rows: CacheFiles, missing: int, damaged: int, how: Preprocessing, loading: Loading) -> None:
    """Say how much the pixels take; DataError where the disk has less."""
    total, more = rows.total_bytes, rows.bytes_to_allocate()
    free = shutil.disk_usage(rows.folder).free
    words = f"{rows.count:,} images at {size_in_words(how.size)} px take {size_words(total)} as pixels"
    if more > free:
        raise DataError(
            f"{words}, and there are {size_words(free)} left in {loading.cache}: make room, remove older ones with `edgenas data "
            "--clear-cache`, set EDGENAS_CACHE to a folder on another disk, or choose a smaller --image-size"
        )
    if missing:
        there = rows.count - missing - damaged
        kept = f", {there:,} of them are decoded already" if there else ""
        loading.tell(f"{words}{kept}: kept in {loading.cache} ({size_words(free)} free)")
    rows.allocate()


def size_words(count: int) -> str:
    """Such as 15.1 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _take_over(
    rows: CacheFiles, missing: NDArray[np.int64], sources: Sequence[Source], cache: Path
) -> NDArray[np.int64]:
    """Copy rows of the same files from finished caches of other listings; the rows that are still missing."""
    for other in sorted(cache.glob(f"*/{rows.folder.name}/{DONE}")):
        folder, before = other.parent, read_listing(other.parents[1])
        if folder == rows.folder or before is None or not len(missing):
            continue
        there = CacheFiles(folder, len(before.sources), rows.shape)
        here, rows_there = rows_in(before, sources)
        wanted, taken = np.isin(here, missing), []
        sound = sound_rows(there, against_pixels=False) if there.is_whole() else np.zeros(there.count, dtype=np.bool_)
        wanted &= sound[rows_there]
        digests = there.records()["digest"] if wanted.any() else ()
        for row, source in zip(here[wanted].tolist(), rows_there[wanted].tolist(), strict=True):
            pixels = there.pixels(source)
            if pixels is not None and digest_of(pixels) == bytes(digests[source]):
                write_row(rows, row, pixels)
                taken.append(row)
        missing = np.setdiff1d(missing, taken)
    return missing


def _done(rows: CacheFiles) -> Done | None:
    """What was written when it was finished; None where that was not, or is not whole."""
    try:
        done = msgspec.json.decode((rows.folder / DONE).read_bytes(), type=Done)
    except (OSError, msgspec.DecodeError):
        return None
    return done if all(row.isdecimal() and int(row) < rows.count for row in done.damaged) else None


@contextlib.contextmanager
def _locked(path: Path, tell: Tell) -> Iterator[None]:
    """One process at a time fills a cache; another one that wants the same images waits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    tell(f"another process is decoding these images ({path.parent}): waiting for it")
                told = True
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writable(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"decoded images cannot be kept in {cache} ({error.strerror}): set EDGENAS_CACHE to a folder that can be written"
        ) from error


def changes(before: str, folder: Path) -> str:
    """What became of the images since the listing `before`, by their pixels, in words such as "1 removed (cat/003.png)"; ""
    where that is not known. `folder`: the present pixels."""
    if before == folder.parent.name:
        return f"no file changed, but what reads them did (now EdgeNAS {__version__} and Pillow {PIL.__version__})"
    then, now = (_digests(entry / folder.name) for entry in (folder.parents[1] / before, folder.parent))
    if not then or not now:
        return ""
    kinds = {
        "removed": then.keys() - now.keys(),
        "new": now.keys() - then.keys(),
        "changed": {path for path in then.keys() & now.keys() if then[path] != now[path]},
    }
    return ", ".join(
        f"{len(paths)} {what} ({', '.join(sorted(paths)[:NAMED])}{', ..' if len(paths) > NAMED else ''})"
        for what, paths in kinds.items()
        if paths
    )


def _digests(folder: Path) -> dict[str, bytes]:
    """Path -> hash of the pixels; {} where the cache is not there any more."""
    listing = read_listing(folder.parent)
    if listing is None or not (folder / DONE).exists():
        return {}
    digests = CacheFiles(folder, len(listing.sources), (0, 0, 0)).records()["digest"]
    return {source.path: digest.tobytes() for source, digest in zip(listing.sources, digests, strict=True)}


# ---------------------------------------------------------------- what is there, and removing it


class Cached(Record, frozen=True):
    """One cache: the images of `folder` as they once were. `bytes`: on the disk."""

    path: str
    folder: str
    images: int
    pixels: tuple[str, ...]  # such as 224x3-crop or 64x320x3-pad
    bytes: int


def caches_in(cache: Path, folder: Path | None = None) -> list[Cached]:
    """All of them, or those of the images in `folder`; of another version's only where it lies and its size."""
    found = []
    for entry in sorted(path for path in (cache.iterdir() if cache.is_dir() else ()) if path.is_dir()):
        listing = read_listing(entry)
        files = [path for path in entry.rglob("*") if path.is_file()]
        size = sum(path.stat().st_blocks * 512 for path in files)
        pixels = tuple(sorted(path.parent.name for path in files if path.name == PIXELS))
        ours = folder is None or (listing is not None and is_of(listing, folder))
        if ours and (listing is not None or pixels):
            was, images = (listing.folder, len(listing.sources)) if listing is not None else ("", 0)
            found.append(Cached(str(entry), was, images, pixels, size))
    return found


def clear(cache: Path, folder: Path | None = None) -> list[Cached]:
    """Remove the caches, or those of the images in `folder`; what was removed. Processes that have one mapped keep it."""
    gone = caches_in(cache, folder)
    for one in gone:
        shutil.rmtree(one.path)
    return gone


__all__ = ["PIXELS", "RECORDS", "Cached", "Loading", "cache_beside", "caches_in", "clear", "decoded", "listed"]
