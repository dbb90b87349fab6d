"""The agent over real sockets: honest jobs are measured, everything else is refused with the right words."""

import contextlib
import errno
import hashlib
import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.lock import device_lock
from edgenas.hardware.measure import MeasureError, Timing
from edgenas.hardware.worker import Load
from edgenas.remote import listener
from edgenas.remote.agent import JOB_HEADER, agent
from edgenas.remote.client import BoardAway, HttpBoard
from edgenas.remote.desk import Quota
from edgenas.remote.job import SETTLED, Answer, Bounds, Job, job_for, run
from tests.remote.conftest import Running, listening, until
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


def ask(
    running: Running, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, object], http.client.HTTPMessage]:
    """Raw HTTP; a header set to "" is left out."""
    every = {"Authorization": f"Bearer {running.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    connection = http.client.HTTPConnection(*running.address, timeout=20)
    try:
        connection.connect()
        with contextlib.suppress(ConnectionError):  # ended while it is sent: the answer is there all the same
            connection.request(method, path, body, {name: value for name, value in every.items() if value})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}"), response.headers
    finally:
        connection.close()


def post(running: Running, model: bytes, job: Job | None = None) -> tuple[int, dict[str, object]]:
    header = (job or job_for(model, "host-cpu", QUICK)).canonical_json().decode()
    return ask(running, "POST", "/v1/jobs", model, **{JOB_HEADER: header})[:2]


def test_an_honest_model_is_measured_beside_the_reference_network(running: Running) -> None:
    model = honest()
    measurement = running.board.measure(model, job_for(model, "host-cpu", QUICK))
    assert measurement.profile == "host-cpu"
    assert len(measurement.samples_ms) >= 20
    assert np.median(measurement.samples_ms) > 0
    assert len(measurement.detail["reference_ms"]) == 4


def test_asking_twice_measures_once_unless_the_moment_was_bad(running: Running) -> None:
    model = honest(6)
    job = job_for(model, "host-cpu", QUICK)
    first = running.board.measure(model, job)
    status, again = post(running, model, job)
    # measured anew only if the moment was bad
    assert status == (200 if first.status in SETTLED else 202)
    assert again["id"] == job.id
    ask(running, "DELETE", f"/v1/jobs/{job.id}")
    other = msgspec.structs.replace(job, repeat=1)
    assert other.id != job.id


