"""Who is known: people and their embeddings in one SQLite file, searched exactly, deleted for good.

Embeddings are biometric data: they can be encrypted at rest, are never logged, and never meet another model's
(the contract). One process opens a gallery at a time. A name is one name however its letters are composed (NFC).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError, EdgenasError
from edgenas.faces.gallery_file import (
    FORMAT,
    UNREADABLE,
    compact,
    create,
    format_of,
    kind_of_file,
    open_file,
    transaction,
)
from edgenas.faces.search import EXACT_LIMIT, Vectors
from edgenas.faces.tally import Lock, Tally, embedding_of, name_of
from edgenas.faces.vault import Vault
from edgenas.faces.verification import normalised
from edgenas.identity import canonical_json
from edgenas.records import Record

LONGEST_NAME = 200
PEOPLE = "SELECT CAST(id AS INTEGER), CAST(name AS BLOB), CAST(created AS REAL) FROM people ORDER BY id"
SAMPLES_OF = "SELECT CAST(id AS INTEGER), CAST(embedding AS BLOB) FROM samples WHERE person = ?"
PERSON = "SELECT CAST(name AS BLOB), CAST(created AS REAL) FROM people WHERE id = ?"
SAMPLES = "SELECT CAST(id AS INTEGER), CAST(person AS INTEGER), CAST(embedding AS BLOB) FROM samples ORDER BY id"


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


def checked_threshold(value: float, source: str) -> float:
    """A cosine above which two faces are one person's; EdgenasError where it would accept everybody or is no number."""
    if not 0 < value <= 1:
        raise EdgenasError(
            f"{source} is {value:g}: a threshold is a cosine above 0 (unrelated faces) and at most 1 (the same image); "
            "`edgenas faces calibrate --far 1e-3` finds one"
        )
    return value


def spelled(name: str) -> str:
    """The one spelling of a name: composed letters, no space around."""
    return unicodedata.normalize("NFC", name).strip()


