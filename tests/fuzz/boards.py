"""Both ends of a measurement on a board: the agent, asked raw requests, and `edgenas bench`, answered by a board that lies."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz import networks
from tests.fuzz.child import edgenas
from tests.fuzz.engine import SilentChangeError, Target, Verdict
from tests.fuzz.files import Made, file_target
from tests.fuzz.mutation import RANDOMS, changed_documents, mutated
from tests.fuzz.server import resident_mb
from tests.fuzz.wire import ODD_HEADERS, exchange, replies, request
from tests.remote.models import (
    QUICK,
    bomb_by_constant,
    bomb_by_nodes,
    external_data,
    foreign_domain,
    honest,
    unknown_operator,
)
from tests.remote.test_heard import INFO, MEASURED
from tests.remote.test_hostile import TOKEN, wire_attacks

GROWTH_MB = 60
WARM, EVERY = 50, 25
JOB_S = 90.0  # within which an accepted job is answered
SIGNED = f"Authorization: Bearer {TOKEN}"
WRONG_LINE = re.compile(r"Traceback|^\s+File |^\S+: \w+(Error|Exception|Iteration|Interrupt): ")


# ---------------------------------------------------------------- the agent


def _job(model: bytes, **changes: Any) -> dict[str, Any]:
    timing = msgspec.to_builtins(QUICK)
    return {
        "sha256": hashlib.sha256(model).hexdigest(),
        "profile": "host-cpu",
        "timing": timing,
        "batch_size": 1,
        "repeat": 0,
        "deadline_s": 20.0,
    } | changes


def _post(job: Any, model: bytes, *lines: str) -> bytes:
    text = job if isinstance(job, str) else json.dumps(job)
    return request("POST", "/v1/jobs", model, SIGNED, f"X-Edgenas-Job: {text}", *lines)


def _asked(document: Any, rng: Random, model: bytes) -> bytes:
    """A post whose job, head or model is odd. Few models arrive whole: each takes the board a second."""
    change = rng.randrange(8)
    if change < 4:
        return _post(document, b"\0" if rng.random() < 0.97 else model)
    if change == 4:
        return mutated(_post(document, b"x" * 30), rng)
    if change == 5:
        return _post(_job(b"x"), b"x" * rng.randint(0, 9), *(rng.choice(ODD_HEADERS) for _ in range(2)))
    if change == 6:
        path = rng.choice(
            (
                "/v1/info",
                "/v1/jobs/" + "a" * 32,
                "/v1/jobs/",
                "/v1/jobs/" + "é" * 32,
                "/" + "x" * 70_000,
                "*",
                "",
                "/v1/info\x1b[2J",
            )
        )
        return request(rng.choice(("GET", "DELETE", "HEAD", "POST", "PUT")), path, b"", SIGNED)
    return mutated(request("GET", "/v1/info", b"", SIGNED), rng)


def _agent_inputs() -> tuple[list[bytes], SearchStrategy[bytes]]:
    model = honest()
    deep = '{"sha256":' + "[" * 20_000
    jobs = (
        deep,
        "[" * 30_000,
        '{"a":' * 9000,
        "9" * 5000,
        "null",
        "{}",
        '"\\ud800"',
        json.dumps(_job(model, deadline_s=1e400)),
        json.dumps(_job(model, x=10**400)),
    )
    attacks = [data for name, data, _ in wire_attacks(Random(0))[::33] if name != "oversize sent"]
    hostile = (
        external_data("../../etc/passwd"),
        foreign_domain(),
        unknown_operator("Loop"),
        bomb_by_constant(),
        bomb_by_nodes(100_000),
        honest()[:-200],
    )
    seeds = [
        request("GET", "/v1/info", b"", SIGNED),
        *(_post(job, b"x") for job in jobs),
        *attacks,
        *(_post(_job(one), one) for one in (model, *hostile)),
    ]
    odd_jobs = changed_documents(_job(b"\0"), _job(model))
    odd_models = networks.networks().map(lambda content: _post(_job(content, deadline_s=10.0), content))
    drawn = st.builds(_asked, odd_jobs, RANDOMS, st.just(model))
    return seeds, st.one_of(*[drawn] * 29, odd_models)


class AgentDoor:
    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Any) -> None:
        self._process, self._port, self._log = process, port, log
        self.seeds, self.inputs = _agent_inputs()
        self._count, self._warm_mb, self._read = 0, 0.0, 0

    def tried(self, content: bytes) -> Verdict:
        self._count += 1
        verdict = self._verdict(content)
        if verdict.kind in ("refused", "accepted"):
            return self._logged() or (self._health() if self._count % EVERY == 0 else None) or verdict
        return verdict

    def ended(self) -> Sequence[Verdict]:
        return [fault] if (fault := self._logged() or self._health()) else []

    @property
    def note(self) -> str:
        return f"{self._warm_mb:.0f} MB after {WARM} inputs, {resident_mb(self._process.pid):.0f} at the end"

    def _verdict(self, content: bytes) -> Verdict:
        # Of two words alone, as HTTP/0.9 had it: there are no headers in its answer.
        old = not re.match(rb"\s*\S+\s+\S+\s+HTTP/1\.[0-9]+\s", content)
        try:
            answer = exchange(self._port, content, 75.0)
            if answer is None:
                return Verdict("crash", "neither answered nor closed")
            found = [] if old and not answer.startswith(b"HTTP/") else replies(answer, heads=b"HEAD" in content)
            for reply in found:
                if reply.status >= 500 and reply.status not in (501, 503, 505):
                    return Verdict("traceback", f"{reply.status}: {reply.body[:300]!r}")
                if reply.status == 202:
                    return self._measured(json.loads(reply.body)["id"])
        except (ValueError, OSError, KeyError) as error:
            return Verdict("crash", f"{type(error).__name__}: {error}")
        return Verdict("accepted" if any(reply.status < 300 for reply in found) else "refused")

    def _measured(self, job: str) -> Verdict:
        until = time.monotonic() + JOB_S
        while time.monotonic() < until:
            (reply,) = replies(exchange(self._port, request("GET", f"/v1/jobs/{job}", b"", SIGNED)) or b"", heads=False)
            told = json.loads(reply.body)
            if told["status"] not in ("queued", "running"):
                if "Traceback" in told["error"] or "\n" in told["error"] or "measuring process failed" in told["error"]:
                    return Verdict("traceback", f"{told['status']}: {told['error']}")
                return Verdict(
                    "accepted" if told["status"] in ("ok", "unstable", "throttled") else "refused", told["error"]
                )
            time.sleep(0.1)
        return Verdict("crash", f"job {job} has no answer after {JOB_S:g} s")

    def _health(self) -> Verdict | None:
        try:
            (reply,) = replies(exchange(self._port, request("GET", "/v1/info", b"", SIGNED)) or b"", heads=False)
        except (ValueError, OSError) as error:
            return Verdict("crash", f"the agent answers no more: {error}")
        if reply.status != 200:
            return Verdict("crash", f"the right request was answered with {reply.status}")
        mb = resident_mb(self._process.pid)
        if self._count >= WARM and not self._warm_mb:
            self._warm_mb = mb
        if self._warm_mb and mb > self._warm_mb + GROWTH_MB:
            return Verdict("crash", f"{mb:.0f} MB, {self._warm_mb:.0f} after the first {WARM} inputs")
        return None

    def _logged(self) -> Verdict | None:
        self._log.seek(self._read)
        text = self._log.read().decode(errors="replace")
        self._read = self._log.tell()
        wrong = [line for line in text.split("\n") if WRONG_LINE.search(line) or not line.isprintable()]
        return Verdict("traceback", f"on stderr: {wrong[:3]}") if wrong else None


@contextlib.contextmanager
def _agent(folder: Path) -> Iterator[AgentDoor]:
    token = folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    arguments = ("--port", "0", "--token-file", str(token), "--max-model-mb", "8", "--memory-mb", "1024", "--json")
    command = [sys.executable, "-m", "edgenas", "agent", *arguments]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            with Path(f"/proc/self/fd/{log.fileno()}").open("rb") as reading:  # with a place of its own in the file
                yield AgentDoor(process, int(url.rsplit(":", 1)[1]), reading)
        finally:
            process.terminate()
            process.wait(20)


# ---------------------------------------------------------------- a board that lies


def _answer(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.0 {status}", f"Content-Length: {len(body)}", *lines, "", ""]).encode() + body


def _boards(_: Path) -> Made:
    """The first byte says which exchange is answered so; an `@` in a body stands for the job's id."""
    told = {"id": "@", "status": "ok", "error": "", "measurement": MEASURED}
    lies = ([-5.0], [0.0], [1e308], [], ["1"], [None], [True])
    seeds = [b"i" + _answer(json.dumps(INFO).encode()), b"j" + _answer(json.dumps(told).encode())]
    seeds += [
        b"j" + _answer(json.dumps({**told, "measurement": {**MEASURED, "samples_ms": lie}}).encode()) for lie in lies
    ]
    detail = MEASURED["detail"]
    seeds += [b"j" + _answer(json.dumps({**told, "measurement": {**MEASURED, "detail": odd}}).encode())
              for odd in ({}, {**detail, "device": {}}, {**detail, "reference_ms": [0.0]}, {**detail,
                  "runs": 10**30})]  # fmt: skip
    bodies = (
        b"",
        b"null",
        b"[" * 100_000,
        b'{"id":' * 50_000,
        b"\xff\xfe",
        b"9" * 5000,
        b'{"error": "\\u001b]0;owned\\u0007"}',
        b"<html>" * 1000,
    )
    seeds += [
        kind + _answer(body, status)
        for kind in (b"i", b"j")
        for body in bodies
        for status in ("200 OK", "400 X", "302 Found", "99 x", "599 x")
    ]
    seeds += [kind + raw for kind in (b"i", b"j") for raw in (b"", b"\0" * 999,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                                                              b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
                                                              b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
                                                              b"HTTP/9.9 200\r\n\r\n")]  # fmt: skip
    infos = changed_documents(INFO).map(lambda found: b"i" + _answer(json.dumps(found).encode()))
    answers = changed_documents(told).map(lambda found: b"j" + _answer(json.dumps(found).encode()))
    whole = (_answer(json.dumps(INFO).encode()), _answer(json.dumps(told).encode()))
    raw = st.builds(
        lambda kind, base, rng: kind + mutated(base, rng),
        st.sampled_from([b"i", b"j"]),
        st.sampled_from(whole),
        RANDOMS,
    )
    return seeds, infos | answers | raw