@pytest.mark.parametrize(
    ("status", "asked"),
    [("ok", 1), ("unsupported_op", 1)]
    + [(status, 2) for status in ("unstable", "throttled", "timeout", "oom", "mismatch", "invalid", "busy")],
)
def test_what_may_be_otherwise_at_another_moment_is_measured_again_when_it_is_asked_again(
    status: Any, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(_path: Path, job: Job, *_: object) -> Answer:
        ran.append(job.id)
        return Answer(job.id, status)

    monkeypatch.setattr("edgenas.remote.desk.run", run)
    job = job_for(b"model", "host-cpu", QUICK)
    with listening() as agent_here:
        for _ in range(2):
            post(agent_here, b"model", job)
            until(lambda: ask(agent_here, "GET", f"/v1/jobs/{job.id}")[1]["status"] == status)
    assert ran == [job.id] * asked


def test_info_says_what_measures_here(running: Running) -> None:
    info = running.board.info()
    assert info["runtime"] == "onnxruntime"
    assert info["load"]["threads"] == 1
    assert info["device"]["model"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic abc", f"Bearer {'0' * 64}", "Bearer \xff"]
)
def test_without_the_token_nothing_is_told(running: Running, authorization: str) -> None:
    for method, path in (
        ("GET", "/v1/info"),
        ("POST", "/v1/jobs"),
        ("GET", f"/v1/jobs/{'0' * 32}"),
        ("DELETE", "/v1/x"),
    ):
        status, body, headers = ask(
            running, method, path, b"x" if method == "POST" else None, Authorization=authorization
        )
        assert (status, body["error"]) == (401, "a bearer token is needed")
        assert headers["WWW-Authenticate"] == "Bearer"


def test_requests_that_are_no_jobs_are_refused_before_their_bodies_are_read(running: Running) -> None:
    model = honest()
    job = job_for(model, "host-cpu", QUICK).canonical_json().decode()
    good = {JOB_HEADER: job}
    cases = [
        (411, {**good, "Transfer_Encoding": "chunked"}, "not in chunks"),
        (415, {**good, "Content_Encoding": "gzip"}, "not compressed"),
        (400, {**good, "Content_Length": "-5"}, "not a positive number"),
        (400, {**good, "Content_Length": "9e9"}, "not a positive number"),
        (413, {**good, "Content_Length": "4000001"}, "larger than 4 MB"),
        (413, {**good, "Content_Length": "999999999999999"}, "larger than 4 MB"),
        (400, {}, JOB_HEADER),
        (400, {JOB_HEADER: "{}"}, "sha256"),
        (400, {JOB_HEADER: job.replace('"runs":20', '"runs":99999999')}, "bounds"),
        (400, {JOB_HEADER: job.replace('"deadline_s":', '"shell":"rm","deadline_s":')}, "shell"),
    ]
    for status, headers, words in cases:
        code, body, _ = ask(running, "POST", "/v1/jobs", b"", **{"Content_Length": str(len(model)), **headers})
        assert code == status, (headers, body)
        assert words in str(body["error"])


def test_paths_lead_nowhere_else(running: Running) -> None:
    for path in (
        "/",
        "/v1/jobs/../../etc/passwd",
        "/v1/jobs/",
        f"/v1/jobs/{'g' * 32}",
        "/v2/info",
        f"/v1/jobs/{'0' * 32}",
    ):
        assert ask(running, "GET", path)[0] == 404
    assert ask(running, "DELETE", f"/v1/jobs/{'0' * 32}")[0] == 404


def test_a_body_that_is_not_the_one_announced_is_a_mismatch(running: Running) -> None:
    job = job_for(honest(), "host-cpu", QUICK, repeat=7)
    status, body = post(running, honest(8), job)
    assert (status, body["status"]) == (422, "mismatch")


def test_a_board_without_room_says_so(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgenas.remote.agent.tempfile.NamedTemporaryFile", full)
    status, answer = post(running, honest(3))
    assert status == 507
    assert answer["error"] == "this board has no room for the model (No space left on device)"
    with pytest.raises(EdgenasError, match=r"refuses \(507\): this board has no room for the model"):
        running.board.measure(honest(3), job_for(honest(3), "host-cpu", QUICK))


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    job = job_for(honest(), "host-cpu", QUICK).canonical_json().decode()
    with (
        listening(Quota(idle_s=1.0, request_s=600.0)) as running,
        socket.create_connection(running.address, timeout=60) as connection,
    ):
        connection.sendall(
            f"POST /v1/jobs HTTP/1.0\r\nAuthorization: Bearer {running.token}\r\n{JOB_HEADER}: {job}\r\n"
            "Content-Length: 1000\r\n\r\nonly this".encode()
        )
        assert b" 408 " in connection.recv(1000)


def test_a_connection_that_drips_is_ended() -> None:
    with (  # noqa: PT012  it is ended while it goes on
        listening(Quota(request_s=1.0, stranger_s=600.0, idle_s=600.0)) as running,
        socket.create_connection(running.address, timeout=20) as connection,
        pytest.raises(ConnectionError),
    ):
        begun = time.monotonic()
        while time.monotonic() - begun < 120:
            connection.sendall(b"X")
            time.sleep(0.1)


def test_more_connections_than_allowed_are_sent_away_and_the_next_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SHOW_TOKEN_S", 600.0)  # nobody has to give way meanwhile
    with listening(Quota(connections=8, stranger_s=600.0, idle_s=600.0, request_s=600.0)) as running:
        idle = [socket.create_connection(running.address, timeout=60) for _ in range(12)]
        try:
            refused = [connection.recv(200) for connection in idle[8:]]
            assert all(b" 503 " in words and b"Retry-After" in words for words in refused)
        finally:
            for connection in idle:
                connection.close()
        assert running.board.info()["runtime"] == "onnxruntime"


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        (honest()[:-100], "invalid", ""),
        (b"\x00" * 1000, "invalid", "not an ONNX file"),
        (unknown_operator(), "unsupported_op", "Loop"),
        (foreign_domain(), "unsupported_op", "com.example.plugins.Relu"),
        (external_data("../../../../etc/passwd"), "invalid", "weights outside the file"),
        (bomb_by_constant(), "oom", ""),
        (bomb_by_input(), "oom", ""),
        (bomb_by_nodes(1_900_000), "unsupported_op", ""),
    ],
    ids=["truncated", "garbage", "unknown-op", "foreign-domain", "external", "constant", "input", "nodes"],
)
def test_hostile_models_end_in_their_status(tmp_path: Path, model: bytes, status: str, words: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    answer = run(path, job_for(model, "host-cpu", QUICK), Load(""), Bounds(700, 4))
    assert (answer.status, answer.measurement) == (status, None), answer
    assert words in answer.error


def test_a_model_that_runs_for_ever_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    model = endless()
    (tmp_path / "model.onnx").write_bytes(model)
    job = msgspec.structs.replace(job_for(model, "host-cpu", QUICK), deadline_s=2.5)
    answer = run(tmp_path / "model.onnx", job, Load(""), Bounds(1024, 4))
    assert (answer.status, answer.error) == ("timeout", "not done after 2.5 s")
    until(lambda: not started_in(tmp_path))  # the kernel ends them when it comes to them
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]


