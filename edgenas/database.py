"""The file study.db: how it is opened, what each row is sealed with, and what is said where something is wrong with it.

SQLite has no checksums of its own: every row carries the SHA-256 of its place and content, which is checked whenever it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgenas.conversion import study_of_today
from edgenas.errors import StudyError
from edgenas.mounts import mounts_here, mounts_in

SCHEMA, OLDER = 3, (1, 2)  # the one that is written, and those that are converted
TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, body BLOB NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE trials (key TEXT PRIMARY KEY, number INTEGER, body BLOB NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE records (kind TEXT, key TEXT, body BLOB NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)
PLACE = {"meta": ("name",), "trials": ("key", "number"), "records": ("kind", "key")}  # the columns before the body
NETWORK_FILE_SYSTEMS = {
    *(
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "lustre",
        "ceph",
        "glusterfs",
        "afs",
        "beegfs",
        "gpfs",
        "orangefs",
        "davfs",
    ),
    *(
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.juicefs",
    ),
}
DAMAGED = "it is damaged: restore it from a copy, or search again under another --study NAME"
WHOLE = "what was written is not lost"
ADVICE = {  # by the beginning of SQLite's own name of the error
    "SQLITE_FULL": f"make room and run the same command again; {WHOLE}",
    "SQLITE_IOERR": f"see that its disk has room and works, then run the same command again; {WHOLE}",
    "SQLITE_NOMEM": f"free memory and run the same command again; {WHOLE}",
    "SQLITE_CANTOPEN": f"see that the folder can be read and written, or copy it to where it can; {WHOLE}",
    "SQLITE_READONLY": f"it cannot be written here: copy the folder to where it can; {WHOLE}",
    "SQLITE_PERM": f"it cannot be written here: copy the folder to where it can; {WHOLE}",
    "SQLITE_BUSY": f"another process holds it: run the same command again when that has ended; {WHOLE}",
    "SQLITE_LOCKED": f"another process holds it: run the same command again when that has ended; {WHOLE}",
    "SQLITE_PROTOCOL": f"another process holds it: run the same command again when that has ended; {WHOLE}",
}
NAMES = {  # before Python 3.11 an error does not tell its name
    "disk is full": "SQLITE_FULL",
    "disk I/O error": "SQLITE_IOERR",
    "unable to open": "SQLITE_CANTOPEN",
    "readonly": "SQLITE_READONLY",
    "is locked": "SQLITE_BUSY",
}


class DamageError(Exception):
    """A row is not what was written."""


@contextlib.contextmanager
def one_line(folder: Path) -> Iterator[None]:
    """Turn what SQLite, the decoder and the operating system say of a study into one line about it."""
    try:
        yield
    except sqlite3.Error as error:
        text = " ".join(str(error).split())
        name = getattr(error, "sqlite_errorname", "") or next((NAMES[words] for words in NAMES if words in text), "")
        advice = next((ADVICE[start] for start in ADVICE if name.startswith(start)), DAMAGED)
        raise StudyError(f"{folder}/study.db: {text}: {advice}") from error
    except (DamageError, UnicodeDecodeError) as error:  # SQLite's own messages quote damaged bytes
        raise StudyError(f"{folder}/study.db: {error}: {DAMAGED}") from error
    except OSError as error:
        raise StudyError(f"{folder}: {error.strerror}: choose a folder that can be written") from error


# ---------------------------------------------------------------- rows


def seal(table: str, place: tuple[Any, ...], body: bytes) -> bytes:
    """The SHA-256 of a row: which table, where in it, and what."""
    return hashlib.sha256(msgspec.json.encode([table, *place]) + body).digest()


def opened(table: str, place: tuple[Any, ...], body: Any, sealed: Any) -> bytes:
    """The body of a row that is as it was written; DamageError otherwise."""
    named = " ".join(str(part) for part in place if part is not None)
    try:
        whole = isinstance(body, bytes) and seal(table, place, body) == sealed
    except (msgspec.MsgspecError, TypeError, UnicodeEncodeError):  # a place that is no text and no number
        whole = False
    if not whole:
        raise DamageError(f"row {named!a} of {table} was changed after it was written (SHA-256 differs)")
    found: bytes = body
    return found


def insert(
    connection: sqlite3.Connection, table: str, place: tuple[Any, ...], body: bytes, how: str = "INSERT"
) -> None:
    """Write one sealed row."""
    marks = ", ".join("?" * (len(place) + 2))
    connection.execute(f"{how} INTO {table} VALUES ({marks})", (*place, body, seal(table, place, body)))


def select(connection: sqlite3.Connection, table: str, where: str = "", values: tuple[Any, ...] = ()) -> list[Any]:
    """(place, body) of rows that are as they were written; DamageError otherwise."""
    columns = ", ".join(PLACE[table])
    rows = connection.execute(f"SELECT {columns}, body, sha256 FROM {table} {where}", values).fetchall()
    return [(tuple(place), opened(table, tuple(place), body, sealed)) for *place, body, sealed in rows]


# ---------------------------------------------------------------- the file


def make(connection: sqlite3.Connection, meta: dict[str, bytes]) -> None:
    """The tables of an empty database, inside the caller's transaction."""
    for statement in TABLES:
        connection.execute(statement)
    for name, body in meta.items():
        insert(connection, "meta", (name,), body)


