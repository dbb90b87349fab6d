"""study.db: the only state of a search (SQLite in WAL mode, one writer), and strict reading of TOML and JSON.

A trial is one transaction. Whatever is killed, everything written before is there afterwards, whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgenas.errors import EdgenasError, StudyError
from edgenas.identity import IDENTITY
from edgenas.records import Choice, Study, Trial

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
SCHEMA = 1
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (key TEXT PRIMARY KEY, number INTEGER UNIQUE, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE records (kind TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "fuse.sshfs",
    "lustre",
    "ceph",
    "glusterfs",
    "afs",
}


class Store:
    """One open study.db; `with` closes it. `create` and `write` take the writer's lock, `read` does not."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = lock
        self._threads = threading.RLock()

    @classmethod
    def create(cls, folder: Path, study: Study) -> Store:
        """Open the study in `folder` for writing, making it first where there is none.

        Raises StudyError where another process writes it, or where it holds a study of other settings.
        """
        with one_line(folder):
            folder.mkdir(parents=True, exist_ok=True)
        refuse_network_file_system(folder)
        store = cls._open(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            with one_line(folder), store._connection as connection:
                connection.execute("BEGIN IMMEDIATE")  # all of it or nothing, whenever this process is killed
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    for statement in TABLES.strip().split("\n"):
                        connection.execute(statement)
                    connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
                    connection.execute("INSERT INTO meta VALUES ('identity', ?)", (str(IDENTITY),))
                    connection.execute("INSERT INTO meta VALUES ('study', ?)", (msgspec.json.encode(study),))
            store._check()
            refuse_other_settings(folder, store.study, study)
            undo.pop_all()
        return store

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Is there a study? One that was killed while it was being made has no table yet."""
        if not (folder / "study.db").is_file():
            return False
        with one_line(folder), contextlib.closing(_connect(folder)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None

    @classmethod
    def write(cls, folder: Path) -> Store:
        """Open an existing study for writing."""
        _require(folder)
        store = cls._open(folder)
        store._check()
        return store

    @classmethod
    def _open(cls, folder: Path) -> Store:
        lock = _take_lock(folder)
        try:
            return cls(folder, _connect(folder), lock)
        except StudyError:
            os.close(lock)
            raise

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open an existing study for reading, also while another process writes it."""
        _require(folder)
        store = cls(folder, _connect(folder), None)
        store._check()
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the database and the writer's lock; closing twice is fine."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def study(self) -> Study:
        (body,) = self._rows("SELECT body FROM meta WHERE name = 'study'")[0]
        return msgspec.json.decode(body, type=Study)

    @property
    def choice(self) -> Choice | None:
        """What the search ended with; None while it goes on."""
        return self.get("choice", "choice", Choice)

    def choose(self, choice: Choice) -> None:
        """Write what the search ends with."""
        self.put("choice", "choice", choice)

    # trials

    def find(self, key: str) -> Trial | None:
        """The trial of the candidate with this key, numbered or not."""
        rows = self._rows("SELECT number, body FROM trials WHERE key = ?", (key,))
        return _trial(*rows[0]) if rows else None

    def add(self, trial: Trial) -> None:
        """Write a trial, unnumbered, in one transaction. One that is already there stays as it is."""
        body = msgspec.json.encode(msgspec.structs.replace(trial, number=None))
        self._do("INSERT OR IGNORE INTO trials VALUES (?, NULL, ?)", (trial.candidate.key, body))

    def number(self, key: str) -> Trial:
        """The trial with its place in the ledger, given now if a decision reads it for the first time."""
        self._do(
            "UPDATE trials SET number = (SELECT COALESCE(MAX(number), 0) + 1 FROM trials) WHERE key = ? AND number IS NULL",
            (key,),
        )
        trial = self.find(key)
        assert trial is not None, f"no trial {key} to number"
        return trial

    def ledger(self) -> tuple[Trial, ...]:
        """The trials that decisions have read, in decision order."""
        rows = self._rows("SELECT number, body FROM trials WHERE number IS NOT NULL ORDER BY number")
        return tuple(_trial(*row) for row in rows)

    def trials(self) -> tuple[Trial, ...]:
        """Every trial, those that no decision has read too."""
        return tuple(_trial(*row) for row in self._rows("SELECT number, body FROM trials ORDER BY number, key"))

    # everything else that a study keeps: measurements, decisions, rounds, final trainings

    def put(self, kind: str, key: str, record: Any) -> None:
        """Write (or replace) a side record."""
        self._do("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (kind, key, msgspec.json.encode(record)))

    def get(self, kind: str, key: str, record: type[T]) -> T | None:
        rows = self._rows("SELECT body FROM records WHERE kind = ? AND key = ?", (kind, key))
        return msgspec.json.decode(rows[0][0], type=record) if rows else None

    def all(self, kind: str, record: type[T]) -> dict[str, T]:
        """Side records of one kind, ordered by key."""
        rows = self._rows("SELECT key, body FROM records WHERE kind = ? ORDER BY key", (kind,))
        return {key: msgspec.json.decode(body, type=record) for key, body in rows}

    def _check(self) -> None:
        """Raise StudyError, and close, where the database is damaged or of another schema."""
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            with one_line(self.folder):
                (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict.replace("\n", " "))
            found = [int(body) for (body,) in self._rows("SELECT body FROM meta WHERE name = 'schema'")]
            if found != [SCHEMA]:
                raise StudyError(
                    f"{self.folder}/study.db has schema {found[0] if found else 'none'}, this edgenas reads {SCHEMA}: "
                    "open it with the edgenas that wrote it"
                )
            named = [int(body) for (body,) in self._rows("SELECT body FROM meta WHERE name = 'identity'")]
            if named not in ([], [IDENTITY]):
                raise StudyError(
                    f"{self.folder}/study.db names its networks by identity {named[0]}, this edgenas by {IDENTITY}: open it "
                    f"with edgenas {self.study.versions.get('edgenas', 'of another version')}, which wrote it"
                )
            undo.pop_all()

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with one_line(self.folder), self._threads:
            return self._connection.execute(statement, values).fetchall()

    def _do(self, statement: str, values: tuple[Any, ...]) -> None:
        with one_line(self.folder), self._threads, self._connection:
            self._connection.execute(statement, values)


def _trial(number: int | None, body: bytes) -> Trial:
    return msgspec.structs.replace(msgspec.json.decode(body, type=Trial), number=number)


def _connect(folder: Path) -> sqlite3.Connection:
    with one_line(folder):
        connection = sqlite3.connect(folder / "study.db", timeout=30, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection


def _require(folder: Path) -> None:
    if not (folder / "study.db").is_file():
        raise StudyError(f"{folder} holds no study (no study.db): name a study's folder, or run `edgenas search` first")


def _take_lock(folder: Path) -> int:
    with one_line(folder):
        lock = os.open(folder / "study.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 32).decode() or "unknown"
        os.close(lock)
        raise StudyError(
            f"{folder} is being written by process {owner}: wait for it, stop it, or use another --study"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def refuse_other_settings(folder: Path, there: Study, asked: Study) -> None:
    """Raise StudyError naming every setting in which the study on disk differs from the one asked for."""
    refuse_differences(folder, different_settings(there, asked))


def refuse_differences(folder: Path, differences: list[str]) -> None:
    """Raise StudyError where there are any."""
    if differences:
        raise StudyError(
            f"{folder} was made with other settings ({'; '.join(differences)}): use those, or another --study NAME"
        )


def different_settings(there: Study, asked: Study) -> list[str]:
    """A sentence for every setting in which two studies differ; versions are none."""
    old, new = (flat(msgspec.to_builtins(study)) for study in (there, asked))
    names = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n) and not n.startswith("versions.")]
    return [f"{name} is {old.get(name)!r} there, {new.get(name)!r} asked" for name in names]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries under dotted names: {"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict):
        return {prefix[:-1]: value}
    return {name: leaf for key, item in value.items() for name, leaf in flat(item, f"{prefix}{key}.").items()}


def refuse_network_file_system(folder: Path) -> None:
    """Raise StudyError where `folder` is on a network file system: SQLite's locks are not safe there."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return
    target = str(folder.resolve())
    points = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    inside = [(point, kind) for point, kind in points if f"{target}/".startswith(point.rstrip("/") + "/")]
    kind = max(inside, key=lambda item: len(item[0]))[1] if inside else ""
    if kind in NETWORK_FILE_SYSTEMS:
        raise StudyError(
            f"{folder} is on a network file system ({kind}), where a study is not safe: use a local --study folder"
        )


@contextlib.contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system say into one line about `path`."""
    try:
        yield
    except sqlite3.Error as error:
        advice = "it may be damaged: restore it, or remove the folder and search again"
        if "full" in str(error):
            advice = "make room and run the same command again; nothing that was written is lost"
        raise StudyError(f"{path}/study.db: {error}: {advice}") from error
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}: choose a folder that can be written") from error


def read_toml(path: Path, record: type[T]) -> T:
    """A strictly decoded TOML file: unknown keys, wrong types and bad syntax are one-line errors that say where."""
    try:
        return msgspec.convert(tomllib.loads(_text(path)), type=record)
    except tomllib.TOMLDecodeError as error:
        raise EdgenasError(f"{path} is not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise EdgenasError(f"{path}: {error}") from error


def read_json(path: Path, record: type[T]) -> T:
    """A strictly decoded JSON file."""
    try:
        return msgspec.json.decode(_text(path), type=record)
    except msgspec.ValidationError as error:
        raise EdgenasError(f"{path}: {error}") from error
    except msgspec.DecodeError as error:
        raise EdgenasError(f"{path} is not valid JSON: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgenasError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not a text file'}") from error