def started_in(folder: Path) -> list[Path]:
    """Processes whose working directory is in this folder, or was before it was removed."""
    return [place for place in Path("/proc").glob("[0-9]*/cwd") if _target(place).startswith(f"{folder}/")]


def test_a_job_that_is_killed_leaves_no_file(running: Running) -> None:
    slow = endless(padding=3_000_000)
    job = job_for(slow, "host-cpu", QUICK)
    assert post(running, slow, job)[0] == 202
    folder = running.server.desk.folder
    until(lambda: any(_bytes(path) > 3_000_000 for path in folder.glob("job-*/**/*.onnx")))  # the worker's copy
    assert ask(running, "DELETE", f"/v1/jobs/{job.id}")[1]["status"] == "deleted"
    until(lambda: list(folder.glob("job-*")) == [])


def test_a_deleted_job_is_killed_and_the_next_one_is_right(running: Running) -> None:
    slow = endless()
    job = job_for(slow, "host-cpu", Timing(runs=1, seconds=0, rounds=1, warmup_runs=1))
    assert post(running, slow, job)[0] == 202
    until(lambda: bool(started_in(running.server.desk.folder)))
    assert ask(running, "DELETE", f"/v1/jobs/{job.id}")[1]["status"] == "deleted"
    model = honest(10)
    assert running.board.measure(model, job_for(model, "host-cpu", QUICK)).status in ("ok", "unstable", "throttled")
    assert ask(running, "GET", f"/v1/jobs/{job.id}")[0] == 404


def test_a_full_queue_says_come_back(running: Running) -> None:
    slow = endless()
    jobs = [job_for(slow, "host-cpu", QUICK, repeat=repeat) for repeat in range(6)]
    until(lambda: running.board.info()["jobs"] == {"running": 0, "queued": 0})  # of the tests before
    codes = [post(running, slow, jobs[0])[0]]
    until(lambda: running.board.info()["jobs"] == {"running": 1, "queued": 0})
    codes += [post(running, slow, job)[0] for job in jobs[1:]]
    assert codes == [202, 202, 202, 202, 503, 503]  # one runs, three wait
    for job in jobs:
        ask(running, "DELETE", f"/v1/jobs/{job.id}")
    assert running.board.info()["jobs"]["queued"] == 0


