"""Five hundred hostile requests against an agent in a process of its own, and the next honest job is still right."""

import contextlib
import json
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from edgenas.hardware.measure import MeasureError
from edgenas.remote.agent import JOB_HEADER
from edgenas.remote.client import HttpBoard
from edgenas.remote.job import Job, job_for
from tests.remote.models import (
    QUICK,
    bomb_by_constant,
    bomb_by_input,
    bomb_by_nodes,
    endless,
    external_data,
    foreign_domain,
    honest,
    unknown_operator,
)

TOKEN = "5" * 64
MODEL_MB = 8


@pytest.fixture
def agent_process(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """(port, process id) of `edgenas agent`."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    arguments = [
        "--port",
        "0",
        "--token-file",
        str(token),
        "--max-model-mb",
        str(MODEL_MB),
        "--memory-mb",
        "1024",
        "--json",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "edgenas", "agent", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield int(url.rsplit(":", 1)[1]), process.pid
        finally:
            process.terminate()
            process.wait(20)


def send(port: int, data: bytes) -> int:
    """The status of the answer to raw bytes; 0 where the connection was closed without one."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):  # refused while still being sent: the answer may be there all the same
            connection.sendall(data)
        while chunk := connection.recv(65536):
            answer += chunk
    match = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(match.group(1)) if match else 0


def request(model: bytes, job: Job, token: str = TOKEN, length: int | None = None, extra: str = "") -> bytes:
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{JOB_HEADER}: "
    head += (
        f"{job.canonical_json().decode()}\r\nContent-Length: {len(model) if length is None else length}\r\n{extra}\r\n"
    )
    return head.encode() + model


def wire_attacks(rng: random.Random) -> list[tuple[str, bytes, set[int]]]:
    """396 requests that are refused at the door: (name, bytes, possible answers)."""
    good, job = honest(), job_for(honest(), "", QUICK, repeat=999)
    signed = f"Authorization: Bearer {TOKEN}\r\n\r\n"
    kinds = [
        ("no token", [b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n"] * 33, {401}),
        ("wrong token", [request(good, job, token=f"{i:064x}") for i in range(33)], {401}),
        ("oversize announced", [request(b"", job, length=10**9 + i) for i in range(33)], {413}),
        ("oversize sent", [request(bytes(MODEL_MB * 1_000_000 + 1 + i), job) for i in range(33)], {413}),
        ("endless header", [b"GET /v1/info HTTP/1.1\r\nX: " + b"a" * (70_000 + i) for i in range(33)], {431, 400, 414}),
        ("no HTTP", [rng.randbytes(200) + b"\r\n\r\n" for _ in range(33)], {0, 400, 505}),
        ("odd method", [f"BREW{i} /v1/jobs HTTP/1.1\r\n\r\n".encode() for i in range(33)], {501}),
        ("traversal", [f"GET /v1/jobs/{'../' * i}etc HTTP/1.1\r\n{signed}".encode() for i in range(33)], {404}),
        ("bad job", [request(good, job).replace(b'"runs":', b'"rums":')] * 33, {400}),
        ("chunked", [request(b"", job, extra="Transfer-Encoding: chunked\r\n")] * 33, {411}),
        ("gzip", [request(good, job, extra="Content-Encoding: gzip\r\n")] * 33, {415}),
        ("wrong hash", [request(good, job_for(bytes([i]), "", QUICK)) for i in range(33)], {422, 503}),
    ]
    return [(name, data, statuses) for name, many, statuses in kinds for data in many]


def model_attacks() -> list[tuple[str, bytes, Job, str]]:
    """104 models that only a child process may look at: (name, model, job, status in the end)."""
    brief = msgspec.structs.replace(job_for(endless(), "", QUICK), deadline_s=2.0)
    made = []
    for i in range(13):
        repeated = {"profile": "", "timing": QUICK, "repeat": i}
        for name, model, status in (
            ("truncated", honest()[: -200 - i], "invalid"),
            ("external data", external_data("../" * (i + 1) + "etc/passwd"), "invalid"),
            ("unknown operator", unknown_operator(f"Evil{i}"), "unsupported_op"),
            ("foreign domain", foreign_domain(), "unsupported_op"),
            ("constant bomb", bomb_by_constant(90_000 + i), "oom"),
            ("input bomb", bomb_by_input(), "oom"),
            ("node bomb", bomb_by_nodes(3_900_000 + i), "oom or unsupported_op"),
        ):
            made.append((name, model, job_for(model, **repeated), status))
        made.append(("endless", endless(), msgspec.structs.replace(brief, repeat=i), "timeout"))
    return made


def resident_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", fields).group(1)) / 1e3  # type: ignore[union-attr]


@pytest.mark.slow
def test_five_hundred_hostile_requests_are_answered_in_bounded_memory(agent_process: tuple[int, int]) -> None:
    port, pid = agent_process
    board = HttpBoard(f"http://127.0.0.1:{port}", TOKEN)
    board.measure(honest(), job_for(honest(), "host-cpu", QUICK))
    before = resident_mb(pid)
    rng = random.Random(0)
    wire, models = wire_attacks(rng), model_attacks()
    assert len(wire) + len(models) == 500
    rng.shuffle(wire)
    rng.shuffle(models)
    wrong: list[tuple[str, object]] = []

    def knock(part: int) -> None:
        for name, data, statuses in wire[part::10]:
            if (status := send(port, data)) not in statuses:
                wrong.append((name, status))

    def push(part: int) -> None:
        for name, model, job, wanted in models[part::10]:
            with pytest.raises(MeasureError) as caught:
                board.measure(model, job)
            if caught.value.status not in wanted:
                wrong.append((name, caught.value.status))

    with ThreadPoolExecutor(20) as pool:
        for future in [pool.submit(attack, part) for attack in (knock, push) for part in range(10)]:
            future.result()
    assert wrong == []
    assert resident_mb(pid) - before < 60  # of which four uploads at a time are on disk, not in memory
    measurement = board.measure(honest(6), job_for(honest(6), "host-cpu", QUICK))
    assert len(measurement.samples_ms) >= 20
