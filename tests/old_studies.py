"""Studies as earlier versions kept them: schema 1 (edgenas 0.1) without seals, schema 2 with; in both another study record."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

import msgspec

from edgenas.database import seal
from edgenas.engine.plan import plan_values
from edgenas.records import StudyRecord
from edgenas.store import Store

GOLDEN = Path(__file__).parent / "golden" / "old_studies"
TABLES_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (key TEXT PRIMARY KEY, number INTEGER UNIQUE, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE records (kind TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', '1');
INSERT INTO trials SELECT key, number, body FROM new.trials;
INSERT INTO records SELECT kind, key, body FROM new.records;
"""


def old_study(name: str) -> bytes:
    """A study record of edgenas 0.1, as its search wrote it: gnas, faces, nal, nse."""
    return (GOLDEN / f"{name}.json").read_bytes()


def as_of_old(study: StudyRecord) -> bytes:
    """The record as edgenas 0.1 wrote it."""
    plan = plan_values(study)
    asked = {**plan.pop("asked"), "boards": plan.pop("boards")}
    rules, space = plan.pop("rules"), plan.pop("space")["fields"]
    parts = rules if study.method == "nse" else {"rules": rules}
    settings = {"asked": asked, **plan, "space": space, **parts}
    if study.hardware:
        settings["profiles"] = study.hardware
    record = msgspec.json.decode(msgspec.json.encode(study))
    kept = {name: value for name, value in record.items() if name not in ("hardware", "metric", "plan")}
    return msgspec.json.encode({**kept, "settings": settings})


def as_schema(folder: Path, schema: Literal[1, 2], study: bytes | None = None) -> Path:
    """The study in `folder` as a version with this schema kept it; `study`: another record in its place, of that version."""
    if study is None:
        with Store.read(folder) as store:
            study = as_of_old(store.study)
    for name in ("study.db-wal", "study.db-shm"):
        (folder / name).unlink(missing_ok=True)
    if schema == 1:
        (folder / "study.db").rename(folder / "new.db")
    connection = sqlite3.connect(folder / "study.db")
    with connection:
        if schema == 1:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("ATTACH ? AS new", (str(folder / "new.db"),))
            connection.executescript(TABLES_1)
            connection.execute("INSERT INTO meta VALUES ('study', ?)", (study,))
        else:
            for name, body in (("study", study), ("schema", b"2")):
                values = (body, seal("meta", (name,), body), name)
                connection.execute("UPDATE meta SET body = ?, sha256 = ? WHERE name = ?", values)
    connection.close()
    (folder / "new.db").unlink(missing_ok=True)
    return folder
