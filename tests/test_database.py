"""study.db: no row is read that is not as it was written, and nobody is told to give up a study that is whole."""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from edgenas.architectures.chain import chain
from edgenas.database import NETWORK_FILE_SYSTEMS, SCHEMA, file_system_of, seal
from edgenas.engine.plan import plan_of
from edgenas.engine.registry import method_named
from edgenas.errors import StudyError
from edgenas.identity import IDENTITY
from edgenas.methods.baselines import BaselineRules
from edgenas.methods.replay import cost_without_device
from edgenas.methods.settings import SearchSettings
from edgenas.records import Candidate, Choice, Classes, Decision, Recipe, Trial
from edgenas.runtimes.child import child_environment
from edgenas.store import Store
from tests.cli.edgenas import edgenas_json, refusal
from tests.old_studies import as_schema
from tests.plans import plan, studied

ROOT = Path(__file__).parents[1]
STUDY = studied(plan(asked=SearchSettings(target=("jetson-nano-4gb",), method="random"), rules=BaselineRules()))
needs_root = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare"),
    reason="other users and mounts need root, setpriv and unshare",
)


def trial(width: int) -> Trial:
    net = chain(width, 4, (0,) * 4, (3,) * 4, Classes(10), image_size=8)
    candidate = Candidate(net, Recipe("fast", 2, 64, 0.1), "random")
    return Trial(candidate, "complete", cost_without_device(net), 7, {"val_accuracy": 49.65034965034965})


def fill(folder: Path, trials: int = 5) -> Path:
    """A study with a ledger, a trial that no decision has read, decisions and a choice."""
    with Store.create(folder, STUDY) as store:
        for width in range(2, 2 + 2 * trials, 2):
            store.add(trial(width))
            numbered = store.number(trial(width).candidate.key)
            store.put("decision", f"{width:06d}", Decision("random", "accept", f"width {width}"))
        store.add(trial(100))
        store.choose(Choice(numbered))
    return folder


def everything(folder: Path) -> Any:
    with Store.read(folder) as store:
        plan = plan_of(store.study, method_named(store.study.method))
        study = msgspec.structs.replace(store.study, plan=msgspec.Raw(b"{}"))
        return study, plan, store.trials(), store.ledger(), store.all("decision", Decision), store.choice


def change(folder: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(folder / "study.db")
    with connection:
        assert connection.execute(statement, values).rowcount == 1, statement
    connection.close()


def damaged(folder: Path) -> str:
    """What `edgenas front` says of it, in one line."""
    line = refusal("front", str(folder))
    assert line.startswith(f"{folder}/study.db")
    return line


DIGIT = "SET body = CAST(replace(CAST(body AS TEXT), '49.65', '99.65') AS BLOB)"


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE trials {DIGIT} WHERE number = 3",
        f"UPDATE trials {DIGIT} WHERE number IS NULL",
        f"UPDATE records {DIGIT} WHERE kind = 'choice'",
        "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), 'width 4', 'width 6') AS BLOB) WHERE key = '000004'",
        "UPDATE meta SET body = CAST(replace(CAST(body AS TEXT), 'digits', 'digitz') AS BLOB) WHERE name = 'study'",
        "UPDATE meta SET body = 'x' WHERE name = 'study'",
        "UPDATE meta SET body = CAST('{}' AS BLOB) WHERE name = 'study'",
        "UPDATE meta SET body = CAST('x' AS BLOB) WHERE name = 'schema'",
        "UPDATE meta SET body = 'x' WHERE name = 'identity'",
        "UPDATE meta SET body = CAST('1' AS BLOB) WHERE name = 'schema'",
        "DELETE FROM meta WHERE name = 'study'",
        "DELETE FROM meta WHERE name = 'schema'",
        "DELETE FROM trials WHERE number = 2",
        "UPDATE trials SET number = 9 WHERE number = 5",
        "UPDATE trials SET number = NULL WHERE number = 5",
        "UPDATE trials SET number = 'five' WHERE number = 5",
        "UPDATE trials SET key = 'a' WHERE number = 5",
        "UPDATE trials SET key = CAST(x'ff' AS TEXT) WHERE number = 5",
        "UPDATE trials SET body = CAST(x'ff00' AS BLOB) WHERE number = 5",
        "UPDATE trials SET body = 7 WHERE number = 5",
        "UPDATE trials SET sha256 = 7 WHERE number = 5",
        "UPDATE trials SET body = (SELECT body FROM trials WHERE number = 4) WHERE number = 5",
        "UPDATE trials SET body = (SELECT body FROM trials WHERE number = 4), "
        "sha256 = (SELECT sha256 FROM trials WHERE number = 4) WHERE number = 5",
        "UPDATE records SET key = '000007' WHERE key = '000004'",
        "UPDATE records SET kind = 'other' WHERE key = '000004'",
    ],
)
def test_a_row_that_was_changed_moved_or_taken_is_refused_in_one_line(statement: str, tmp_path: Path) -> None:
    change(fill(tmp_path / "s"), statement)
    assert damaged(tmp_path / "s").endswith("restore it from a copy, or search again under another --study NAME")
    with pytest.raises(StudyError):
        Store.write(tmp_path / "s")
    with pytest.raises(StudyError):
        Store.create(tmp_path / "s", STUDY)


