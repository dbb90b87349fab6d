"""study.db: the only state of a search (SQLite in WAL mode, one writer), and strict reading of TOML and JSON.

A trial is one transaction. Whatever is killed, everything written before is there afterwards, whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgenas.database import (
    OLDER,
    SCHEMA,
    DamageError,
    check_pages,
    connect_to_read,
    connect_to_write,
    insert,
    make,
    one_line,
    refuse_network_file_system,
    schema_of,
    select,
    take_lock,
    upgrade,
)
from edgenas.errors import EdgenasError, StudyError
from edgenas.files import read_text
from edgenas.identity import IDENTITY, READABLE
from edgenas.records import Choice, Session, StudyRecord, Trial

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
LARGEST_TOML, LARGEST_JSON = 10**6, 64 * 10**6  # bytes; the largest shipped profile has 15 kB, a published trace 200 kB
WRITTEN = ("clock", "written")  # row of records: when the study was written last, seconds since 1970
MOST_DOTS = 200  # between two commas, brackets or line ends
TOO_DEEP = "its brackets nest too deeply"


class Store:
    """One open study.db; `with` closes it. `create` and `write` take the writer's lock, `read` does not."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = lock
        self._threads = threading.RLock()

    @classmethod
    def create(cls, folder: Path, study: StudyRecord) -> Store:
        """Open the study in `folder` for writing, making it first where there is none.

        Raises StudyError where another process writes it, or where it holds a study of other settings.
        """
        with one_line(folder):
            folder.mkdir(parents=True, exist_ok=True)
        store = cls._open(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            with one_line(folder), store._connection as connection:
                connection.execute("BEGIN IMMEDIATE")  # all of it or nothing, whenever this process is killed
                if schema_of(connection) is None:
                    numbers = {"schema": str(SCHEMA).encode(), "identity": str(IDENTITY).encode()}
                    make(connection, {**numbers, "study": msgspec.json.encode(study)})
                    _note_time(connection)
                elif schema_of(connection) in OLDER:
                    upgrade(connection)
            store._check()
            refuse_other_settings(folder, store.study, study)
            undo.pop_all()
        return store

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Is there a study? One that was killed while it was being made has no table yet."""
        if not (folder / "study.db").is_file():
            return False
        with one_line(folder), contextlib.closing(connect_to_read(folder)) as connection:
            return schema_of(connection) is not None

    @classmethod
    def written_at(cls, folder: Path) -> float | None:
        """When the study was written last by its own word, seconds since 1970; None where it has none.

        Readers tidy up after a killed writer, which changes the files' times: those say nothing. A study of an earlier version
        says when its last session began.
        """
        with one_line(folder), contextlib.closing(cls(folder, connect_to_read(folder), None)) as store:
            written = store.get(*WRITTEN, float)
            began = [] if written is not None else list(store.all("session", Session).values())
            return datetime.fromisoformat(began[-1].began).timestamp() if began else written

    @classmethod
    def write(cls, folder: Path) -> Store:
        """Open an existing study for writing."""
        _require(folder)
        store = cls._open(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            with one_line(folder), store._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                if schema_of(connection) in OLDER:
                    upgrade(connection)
            store._check()
            undo.pop_all()
        return store

    @classmethod
    def _open(cls, folder: Path) -> Store:
        refuse_network_file_system(folder)
        with one_line(folder), contextlib.ExitStack() as failed:
            lock = take_lock(folder)
            failed.callback(os.close, lock)
            store = cls(folder, connect_to_write(folder), lock)
            failed.pop_all()
        return store

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open an existing study for reading, also while another process writes it."""
        _require(folder)
        with one_line(folder):
            store = cls(folder, connect_to_read(folder), None)
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            store._check()
            undo.pop_all()
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
    def writable(self) -> bool:
        """Was it opened for writing?"""
        return self._lock is not None

    @property
    def study(self) -> StudyRecord:
        return self._meta("study", StudyRecord)

    @property
    def identity(self) -> int:
        """The version of what keys mean (identity.py) that the study was begun under."""
        return self._meta("identity", int, 1)

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
        found = self._trials("WHERE key = ?", (key,))
        return found[0] if found else None

    def add(self, trial: Trial) -> None:
        """Write a trial, unnumbered, in one transaction. One that is already there stays as it is."""
        body = msgspec.json.encode(msgspec.structs.replace(trial, number=None))
        self._write("trials", (trial.candidate.key, None), body, "INSERT OR IGNORE")

    def number(self, key: str) -> Trial:
        """The trial with its place in the ledger, given now if a decision reads it for the first time."""
        trial = self.find(key)
        assert trial is not None, f"no trial {key} to number"
        if trial.number is not None:
            return trial
        with one_line(self.folder), self._threads, self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            (last,) = connection.execute("SELECT COALESCE(MAX(number), 0) FROM trials").fetchone()
            body = msgspec.json.encode(trial)
            insert(connection, "trials", (key, last + 1), body, "INSERT OR REPLACE")
            _note_time(connection)
        return msgspec.structs.replace(trial, number=last + 1)

    def ledger(self) -> tuple[Trial, ...]:
        """The trials that decisions have read, in decision order."""
        return self._trials("WHERE number IS NOT NULL ORDER BY number")

    def trials(self) -> tuple[Trial, ...]:
        """Every trial, those that no decision has read too."""
        return self._trials("ORDER BY number, key")

    # everything else that a study keeps: measurements, decisions, rounds, final trainings

    def put(self, kind: str, key: str, record: Any) -> None:
        """Write (or replace) a side record."""
        self._write("records", (kind, key), msgspec.json.encode(record), "INSERT OR REPLACE")

    def get(self, kind: str, key: str, record: type[T]) -> T | None:
        rows = self._rows("records", "WHERE kind = ? AND key = ?", (kind, key))
        return self._decoded("records", rows[0], record) if rows else None

    def all(self, kind: str, record: type[T]) -> dict[str, T]:
        """Side records of one kind, ordered by key."""
        rows = self._rows("records", "WHERE kind = ? ORDER BY key", (kind,))
        return {row[0][1]: self._decoded("records", row, record) for row in rows}

    def _check(self) -> None:
        """Raise StudyError where any row is damaged, or where another version of edgenas has to read it."""
        with one_line(self.folder), self._threads:
            check_pages(self._connection)
            schema = schema_of(self._connection)
        if schema is None:
            raise StudyError(f"{self.folder}/study.db holds no study yet: run its `edgenas search` again")
        if schema != SCHEMA:
            raise StudyError(
                f"{self.folder}/study.db has schema {schema}, this edgenas reads 1 to {SCHEMA}: "
                "open it with the edgenas that wrote it"
            )
        for table in ("meta", "records"):
            self._rows(table)
        study, named = self.study, self.identity
        if named not in READABLE:
            raise StudyError(
                f"{self.folder}/study.db names its networks by identity {named}, this edgenas by {IDENTITY}: open it "
                f"with edgenas {study.versions.get('edgenas', 'of another version')}, which wrote it"
            )
        numbers = [trial.number for trial in self.trials() if trial.number is not None]
        if numbers != list(range(1, len(numbers) + 1)):
            with one_line(self.folder):
                raise DamageError(f"the ledger's numbers are {numbers}")

    def _meta(self, name: str, record: type[T], missing: T | None = None) -> T:
        rows = self._rows("meta", "WHERE name = ?", (name,))
        if rows:
            return self._decoded("meta", rows[0], record)
        if missing is None:
            with one_line(self.folder):
                raise DamageError(f"it has no {name}")
        return missing

    def _trials(self, where: str, values: tuple[Any, ...] = ()) -> tuple[Trial, ...]:
        trials = []
        for row in self._rows("trials", where, values):
            key, number = row[0]
            trial = self._decoded("trials", row, Trial)
            if trial.candidate.key != key:
                raise StudyError(
                    f"{self.folder}/study.db calls a trial {key} that this edgenas calls {trial.candidate.key}: "
                    "open it with the edgenas that wrote it"
                )
            trials.append(msgspec.structs.replace(trial, number=number))
        return tuple(trials)

    def _rows(self, table: str, where: str = "", values: tuple[Any, ...] = ()) -> list[Any]:
        with one_line(self.folder), self._threads:
            return select(self._connection, table, where, values)

    def _write(self, table: str, place: tuple[Any, ...], body: bytes, how: str) -> None:
        with one_line(self.folder), self._threads, self._connection as connection:
            insert(connection, table, place, body, how)
            _note_time(connection)

    def _decoded(self, table: str, row: tuple[tuple[Any, ...], bytes], record: type[T]) -> T:
        place, body = row
        try:
            return msgspec.json.decode(body, type=record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StudyError(
                f"{self.folder}/study.db: row {place[0]} of {table} is not what this edgenas writes ({error}): "
                f"open it with the edgenas that wrote it"
            ) from error


def _note_time(connection: sqlite3.Connection) -> None:
    """Of a write, in its own transaction."""
    insert(connection, "records", WRITTEN, msgspec.json.encode(time.time()), "INSERT OR REPLACE")


def _require(folder: Path) -> None:
    if not (folder / "study.db").is_file():
        raise StudyError(f"{folder} holds no study (no study.db): name a study's folder, or run `edgenas search` first")


def refuse_other_settings(folder: Path, there: StudyRecord, asked: StudyRecord) -> None:
    """Raise StudyError naming every setting in which the study on disk differs from the one asked for; versions are none.

    What was planned for the same settings, by a clock perhaps, differs only where two processes planned at once."""
    old, new = (flat(msgspec.json.decode(msgspec.json.encode(study))) for study in (there, asked))
    names = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n) and not n.startswith("versions.")]
    if names and all(name.startswith("plan.") and not name.startswith("plan.asked.") for name in names):
        raise StudyError(
            f"{folder} was begun by another process a moment ago: run the same command again, which goes on with that"
        )
    refuse_differences(folder, [f"{name} is {old.get(name)!r} there, {new.get(name)!r} asked" for name in names])


