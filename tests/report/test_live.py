"""`edgenas report --serve` over real HTTP, while a study is written, and against what other web pages may try."""

import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edgenas.store import Store
from tests.cli.edgenas import ENVIRONMENT, SMALL, edgenas, refusal
from tests.report.served import Served
from tests.report.studies import published_study


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    published_study(folder / "studies" / "cifar10", finished=False)
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    with Served("cifar10", "--port", "0", folder=place) as server:
        yield server


def test_the_page_and_its_content_are_answered_and_nothing_else_is(served: Served) -> None:
    assert served.document["studies"] == ["studies/cifar10"]
    answer, body = served.ask()
    assert answer.status == 200
    page = body.decode()
    assert page.startswith("<!doctype html>")
    assert "5 networks so far" in page
    assert "5 networks so far" in str(served.content()["main"])
    for path in ("/study.db", "/../studies/cifar10/study.db", "/content.json/", "/index.html"):
        assert served.ask(path)[0].status == 404
    assert served.ask("/favicon.ico")[0].status == 204


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "XYZ"])
def test_nothing_but_get_is_answered(served: Served, method: str) -> None:
    answer, _ = served.ask(method=method)
    assert answer.status == 405
    assert answer.getheader("Allow") == "GET"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", ""]
)
def test_a_name_that_is_not_this_servers_is_refused(served: Served, host: str) -> None:
    """As a page of another site asks after its name was made to point to 127.0.0.1 (DNS rebinding)."""
    answer, body = served.ask(Host=host.format(port=served.port))
    assert answer.status == 403
    assert b"networks" not in body


def test_its_own_names_are_taken(served: Served) -> None:
    for host in (f"127.0.0.1:{served.port}", f"localhost:{served.port}", f"LOCALHOST:{served.port}"):
        assert served.ask("/content.json", Host=host)[0].status == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_page_of_another_site_gets_nothing(served: Served, site: str, status: int) -> None:
    assert served.ask("/content.json", Sec_Fetch_Site=site)[0].status == status


def test_the_page_may_load_nothing_and_be_framed_by_nobody(served: Served) -> None:
    answer, body = served.ask()
    policy = answer.getheader("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert len(re.findall(r"'sha256-", policy)) == body.decode().count("<script>")


def test_it_listens_on_loopback_alone(served: Served) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()
    addresses = {
        line.split()[1]
        for line in listening
        if line.split()[1].endswith(f":{served.port:04X}") and line.split()[3] == "0A"
    }
    assert addresses == {f"0100007F:{served.port:04X}"}


def test_a_request_that_is_none_ends_its_connection_and_nothing_else(served: Served) -> None:
    for sent in (b"\x16\x03\x01 hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(sent)
            answer = connection.recv(1000)
            assert b" 200 " not in answer.splitlines()[0]
    assert served.ask()[0].status == 200


def test_what_is_written_to_the_study_is_on_the_page_at_the_next_question(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "studies" / "grows", finished=False)
    with Served("grows", "--port", "0", folder=tmp_path) as server:
        first, _ = server.ask("/content.json")
        tag = first.getheader("ETag") or ""
        assert server.ask("/content.json", If_None_Match=tag)[0].status == 304
        with Store.write(folder) as store:  # the search's own lock
            trial = store.ledger()[0]
            candidate = msgspec.structs.replace(trial.candidate, repeat=7)
            store.add(msgspec.structs.replace(trial, candidate=candidate))
            store.number(candidate.key)
            second, body = server.ask("/content.json", If_None_Match=tag)
            assert second.status == 200
            assert "6 networks so far" in json.loads(body)["main"]
            assert second.getheader("ETag") != tag
        assert server.end() == (0, "")


def test_a_study_that_cannot_be_read_for_a_while_leaves_the_last_page_with_the_reason(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "studies" / "moves", finished=False)
    with Served("moves", "--port", "0", folder=tmp_path) as server:
        aside = folder.rename(tmp_path / "aside")
        content = server.content()
        assert "5 networks so far" in str(content["main"])
        assert "holds no study" in str(content["trouble"])
        assert f"live, but: {content['trouble']}</span>" in html.unescape(
            server.ask()[1].decode()
        )  # from the first page on
        aside.rename(folder)
        assert server.content()["trouble"] == ""
        assert "live</span>" in server.ask()[1].decode()
        assert server.end(signal.SIGTERM) == (0, "")


def test_a_port_that_is_taken_is_refused_in_one_line(tmp_path: Path) -> None:
    published_study(tmp_path / "cifar10", finished=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal("report", str(tmp_path / "cifar10"), "--serve", "--port", str(port))
    assert line == (
        f"cannot listen on 127.0.0.1:{port} (Address already in use): give another --port, or --port 0 for a free one"
    )


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    folder = str(published_study(tmp_path / "cifar10", finished=False))
    assert "--serve shows the page, and --out writes it" in refusal("report", folder, "--serve", "--out", "x.html")
    assert "--port is where --serve listens" in refusal("report", folder, "--port", "80")


@pytest.mark.slow
def test_the_page_follows_a_real_search(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgenas", *SMALL, "--study", "real", "--workers", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    search = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        while not (tmp_path / "studies" / "real" / "study.db").exists():
            assert search.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        with Served("real", "--port", "0", folder=tmp_path) as server:
            seen: set[str] = set()
            while search.poll() is None:
                content = server.content()
                assert content["trouble"] == ""
                seen |= set(re.findall(r"(\d+) networks so far|nothing is trained yet", str(content["main"])))
                time.sleep(0.3)
            assert len(seen) > 3  # it grew while the search ran
            assert search.returncode == 0
            assert "A network of" in str(server.content()["main"])
            assert server.end() == (0, "")
    finally:
        if search.poll() is None:
            os.killpg(search.pid, signal.SIGKILL)
        search.wait()
    assert edgenas("report", "real", "--out", "p.html", folder=tmp_path).returncode == 0