def test_a_table_that_sqlite_cannot_read_out_is_refused_in_one_line(tmp_path: Path) -> None:
    """What SQLite says of it quotes the damaged bytes, which are no text."""
    fill(tmp_path / "s")
    connection = sqlite3.connect(tmp_path / "s/study.db")
    with connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = CAST(x'435245415445ff' AS TEXT) WHERE name = 'trials'")
    connection.close()
    assert "damaged" in damaged(tmp_path / "s")
    with pytest.raises(StudyError):
        Store.write(tmp_path / "s")
    with pytest.raises(StudyError):
        Store.create(tmp_path / "s", STUDY)


def test_a_row_of_another_version_is_whole_and_says_so(tmp_path: Path) -> None:
    folder = fill(tmp_path / "s")
    key = trial(4).candidate.key
    body = msgspec.json.encode({**msgspec.to_builtins(trial(4)), "colour": 1})
    change(folder, "UPDATE trials SET body = ?, sha256 = ? WHERE key = ?", body, seal("trials", (key, 2), body), key)
    assert "unknown field `colour`): open it with the edgenas that wrote it" in damaged(folder)


def test_a_trial_that_this_version_would_train_again_under_another_key_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "s")
    key, body = trial(4).candidate.key, msgspec.json.encode(trial(4))
    change(folder, "UPDATE trials SET key = 'other', sha256 = ? WHERE key = ?", seal("trials", ("other", 2), body), key)
    assert damaged(folder).endswith(
        f"calls a trial other that this edgenas calls {key}: open it with the edgenas that wrote it"
    )