def refuse_differences(folder: Path, differences: list[str]) -> None:
    """Raise StudyError where there are any."""
    if differences:
        raise StudyError(
            f"{folder} was made with other settings ({'; '.join(differences)}): use those, or another --study NAME"
        )


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries under dotted names: {"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict):
        return {prefix[:-1]: value}
    return {name: leaf for key, item in value.items() for name, leaf in flat(item, f"{prefix}{key}.").items()}


def read_toml(path: Path, record: type[T]) -> T:
    """A strictly decoded TOML file: unknown keys, wrong types and bad syntax are one-line errors that say where."""
    return record_from_values(path, toml_values(path), record)


def toml_values(path: Path) -> dict[str, Any]:
    """What a TOML file says, not yet looked at."""
    text = read_text(path, LARGEST_TOML)
    if any(
        part.count(".") > MOST_DOTS for part in re.split(r"[,={}\[\]\n]", text)
    ):  # tomllib's time is quadratic in them
        raise EdgenasError(f"{path} is not valid TOML: a name or text has more than {MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EdgenasError(f"{path} is not valid TOML: {error}") from error
    except ValueError as error:  # Python's own bound on the digits of a number
        raise EdgenasError(f"{path} is not valid TOML: it holds a number of thousands of digits") from error
    except RecursionError as error:
        raise EdgenasError(f"{path} is not valid TOML: {TOO_DEEP}") from error


def record_from_values(path: Path, values: Any, record: type[T]) -> T:
    """The record that the values of a file make; errors say where in the file."""
    try:
        return msgspec.convert(values, type=record)
    except msgspec.ValidationError as error:
        raise EdgenasError(f"{path}: {error}") from error
    except RecursionError as error:
        raise EdgenasError(f"{path}: {TOO_DEEP}") from error


def read_json(path: Path, record: type[T]) -> T:
    """A strictly decoded JSON file."""
    try:
        return msgspec.json.decode(read_text(path, LARGEST_JSON), type=record)
    except msgspec.ValidationError as error:
        raise EdgenasError(f"{path}: {error}") from error
    except msgspec.DecodeError as error:
        raise EdgenasError(f"{path} is not valid JSON: {error}") from error
    except RecursionError as error:
        raise EdgenasError(f"{path} is not valid JSON: {TOO_DEEP}") from error
