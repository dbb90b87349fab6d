"""The agent's listening socket: a bounded number of connections, each for a bounded time, with TLS where it is asked for."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from edgenas.errors import EdgenasError
from edgenas.remote.desk import Desk
from edgenas.remote.heard import printable

SHOW_TOKEN_S = 0.5  # after which a client without one gives way where all connections are taken
SENT_AWAY = 8  # clients that are told at once that all connections are taken; more are closed
SENT_AWAY_S = 1.0  # for what such a client is told, its handshake included
LINGER_S, LINGER_PAUSE_S = 2.0, 0.2  # for what a refused client still sends, and for a pause in it
CHUNK = 65536


class AgentServer(ThreadingMixIn, HTTPServer):
    """A bounded number of connections, each for a bounded time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        desk: Desk,
        token: str,
        log: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.desk, self.token, self.log, self._tls = desk, token, log, tls
        self._sent_away = threading.BoundedSemaphore(SENT_AWAY)
        self.uploads = threading.BoundedSemaphore(desk.quota.uploads)
        self._open: dict[socket.socket, float] = {}
        # of those the ones that have not shown the token, oldest first
        self._strangers: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        try:
            super().__init__(address, handler)
        except (OSError, UnicodeError) as error:
            code = getattr(error, "errno", None)
            nowhere = isinstance(error, socket.gaierror | UnicodeError) or code == errno.EADDRNOTAVAIL
            advice = "give --host an IPv4 address of this machine" if nowhere else "choose another --port"
            why = getattr(error, "strerror", None) or "no name of a host"
            raise EdgenasError(f"cannot listen on {address[0]}:{address[1]}: {why}; {advice}") from error

    def server_bind(self) -> None:
        """Without HTTPServer's question to the name server what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]  # IPv4

    def get_request(self) -> tuple[socket.socket, Any]:
        """The handshake comes with the first read, in the connection's own thread and time."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            if len(self._open) >= self.desk.quota.connections:
                self._end_oldest_stranger()
            full = len(self._open) >= self.desk.quota.connections
            if not full:
                self._open[request] = self._strangers[request] = time.monotonic()
        if not full:
            super().process_request(request, client_address)
        elif self._sent_away.acquire(blocking=False):
            threading.Thread(target=self._send_away, args=(request,), daemon=True).start()
        else:
            super().shutdown_request(request)

    def _send_away(self, request: socket.socket) -> None:
        """Say 503 to a client that finds all connections taken."""
        try:
            with contextlib.suppress(OSError):
                request.settimeout(SENT_AWAY_S)
                request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
                linger(request)
        finally:
            self._sent_away.release()
            super().shutdown_request(request)

    def _end_oldest_stranger(self) -> None:
        """Make room: who has the token shows it at once, and may not be kept out by those who hold connections without one."""
        oldest, since = next(iter(self._strangers.items()), (None, 0.0))
        if oldest is not None and time.monotonic() - since > SHOW_TOKEN_S:
            del self._open[oldest], self._strangers[oldest]
            end(oldest)

    def trust(self, request: socket.socket) -> None:
        """The client of this connection has shown the token."""
        with self._guard:
            self._strangers.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.pop(request, None)
            self._strangers.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Between polls: end connections that drip."""
        with self._guard:
            now, quota = time.monotonic(), self.desk.quota
            overdue = [s for s, since in self._open.items() if now - since > quota.request_s]
            overdue += [s for s, since in self._strangers.items() if now - since > quota.stranger_s]
        for connection in overdue:
            end(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (socketserver's signature)
        """Clients that hang up are no news; anything else is logged, in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            self.log(f"{client_address[0]}: {type(error).__name__}: {printable(str(error))}")


def linger(connection: socket.socket) -> None:
    """Read some of what a refused client still sends: closing at once would take the answer away from it."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(LINGER_PAUSE_S)
    deadline = time.monotonic() + LINGER_S
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline and connection.recv(CHUNK):
            pass


def end(connection: socket.socket) -> None:
    """Wake the thread that reads or writes here. SSLSocket's own shutdown takes the encryption away first: what that thread
    writes meanwhile would be readable."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