class Gallery:
    """`with Gallery(path, contract, dim) as gallery:` people on disk, their unit embeddings also in memory.

    `rewritten` says that the file was of the first format, whose names were not bound to people.
    """

    def __init__(
        self, path: Path, contract: str, dim: int, vault: Vault | None = None, exact_limit: int = EXACT_LIMIT
    ) -> None:
        self.dim, self._exact_limit, self._path = dim, exact_limit, path
        self._mutex = threading.Lock()
        kind = kind_of_file(path)
        try:
            self._database = open_file(path, kind)
        except UNREADABLE as error:
            raise _unopened(path, error) from error
        try:
            self.rewritten = format_of(self._database) != FORMAT
            self._agree(contract, vault)
            self._load(contract)
        except UNREADABLE as error:
            self._database.close()
            raise _unopened(path, error) from error
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def _agree(self, contract: str, vault: Vault | None) -> None:
        """Refuse a gallery of another model or of another key; sign a new one."""
        stored = dict(self._database.execute("SELECT key, CAST(value AS BLOB) FROM meta"))
        if not stored and not self._database.execute("SELECT count(*) FROM sqlite_sequence").fetchone()[0]:
            with transaction(self._database):
                stored = self._sign(contract, vault)
        if stored.get("contract") != contract.encode() or stored.get("dim") != str(self.dim).encode():
            theirs = (stored.get("contract") or b"?")[:8].decode("ascii", "replace")
            raise DataError(
                f"gallery {self._path} belongs to another model (contract {theirs}, "
                f"this model's is {contract[:8]}): embeddings do not compare; enrol into a new file"
            )
        if bool(stored.get("key")) != bool(vault):
            kind = "encrypted: give its key file" if stored.get("key") else "not encrypted: leave the key file out"
            raise DataError(f"gallery {self._path} is {kind}")
        if vault:
            vault.open(stored["key"], b"key")
        self._lock = Lock(vault, stored.get("id") or b"")

    def _sign(self, contract: str, vault: Vault | None) -> dict[str, bytes]:
        """The first rows of a new file; inside a transaction."""
        key = vault.seal(b"edgenas", b"key") if vault else b""
        mine = {"contract": contract.encode(), "dim": str(self.dim).encode(), "key": key, "id": os.urandom(16)}
        self._contract, self._lock, self._tally = contract, Lock(vault, mine["id"]), Tally()
        self._database.executemany("INSERT INTO meta VALUES (?, ?)", mine.items())
        self._store(self._tally)
        return mine

    def _load(self, contract: str) -> None:
        self._contract = contract
        self._ids: dict[str, int] = {}
        self._people: dict[int, Person] = {}
        self._loose = False  # may deleted rows still lie in the file?
        self._vectors = Vectors(self.dim, self._exact_limit)
        if self.rewritten:
            self._rewrite()
        tally = Tally()
        for person, sealed, created in self._rows(PEOPLE):
            tally = tally.plus(self._lock.person_mac(person, sealed, created))
            name = self._text(self._lock.open(sealed, name_of(person)))
            self._ids[name] = person
            self._people[person] = Person(name, 0, created)
        for sample, person, blob in self._rows(SAMPLES):
            tally = tally.plus(self._lock.sample_mac(sample, person, blob))
            if person not in self._people:
                raise self._damaged(f"sample {sample} is nobody's")
            self._remember(person, self._vector(self._lock.open(blob, embedding_of(person)))[None])
        stored = self._database.execute("SELECT CAST(value AS BLOB) FROM meta WHERE key = 'table'").fetchone()
        if stored is None or stored[0] is None or self._lock.open(stored[0], self._seal_name()) != tally.to_bytes():
            raise self._damaged("rows were changed, put back or taken away")
        self._tally = tally

    def _seal_name(self) -> str:
        return f"rows, contract {self._contract}, dim {self.dim}"

    def _rows(self, query: str, *values: int) -> Iterator[Any]:
        """Rows whose types are those that the query casts to; DataError for one that has lost a value."""
        for row in self._database.execute(query, values):
            if None in row:
                raise self._damaged("a row has lost a value")
            yield row

    def _text(self, name: bytes) -> str:
        try:
            return spelled(name.decode())
        except UnicodeDecodeError as error:
            raise self._damaged("a name is not UTF-8") from error

    def _vector(self, blob: bytes) -> NDArray[np.float32]:
        if len(blob) != 4 * self.dim or not np.isfinite(vector := np.frombuffer(blob, np.float32)).all():
            raise self._damaged("an embedding is not one")
        return vector

    def _damaged(self, reason: str) -> DataError:
        return DataError(
            f"gallery {self._path} is not as it was left, or damaged ({reason}): restore it from a copy or enrol anew"
        )

    def _rewrite(self) -> None:
        """From the first format, in one transaction; people whose names differ by spelling alone become one."""
        vault, people = self._lock.vault, {}
        for person, sealed, created in self._rows(PEOPLE):
            name = self._text(vault.open(sealed, b"name") if vault else sealed)
            people[person] = (name, created)
        vectors: dict[str, list[NDArray[np.float32]]] = {name: [] for name, _ in people.values()}
        for sample, person, blob in self._rows(SAMPLES):
            if person not in people:
                raise self._damaged(f"sample {sample} is nobody's")
            plain = vault.open(blob, f"person {person}".encode()) if vault else blob
            vectors[people[person][0]].append(self._vector(plain))
        with transaction(self._database) as database:
            for table in ("samples", "people", "meta"):
                database.execute(f"DROP TABLE {table}")
            create(database)
            self._sign(self._contract, vault)
            for name, samples in vectors.items():
                first = min(created for other, created in people.values() if other == name)
                self._insert(name, np.stack(samples) if samples else np.empty((0, self.dim), np.float32), first)
        compact(self._database)

    def _remember(self, person: int, unit: NDArray[np.float32]) -> None:
        self._vectors.add(person, unit)
        known = self._people[person]
        self._people[person] = Person(known.name, known.samples + len(unit), known.created)

    def people(self) -> tuple[Person, ...]:
        """Everyone, by name."""
        with self._mutex:
            return tuple(self._people[person] for _, person in sorted(self._ids.items()))

    def knows(self, name: str) -> bool:
        with self._mutex:
            return spelled(name) in self._ids

    def enroll(self, name: str, embeddings: NDArray[np.float32]) -> Person:
        """Add samples (n, dim) to a person, new or known; all or nothing. Those that the person has already are not added again,
        so that whoever does not know whether it was done may ask again."""
        name = spelled(name)
        if not name or len(name) > LONGEST_NAME or not name.isprintable() or "\ufffd" in name:
            raise DataError(f"a person's name has 1 to {LONGEST_NAME} printable characters (UTF-8)")
        unit = normalised(np.atleast_2d(embeddings))
        sound = (np.linalg.norm(unit, axis=1) > 0.5).all()
        if unit.shape[1] != self.dim or len(unit) == 0 or not sound:
            raise DataError(f"enrolment needs non-zero embeddings of {self.dim} numbers, not {unit.shape}")
        with self._mutex:
            known = self._ids.get(name)
            if known is not None and not len(unit := self._vectors.unknown(known, unit)):
                return self._people[known]
            before = self._tally
            try:
                with transaction(self._database):
                    person, created = self._insert(name, unit, time.time())
            except BaseException:
                self._tally = before
                raise
            self._ids[name] = person
            self._people.setdefault(person, Person(name, 0, created))
            self._remember(person, unit)
            return self._people[person]

    def _insert(self, name: str, unit: NDArray[np.float32], created: float) -> tuple[int, float]:
        """A person's id, of a new row where it is needed, after adding samples (n, dim); inside a transaction."""
        database, person = self._database, self._ids.get(name)
        if person is None:
            person = self._next("people")
            sealed = self._lock.seal(name.encode(), name_of(person))
            database.execute("INSERT INTO people VALUES (?, ?, ?)", (person, sealed, created))
            self._tally = self._tally.plus(self._lock.person_mac(person, sealed, created))
        for vector in unit:
            sample, blob = self._next("samples"), self._lock.seal(vector.tobytes(), embedding_of(person))
            database.execute("INSERT INTO samples VALUES (?, ?, ?)", (sample, person, blob))
            self._tally = self._tally.plus(self._lock.sample_mac(sample, person, blob))
        self._store(self._tally)
        return person, created

    def _next(self, table: str) -> int:
        """An id that no row of this table ever had."""
        found = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return 1 + int(found[0] if found else 0)

    def _store(self, tally: Tally) -> None:
        sealed = self._lock.seal(tally.to_bytes(), self._seal_name())
        self._database.execute("INSERT OR REPLACE INTO meta VALUES ('table', ?)", (sealed,))

    def delete(self, name: str) -> bool:
        """Forget a person: rows overwritten with zeros, file rebuilt, log truncated. False where nobody has that name."""
        with self._mutex:
            person = self._ids.get(spelled(name))
            if person is None:
                self._compact()  # of a deletion that was cut short here
                return False
            tally = self._tally
            with transaction(self._database) as database:
                for sample, blob in self._rows(SAMPLES_OF, person):
                    tally = tally.minus(self._lock.sample_mac(sample, person, blob))
                for sealed, created in self._rows(PERSON, person):
                    tally = tally.minus(self._lock.person_mac(person, sealed, created))
                database.execute("DELETE FROM samples WHERE person = ?", (person,))
                database.execute("DELETE FROM people WHERE id = ?", (person,))
                self._store(tally)
            self._tally, self._loose = tally, True
            del self._ids[spelled(name)], self._people[person]
            self._vectors.remove(person)
            self._compact()
            return True

    def _compact(self) -> None:
        """Rebuild the file where deleted rows may still lie in it; that needs as much disk again, and may fail."""
        if self._loose:
            compact(self._database)
            self._loose = False

    def identify(self, embedding: NDArray[np.float32], threshold: float, top: int = 1) -> tuple[Match, ...]:
        """At most `top` people whose best sample reaches `threshold`, best first; () is the answer "nobody known"."""
        probe = self._probe(embedding)
        with self._mutex:
            best = self._vectors.best(probe, top)
            return tuple(Match(self._people[person].name, score) for person, score in best if score >= threshold)

    def score(self, embedding: NDArray[np.float32], name: str) -> float:
        """The best cosine to a person's samples; DataError where nobody has that name."""
        probe = self._probe(embedding)
        with self._mutex:
            person = self._ids.get(spelled(name))
            if person is None or not self._people[person].samples:
                raise DataError(f"nobody is enrolled as {name!r}")
            return self._vectors.score(person, probe)

    def _probe(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        probe: NDArray[np.float32] = normalised(np.asarray(embedding, np.float32).reshape(1, -1))[0]
        if probe.shape != (self.dim,):
            raise DataError(f"identification needs an embedding of {self.dim} numbers, not {probe.shape}")
        return probe


def _unopened(path: Path, error: Exception) -> DataError:
    if isinstance(error, sqlite3.OperationalError):
        reason = f"({error}): is another server using it, or is it read-only?"
        return DataError(f"gallery {path} cannot be opened {reason}")
    return DataError(f"gallery {path} is damaged ({error}): restore it from a copy or enrol anew")
