"""The fuzzer itself: a broken reader, a broken server and a broken agent are caught, and the same seed gives the same inputs."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzz import files, tables
from tests.fuzz.__main__ import TARGETS, main
from tests.fuzz.child import Child
from tests.fuzz.engine import Tally, Target, Verdict, drawn, fuzz
from tests.fuzz.mutation import changed_documents, digit, json_documents, mutations, toml_documents
from tests.fuzz.wire import exchange, replies, request

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with Child("tests.fuzz.broken:reader", tmp_path_factory.mktemp("child"), memory_mb=2000, cpu_s=0.3) as one:
        yield one


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "accepted", ""),
        (b"r", "refused", "refused, as it should be"),
        (b"l", "traceback", "ValueError: a reader that lets a library's error out at broken.py:"),
        (b"s", "silent change", "another result"),
        (b"d", "crash", "the process died of SIGSEGV"),
        (b"m", "traceback", "MemoryError"),
        (b"c", "crash", "s of CPU"),
        (b"x", "traceback", "SystemExit: 3"),
        (b"a", "accepted", ""),
    ],
)
def test_whatever_a_broken_reader_does_is_told_apart(child: Child, content: bytes, kind: str, words: str) -> None:
    verdict = child.tried(content)
    assert verdict.kind == kind
    assert words in verdict.words


def test_a_reader_that_hangs_is_told_apart(tmp_path: Path) -> None:
    with Child("tests.fuzz.broken:reader", tmp_path, wall_s=1.0) as child:
        verdict = child.tried(b"h")
    assert (verdict.kind, verdict.words) == ("crash", "no end after 1 s")


def test_faults_are_counted_kept_in_files_and_end_with_exit_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = st.sampled_from([b"a", b"r", b"l", b"s"])
    door = "tests.fuzz.broken:reader"
    monkeypatch.setitem(TARGETS, "broken", files.file_target("broken", lambda _: ([b"a"], inputs), door=door, least=5))
    monkeypatch.setitem(
        TARGETS, "sound", files.file_target("sound", lambda _: ([b"a", b"r"], st.just(b"r")), door=door, least=3)
    )
    kept = tmp_path / "kept"

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fuzz", "--keep", str(kept), *arguments])
        return main(), capsys.readouterr().out

    code, printed = run("broken", "sound", "--seconds", "0", "--seed", "7")
    assert code == 1
    rows = {line.split()[0]: line.split() for line in printed.splitlines()[2:-1]}
    assert rows["broken"][1:7] == ["5", "1", "2", "0", "1", "1"]
    assert rows["sound"][1:7] == ["3", "2", "1", "0", "0", "0"]
    assert printed.startswith("seed 7\n")
    assert {path.read_bytes() for path in kept.iterdir()} == {b"l", b"s"}
    assert run("sound", "--seconds", "0")[0] == 0
    for path in kept.iterdir():
        again, said = run("broken", "--input", str(path))
        assert (again, said.split(":")[0]) == (1, "traceback" if path.read_bytes() == b"l" else "silent change")


class Asked:
    """A door that writes down what it was asked."""

    seeds = (b"first", b"second")
    inputs = mutations(b"some content with 123 digits") | json_documents({"a": [1, 2.5, {"b": "c"}]})

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    def tried(self, content: bytes) -> Verdict:
        self.contents.append(content)
        return Verdict("refused")

    def ended(self) -> list[Verdict]:
        return [Verdict("crash", "the process has grown")]

    note = "7 MB"


def asked(tmp_path: Path, name: str, seed: int) -> tuple[list[bytes], Tally]:
    door = Asked()
    work = tmp_path / f"{name}{seed}"
    work.mkdir()
    tally = fuzz(Target("asked", lambda _: contextlib.nullcontext(door), 60), 0, seed, work, tmp_path / "kept")
    return door.contents, tally


def test_the_same_seed_asks_the_same_and_known_inputs_come_first(tmp_path: Path) -> None:
    one, tally = asked(tmp_path, "a", 1)
    assert one[:2] == [b"first", b"second"]
    assert len(one) == 60 == tally.counts["refused"]
    assert asked(tmp_path, "b", 1)[0] == one
    assert asked(tmp_path, "c", 2)[0][2:] != one[2:]


def test_what_shows_only_at_the_end_is_a_fault_too(tmp_path: Path) -> None:
    _, tally = asked(tmp_path, "a", 1)
    assert tally.faults == [("", "crash: the process has grown")]
    assert tally.note == "7 MB"


def test_digits_become_other_digits() -> None:
    found = drawn(mutations(b"a1b2", changes=(digit,), most=1), "s")
    assert all(len(one) == 4 and (one[1:2] != b"1") != (one[3:4] != b"2") for one in found)


def test_documents_are_changed_and_the_base_is_not() -> None:
    base = {"a": [1, 2.5, {"b": "c"}], "n": 3}
    found = drawn(changed_documents(base).map(lambda one: repr(one).encode()), "s")
    assert base == {"a": [1, 2.5, {"b": "c"}], "n": 3}
    assert sum(one != repr(base).encode() for one in found) > len(found) / 2
    assert b'"n" = 3' in b"".join(drawn(toml_documents(base), "s"))


@pytest.mark.parametrize(
    "make", [tables.profiles, tables.recipes, tables.projects, tables.traces, tables.measurements, tables.cells]
)
def test_every_maker_of_files_has_a_right_one_first_and_draws(make) -> None:
    seeds, inputs = make()
    assert len(seeds) > 10
    assert len(drawn(inputs, "s", 10)) > 3


# ---------------------------------------------------------------- servers that are broken


@contextlib.contextmanager
def answering(*answers: bytes, closes: bool = True) -> Iterator[int]:
    """A port where one connection after the other is answered with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                held.append(connection)
                connection.recv(65536)
                connection.sendall(answer)
                if closes:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
        for connection in held:
            connection.close()