def test_a_study_of_another_identity_is_refused_naming_the_version_that_reads_it(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s", msgspec.structs.replace(STUDY, versions={"edgenas": "7.1"})):
        pass
    body = str(IDENTITY + 1).encode()
    change(
        tmp_path / "s",
        "UPDATE meta SET body = ?, sha256 = ? WHERE name = 'identity'",
        body,
        seal("meta", ("identity",), body),
    )
    assert f"identity {IDENTITY + 1}, this edgenas by {IDENTITY}: open it with edgenas 7.1" in damaged(tmp_path / "s")


# ---------------------------------------------------------------- whole studies that cannot be opened or written here


def other_user(code: str, *arguments: str) -> str:
    """stdout of Python code that a user without rights runs."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code, *arguments]
    environment = {**child_environment(), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


READ = """
import sys; from pathlib import Path; from edgenas.store import Store
with Store.read(Path(sys.argv[1])) as store: print(len(store.trials()))
"""
WRITE = """
import sys; from pathlib import Path; from edgenas.store import Store; from edgenas.errors import EdgenasError
try: Store.write(Path(sys.argv[1]))
except EdgenasError as error: print(error)
"""


@pytest.fixture
def open_folder() -> Any:
    """A folder that every user may enter; pytest's own are for one user."""
    folder = Path(f"/tmp/edgenas-test-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@needs_root
@pytest.mark.parametrize("schema", [1, 2, SCHEMA])
def test_a_study_in_a_folder_that_cannot_be_written_is_read(schema: Literal[1, 2, 3], open_folder: Path) -> None:
    folder = fill(open_folder / "s")
    if schema != SCHEMA:
        as_schema(folder, schema)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert other_user(READ, str(folder)) == "6\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    refused = other_user(WRITE, str(folder))
    assert "Permission denied: choose a folder that can be written" in refused


@needs_root
def test_what_a_killed_writer_left_in_its_log_is_read_too(open_folder: Path) -> None:
    fill(open_folder / "s")
    code = (
        "import os, sys; from pathlib import Path; from edgenas.store import Store; from tests.test_database import trial\n"
        "store = Store.write(Path(sys.argv[1])); store.add(trial(50)); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(open_folder / "s")], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (open_folder / "s/study.db-wal").stat().st_size > 0
    (open_folder / "s/study.db-shm").unlink()  # as in an archive: the log without its index
    assert other_user(READ, str(open_folder / "s")) == "7\n"
    assert len(everything(open_folder / "s")[2]) == 7


def mounted(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {**child_environment(), "PY": sys.executable}
    command = ["unshare", "-m", "sh", "-ec", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    if "mount" in done.stderr and "denied" in done.stderr:
        pytest.skip("no mounts here")
    return done


@needs_root
def test_a_study_on_a_read_only_mount_is_read_and_called_whole(tmp_path: Path) -> None:
    fill(tmp_path / "s")
    script = "mount --bind s s && mount -o remount,ro,bind s && $PY -m edgenas front s --json && $PY -m edgenas train s"
    done = mounted(tmp_path, script)
    assert '"trials":5' in done.stdout, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "Read-only file system: choose a folder that can be written" in line
    assert len(everything(tmp_path / "s")[2]) == 6


ADD = """
import sys; from pathlib import Path; from edgenas.store import Store; from edgenas.errors import EdgenasError
from tests.test_database import trial
with Store.write(Path(sys.argv[1])) as store:
    try:
        for width in range(102, 20000, 2): store.add(trial(width))
    except EdgenasError as error: print(error)
"""


@needs_root
def test_on_a_full_disk_nobody_is_told_to_remove_a_study(tmp_path: Path) -> None:
    fill(tmp_path / "s")
    script = f"mkdir full && mount -t tmpfs -o size=400k tmpfs full && cp -r s full/s && $PY -c '{ADD}' full/s"
    done = mounted(tmp_path, f"{script} && cp -r full/s kept")
    _room(done.stdout)
    assert len(everything(tmp_path / "kept")[2]) > 6


def test_where_a_file_may_not_grow_nobody_is_told_to_remove_a_study(tmp_path: Path) -> None:
    fill(tmp_path / "s")
    limited = ["sh", "-c", f"ulimit -f 200; exec {sys.executable} -c '{ADD}' {tmp_path}/s"]
    _room(subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False).stdout)
    assert len(everything(tmp_path / "s")[2]) > 6


def _room(line: str) -> None:
    assert line.count("\n") == 1
    room = r"(full|disk I/O error): (make|see that its disk has) room .* the same command again; what was written is not lost"
    assert re.search(room, line)
    assert "damaged" not in line
    assert "remove" not in line


def test_a_held_database_is_waited_for_not_removed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "s")
    with Store.write(folder) as store:
        store._connection.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(folder / "study.db")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StudyError, match="locked: another process holds it: run the same command again"):
            store.add(trial(50))
        other.close()
        store.add(trial(50))


def test_an_answer_is_on_the_disk_when_it_is_given(tmp_path: Path) -> None:
    with Store.create(tmp_path, STUDY) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: fsync at every commit
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with Store.write(tmp_path) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


# ---------------------------------------------------------------- studies of earlier schemas


def schema(folder: Path) -> int:
    connection = sqlite3.connect(folder / "study.db")
    ((body,),) = connection.execute("SELECT body FROM meta WHERE name = 'schema'")
    connection.close()
    return int(body)


@pytest.mark.parametrize("old", [1, 2])
def test_a_study_of_an_earlier_schema_is_read_as_it_is_and_converted_by_the_next_writer(
    old: Literal[1, 2], tmp_path: Path
) -> None:
    before = everything(fill(tmp_path / "s"))
    as_schema(tmp_path / "s", old)
    content = (tmp_path / "s/study.db").read_bytes()
    assert everything(tmp_path / "s") == before
    assert (schema(tmp_path / "s"), (tmp_path / "s/study.db").read_bytes()) == (old, content)
    Store.write(tmp_path / "s").close()
    assert (schema(tmp_path / "s"), everything(tmp_path / "s")) == (SCHEMA, before)
    as_schema(tmp_path / "s", old)
    with Store.read(tmp_path / "s") as store:
        study = store.study
    Store.create(tmp_path / "s", study).close()
    assert (schema(tmp_path / "s"), everything(tmp_path / "s")) == (SCHEMA, before)


def test_a_damaged_study_of_the_first_schema_is_one_line(tmp_path: Path) -> None:
    as_schema(fill(tmp_path / "s"), 1)
    change(tmp_path / "s", "UPDATE trials SET body = 'x' WHERE number = 2")
    assert "row " in damaged(tmp_path / "s")
    change(tmp_path / "s", "UPDATE trials SET body = 5 WHERE number = 2")
    assert "not those of schema 1" in damaged(tmp_path / "s")


@pytest.mark.parametrize("row", ["trials", "records", "meta"])
def test_a_row_of_the_second_schema_is_checked_before_it_is_converted(row: str, tmp_path: Path) -> None:
    as_schema(fill(tmp_path / "s"), 2)
    place = {"trials": "number = 2", "records": "kind = 'choice'", "meta": "name = 'study'"}[row]
    change(tmp_path / "s", f"UPDATE {row} SET body = CAST(CAST(body AS TEXT) || ' ' AS BLOB) WHERE {place}")
    assert "row " in damaged(tmp_path / "s")
    with pytest.raises(StudyError):
        Store.write(tmp_path / "s")
    assert schema(tmp_path / "s") == 2  # and nothing was converted


@pytest.mark.slow
@pytest.mark.parametrize("old", [1, 2])
def test_a_conversion_that_is_killed_anywhere_leaves_one_schema_or_the_other_whole(
    old: Literal[1, 2], tmp_path: Path
) -> None:
    fill(tmp_path / "old", trials=400)
    before = everything(tmp_path / "old")
    as_schema(tmp_path / "old", old)
    shutil.copytree(tmp_path / "old", tmp_path / "timed")
    began = time.monotonic()
    Store.write(tmp_path / "timed").close()
    took = time.monotonic() - began  # on a busy machine longer: so are the kills spread
    code = "import sys, pathlib, edgenas.store as s; print(1, flush=True); s.Store.write(pathlib.Path(sys.argv[1]))"
    rng, found = random.Random(0), []
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        shutil.copytree(tmp_path / "old", folder)
        process = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, took))
        process.kill()
        process.wait()
        process.stdout.close()
        found.append(schema(folder))
        assert everything(folder) == before
        Store.write(folder).close()
        assert (schema(folder), everything(folder)) == (SCHEMA, before)
    assert set(found) == {old, SCHEMA}, "the kills came all before or all after the conversion"


