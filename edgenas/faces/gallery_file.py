"""The SQLite file of a gallery: told apart from everybody else's files before it is touched, private, and of one format.

Format 2 has AUTOINCREMENT ids, which are never used again, and a seal over all rows. Format 1 (no application id) is rewritten.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from edgenas.errors import DataError

SQLITE = b"SQLite format 3\0"
APPLICATION_ID = 0x45444E47  # "EDNG", in the file's header
FORMAT = 2
SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL, created REAL NOT NULL)",
    "CREATE TABLE samples (id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people,"
    " embedding BLOB NOT NULL)",
    "CREATE INDEX samples_of_person ON samples (person)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)
COLUMNS = {"meta": ["key", "value"], "people": ["id", "name", "created"], "samples": ["id", "person", "embedding"]}
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's own message quotes damaged bytes
Kind = Literal["new", "gallery", "old"]


def kind_of_file(path: Path) -> Kind:
    """What `path` is, without changing a byte of it; DataError where it is not, and never was, a gallery."""
    header = _header(path)
    if not header:
        return "new"
    if not header.startswith(SQLITE):
        raise DataError(f"{path} is not a gallery; name a new file or one that edgenas serve wrote")
    program, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    if program == APPLICATION_ID:
        if version != FORMAT:
            raise DataError(
                f"gallery {path} has format {version}, this edgenas reads {FORMAT}: use the one that wrote it"
            )
        return "gallery"
    if program == 0 and _tables(path) == COLUMNS:
        return "old"
    raise DataError(
        f"{path} is another program's SQLite file (or a damaged one), not a gallery; it was left as it is: name a new file"
    )


def _header(path: Path) -> bytes:
    """The first bytes of a file; none where there is no file yet."""
    try:
        with path.open("rb") as file:
            return file.read(100)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(
            f"gallery {path} cannot be read ({error.strerror}): name a file that this user may read and write"
        ) from error


def _tables(path: Path) -> dict[str, list[str]]:
    """Tables and their columns, read without a lock, a log or any other trace."""
    try:
        found = _columns(path)
        log = path.with_name(path.name + "-wal")
        if found or not log.exists():
            return found
        with tempfile.TemporaryDirectory(prefix="edgenas-gallery-") as folder:  # all that was written is in the log
            copy = Path(folder) / "copy.db"
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
            with contextlib.closing(sqlite3.connect(copy)) as database:
                database.execute("SELECT count(*) FROM sqlite_master").fetchall()
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return _columns(copy)
    except UNREADABLE:
        return {}
    except OSError as error:
        raise DataError(
            f"gallery {path} cannot be read ({error.strerror}): name a file that this user may read"
        ) from error


def _columns(path: Path) -> dict[str, list[str]]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {n: [c for (c,) in database.execute("SELECT name FROM pragma_table_info(?)", (n,))] for n in names}


def open_file(path: Path, kind: Kind) -> sqlite3.Connection:
    """The database, locked for this process alone and readable by its owner only. DataError or sqlite3.Error."""
    try:
        if kind == "new":
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            if file.exists() and file.stat().st_mode & 0o077:
                file.chmod(0o600)
    except OSError as error:
        raise DataError(
            f"gallery {path} cannot be opened ({error.strerror}): name a file in a folder that exists, which this user "
            "owns (names and faces in it are nobody else's to read)"
        ) from error
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=1)
    try:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        if kind == "new":  # in the main file at once, and not in a log, so that the file is known for what it is
            with transaction(database):
                create(database)
        for pragma in ("journal_mode=WAL", "secure_delete=ON", "foreign_keys=ON"):
            database.execute(f"PRAGMA {pragma}")
    except BaseException:
        database.close()
        raise
    return database


def create(database: sqlite3.Connection) -> None:
    """Empty tables of this format."""
    for statement in SCHEMA:
        database.execute(statement)


def format_of(database: sqlite3.Connection) -> int:
    """FORMAT, or 0 for a gallery of the first format; of the log, too, where a rewriting was killed before it was copied back."""
    (program,) = database.execute("PRAGMA application_id").fetchone()
    return FORMAT if program == APPLICATION_ID else 0


def compact(database: sqlite3.Connection) -> None:
    """Rebuild the file and empty its log: in WAL mode the bytes of deleted rows would stay in both."""
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit on success, roll back on any error."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
