"""Who is known: people and their embeddings in one SQLite file, searched exactly, deleted for good.

Embeddings are biometric data: they can be encrypted at rest, are never logged, and never meet another model's
(the contract). One process opens a gallery at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.faces.search import EXACT_LIMIT, Vectors
from edgenas.faces.vault import Vault
from edgenas.faces.verification import normalised
from edgenas.identity import canonical_json
from edgenas.records import Record

SQLITE = b"SQLite format 3\0"
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS people (id INTEGER PRIMARY KEY, name BLOB NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS samples (id INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES people, embedding BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS samples_of_person ON samples (person);
"""


class Person(Record, frozen=True):
    """An enrolled person."""

    name: str
    samples: int
    created: float  # seconds since 1970


class Match(Record, frozen=True):
    """A person and the cosine of their best sample."""

    name: str
    score: float


def contract(model_sha256: str, alignment: str, normalisation: str) -> str:
    """What embeddings must share to be comparable: the FP32 model file, the alignment and the input normalisation."""
    return hashlib.sha256(canonical_json((model_sha256, alignment, normalisation))).hexdigest()


class Gallery:
    """`with Gallery(path, contract, dim) as gallery:` people on disk, their unit embeddings also in memory."""

    def __init__(
        self, path: Path, contract: str, dim: int, vault: Vault | None = None, exact_limit: int = EXACT_LIMIT
    ) -> None:
        self.dim, self.vault, self._exact_limit = dim, vault, exact_limit
        self._lock = threading.Lock()
        if _start_of(path) not in (b"", SQLITE):
            raise DataError(f"{path} is not a gallery; name a new file or one that edgenas serve wrote")
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=1)
        except sqlite3.Error as error:
            raise DataError(
                f"gallery {path} cannot be opened ({error}): name a file in a folder that exists"
            ) from error
        try:
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "secure_delete=ON", "foreign_keys=ON"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(SCHEMA)
            self._agree(path, contract)
            self._load(path)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise DataError(
                f"gallery {path} cannot be opened ({error}): is another server using it, or is it read-only?"
            ) from error
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise DataError(f"gallery {path} is damaged ({error}): restore it from a copy or enrol anew") from error
        except DataError:
            self._database.close()
            raise

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def _agree(self, path: Path, contract: str) -> None:
        """Refuse a gallery of another model or of another key; sign a new one."""
        mine = {"contract": contract.encode(), "dim": str(self.dim).encode()}
        mine["key"] = self.vault.seal(b"edgenas", b"key") if self.vault else b""
        stored = dict(self._database.execute("SELECT key, value FROM meta"))
        if not stored:
            self._database.executemany("INSERT INTO meta VALUES (?, ?)", mine.items())
            return
        if stored.get("contract") != mine["contract"] or stored.get("dim") != mine["dim"]:
            raise DataError(
                f"gallery {path} belongs to another model (contract {stored.get('contract', b'?')[:8].decode()}, "
                f"this model's is {contract[:8]}): embeddings do not compare; enrol into a new file"
            )
        if bool(stored["key"]) != bool(self.vault):
            kind = "encrypted: give its key file" if stored["key"] else "not encrypted: leave the key file out"
            raise DataError(f"gallery {path} is {kind}")
        if self.vault:
            self.vault.open(stored["key"], b"key")

    def _load(self, path: Path) -> None:
        self._ids: dict[str, int] = {}
        self._people: dict[int, Person] = {}
        self._vectors = Vectors(self.dim, self._exact_limit)
        for person, sealed, created in self._database.execute("SELECT id, name, created FROM people ORDER BY id"):
            name = self._open(sealed, b"name").decode()
            self._ids[name] = person
            self._people[person] = Person(name, 0, created)
        for sample, person, blob in self._database.execute("SELECT id, person, embedding FROM samples ORDER BY id"):
            vector = np.frombuffer(self._open(blob, _owner(person)), np.float32)
            if vector.shape != (self.dim,) or not np.isfinite(vector).all() or person not in self._people:
                raise DataError(f"gallery {path} is damaged (sample {sample}): restore it from a copy or enrol anew")
            self._remember(person, vector[None])

    def _remember(self, person: int, unit: NDArray[np.float32]) -> None:
        self._vectors.add(person, unit)
        known = self._people[person]
        self._people[person] = Person(known.name, known.samples + len(unit), known.created)

    def _seal(self, data: bytes, owner: bytes) -> bytes:
        return self.vault.seal(data, owner) if self.vault else data

    def _open(self, data: bytes, owner: bytes) -> bytes:
        return self.vault.open(data, owner) if self.vault else data

    def people(self) -> tuple[Person, ...]:
        """Everyone, by name."""
        with self._lock:
            return tuple(self._people[person] for _, person in sorted(self._ids.items()))

    def enroll(self, name: str, embeddings: NDArray[np.float32]) -> Person:
        """Add samples (n, dim) to a person, new or known; all or nothing."""
        name = name.strip()
        if not name or len(name) > 200 or not name.isprintable():
            raise DataError("a person's name has 1 to 200 printable characters")
        unit = normalised(np.atleast_2d(embeddings))
        sound = np.isfinite(unit).all() and (np.linalg.norm(unit, axis=1) > 0.5).all()
        if unit.shape[1] != self.dim or len(unit) == 0 or not sound:
            raise DataError(f"enrolment needs finite, non-zero embeddings of {self.dim} numbers, not {unit.shape}")
        with self._lock:
            person = self._write(name, unit)
            self._remember(person, unit)
            return self._people[person]

    def _write(self, name: str, unit: NDArray[np.float32]) -> int:
        created = time.time()
        known = self._ids.get(name)
        with _transaction(self._database) as database:
            person = known if known is not None else self._insert(name, created)
            rows = [(person, self._seal(vector.tobytes(), _owner(person))) for vector in unit]
            database.executemany("INSERT INTO samples (person, embedding) VALUES (?, ?)", rows)
        if known is None:
            self._ids[name] = person
            self._people[person] = Person(name, 0, created)
        return person

    def _insert(self, name: str, created: float) -> int:
        values = (self._seal(name.encode(), b"name"), created)
        return int(self._database.execute("INSERT INTO people (name, created) VALUES (?, ?)", values).lastrowid or 0)

    def delete(self, name: str) -> bool:
        """Forget a person: rows overwritten with zeros, file rebuilt, log truncated. False where nobody has that name."""
        with self._lock:
            person = self._ids.get(name.strip())
            if person is None:
                return False
            with _transaction(self._database) as database:
                database.execute("DELETE FROM samples WHERE person = ?", (person,))
                database.execute("DELETE FROM people WHERE id = ?", (person,))
            self._database.execute("VACUUM")
            # In WAL mode the bytes would stay in the log and, until it is copied back, in the file.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            del self._ids[name.strip()], self._people[person]
            self._vectors.remove(person)
            return True

    def identify(self, embedding: NDArray[np.float32], threshold: float, top: int = 1) -> tuple[Match, ...]:
        """At most `top` people whose best sample reaches `threshold`, best first; () is the answer "nobody known"."""
        probe = self._probe(embedding)
        with self._lock:
            best = self._vectors.best(probe, top)
            return tuple(Match(self._people[person].name, score) for person, score in best if score >= threshold)

    def score(self, embedding: NDArray[np.float32], name: str) -> float:
        """The best cosine to a person's samples; DataError where nobody has that name."""
        probe = self._probe(embedding)
        with self._lock:
            if name.strip() not in self._ids:
                raise DataError(f"nobody is enrolled as {name!r}")
            return self._vectors.score(self._ids[name.strip()], probe)

    def _probe(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        probe: NDArray[np.float32] = normalised(np.asarray(embedding, np.float32).reshape(1, -1))[0]
        if probe.shape != (self.dim,) or not np.isfinite(probe).all():
            raise DataError(f"identification needs a finite embedding of {self.dim} numbers, not {probe.shape}")
        return probe


def _start_of(path: Path) -> bytes:
    """The first bytes of a file; none where there is no file yet."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE))
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(
            f"gallery {path} cannot be read ({error.strerror}): name a file that this user may read and write"
        ) from error


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit on success, roll back on any error."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _owner(person: int) -> bytes:
    return f"person {person}".encode()
