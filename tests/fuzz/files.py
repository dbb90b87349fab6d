"""Targets whose inputs are files, each read in the process of child.py by the door of the same name in doors.py."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz import cell_files, networks, pictures, tables
from tests.fuzz.child import Child
from tests.fuzz.engine import Target, Verdict
from tests.fuzz.mutation import KEEPING_LENGTH, changed_documents, digit, mutated, mutations

Made = tuple[Sequence[bytes], SearchStrategy[bytes]]


@dataclass
class FileDoor:
    child: Child
    seeds: Sequence[bytes]
    inputs: SearchStrategy[bytes]

    def tried(self, content: bytes) -> Verdict:
        return self.child.tried(content)

    def ended(self) -> Sequence[Verdict]:
        return ()

    @property
    def note(self) -> str:
        return ""


def file_target(name: str, make: Callable[[Path], Made], *, door: str = "", least: int = 0, **limits: float) -> Target:
    """Inputs are made by `make`, which is given the folder that the door gets, to lay its `base` into."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[FileDoor]:
        with Child(door or f"tests.fuzz.doors:{name}", folder, **limits) as child:
            yield FileDoor(child, *make(folder))

    return Target(name, opened, least)


# ---------------------------------------------------------------- folders and databases


def _images(folder: Path) -> Made:
    from tests.image_folders import fill

    fill(folder / "base", each=10, classes=("a", "b"))
    return pictures.found_before(), pictures.pictures()


def _study(folder: Path) -> bytes:
    """A study with trials of several spaces, decisions and a choice, its log written back into the file."""
    from tests.test_database import fill

    fill(folder / "base", trials=9)
    with contextlib.closing(sqlite3.connect(folder / "base/study.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE").fetchall()
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
    for name in ("study.db-wal", "study.db-shm"):
        (folder / "base" / name).unlink(missing_ok=True)
    return (folder / "base/study.db").read_bytes()


def _study_bytes(folder: Path) -> Made:
    whole = _study(folder)
    seeds = (
        whole,
        b"",
        b"SQLite format 3\0",
        whole[: len(whole) // 2],
        whole[:-1],
        whole + b"\0" * 4096,
        b"text\n" * 100,
    )
    return seeds, mutations(whole, changes=KEEPING_LENGTH, most=2) | mutations(whole)


def _study_digits(folder: Path) -> Made:
    whole = _study(folder)
    text = whole.replace(b'"val_accuracy":49.65', b'"val_accuracy":99.65', 1)
    assert text != whole
    return (whole, text), mutations(whole, changes=(digit,), most=1)


def _gallery(folder: Path, key: bytes | None) -> Made:
    from edgenas.faces.vault import Vault
    from tests.faces.test_gallery_file import ATTACKS, edit, people

    path = folder / "people.db"
    people(path, Vault(key) if key else None)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, seeds = path.read_bytes(), []
    for statements in ATTACKS.values():
        path.write_bytes(whole)
        with contextlib.suppress(sqlite3.Error):
            edit(path, *statements)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        seeds.append(path.read_bytes())
    return (whole, *seeds, b"", whole[:4096], whole[:-1]), mutations(whole, changes=KEEPING_LENGTH, most=2) | mutations(
        whole
    )


# ---------------------------------------------------------------- bundles


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _bundle(folder: Path) -> Made:
    from tests.digits_bundle import digits_bundle

    base = Path(shutil.copytree(digits_bundle().folder, folder / "base"))
    files = {path.name: path.read_bytes() for path in sorted(base.iterdir())}
    manifest, model = json.loads(files["manifest.json"]), onnx.load_model_from_string(files["model.onnx"])
    golden = dict(digits_bundle().golden())
    texts = changed_documents(manifest).map(lambda found: zipped({"manifest.json": json.dumps(found).encode()}))
    parity = changed_documents(json.loads(files["parity.json"])).map(
        lambda found: zipped({"parity.json": json.dumps(found).encode()})
    )
    graphs = networks.networks(model).map(lambda content: zipped({"model.onnx": content}))
    arrays = st.builds(tables._odd_arrays, st.just(golden), networks.RANDOMS).map(
        lambda content: zipped({"golden.npz": content})
    )
    raw = st.builds(
        lambda name, rng: zipped({name: mutated(files[name], rng)}), st.sampled_from(sorted(files)), networks.RANDOMS
    )
    return _bundles_found_before(manifest, model, golden), texts | parity | graphs | arrays | raw


def _bundles_found_before(manifest: dict[str, Any], model: onnx.ModelProto, golden: dict[str, Any]) -> list[bytes]:
    found = [zipped({}), zipped({"model.onnx": b"not onnx"}), zipped({"golden.npz": b"\x93NUMPY\x01\0"})]
    found += [zipped({"manifest.json": text}) for text in (b"", b"[]", b"{" * 100, b"[" * 10**6, b"\xff\xfe{\0}\0")]
    for change in (
        {"preprocessing": {**manifest["preprocessing"], **odd}}
        for odd in (
            {"size": 10**9},
            {"size": -8},
            {"size": 9},
            {"size": [8, 8]},
            {"size": [8, 10**9]},
            {"size": [8, -(10**30)]},
            {"size": [8]},
            {"channels": 3},
            {"std": [0.0]},
            {"std": []},
            {"mean": [1.0, 2.0]},
            {"padding": 10**9},
        )
    ):
        found.append(zipped({"manifest.json": json.dumps({**manifest, **change}).encode()}))
    for name in ("", "a/b", "\x1b]0;x\x07", "..", "n" * 300):
        found.append(zipped({"manifest.json": json.dumps({**manifest, "name": name}).encode()}))
    for name, value in (("inputs", np.nan), ("fp32", np.nan), ("fp32", np.inf)):
        found.append(zipped({"golden.npz": tables.npz({**golden, name: golden[name] * value})}))
    for shape in ((), (8,), (0, 10), (8, 9)):
        found.append(zipped({"golden.npz": tables.npz({**golden, "fp32": np.zeros(shape, np.float32)})}))
    found += [
        zipped({"golden.npz": tables._promising(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {s}}}")})
        for s in ("(10**12,)", "(1000000000000,)")
    ]
    for content in networks.found_before():
        found.append(zipped({"model.onnx": content}))
    other = onnx.ModelProto.FromString(model.SerializeToString())
    other.opset_import[0].domain = "ai.onnx"
    return [*found, zipped({"model.onnx": other.SerializeToString()})]


TARGETS = (
    file_target("profile", lambda _: tables.profiles()),
    file_target("recipe", lambda _: tables.recipes()),
    file_target("project", lambda _: tables.projects()),
    file_target("architecture", lambda _: tables.architectures()),
    file_target("trace", lambda _: tables.traces()),
    file_target("csv", lambda _: tables.measurements()),
    file_target("cells", lambda _: tables.cells()),
    file_target("tfrecord", lambda _: cell_files.tfrecords()),
    file_target("nats", lambda _: cell_files.nats()),
    file_target("onnx", lambda _: (networks.found_before(), networks.networks())),
    file_target("teacher", lambda _: (networks.found_before(), networks.networks())),
    file_target("picture", lambda _: (pictures.found_before(), pictures.pictures())),
    file_target("image_folder", _images),
    file_target("study", _study_bytes, least=400),
    file_target("study_digits", _study_digits, door="tests.fuzz.doors:study", least=100),
    file_target("gallery", lambda folder: _gallery(folder, None)),
    file_target("sealed_gallery", lambda folder: _gallery(folder, bytes(range(32)))),
    file_target("bundle", _bundle),
)