# ---------------------------------------------------------------- mutations


def outcome(folder: Path, whole: Any) -> str:
    try:
        found = everything(folder)
    except StudyError as error:
        return "other" if "\n" in str(error) else "refused"
    return "no effect" if found == whole else "other"


@pytest.mark.slow
def test_400_mutations_and_100_changed_digits_of_a_real_study_are_refused_or_without_effect(tmp_path: Path) -> None:
    search = ("search", "--target", "raspberry-pi-5", "--max-depth", "5", "--max-width", "8", "--epoch-scale", "0.1")
    edgenas_json(*search, "--study", "real", "--search-images", "100", "--method", "random", folder=tmp_path)
    folder, whole = tmp_path / "studies/real", everything(tmp_path / "studies/real")
    content, rng = (folder / "study.db").read_bytes(), random.Random(14)
    digits = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    counts = {"refused": 0, "no effect": 0, "other": 0}
    for attempt in range(500):
        changed = bytearray(content)
        if attempt < 100:
            place = rng.choice(digits)
            changed[place] = rng.choice([byte for byte in b"0123456789" if byte != changed[place]])
        elif attempt < 300:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        elif attempt < 400:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        else:
            start, length = rng.randrange(len(changed)), rng.randrange(1, 200)
            other = rng.randrange(len(changed))
            changed[start : start + length] = changed[other : other + length]
        shutil.rmtree(tmp_path / "mutant", ignore_errors=True)
        (tmp_path / "mutant").mkdir()
        (tmp_path / "mutant/study.db").write_bytes(changed)
        found = outcome(tmp_path / "mutant", whole)
        counts[found] += 1
        assert found != "other", f"mutation {attempt}"
        assert attempt >= 100 or bytes(changed) != content
    print(counts)
    assert counts["refused"] > 150


