"""Options of `edgenas serve` that cannot be: one line, exit code 1, and nothing is listened on."""

import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from edgenas.bundle import Threshold, read_bundle, rewrite_manifest
from edgenas.cli.main import main
from edgenas.errors import EdgenasError
from tests.certificates import certificate
from tests.digits_bundle import digits_bundle
from tests.export.test_faces import shared_face_bundle

Said = Callable[..., list[str]]
Refused = Callable[..., str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """`said(bundle, options...)`: all lines. Where the command is not refused, its port is taken: that is another line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        def ask(bundle: Path, *options: str) -> list[str]:
            monkeypatch.setattr(sys, "argv", ["edgenas", "serve", str(bundle), "--port", port, *options])
            with pytest.raises(SystemExit) as ended:
                main()
            streams = capsys.readouterr()
            assert (ended.value.code, streams.out) == (1, "")
            lines = streams.err.strip().splitlines()
            assert lines[-1].startswith("edgenas: ")
            return lines

        yield ask


@pytest.fixture
def refused(said: Said) -> Refused:
    """`refused(bundle, options...)`: the one line that refuses."""
    return lambda *command: said(*command)[-1]


@pytest.mark.parametrize(
    ("option", "value", "range_"),
    [
        ("--port", "65536", "0 to 65535"),
        ("--port", "-1", "0 to 65535"),
        ("--queue", "0", "1 to 10000"),
        ("--queue", "-1", "1 to 10000"),
        ("--queue", "10001", "1 to 10000"),
        ("--deadline-s", "nan", "0.001 to 3600"),
        ("--deadline-s", "0", "0.001 to 3600"),
        ("--deadline-s", "-1", "0.001 to 3600"),
        ("--deadline-s", "inf", "0.001 to 3600"),
        ("--body-mb", "nan", "0.001 to 1000"),
        ("--body-mb", "inf", "0.001 to 1000"),
        ("--body-mb", "-1", "0.001 to 1000"),
        ("--body-mb", "1001", "0.001 to 1000"),
        ("--stop-grace-s", "0", "1 to 86400"),
        ("--stop-grace-s", "nan", "1 to 86400"),
        ("--precision", "fp8", "fp32, fp16, int8"),
    ],
)
def test_a_number_outside_its_range_is_refused_with_the_range(
    refused: Refused, option: str, value: str, range_: str
) -> None:
    line = refused(digits_bundle().folder, option, value)
    assert option in line
    assert line.endswith(f"possible: {range_}")


def test_a_runtime_that_nobody_installed_is_refused_with_those_that_are_there(refused: Refused) -> None:
    line = refused(digits_bundle().folder, "--runtime", "tpu")
    assert "runtime 'tpu' is unknown; possible: onnxruntime, cuda, tensorrt" in line


@pytest.mark.parametrize("value", ["-2", "-0.01", "0", "1.0001", "nan", "inf", "-inf"])
def test_a_threshold_that_is_no_cosine_of_one_person_is_refused(refused: Refused, value: str) -> None:
    assert "--threshold is " in refused(shared_face_bundle().folder, "--threshold", value)


def test_certificate_and_key_belong_together(refused: Refused, tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    _, other = certificate(tmp_path, "other")
    _, locked = certificate(tmp_path, "locked", password=b"secret")
    bundle = digits_bundle().folder
    assert "belong together" in refused(bundle, "--tls-cert", str(crt))
    assert "belong together" in refused(bundle, "--tls-key", str(key))
    for files in ((crt, other), (crt, locked), (key, crt), (tmp_path / "none", key), (crt, tmp_path)):
        line = refused(bundle, "--tls-cert", str(files[0]), "--tls-key", str(files[1]))
        assert "PEM files without a password" in line


def test_a_gallery_key_without_a_gallery_is_refused(refused: Refused, tmp_path: Path) -> None:
    bundle, key = shared_face_bundle().folder, tmp_path / "key"
    key.touch(0o600)
    key.write_text("ab" * 32)
    line = refused(bundle, "--gallery-key", str(key))
    assert line == "edgenas: --gallery-key was given without --gallery FILE: name the gallery that it opens"
    assert "cannot listen" in refused(bundle, "--gallery", str(tmp_path / "people.db"), "--gallery-key", str(key))


@pytest.mark.parametrize("options", [(), ("--liveness", "tests.serve.hooks:check")])
def test_a_server_of_faces_says_where_nothing_checks_whether_they_are_alive(
    said: Said, options: tuple[str, ...]
) -> None:
    warned = [line for line in said(shared_face_bundle().folder, *options) if "checks whether a face is alive" in line]
    photograph = "a photograph of somebody is somebody (--liveness is a hook)"
    assert warned == ([] if options else [f"warning: nothing checks whether a face is alive: {photograph}"])


def test_another_programs_database_is_refused_and_left_as_it_is(refused: Refused, tmp_path: Path) -> None:
    other = tmp_path / "study.db"
    with sqlite3.connect(other) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE trials (id INTEGER)")
    database.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    line = refused(shared_face_bundle().folder, "--gallery", str(other), "--threshold", "0.9")
    assert "is another program's SQLite file" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_port_that_is_taken_is_one_line(refused: Refused) -> None:
    assert "cannot listen on 127.0.0.1" in refused(digits_bundle().folder)


def test_a_threshold_at_the_edge_and_options_at_theirs_are_taken(refused: Refused) -> None:
    for options in (("--threshold", "1"), ("--threshold", "0.0001")):
        assert "cannot listen" in refused(shared_face_bundle().folder, *options)
    edges = ("--queue", "1", "--deadline-s", "3600", "--body-mb", "1000")
    assert "cannot listen" in refused(digits_bundle().folder, *edges)
    assert "cannot listen" in refused(
        digits_bundle().folder, "--queue", "10000", "--deadline-s", "0.001", "--body-mb", "0.001"
    )


def test_a_deadline_that_is_over_after_the_kill_is_refused(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = digits_bundle().folder
    assert "cannot listen" in refused(digits, "--deadline-s", "18", "--stop-grace-s", "40")
    line = refused(digits, "--deadline-s", "18.1", "--stop-grace-s", "40", "--token-file", str(tmp_path / "token"))
    assert not (tmp_path / "token").exists()
    assert "--deadline-s 18.1 needs 41 s to stop in, and what stops this server waits for 40 s" in line
    monkeypatch.setenv("EDGENAS_STOP_GRACE_S", "31")  # as the compose files say it
    assert "--deadline-s 10 needs 32 s to stop in" in refused(digits)
    assert "cannot listen" in refused(digits, "--deadline-s", "9")


@pytest.mark.parametrize("value", [-5.0, 0.0, 1.5])
def test_a_threshold_in_a_manifest_has_the_same_range(refused: Refused, tmp_path: Path, value: float) -> None:
    """Written as `faces calibrate` writes it, so that only its value is wrong."""
    shutil.copytree(shared_face_bundle().folder, tmp_path / "door")
    bundle = read_bundle(tmp_path / "door")
    stored = Threshold(value, 1e-3, None, 1000, "people")
    line = ""
    try:
        rewrite_manifest(bundle, msgspec.structs.replace(bundle.manifest, threshold=stored))
    except EdgenasError as error:
        line = str(error)
    assert "threshold" in (line or refused(tmp_path / "door"))


def test_a_threshold_of_another_precision_than_the_served_one_is_refused(refused: Refused, tmp_path: Path) -> None:
    shutil.copytree(shared_face_bundle().folder, tmp_path / "door")
    bundle = read_bundle(tmp_path / "door")
    stored = Threshold(0.4, 1e-3, None, 1000, "people")
    for precision in ("int8", "fp32", None):  # None: of before it was written down
        threshold = msgspec.structs.replace(stored, precision=precision)
        bundle = rewrite_manifest(bundle, msgspec.structs.replace(bundle.manifest, threshold=threshold))
        line = refused(tmp_path / "door")
        if precision != "int8":
            assert "cannot listen" in line
            continue
        assert line.endswith(
            "was calibrated at int8, and fp32 is served: run `edgenas faces calibrate --precision fp32`, serve with "
            "--precision int8, or give --threshold"
        )
        assert "cannot listen" in refused(tmp_path / "door", "--threshold", "0.4")
