"""The gallery's file in the hands of somebody without its key, of an older edgenas, and of other programs."""

import sqlite3
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgenas.errors import DataError, EdgenasError
from edgenas.faces.gallery import Gallery, checked_threshold
from edgenas.faces.gallery_file import APPLICATION_ID
from edgenas.faces.vault import Vault
from tests.faces.test_gallery import DIM, MODEL, OTHER, embeddings, files_of

KEY = bytes(range(32))
NFC, NFD = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
OLD = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE people (id INTEGER PRIMARY KEY, name BLOB NOT NULL, created REAL NOT NULL);
CREATE TABLE samples (id INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES people, embedding BLOB NOT NULL);
CREATE INDEX samples_of_person ON samples (person);
"""


def people(path: Path, vault: Vault | None) -> np.ndarray:
    """A gallery of Chief, Guest and Mallory with two samples each; their embeddings (6, DIM)."""
    known = embeddings(6)
    with Gallery(path, MODEL, DIM, vault) as gallery:
        for place, name in enumerate(("Chief", "Guest", "Mallory")):
            gallery.enroll(name, known[2 * place : 2 * place + 2])
    return known


def edit(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


ATTACKS = {
    "names swapped": (
        "UPDATE people SET name = (SELECT name FROM people AS other WHERE other.id = 3 - people.id) WHERE id IN (1, 2)",
    ),
    "ids swapped": ("UPDATE people SET id = 99 WHERE id = 1", "UPDATE people SET id = 1 WHERE id = 2"),
    "samples swapped": ("UPDATE samples SET person = 3 - person WHERE person IN (1, 2)",),
    "one sample moved": ("UPDATE samples SET person = 1 WHERE id = 5",),
    "a sample deleted": ("DELETE FROM samples WHERE id = 2",),
    "all samples of one deleted": ("DELETE FROM samples WHERE person = 1",),
    "a person deleted": ("DELETE FROM samples WHERE person = 3", "DELETE FROM people WHERE id = 3"),
    "everybody deleted": ("DELETE FROM samples", "DELETE FROM people"),
    "a sample twice": ("INSERT INTO samples SELECT 77, person, embedding FROM samples WHERE id = 1",),
    "a sample's id changed": ("UPDATE samples SET id = 77 WHERE id = 1",),
    "a date changed": ("UPDATE people SET created = 0 WHERE id = 1",),
    "the seal removed": ("DELETE FROM meta WHERE key = 'table'",),
    "the seal emptied": ("UPDATE meta SET value = x'' WHERE key = 'table'",),
    "the seal of none": ("UPDATE meta SET value = zeroblob(40) WHERE key = 'table'",),
    "the identity changed": ("UPDATE meta SET value = zeroblob(16) WHERE key = 'id'",),
    "all said about it removed": ("DELETE FROM meta",),
    "a name as text": ("UPDATE people SET name = 'Chief' WHERE id = 2",),
    "an embedding as a number": ("UPDATE samples SET embedding = 7 WHERE id = 2",),
    "an embedding cut": ("UPDATE samples SET embedding = x'00' WHERE id = 2",),
    "nobody's sample": ("UPDATE samples SET person = 1234 WHERE id = 2",),
}


@pytest.mark.parametrize("statements", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
def test_rows_changed_from_outside_are_noticed(tmp_path: Path, statements: tuple[str, ...], key: bytes | None) -> None:
    """Without a key this finds accidents: who changes rows on purpose could make the sum right again."""
    path, vault = tmp_path / "door.db", Vault(key) if key else None
    people(path, vault)
    edit(path, *statements)
    with pytest.raises(DataError) as caught:
        Gallery(path, MODEL, DIM, vault)
    assert "\n" not in str(caught.value)


LOST = {
    "a name": "UPDATE people SET name = NULL WHERE id = 2",
    "a date": "UPDATE people SET created = NULL WHERE id = 2",
    "a sample's person": "UPDATE samples SET person = NULL WHERE id = 3",
    "an embedding": "UPDATE samples SET embedding = NULL WHERE id = 3",
    "the seal": "UPDATE meta SET value = NULL WHERE key = 'table'",
    "the dimension": "UPDATE meta SET value = NULL WHERE key = 'dim'",
    "the gallery's own number": "UPDATE meta SET value = NULL WHERE key = 'id'",
}


@pytest.mark.parametrize("statement", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
def test_a_value_that_is_lost_is_refused_in_one_line(tmp_path: Path, statement: str, key: bytes | None) -> None:
    path, vault = tmp_path / "door.db", Vault(key) if key else None
    people(path, vault)
    edit(path, "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')")
    edit(path, statement)
    with pytest.raises(DataError) as caught:
        Gallery(path, MODEL, DIM, vault)
    assert str(caught.value).startswith(f"gallery {path}") or "does not open this gallery" in str(caught.value)


def test_a_table_that_sqlite_cannot_read_out_is_refused_in_one_line(tmp_path: Path) -> None:
    """What SQLite says of it quotes the damaged bytes, which are no text."""
    path = tmp_path / "door.db"
    people(path, None)
    change = "UPDATE sqlite_master SET sql = CAST(x'435245415445ff' AS TEXT) WHERE name = 'people'"
    edit(path, "PRAGMA writable_schema = ON", change)
    with pytest.raises(DataError, match=r"^gallery .* is damaged"):
        Gallery(path, MODEL, DIM)


@pytest.mark.parametrize("attack", ["names swapped", "ids swapped", "samples swapped", "one sample moved"])
def test_what_is_sealed_opens_for_its_own_person_alone(tmp_path: Path, attack: str) -> None:
    """Before the rows are counted: each value is bound to its kind and its person."""
    people(tmp_path / "door.db", Vault(KEY))
    edit(tmp_path / "door.db", *ATTACKS[attack])
    with pytest.raises(DataError, match="does not open this gallery"):
        Gallery(tmp_path / "door.db", MODEL, DIM, Vault(KEY))


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
def test_an_embedding_of_somebody_deleted_cannot_be_put_back_as_somebody_new(tmp_path: Path, key: bytes | None) -> None:
    path, vault = tmp_path / "door.db", Vault(key) if key else None
    known = people(path, vault)
    database = sqlite3.connect(path)
    (old,) = database.execute("SELECT embedding FROM samples WHERE person = 3 LIMIT 1").fetchone()
    database.close()
    with Gallery(path, MODEL, DIM, vault) as gallery:
        gallery.delete("Mallory")
        gallery.enroll("New chief", embeddings(1, 9))
        (newest,) = gallery._database.execute("SELECT max(id) FROM people").fetchone()
    assert newest == 4  # 3 was Mallory's, and nobody's again
    database = sqlite3.connect(path)
    database.execute("INSERT INTO samples (person, embedding) VALUES (4, ?)", (old,))
    database.commit()
    database.close()
    with pytest.raises(DataError):
        Gallery(path, MODEL, DIM, vault)
    assert known.shape == (6, DIM)


def test_the_seal_of_another_gallery_of_the_same_key_does_not_fit(tmp_path: Path) -> None:
    vault = Vault(KEY)
    for name in ("a.db", "b.db"):
        people(tmp_path / name, vault)
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("ATTACH ? AS b", (str(tmp_path / "b.db"),))
    database.execute("UPDATE main.meta SET value = (SELECT value FROM b.meta WHERE key = 'table') WHERE key = 'table'")
    database.commit()
    database.close()
    with pytest.raises(DataError, match="does not open this gallery"):
        Gallery(tmp_path / "a.db", MODEL, DIM, vault)
    database = sqlite3.connect(tmp_path / "b.db")
    database.execute("UPDATE meta SET value = ? WHERE key = 'contract'", (OTHER.encode(),))
    database.commit()
    database.close()
    with pytest.raises(DataError, match="does not open this gallery"):
        Gallery(tmp_path / "b.db", OTHER, DIM, vault)


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
def test_what_edgenas_itself_does_keeps_the_seal_right(tmp_path: Path, key: bytes | None) -> None:
    path, vault = tmp_path / "door.db", Vault(key) if key else None
    known = people(path, vault)
    for turn in range(3):
        with Gallery(path, MODEL, DIM, vault) as gallery:
            gallery.delete("Guest" if turn % 2 == 0 else "Nobody")
            gallery.enroll("Guest", known[2:4])
            gallery.enroll("Chief", embeddings(1, 20 + turn))
            with pytest.raises(DataError):
                gallery.enroll("Chief", np.zeros(DIM))
    with Gallery(path, MODEL, DIM, vault) as gallery:
        assert {person.name: person.samples for person in gallery.people()} == {"Chief": 5, "Guest": 2, "Mallory": 2}
        assert gallery.identify(known[2], 0.9)[0].name == "Guest"


def test_a_bit_of_an_encrypted_file_never_makes_somebody_else(tmp_path: Path) -> None:
    path, vault, rng = tmp_path / "door.db", Vault(KEY), np.random.default_rng(0)
    known = people(path, vault)
    whole = path.read_bytes()
    for place in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            with Gallery(path, MODEL, DIM, vault) as gallery:
                found = [gallery.identify(vector, 0.9)[0].name for vector in known]
        except DataError:
            continue
        assert found == ["Chief", "Chief", "Guest", "Guest", "Mallory", "Mallory"]


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "door.db"
    with Gallery(path, MODEL, DIM) as gallery:
        gallery.enroll("Ada", embeddings(1))
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    for mode in (0o644, 0o640, 0o620, 0o610, 0o604, 0o602, 0o601):
        path.chmod(mode)
        with Gallery(path, MODEL, DIM):
            assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def other_program(path: Path, wal: bool) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
    database.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)")
    database.execute("INSERT INTO people VALUES (1, 'Ada', 36)")
    database.commit()
    return database


@pytest.mark.parametrize("wal", [True, False])
@pytest.mark.parametrize("open_elsewhere", [True, False])
def test_another_programs_database_keeps_every_byte(tmp_path: Path, wal: bool, open_elsewhere: bool) -> None:
    path = tmp_path / "browser.db"
    database = other_program(path, wal)
    if not open_elsewhere:
        database.close()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    with pytest.raises(DataError, match="is another program's SQLite file"):
        Gallery(path, MODEL, DIM)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")} == before
    database.close()


@pytest.mark.parametrize(
    ("pragmas", "match"),
    [
        (["application_id = 7"], "is another program's"),
        ([f"application_id = {APPLICATION_ID}", "user_version = 3"], "has format 3, this edgenas reads 2"),
    ],
)
def test_what_the_header_says_decides(tmp_path: Path, pragmas: list[str], match: str) -> None:
    path = tmp_path / "door.db"
    edit(path, *(f"PRAGMA {pragma}" for pragma in pragmas), "CREATE TABLE x (y)")
    before = path.read_bytes()
    with pytest.raises(DataError, match=match):
        Gallery(path, MODEL, DIM)
    assert path.read_bytes() == before


def old_gallery(path: Path, vault: Vault | None, names: list[str], vectors: np.ndarray) -> None:
    """As edgenas 0.1 wrote it: names bound to nothing, no seal."""

    def seal(data: bytes, owner: bytes) -> bytes:
        return vault.seal(data, owner) if vault else data

    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(OLD)
    key = seal(b"edgenas", b"key") if vault else b""
    meta = {"contract": MODEL.encode(), "dim": str(DIM).encode(), "key": key}
    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    for person, (name, vector) in enumerate(zip(names, vectors, strict=True), 1):
        database.execute("INSERT INTO people VALUES (?, ?, ?)", (person, seal(name.encode(), b"name"), 1000.0 * person))
        values = (person, seal(vector.tobytes(), f"person {person}".encode()))
        database.execute("INSERT INTO samples (person, embedding) VALUES (?, ?)", values)
    database.commit()
    database.close()


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
def test_an_older_gallery_is_rewritten_once_with_everybody_in_it(tmp_path: Path, key: bytes | None) -> None:
    path, vault, known = tmp_path / "door.db", Vault(key) if key else None, embeddings(3)
    old_gallery(path, vault, ["Ada", NFD, NFC], known)
    with Gallery(path, MODEL, DIM, vault) as gallery:
        assert gallery.rewritten
        assert [(p.name, p.samples, p.created) for p in gallery.people()] == [("Ada", 1, 1000.0), (NFC, 2, 2000.0)]
        assert gallery.identify(known[2], 0.9)[0].name == NFC
    with Gallery(path, MODEL, DIM, vault) as gallery:
        assert not gallery.rewritten
        assert gallery.delete(NFD)
        assert not gallery.delete(NFC)
        assert [person.name for person in gallery.people()] == ["Ada"]
        left = files_of(path)
        for trace in (NFC.encode(), NFD.encode(), known[1].tobytes(), known[2].tobytes()):
            assert trace not in left


def test_an_older_gallery_of_another_model_or_key_is_refused_as_before(tmp_path: Path) -> None:
    path = tmp_path / "door.db"
    old_gallery(path, Vault(KEY), ["Ada"], embeddings(1))
    for contract, vault, match in (
        (OTHER, Vault(KEY), "belongs to another model"),
        (MODEL, None, "is encrypted"),
        (MODEL, Vault(bytes(32)), "does not open this gallery"),
    ):
        with pytest.raises(DataError, match=match):
            Gallery(path, contract, DIM, vault)
    with Gallery(path, MODEL, DIM, Vault(KEY)) as gallery:
        assert gallery.people()[0].name == "Ada"


def test_an_older_gallery_whose_rows_are_all_in_its_log_is_known_for_what_it_is(tmp_path: Path) -> None:
    """As kill -9 leaves a young one: the main file has no table yet."""
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    reader = sqlite3.connect(whole)
    reader.execute("PRAGMA journal_mode=WAL")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_master").fetchall()  # keeps the log from being copied back
    old_gallery(whole, None, ["Ada"], embeddings(1))
    for suffix in ("", "-wal"):
        (tmp_path / f"killed.db{suffix}").write_bytes((tmp_path / f"whole.db{suffix}").read_bytes())
    reader.close()
    assert b"Ada" not in killed.read_bytes()
    with Gallery(killed, MODEL, DIM) as gallery:
        assert gallery.rewritten
        assert gallery.people()[0].name == "Ada"


@pytest.mark.parametrize("change", [lambda name: name, lambda name: unicodedata.normalize("NFD", name), str.swapcase])
def test_spellings_are_one_name_and_other_names_are_others(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "door.db"
    with Gallery(path, MODEL, DIM) as gallery:
        gallery.enroll(" Zoë Ångström\u3000", embeddings(1))
        other = change("Zoë Ångström")
        same = unicodedata.normalize("NFC", other) == "Zoë Ångström"
        assert gallery.knows(other) is same
        assert gallery.delete(other) is same
        assert ("Ångström".encode() in files_of(path)) is not same


@pytest.mark.parametrize("value", [1.0, 0.5, 1e-9])
def test_a_threshold_is_a_cosine_above_nothing(value: float) -> None:
    assert checked_threshold(value, "--threshold") == value


@pytest.mark.parametrize("value", [0.0, -1.0, 1.0000001, float("nan"), float("inf")])
def test_any_other_threshold_is_refused(value: float) -> None:
    with pytest.raises(EdgenasError, match="a threshold is a cosine above 0"):
        checked_threshold(value, "--threshold")