def test_a_job_that_waits_for_another_measurement_is_queued(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "edgenas.remote.job.device_lock", lambda given_up: device_lock(folder=tmp_path, given_up=given_up)
    )
    slow = endless()
    job = job_for(slow, "host-cpu", QUICK)
    with listening() as board:
        with device_lock(folder=tmp_path):
            assert post(board, slow, job)[0] == 202
            until(lambda: board.server.desk._running == job.id)
            assert ask(board, "GET", f"/v1/jobs/{job.id}")[1]["status"] == "queued"
            assert board.board.info()["jobs"] == {"running": 0, "queued": 1}
        until(lambda: ask(board, "GET", f"/v1/jobs/{job.id}")[1]["status"] == "running")
        assert board.board.info()["jobs"] == {"running": 1, "queued": 0}
        ask(board, "DELETE", f"/v1/jobs/{job.id}")
        until(lambda: board.board.info()["jobs"] == {"running": 0, "queued": 0})


def test_all_clients_together_may_take_what_the_page_says() -> None:
    assert Quota() == Quota(
        connections=32, uploads=4, queue=16, remembered=256, request_s=60.0, idle_s=10.0, stranger_s=5.0
    )


def test_the_answer_that_came_first_is_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenas.remote.desk.run", lambda _path, job, *_: Answer(job.id, "ok"))
    model = honest()
    jobs = [job_for(model, "host-cpu", QUICK, repeat=repeat) for repeat in range(3)]
    with listening(Quota(remembered=2)) as agent_here:

        def known(job: Job) -> tuple[int, object]:
            status, answer, _ = ask(agent_here, "GET", f"/v1/jobs/{job.id}")
            return status, answer.get("status")

        def finish(job: Job) -> None:
            assert post(agent_here, model, job)[0] == 202
            until(lambda: known(job) == (200, "ok"))

        finish(jobs[0])
        finish(jobs[1])
        assert [known(job)[0] for job in jobs] == [200, 200, 404]
        finish(jobs[2])
        assert [known(job)[0] for job in jobs] == [404, 200, 200]


def test_clients_name_what_is_wrong(running: Running) -> None:
    with pytest.raises(EdgenasError, match="refuses the token"):
        HttpBoard(running.url, "0" * 64).info()
    with pytest.raises(BoardAway, match="does not answer"):
        HttpBoard("http://127.0.0.1:9", "0" * 64).info()
    with pytest.raises(EdgenasError, match="http://HOST:PORT"):
        HttpBoard("http://host/path", "0" * 64)
    model = unknown_operator("Scan")
    with pytest.raises(MeasureError, match="Scan") as caught:
        running.board.measure(model, job_for(model, "host-cpu", QUICK))
    assert caught.value.status == "unsupported_op"


def test_a_job_s_id_depends_on_everything_asked() -> None:
    sha = hashlib.sha256(b"x").hexdigest()
    ids = {Job(sha).id, Job(sha, "p").id, Job(sha, repeat=1).id, Job(sha, timing=QUICK).id, Job(sha, batch_size=2).id}
    assert len(ids) == 5
    assert Job(sha).id == Job(sha).id
    with pytest.raises(msgspec.ValidationError, match="bounds"):
        msgspec.json.decode(b'{"sha256":"short"}', type=Job)
    assert msgspec.json.decode(msgspec.json.encode(Answer("a", "ok")), type=Answer).status == "ok"


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("host", ["::1", "no-such-host.invalid", "192.0.2.1", "a..b"])
def test_a_place_where_it_cannot_listen_is_one_line_about_the_host(host: str) -> None:
    with (
        pytest.raises(EdgenasError, match=r"cannot listen on .*give --host an IPv4 address of this machine"),
        agent(host, 0, "t" * 40, load=Load("")),
    ):
        pass


def test_a_port_that_is_taken_is_one_line_about_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(EdgenasError, match="choose another --port"),
            agent("127.0.0.1", port, "t" * 40, load=Load("")),
        ):
            pass
