"""HTTP/1.1 connections that are not for ever: slow handshakes, headers and readers, half-closed ones, more than there may be."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgenas.errors import EdgenasError
from edgenas.remote.listener import end

HEADER_S = 10.0  # to send all headers of a request in
# In this time a client takes so much of the answers that wait for it, or the last of them. Where a TLS connection is closed it is
# all of them: asyncio does not say what still waits, and gives up after as long.
TAKEN_S, TAKEN_BYTES = 30.0, 16_384
CONNECTIONS = 256  # at the same time; and as many more that have been taken up and are not there yet
BACKLOG = 64  # that are taken up in one turn of the event loop
WAITING = 2048  # to be taken up
Arriving = dict[int, socket.socket]  # by file descriptor, oldest first: up to the handshake, and until they are there


class Listener(socket.socket):
    """A listening socket. Where too many of those that it took up are not there yet, the oldest of them is ended."""

    arriving: Arriving

    def listen(self, backlog: int = WAITING) -> None:  # noqa: ARG002  # asyncio takes up as many in a turn
        super().listen(WAITING)

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        for number in [number for number, one in self.arriving.items() if one.fileno() != number]:  # closed meanwhile
            del self.arriving[number]
        if len(self.arriving) >= CONNECTIONS:
            end(self.arriving.pop(next(iter(self.arriving))))
        self.arriving[connection.fileno()] = connection
        return connection, address


def listeners(host: str, port: int, arriving: Arriving) -> list[Listener]:
    """Bound to every address that the host has; EdgenasError where that cannot be."""
    opened: list[Listener] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, *_, address in dict.fromkeys(found):  # /etc/hosts may name one twice
            opened.append(listener := Listener(family, socket.SOCK_STREAM))
            listener.arriving = arriving
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except (OSError, UnicodeError) as error:
        for listener in opened:
            listener.close()
        why = getattr(error, "strerror", None) or "no name of a host"
        raise EdgenasError(f"cannot listen on {host}:{port} ({why}): choose another --host or --port") from error
    return opened


class _Ending:
    """A transport that says when it is closed, and may be closed twice (asyncio forgets a TLS connection then)."""

    def __init__(self, transport: asyncio.Transport, closed: Callable[[], None]) -> None:
        self._transport, self._closed, self._is_closed = transport, closed, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._is_closed or self._transport.is_closing()

    def close(self) -> None:
        if not self.is_closing():
            self._is_closed = True
            self._transport.close()
            self._closed()


class PatientProtocol(H11Protocol):
    """Closes a connection whose headers do not arrive in time, or whose answers are not taken; of too many the one idle longest.

    `arriving`: what the Listener waits for; `count` is told the status of an answer that the application does not give.
    """

    def __init__(self, *args: Any, arriving: Arriving, count: Callable[[int], None], **named: Any) -> None:
        super().__init__(*args, **named)
        self._arriving, self._count = arriving, count

    _header_timer: asyncio.TimerHandle | None = None
    _taken_timer: asyncio.TimerHandle | None = None
    _untaken = 0  # bytes that waited for the client when the timer was set
    _waiting_since = 0.0
    _is_late = False
    _ends = False  # the client has sent all that it will send, and waits for answers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        self._arriving.pop(transport.get_extra_info("socket").fileno(), None)
        super().connection_made(_Ending(transport, self._expect_taken))  # type: ignore[arg-type]  # all else is the transport's
        self._watch()
        if len(self.connections) > CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._is_late:  # said only now: an answer before the request has been read would be lost to a reset
            message = f"{CONNECTIONS} connections are being answered already"
            self._last_words(503, "Service Unavailable", message, {"retry-after": "1"})
            return
        super().data_received(data)
        self._watch()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes at once
        """Whether the connection stays open for the answers to what was sent before."""
        asked = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        self._ends = asked and self.scheme == "http"  # a TLS connection cannot be half closed
        if not self._ends:
            self._expect_taken()  # asyncio closes it
        return self._ends

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()
        if self._ends and self.cycle.response_complete and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taken()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()
        self._expect_nothing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so as everything else is."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._last_words(400, "Bad Request", msg, {})
        else:
            self.transport.close()

    def _make_room(self) -> None:
        """Connections in the middle of a request stay; of the others the one goes that has sent no request for longest."""
        idle = [one for one in self.connections if isinstance(one, PatientProtocol) and one is not self and one.is_idle]
        if idle:
            min(idle, key=lambda one: one._waiting_since).transport.close()
        else:
            self._is_late = True

    @property
    def is_idle(self) -> bool:
        """Between two requests, or before the headers of one are there."""
        return self.conn.their_state is h11.IDLE and not self.transport.is_closing()

    def _last_words(self, status: int, reason: str, message: str, headers: Mapping[str, str]) -> None:
        self._count(status)
        body = json.dumps({"error": message})
        lines = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.transport.write(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n{body}".encode())
        self.transport.close()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._header_timer is None:
            self._waiting_since = time.monotonic()
            self._header_timer = self.loop.call_later(HEADER_S, self._give_up)

    def _forget(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        self._header_timer = None
        if self.is_idle:
            self.transport.close()

    def _expect_taken(self) -> None:
        """What waits for the client, and the closing of a connection, waits only so long."""
        if self._taken_timer is None:
            self._untaken = self.transport.get_write_buffer_size()
            self._taken_timer = self.loop.call_later(TAKEN_S, self._check_taken)

    def _check_taken(self) -> None:
        self._taken_timer = None
        if self._untaken - self.transport.get_write_buffer_size() < TAKEN_BYTES:
            self.transport.abort()
        else:
            self._expect_taken()

    def _expect_nothing(self) -> None:
        if self._taken_timer is not None:
            self._taken_timer.cancel()
            self._taken_timer = None