def schema_of(connection: sqlite3.Connection) -> int | None:
    """The schema's number, its row unchecked; None where there is none yet."""
    if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return None
    for (body,) in connection.execute("SELECT body FROM meta WHERE name = 'schema'"):
        with contextlib.suppress(ValueError, TypeError):
            return int(body)
    raise DamageError("it has no schema")


def upgrade(connection: sqlite3.Connection) -> None:
    """From schema 1, whose rows are not sealed, or 2, inside the caller's transaction: all of it or nothing. In both the study
    record is another one: see conversion.py."""
    sealed = schema_of(connection) != 1
    rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in PLACE}
    if any(
        len(row) != len(PLACE[table]) + 1 + sealed or not isinstance(row[len(PLACE[table])], bytes | str)
        for table in rows
        for row in rows[table]
    ):
        raise DamageError("its tables are not those of schema 1 or 2")
    for table in PLACE:
        connection.execute(f"DROP TABLE {table}")
    make(connection, {"schema": str(SCHEMA).encode()})
    for table, places in PLACE.items():
        for row in rows[table]:
            place, body = row[: len(places)], row[len(places)]
            content = body.encode() if isinstance(body, str) else body
            if sealed:
                content = opened(table, place, content, row[-1])
            if (table, place) == ("meta", ("study",)):
                content = study_of_today(content)
            if (table, place) != ("meta", ("schema",)):
                insert(connection, table, place, content)


def check_pages(connection: sqlite3.Connection) -> None:
    """SQLite's own check of the file's structure."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamageError(" ".join(str(verdict).split()))


def connect_to_write(folder: Path) -> sqlite3.Connection:
    """The database in `folder`, made where there is none: the writer's own log, every commit on the disk when it returns."""
    connection = sqlite3.connect(folder / "study.db", timeout=30, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def connect_to_read(folder: Path) -> sqlite3.Connection:
    """The database as it stands, of whatever schema, also where nothing can be written and while another process writes."""
    file = folder / "study.db"
    writable = os.access(folder, os.W_OK) and os.access(file, os.W_OK)
    address = f"{file.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
    connection = sqlite3.connect(address, timeout=30, check_same_thread=False, uri=True)
    try:
        if schema_of(connection) not in OLDER:
            return connection
        with contextlib.closing(connection):
            return _in_memory(connection)
    except sqlite3.OperationalError:
        connection.close()
        if writable:
            raise
        return _from_copy(folder)  # a log needs a file beside it, which cannot be made here


def _from_copy(folder: Path) -> sqlite3.Connection:
    """The database in memory, with what its writer's log still holds."""
    with tempfile.TemporaryDirectory() as copies:
        for name in ("study.db", "study.db-wal"):
            if (folder / name).exists():
                shutil.copyfile(folder / name, Path(copies) / name)
        with contextlib.closing(sqlite3.connect(Path(copies) / "study.db")) as connection:
            return _in_memory(connection)


def _in_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    connection.backup(memory)
    if schema_of(memory) in OLDER:
        upgrade(memory)
    return memory


def take_lock(folder: Path) -> int:
    """The writer's lock on the study in `folder`; StudyError where another process has it, or nothing can be locked there."""
    lock = os.open(folder / "study.lock", os.O_RDWR | os.O_CREAT, 0o644)
    with contextlib.ExitStack() as failed:
        failed.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode(errors="replace") or "unknown"
            raise StudyError(
                f"{folder} is being written by process {owner}: wait for it, stop it, or use another --study"
            ) from None
        except OSError as error:
            raise StudyError(
                f"{folder} cannot be locked for one writer ({error.strerror}): use a local --study folder"
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        failed.pop_all()
    return lock


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that an absolute path is on, by the text of /proc/self/mounts; "" where no line is about it."""
    kind, longest = "", 0
    for point, name in mounts_in(mounts):
        if len(point) >= longest and path.is_relative_to(point):
            kind, longest = name, len(point)
    return kind


def refuse_network_file_system(folder: Path) -> None:
    """Raise StudyError where `folder` is on a network file system: SQLite's locks are not safe there."""
    kind = file_system_of(folder.resolve(), mounts_here())
    if kind in NETWORK_FILE_SYSTEMS:
        raise StudyError(
            f"{folder} is on a network file system ({kind}), where a study is not safe: use a local --study folder"
        )
