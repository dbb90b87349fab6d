"""The page over HTTP on this machine alone, fresh while a search runs.

Nothing but GET of three paths is answered, and only where the request calls this server by one of its own names: a page of
another site that lets its name point to 127.0.0.1 (DNS rebinding) is refused.
"""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

from edgenas.errors import EdgenasError
from edgenas.report.facts import Facts, read_facts
from edgenas.report.html import Content, content_from_studies, content_policy, html_from_content, scripts_of

HOST = "127.0.0.1"
PATIENCE_S = 10.0  # for a request to arrive
FILES = ("study.db", "study.db-wal")  # what changes when a study is written


class Page:
    """The studies' page as it was last read. Made anew when a file of a study has changed since; threads share one."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises EdgenasError where a study cannot be read, or an extra is missing."""
        self.folders = tuple(folders)
        self._lock = threading.Lock()
        self._stamp = self._stamped()
        self._keep(content_from_studies(self._read()), "")

    def now(self) -> tuple[Content, str, str]:
        """The content, its tag, and what kept the newest state from being read, "" where nothing did: then the one before
        stays."""
        with self._lock:
            stamp = self._stamped()
            if stamp != self._stamp or self.trouble:
                try:
                    self._keep(content_from_studies(self._read()), "")
                    self._stamp = stamp
                except EdgenasError as error:
                    self._keep(self.content, str(error))
            return self.content, self.tag, self.trouble

    def _read(self) -> list[Facts]:
        return [read_facts(folder) for folder in self.folders]

    def _keep(self, content: Content, trouble: str) -> None:
        self.content, self.trouble = content, trouble
        told = json.dumps([content.title, content.main, content.data, trouble]).encode()
        self.tag = f'"{hashlib.sha256(told).hexdigest()[:16]}"'

    def _stamped(self) -> tuple[tuple[int, int], ...]:
        """Size and time of change of every file that is written; (0, 0) for one that is not there."""
        return tuple(_stat(folder / name) for folder in self.folders for name in FILES)


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only; EdgenasError where the port is taken. `port` 0 takes a free one."""

    daemon_threads = True

    def __init__(self, page: Page, port: int) -> None:
        self.page = page
        self.scripts = scripts_of(live=True)
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise EdgenasError(
                f"cannot listen on {HOST}:{port} ({error.strerror}): give another --port, or --port 0 for a free one"
            ) from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    @property
    def names(self) -> tuple[str, ...]:
        """What a request may call this server, in small letters."""
        names = (HOST, "localhost")
        return (*(f"{name}:{self.server_port}" for name in names), *(names if self.server_port == 80 else ()))

    def run(self, announce: Callable[[], None]) -> None:
        """Until Ctrl-C or SIGTERM; `announce` is called when both are heard."""

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            threading.Thread(target=self.shutdown).start()  # it waits for the loop that this signal interrupts

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            announce()
            self.serve_forever(poll_interval=0.2)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in mid-answer is no news; any other error is a bug and keeps its traceback."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError | socket.timeout):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers GET alone: the page, its content as JSON, and nothing for a browser's wish for an icon."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def do_GET(self) -> None:  # http.server's name
        if not self._ours():
            self._refuse(HTTPStatus.FORBIDDEN, f"this server is {self.server.url}, and answers to no other name")
            return
        path = self.path.partition("?")[0]
        if path == "/":
            content, tag, trouble = self.server.page.now()
            page = html_from_content(content, self.server.scripts, tag=tag, trouble=trouble)
            self._answer(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", policy=True)
        elif path == "/content.json":
            self._content()
        elif path == "/favicon.ico":
            self._answer(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is / and /content.json")

    def _content(self) -> None:
        content, tag, trouble = self.server.page.now()
        if self.headers.get("If-None-Match") == tag:
            self._answer(HTTPStatus.NOT_MODIFIED, b"", "application/json", tag=tag)
            return
        document = {"title": content.title, "main": content.main, "data": content.data, "trouble": trouble}
        body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        self._answer(HTTPStatus.OK, body, "application/json", tag=tag)

    def _ours(self) -> bool:
        """Does the request name this server, and does it come from no page of another site?"""
        hosts = self.headers.get_all("Host") or []
        foreign = self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        return len(hosts) == 1 and hosts[0].strip().lower() in self.server.names and not foreign

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True
        self._answer(status, f"{reason}\n".encode(), "text/plain; charset=utf-8")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str, *, tag: str = "", policy: bool = False) -> None:
        self.send_response(status)
        if body or status == HTTPStatus.OK:
            self.send_header("Content-Type", kind)
        if status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
            self.send_header("Content-Length", str(len(body)))
        headers = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Frame-Options": "DENY",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        allowed = content_policy(self.server.scripts.values(), live=True) if policy else "default-src 'none'"
        self.send_header("Content-Security-Policy", f"{allowed}; frame-ancestors 'none'")
        if tag:
            self.send_header("ETag", tag)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself: methods without a do_NAME are 501 there, and what is meant is 405."""
        del explain
        self.close_connection = True
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        if not hasattr(self, "headers"):  # the request line itself was none
            self.requestline, self.request_version, self.command = "", "HTTP/1.1", ""
        self._refuse(
            status, "only GET is answered" if status == HTTPStatus.METHOD_NOT_ALLOWED else message or status.phrase
        )

    def version_string(self) -> str:
        return "edgenas"

    def log_message(self, format: str, *args: Any) -> None:  # http.server's name
        """Requests of a browser on this machine are no news."""
