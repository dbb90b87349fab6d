"""The agent on a board: takes an ONNX file, answers with measurements. ONNX in, JSON out; nothing else is accepted.

GET /v1/info, POST /v1/jobs, GET /v1/jobs/{id}, DELETE /v1/jobs/{id}. The body of a POST is the model, the job is JSON in the
header X-Edgenas-Job. One job at a time, each in a child process (job.py). What clients can make it hold is bounded:
connections, uploads, queue, file sizes, time per request, remembered answers.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import io
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec

from edgenas.hardware.device import probe
from edgenas.hardware.measure import reference_model
from edgenas.hardware.worker import Load
from edgenas.remote.desk import Desk, Quota, Refused
from edgenas.remote.heard import printable
from edgenas.remote.job import Bounds, Job
from edgenas.remote.listener import CHUNK, AgentServer, linger
from edgenas.runtimes import runtime_spec
from edgenas.version import __version__

JOB_HEADER = "X-Edgenas-Job"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WholeLines(io.BufferedReader):
    """http.server takes the end of a connection for the end of the headers, and would act on a request that was cut."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise ConnectionAbortedError("the connection ended within a line")
        return line


class Handler(BaseHTTPRequestHandler):
    """One request per connection (HTTP/1.0)."""

    server: AgentServer
    server_version = f"edgenas-agent/{__version__}"
    sys_version = ""
    command = ""  # of a connection that has said nothing yet

    def setup(self) -> None:
        quota = self.server.desk.quota
        self.request.settimeout(min(quota.idle_s, quota.stranger_s))
        super().setup()
        self.rfile = WholeLines(self.rfile.detach())

    def do_GET(self) -> None:
        self._reply(self._get)

    def do_POST(self) -> None:
        self._reply(self._post)

    def do_DELETE(self) -> None:
        self._reply(self._delete)

    def _get(self) -> tuple[int, bytes]:
        if self.path == "/v1/info":
            desk = self.server.desk
            return 200, msgspec.json.encode({**about(desk.load, desk.bounds), "jobs": desk.busy})
        answer = self.server.desk.find(self._job_id())
        if answer is None:
            raise Refused(404, "no such job: it was deleted, forgotten, or the agent was started anew; post it again")
        return 200, answer

    def _delete(self) -> tuple[int, bytes]:
        job_id = self._job_id()
        if not self.server.desk.remove(job_id):
            raise Refused(404, "no such job")
        return 200, msgspec.json.encode({"id": job_id, "status": "deleted"})

    def _post(self) -> tuple[int, bytes]:
        if self.path != "/v1/jobs":
            raise Refused(404, "post to /v1/jobs")
        length, job, desk = self._length(), self._job(), self.server.desk
        if (known := desk.settled(job.id)) is not None:
            self._drain(length)
            return 200, known
        desk.refuse_if_full()
        if not self.server.uploads.acquire(blocking=False):
            raise Refused(503, "too many uploads at once", **{"Retry-After": "1"})
        try:
            path = self._receive(length, job.sha256)
        finally:
            self.server.uploads.release()
        try:
            return 202, desk.add(job, path)
        except Refused:
            path.unlink()
            raise

    # ------------------------------------------------------------ reading requests

    def _job_id(self) -> str:
        head, _, job_id = self.path.rpartition("/")
        if head != "/v1/jobs" or len(job_id) != 32 or not set(job_id) <= set("0123456789abcdef"):
            raise Refused(404, "known paths: /v1/info, /v1/jobs, /v1/jobs/{id}")
        return job_id

    def _job(self) -> Job:
        try:
            return msgspec.json.decode(self.headers.get(JOB_HEADER) or b"", type=Job)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Refused(400, f"header {JOB_HEADER}: {error}") from error

    def _length(self) -> int:
        if "Transfer-Encoding" in self.headers or "Content-Length" not in self.headers:
            raise Refused(411, "send the model with a Content-Length, not in chunks")
        if self.headers.get("Content-Encoding", "identity") != "identity":
            raise Refused(415, "send the model as it is, not compressed")
        text = self.headers["Content-Length"]
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 16) or int(text) == 0:
            raise Refused(400, "Content-Length is not a positive number")
        limit = self.server.desk.bounds.model_mb * 1_000_000
        if int(text) > limit:
            raise Refused(413, f"the model is larger than {self.server.desk.bounds.model_mb} MB")
        return int(text)

    def _chunks(self, length: int) -> Iterator[bytes]:
        deadline = time.monotonic() + self.server.desk.quota.request_s
        while length:
            try:
                chunk = self.rfile.read1(min(CHUNK, length))
            except TimeoutError:
                chunk = b""
            if not chunk or time.monotonic() > deadline:
                raise Refused(408, f"the model did not arrive: {length} bytes are missing")
            length -= len(chunk)
            yield chunk

    def _drain(self, length: int) -> None:
        for _ in self._chunks(length):
            pass

    def _receive(self, length: int, sha256: str) -> Path:
        """The body as a file; memory holds one chunk of it. Refused where the disk has no room for it."""
        try:
            return self._received(length, sha256)
        except OSError as error:
            if error.errno in FULL:
                raise Refused(507, f"this board has no room for the model ({error.strerror})") from error
            raise

    def _received(self, length: int, sha256: str) -> Path:
        found = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.server.desk.folder, suffix=".onnx", delete=False) as file:
            path = Path(file.name)
            try:
                for chunk in self._chunks(length):
                    found.update(chunk)
                    file.write(chunk)
                if found.hexdigest() != sha256:
                    raise Refused(422, "mismatch: the model's sha256 is not the one in the job")
            except BaseException:
                path.unlink()
                raise
        return path

    # ------------------------------------------------------------ answering

    def _reply(self, answer: Callable[[], tuple[int, bytes]]) -> None:
        headers: dict[str, str] = {}
        try:
            self._authorize()
            code, body = answer()
        except Refused as refusal:
            code, headers = refusal.code, refusal.headers
            body = msgspec.json.encode({"error": str(refusal), "status": "mismatch" if code == 422 else "refused"})
        self.send_response(code)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if code >= 400 and self.command == "POST":
            linger(self.connection)

    def _authorize(self) -> None:
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.server.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refused(401, "a bearer token is needed", **{"WWW-Authenticate": "Bearer"})
        self.server.trust(self.request)
        self.request.settimeout(self.server.desk.quota.idle_s)

    def log_message(self, format: str, *args: Any) -> None:
        """Everything but hosts that look whether their job is done, and clients that say nothing."""
        asks = self.command == "GET" and args[1:2] == ("200",)
        if not asks and not isinstance(args[0] if args else None, TimeoutError):
            self.server.log(f"{self.address_string()} {printable(format % args)}")


def about(load: Load, bounds: Bounds) -> dict[str, Any]:
    """What this board is and how it measures."""
    return {
        "version": __version__,
        "device": msgspec.to_builtins(probe()),
        "runtime": load.runtime,
        "runtime_version": runtime_spec(load.runtime).version(),
        "load": msgspec.to_builtins(load),
        "bounds": msgspec.to_builtins(bounds),
        "reference_sha256": hashlib.sha256(reference_model()).hexdigest(),
    }


@contextlib.contextmanager
def agent(
    host: str,
    port: int,
    token: str,
    *,
    load: Load,
    bounds: Bounds = Bounds(),
    quota: Quota = Quota(),
    log: Callable[[str], None] = lambda _: None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[AgentServer]:
    """A listening agent; the caller lets it `serve_forever`. Closing it kills what it measures and removes its files."""
    with tempfile.TemporaryDirectory(prefix="edgenas-agent-") as folder:
        desk = Desk(load, bounds, quota, Path(folder))
        try:
            with AgentServer((host, port), Handler, desk, token, log, tls) as server:
                yield server
        finally:
            desk.close()
