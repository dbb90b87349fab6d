"""`edgenas agent` with a certificate, and the commands that ask it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.remote.client import HttpBoard
from edgenas.remote.tls import Tls
from edgenas.store import Store
from tests.certificates import Signers, authorities, certificate
from tests.cli.edgenas import edgenas_json, refusal
from tests.cli.test_boards import finished_study
from tests.remote.conftest import Running, listening
from tests.remote.models import honest, unknown_operator


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Signers:
    return authorities(tmp_path_factory.mktemp("authorities"))


@pytest.fixture(scope="module")
def secure(signers: Signers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An agent with a certificate that our authority signed for 127.0.0.1."""
    made = certificate(tmp_path_factory.mktemp("board"), by=signers.ours)
    with listening(tls=Tls(*made)) as running:
        yield running


@pytest.fixture
def token_file(secure: Running, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(secure.token)
    file.chmod(0o600)
    return file


@contextlib.contextmanager
def agent_command(token_file: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """Its url, and the file with all that it said."""
    said = token_file.with_name("said")
    command = [
        sys.executable,
        "-m",
        "edgenas",
        "agent",
        "--port",
        "0",
        "--token-file",
        str(token_file),
        "--json",
        *options,
    ]
    with said.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"], said
        finally:
            process.terminate()
            process.wait(60)


def test_the_agent_warns_where_others_could_read_its_token(tmp_path: Path, signers: Signers) -> None:
    token = tmp_path / "token"
    made = certificate(tmp_path, by=signers.ours)
    tls = ("--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    for options, warned, scheme in (
        (("--host", "0.0.0.0"), True, "http"),
        (("--host", "0.0.0.0", *tls), False, "https"),
        (("--host", "127.0.0.1"), False, "http"),
    ):
        with agent_command(token, *options) as (url, said):
            port = int(url.rsplit(":", 1)[1])
            ca = signers.ours.certificate if scheme == "https" else None
            assert HttpBoard(f"{scheme}://127.0.0.1:{port}", token.read_text().strip(), ca).info()
        assert url.startswith(f"{scheme}://")
        lines = [words for words in said.read_text().splitlines() if words.startswith("warning")]
        assert len(lines) == warned
        assert all(re.search("0.0.0.0 is reached over plain HTTP.*--tls-cert and --tls-key", words) for words in lines)


@pytest.mark.slow
def test_bench_verify_and_search_measure_over_tls(
    secure: Running, signers: Signers, token_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(honest())
    access = ("--token-file", str(token_file), "--ca", str(signers.ours.certificate))
    assert edgenas_json("bench", "model.onnx", "--target", secure.url, *access, folder=tmp_path)["n"] >= 200
    study = finished_study(tmp_path, limit_ms=60_000)
    document = edgenas_json("verify", str(study), "--board", secure.url, *access, folder=tmp_path)
    assert [item["holds"] for item in document] == [True, True]
    search = ("search", "--target", "host-cpu", "--search-images", "300", "--epoch-scale", "0.25", "--max-depth", "5")
    search += ("--min-width", "8", "--max-width", "12", "--width-step", "4", "--study", "far", "--workers", "1")
    edgenas_json(*search, "--board", secure.url, *access, folder=tmp_path)
    with Store.read(tmp_path / "studies" / "far") as store:
        latencies = [trial.cost.latencies["host-cpu"] for trial in store.ledger()]
    assert {latency.origin for latency in latencies} == {"measured"}


def test_a_board_that_is_trusted_is_given_the_model(
    secure: Running, signers: Signers, token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses this one, after it has let us in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(unknown_operator("Scan"))
    access = ("--token-file", str(token_file), "--ca", str(signers.ours.certificate))
    assert "unsupported_op" in refusal("bench", "model.onnx", "--target", secure.url, *access)


def test_every_command_refuses_a_board_that_it_does_not_trust(
    secure: Running, signers: Signers, token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(honest())
    study = finished_study(tmp_path, limit_ms=None)
    search = ("search", "--target", "host-cpu", "--search-images", "300")
    for ca in (["--ca", str(signers.others.certificate)], []):
        access = ("--token-file", str(token_file), *ca)
        for command in (
            ("bench", "model.onnx", "--target", secure.url),
            ("verify", str(study), "--board", secure.url),
            (*search, "--board", secure.url),
        ):
            assert "shows a certificate that is refused: nobody trusted here signed it" in refusal(*command, *access)


def test_a_ca_that_would_check_nothing_is_refused(
    token_file: Path, tmp_path: Path, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(honest())
    access = ("--token-file", str(token_file), "--ca", str(signers.ours.certificate))
    for target in ("http://127.0.0.1:9", "ssh://board"):
        assert "ask for https://HOST:PORT" in refusal("bench", "model.onnx", "--target", target, *access)
    assert "host-cpu has no certificate" in refusal("bench", "model.onnx", "--target", "host-cpu", *access)
    search = ("search", "--target", "host-cpu", "--search-images", "300", *access)
    assert "--ca was given without --board" in refusal(*search)
    assert "ask for https://HOST:PORT" in refusal(*search, "--board", "http://127.0.0.1:9")


def test_what_cannot_be_a_certificate_is_refused_before_a_token_is_made(tmp_path: Path, signers: Signers) -> None:
    token, (crt, key), other = tmp_path / "token", certificate(tmp_path), signers.others.key
    sealed = certificate(tmp_path, "sealed", password=b"secret")
    agent = ("agent", "--port", "0", "--token-file", str(token))
    assert "belong together" in refusal(*agent, "--tls-cert", str(crt))
    assert "belong together" in refusal(*agent, "--tls-key", str(key))
    for files in ((crt, other), (crt, tmp_path / "missing"), sealed, (key, crt)):
        words = refusal(*agent, "--tls-cert", str(files[0]), "--tls-key", str(files[1]))
        assert "PEM files without a password" in words
    assert not token.exists()
