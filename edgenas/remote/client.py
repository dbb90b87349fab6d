"""Boards as seen from the host: an agent behind HTTP here, a command behind SSH in ssh.py."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from edgenas.errors import EdgenasError
from edgenas.hardware.measure import MeasureError, Say, no_one
from edgenas.records import Measurement
from edgenas.remote.agent import JOB_HEADER
from edgenas.remote.heard import answer_from, info_from, measurement_of, printable
from edgenas.remote.job import Answer, Job
from edgenas.remote.listener import end
from edgenas.remote.tls import client_context, distrust, is_loopback

DEFAULT_PORT = 8765  # of agents
CONNECT_S = 10.0  # and for every silence
REQUEST_S = 90.0  # for a whole request: the agent's own bound, and a slow line's
BUSY_S = 60.0  # how long a board may be too busy to say what it is
LONGEST_PAUSE_S = 10.0  # whatever its Retry-After says
LARGEST_ANSWER = 64_000_000  # bytes
RETRIES = 3
PASSING = (408, 421, 422, 425, 429)  # and all of 500 and more: of the way to the board, or of what else it does


class BoardAway(EdgenasError):  # noqa: N818 (a state of the board)
    """A board that does not answer now, and may do so later."""


def measured(answer: Answer, job: Job, url: str) -> Measurement:
    """The measurement in an answer. Raises MeasureError where the model could not be measured, BoardAway where its board was not
    free to, EdgenasError where it is no answer to this job."""
    if answer.status == "busy":
        raise BoardAway(f"board {url} cannot measure now: {printable(answer.error)}")
    return measurement_of(answer, job, url)


class Board(Protocol):
    """Somewhere to measure. `url` is what the user called it."""

    url: str

    def info(self) -> dict[str, Any]:
        """What runs there; raises BoardAway."""
        ...

    def measure(self, model: bytes, job: Job) -> Measurement:
        """Raises BoardAway where nobody answers, MeasureError where the model could not be measured."""
        ...


class HttpBoard:
    """An agent at http://host:port or https://host:port, whose certificate is checked by the CAs in the file `ca`,
    $EDGENAS_AGENT_CA or the system. `say` is told once that the token is about to travel in the clear."""

    def __init__(self, url: str, token: str, ca: Path | None = None, say: Say = no_one) -> None:
        parts, host, port = address_of(url)
        if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/") or parts.username:
            raise EdgenasError(f"board {url!r}: an agent is given as http://HOST:PORT or https://HOST:PORT")
        if "?" in url or "#" in url:
            raise EdgenasError(
                f"board {url!r}: nothing may stand behind the port: what an agent measures with is said where it is started, "
                "such as `edgenas agent --runtime tensorrt`"
            )
        self.url = url
        self._address = (host, DEFAULT_PORT if port is None else port)
        self._token = token
        self._tls = client_context(ca) if parts.scheme == "https" else None
        self._say, self._warned = say, False

    def info(self) -> dict[str, Any]:
        return info_from(self._request("GET", "/v1/info", time.monotonic() + BUSY_S)[1], self.url)

    def measure(self, model: bytes, job: Job) -> Measurement:
        deadline = time.monotonic() + 2 * job.deadline_s + 60
        for _ in range(RETRIES):
            answer: Answer | None = self._post(model, job, deadline)
            pause = 0.05
            while answer is not None and answer.status in ("queued", "running"):
                if time.monotonic() > deadline:
                    raise BoardAway(f"board {self.url}: job {answer.id} is {answer.status} for too long")
                time.sleep(pause)
                pause = min(2 * pause, 0.4)
                answer = self._get(job.id, deadline)
            if answer is not None:
                return measured(answer, job, self.url)
        raise BoardAway(f"board {self.url}: the agent lost the job {RETRIES} times")

    def _post(self, model: bytes, job: Job, deadline: float) -> Answer:
        headers = {JOB_HEADER: job.canonical_json().decode()}
        return answer_from(self._request("POST", "/v1/jobs", deadline, model, headers)[1], self.url)

    def _get(self, job_id: str, deadline: float) -> Answer | None:
        """None where the agent does not know the job any more."""
        code, body = self._request("GET", f"/v1/jobs/{job_id}", deadline)
        return None if code == 404 else answer_from(body, self.url)

    def _request(
        self, method: str, path: str, deadline: float, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status (2xx or 404) and body; a board that is too busy (503) is asked again until `deadline`. Raises BoardAway for what
        passes, MeasureError for a model that is too large (413), EdgenasError for all else."""
        while True:
            response, content = self._once(method, path, body, headers or {})
            if response.status != 503:
                break
            asked = response.headers.get("Retry-After", "1")
            pause = min(float(asked) if asked.isascii() and asked.isdigit() else 1.0, LONGEST_PAUSE_S)
            if time.monotonic() + pause > deadline:
                raise BoardAway(f"board {self.url} is too busy: {_said(content) or 'too many others are connected'}")
            time.sleep(pause)
        if response.status == 401:
            raise EdgenasError(
                f"board {self.url} refuses the token: give the agent's with --token-file or EDGENAS_AGENT_TOKEN"
            )
        refusal = f"board {self.url} refuses ({response.status}): {_said(content)}"
        if response.status in PASSING or response.status >= 500:
            raise BoardAway(refusal)
        if response.status == 413:
            raise MeasureError("refused", refusal)
        if response.status >= 400 and response.status != 404:
            raise EdgenasError(refusal)
        return response.status, content

    def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request, done within REQUEST_S however slowly its answer drips."""
        connection = self._connection()
        overdue = threading.Event()
        watch: threading.Timer | None = None
        try:
            self._connect(connection)
            watch = threading.Timer(REQUEST_S, _hang_up, (connection.sock, overdue))
            watch.daemon = True
            watch.start()
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **headers})
            with connection.getresponse() as response:
                content = response.read(LARGEST_ANSWER + 1)
            if overdue.is_set() or (response.length and len(content) <= LARGEST_ANSWER):
                raise http.client.IncompleteRead(content, response.length)
        except (OSError, http.client.HTTPException) as error:
            reason = f"its answer was not there after {REQUEST_S:.0f} s" if overdue.is_set() else printable(str(error))
            if self._tls is None and isinstance(error, http.client.BadStatusLine | ConnectionResetError):
                reason += " (an agent with a certificate is asked as https://)"
            raise BoardAway(f"board {self.url} does not answer: {reason or type(error).__name__}") from error
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()
        if len(content) > LARGEST_ANSWER:
            raise EdgenasError(
                f"board {self.url} answers with more than {LARGEST_ANSWER / 1e6:.0f} MB: this is no agent"
            )
        return response, content

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(*self._address, timeout=CONNECT_S)
        return http.client.HTTPSConnection(*self._address, timeout=CONNECT_S, context=self._tls)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        """Up to where the token is sent; EdgenasError where waiting would not help."""
        try:
            connection.connect()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise  # hung up while shaking hands: away, as without TLS
        except ssl.SSLError as error:
            raise distrust(error, self.url, self._address[0]) from error
        except UnicodeError as error:
            raise EdgenasError(f"board {self.url}: {self._address[0]!r} is no name of a host") from error
        if self._tls is None and not self._warned and not is_loopback(connection.sock.getpeername()[0]):
            self._warned = True
            self._say(
                f"warning: board {self.url} is asked over plain HTTP, and whoever listens in reads the token and the models: "
                "start the agent with --tls-cert and --tls-key and ask for https://, or use an ssh:// board"
            )


def _hang_up(connection: socket.socket, overdue: threading.Event) -> None:
    overdue.set()
    end(connection)


def address_of(url: str) -> tuple[SplitResult, str, int | None]:
    """The parts of a board's address, its host as it was written (a name in ssh's configuration may have capitals), and its
    port, None where there is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EdgenasError(f"board {url!r}: {error}") from error
    if port == 0:
        raise EdgenasError(f"board {url!r}: port 0 is none: give the one that the board listens on")
    place = parts.netloc.rpartition("@")[2]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    return parts, unquote(host), port


def _said(content: bytes) -> str:
    try:
        said = str(msgspec.json.decode(content)["error"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        said = content.decode(errors="replace")
    return str(printable(said[:500]))