def test_only_whole_answers_are_answers() -> None:
    whole = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"
    (reply, again) = replies(whole + whole, heads=False)
    assert (reply.status, reply.body, again) == (400, b"{}", reply)
    assert replies(b"", heads=False) == []
    assert [one.status for one in replies(b"HTTP/1.1 100 Continue\r\n\r\n" + whole, heads=False)] == [400]
    for broken in (
        whole[:-1],
        b"{}",
        whole.replace(b"400", b"4000"),
        whole.replace(b": 2", b" 2"),
        b"HTTP/1.1 400 Bad\r\n",
        b"x" + whole,
    ):
        with pytest.raises(ValueError, match="answer"):
            replies(broken, heads=False)


def test_a_server_that_neither_answers_nor_closes_is_noticed() -> None:
    with answering(b"", closes=False) as port:
        assert exchange(port, b"GET / HTTP/1.1\r\n\r\n", 0.3) is None
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert exchange(port, b"GET / HTTP/1.1\r\n\r\n", 60) == b"HTTP/1.1 200 OK\r\n\r\n"


BROKEN_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    kept = []
    def log_message(self, *_): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, answer = 200, b'{"outputs": [1]}'
        if b"five" in body: status, answer = 500, b'{"error": "the server made a mistake (KeyError)"}'
        if b"plain" in body: status, answer = 400, b'<html>'
        if b"overflow" in body: status, answer = 500, b'{"error": "outputs are not finite (they overflow)"}'
        if b"log" in body: print("Traceback (most recent call last):", file=sys.stderr, flush=True)
        if b"lie" in body: Handler.kept.append(1)
        if b"grow" in body: Handler.kept.append(bytearray(b"x" * 100_000_000))
        if b"end" in body: import os; os._exit(4)
        if Handler.kept == [1]: answer = b'{"outputs": [2]}'
        self.send_response(status); self.send_header("Content-Length", str(len(answer))); self.end_headers()
        self.wfile.write(answer)
    do_GET = do_POST
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize(
    ("bodies", "kind", "words"),
    [
        ((b"", b"overflow"), "", ""),
        ((b"five",), "traceback", "500: the server made a mistake"),
        ((b"plain",), "traceback", "400 without a JSON error"),
        ((b"log",), "traceback", "on stderr: ['Traceback"),
        ((b"lie",), "silent change", "now"),
        ((b"", b"grow"), "crash", "after the first 1 inputs"),
        ((b"end", b""), "crash", ""),
    ],
)
def test_a_broken_server_is_caught(
    bodies: tuple[bytes, ...], kind: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.fuzz import server
    from tests.serve.running import Running

    monkeypatch.setattr(server, "EVERY", 1)
    monkeypatch.setattr(server, "WARM", 1)
    with (tmp_path / "log").open("w+b") as log:
        process = subprocess.Popen([sys.executable, "-c", BROKEN_SERVER], stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            running = Running(int(process.stdout.readline()), process, None, log)
            door = server.ServerDoor(running, request("POST", "/", b"right"), [], st.just(b""))
            verdicts = [door.tried(request("POST", "/", body)) for body in bodies]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    faults = [verdict for verdict in verdicts if verdict.kind in ("crash", "traceback", "silent change")]
    assert [fault.kind for fault in faults][-1:] == ([kind] if kind else [])
    assert words in (faults[-1].words if faults else "")


# ---------------------------------------------------------------- the product, a few inputs of each kind

FEW = {"profile": 12, "architecture": 12, "cells": 24, "onnx": 24, "picture": 40, "study": 12, "sealed_gallery": 24}


def test_a_few_inputs_of_every_kind_of_file_find_nothing(tmp_path: Path) -> None:
    found: list[tuple[str, str]] = []
    for name, count in FEW.items():
        target = Target(name, TARGETS[name].opened, count)
        tally = fuzz(target, 0, 14, tmp_path, tmp_path / "kept")
        assert tally.inputs >= count
        found += tally.faults
    assert found == []
