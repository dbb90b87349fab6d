"""Boards as seen from the host: an agent behind HTTP here, a command behind SSH in ssh.py."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec

from edgenas.errors import EdgenasError
from edgenas.hardware.measure import MeasureError
from edgenas.records import Measurement
from edgenas.remote.agent import JOB_HEADER
from edgenas.remote.job import Answer, Job

CONNECT_S = 10.0
RETRIES = 3


class BoardAway(EdgenasError):  # noqa: N818 (a state of the board)
    """A board that does not answer now, and may do so later."""


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
    """An agent at http://host:port."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.username:
            raise EdgenasError(f"board {url!r}: an agent is given as http://HOST:PORT")
        self.url = url
        self._address = (parts.hostname, port_of(parts, url) or 8765)
        self._token = token

    def info(self) -> dict[str, Any]:
        return info_from(self._request("GET", "/v1/info")[1], self.url)

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
                answer = self._get(answer.id)
            if answer is not None:
                return measurement_of(answer, self.url)
        raise BoardAway(f"board {self.url}: the agent lost the job {RETRIES} times")

    def _post(self, model: bytes, job: Job, deadline: float) -> Answer:
        while True:
            code, body = self._request("POST", "/v1/jobs", model, {JOB_HEADER: job.canonical_json().decode()})
            if code != 503:
                return answer_from(body, self.url)
            if time.monotonic() > deadline:
                raise BoardAway(f"board {self.url}: too many other jobs are waiting there")
            time.sleep(1)

    def _get(self, job_id: str) -> Answer | None:
        """None where the agent does not know the job any more."""
        code, body = self._request("GET", f"/v1/jobs/{job_id}")
        return None if code == 404 else answer_from(body, self.url)

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status (2xx, 404 or 503) and body; other statuses are raised as what they say."""
        connection = http.client.HTTPConnection(*self._address, timeout=CONNECT_S)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BoardAway(f"board {self.url} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status == 401:
            raise EdgenasError(
                f"board {self.url} refuses the token: give the agent's with --token-file or EDGENAS_AGENT_TOKEN"
            )
        if response.status >= 400 and response.status not in (404, 503):
            raise EdgenasError(f"board {self.url} refuses ({response.status}): {_said(content)}")
        return response.status, content


class Info(msgspec.Struct, frozen=True):
    """What an agent says about itself, as far as it is relied on."""

    device: dict[str, Any]
    runtime: str
    runtime_version: str
    load: dict[str, Any]


def port_of(parts: SplitResult, url: str) -> int | None:
    """The port in a board's address; None where there is none."""
    try:
        return parts.port
    except ValueError as error:
        raise EdgenasError(f"board {url!r}: {error}") from error


def info_from(body: bytes, url: str) -> dict[str, Any]:
    """What an agent said about itself; EdgenasError where something else answered."""
    with _an_agent(url):
        info = msgspec.json.decode(body, type=dict[str, Any])
        msgspec.convert(info, type=Info)
    return info


def answer_from(body: bytes, url: str) -> Answer:
    """An agent's answer to a job; EdgenasError where something else answered."""
    with _an_agent(url):
        return msgspec.json.decode(body, type=Answer)


@contextlib.contextmanager
def _an_agent(url: str) -> Iterator[None]:
    """One line where what was read is not what an agent says."""
    try:
        yield
    except msgspec.MsgspecError as error:
        raise EdgenasError(
            f"board {url}: what answers there is no edgenas agent of this version ({error}): check the address, and install the "
            "same edgenas on both sides"
        ) from error


def measurement_of(answer: Answer, url: str) -> Measurement:
    """The measurement in an answer, or what went wrong as a MeasureError."""
    if answer.measurement is None:
        raise MeasureError(answer.status, f"board {url}: {answer.status}: {answer.error}")
    return answer.measurement


def _said(content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