MOUNTS = r"""overlay / overlay rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb1 /data ext4 rw 0 0
server:/x /data/shared nfs4 rw,vers=4.2 0 0
/dev/sdc1 /data/shared/local xfs rw 0 0
map /home autofs rw 0 0
server:/home/ada /home/ada nfs rw 0 0
map /net autofs rw 0 0
server:/all /net nfs rw 0 0
//nas/my\040pictures /media/my\040pictures cifs rw 0 0
gluster:/v /mnt/gl fuse.glusterfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/root/studies", "overlay"),
        ("/data/one", "ext4"),
        ("/data/shared2", "ext4"),
        ("/data/shared", "nfs4"),
        ("/data/shared/studies/one", "nfs4"),
        ("/data/shared/local/one", "xfs"),
        ("/home/bob/one", "autofs"),
        ("/home/ada/one", "nfs"),
        ("/net/one", "nfs"),
        ("/media/my pictures/one", "cifs"),
        ("/mnt/gl/one", "fuse.glusterfs"),
    ],
)
def test_a_folder_is_on_the_file_system_that_is_mounted_last_and_nearest(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind
    assert (kind in NETWORK_FILE_SYSTEMS) == (kind not in ("overlay", "ext4", "xfs", "autofs"))
    assert file_system_of(Path(path), "") == ""


def test_a_study_on_a_network_file_system_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "one")
    monkeypatch.setattr("edgenas.database.file_system_of", lambda *_: "nfs4")
    for write in (lambda: Store.write(folder), lambda: Store.create(folder, STUDY)):
        with pytest.raises(
            StudyError, match=r"one is on a network file system \(nfs4\), .* use a local --study folder"
        ):
            write()
    with Store.read(folder) as store:
        assert store.choice is not None


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            "fcntl.flock",
            OSError(37, "No locks available"),
            "cannot be locked for one writer (No locks available): use a local",
        ),
        ("os.ftruncate", OSError(28, "No space left on device"), "No space left on device"),
        ("sqlite3.connect", sqlite3.OperationalError("unable to open database file"), "unable to open"),
    ],
)
def test_a_study_that_cannot_be_opened_leaves_no_lock(
    call: str, error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "one")

    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(f"edgenas.database.{call}", refuse)
        with pytest.raises(StudyError, match=re.escape(words)) as refused:
            Store.write(folder)
    assert "being written" not in str(refused.value)
    lock = (folder / "study.lock").resolve()  # tests of other files may have studies open
    assert [entry for entry in Path("/proc/self/fd").iterdir() if entry.resolve() == lock] == []
    Store.write(folder).close()