def lying_board(content: bytes, folder: Path) -> None:
    """`edgenas bench` against a board that answers one exchange in this way and all others honestly."""
    import os

    from edgenas.remote.token import VARIABLE

    os.environ[VARIABLE] = TOKEN
    model = folder / "model.onnx"
    model.write_bytes(honest())
    with _listening(content[:1], content[1:]) as url:
        document = json.loads(edgenas("bench", str(model), "--target", url, "--json"))
    for name, ms in document["ms"].items():
        if not isinstance(ms, int | float) or not 0 < ms <= 1e7:
            raise SilentChangeError(f"{name} of {ms!r} ms")
    if not isinstance(document["n"], int) or document["n"] < 1:
        raise SilentChangeError(f"{document['n']!r} runs")


@contextlib.contextmanager
def _listening(which: bytes, raw: bytes) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ended = threading.Event()
    left = {b"i": [raw] if which == b"i" else [], b"j": [raw] if which == b"j" else []}

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                _speak(listener.accept()[0], left)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        listener.close()


def _speak(connection: socket.socket, left: dict[bytes, list[bytes]]) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(5)
        read = b""
        while b"\r\n\r\n" not in read:
            read += connection.recv(65536)
        head, _, body = read.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: (\d+)", head)
        while len(body) < int(size[1] if size else 0):
            body += connection.recv(65536)
        asked, ident, profile = b"i" if b"/v1/info" in head else b"j", b"", "Board"
        if job := re.search(rb"(?i)x-edgenas-job: (.*)", head):
            from edgenas.remote.job import Job

            decoded = msgspec.json.decode(job[1].strip(), type=Job)
            ident, profile = decoded.id.encode(), decoded.profile
        told = {"id": ident.decode(), "status": "ok", "error": "", "measurement": {**MEASURED, "profile": profile}}
        honest_ = _answer(json.dumps(INFO if asked == b"i" else told).encode())
        raw = left[asked].pop() if left[asked] else honest_
        answer = raw.replace(b'"@"', b'"' + ident + b'"').replace(
            b'"profile": "host-cpu"', f'"profile": "{profile}"'.encode()
        )
        if answer.count(b"\r\n\r\n") == 1 and b"Content-Length: " in answer:  # the length follows what was put in
            head, _, body = answer.partition(b"\r\n\r\n")
            added = len(answer) - len(raw)
            head = re.sub(
                rb"Content-Length: (\d{1,9})\b",
                lambda found: b"Content-Length: %d" % max(0, int(found[1]) + added),
                head,
                count=1,
            )
            answer = head + b"\r\n\r\n" + body
        connection.sendall(answer)


TARGETS = (Target("agent", _agent, least=75), file_target("board", _boards, door="tests.fuzz.boards:lying_board"))
