"""uvicorn around the application: slow headers are cut off, SIGTERM drains, a lost device ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from edgenas.errors import EdgenasError
from edgenas.remote.tls import Tls, server_context
from edgenas.serve.connection import BACKLOG, HEADER_S, Arriving, PatientProtocol, listeners
from edgenas.serve.logs import log_config
from edgenas.serve.model import ServedModel

LAME_DUCK_S = 1.0  # no longer accepting, still answering, closing every connection after its answer
Announce = Callable[[int, bool], None]  # the port, and whether the model is loaded
DRAIN_S = 30.0  # for what is being received and computed
RECEIVED_S = 20.0  # a request, before it waits its turn
CLOSING_S = 1.0  # the last connections, and the model


def drain_s(deadline_s: float, stop_grace_s: float | None = None) -> int:
    """How many seconds a server that was told to stop has for what it accepted: all of a grace, where one was named, less what it
    takes to begin and to end.

    EdgenasError where a request that has just come would be killed with the process when the grace is over.
    """
    needed = math.ceil(deadline_s + RECEIVED_S)
    if stop_grace_s is None:
        return max(math.ceil(DRAIN_S), needed)
    left = math.floor(stop_grace_s - LAME_DUCK_S - CLOSING_S)
    if left < needed:
        raise EdgenasError(
            f"--deadline-s {deadline_s:g} needs {needed + LAME_DUCK_S + CLOSING_S:g} s to stop in, and what stops this server "
            f"waits for {stop_grace_s:g} s (--stop-grace-s, EDGENAS_STOP_GRACE_S; the compose files: STOP_GRACE_S): "
            "let it wait longer, or choose a shorter deadline"
        )
    return left


class Server(uvicorn.Server):
    """Loads the model while it listens; ends by itself when told to, or when the model or device fails."""

    def __init__(
        self,
        config: uvicorn.Config,
        model: ServedModel,
        announce: Announce,
        count: Callable[[int], None],
        stop_grace_s: float | None = None,
    ) -> None:
        """`count`: told the status of every answer that the application does not give. `stop_grace_s`: see `drain_s`."""
        self.arriving: Arriving = {}
        config.http = functools.partial(PatientProtocol, arriving=self.arriving, count=count)  # type: ignore[assignment]
        config.timeout_graceful_shutdown = drain_s(model.deadline_s, stop_grace_s)
        super().__init__(config)
        self.model, self.announce = model, announce
        self.failure = ""
        self.told = False  # by a signal
        self.loaded = False

    def fail(self, reason: str) -> None:
        """End the process with an error, so that whoever started it starts it again."""
        self.failure = self.failure or reason
        self.model.draining = True
        self.should_exit = True

    async def serve_model(self) -> None:
        """EdgenasError where it cannot listen."""
        sockets = listeners(self.config.host, self.config.port, self.arriving)
        loading = asyncio.create_task(self.model.load())
        loading.add_done_callback(self._loaded)
        try:
            await self.serve([*sockets])
        finally:
            loading.cancel()
            await asyncio.wait([loading])

    def _loaded(self, loading: asyncio.Task[None]) -> None:
        """Whatever keeps the model from being loaded ends the process: a server that never gets ready helps nobody."""
        error = None if loading.cancelled() else loading.exception()
        if isinstance(error, EdgenasError):
            self.fail(str(error))
        elif error is not None:
            words = " ".join(str(error).split())[:300]
            self.fail(f"the model could not be loaded: {type(error).__name__}{': ' if words else ''}{words}")
        elif not loading.cancelled():
            self.loaded = True
            self._announce()

    def _announce(self) -> None:
        """Say where it listens, and whether the model is loaded, without which it answers 503."""
        if self.started:
            self.announce(self.servers[0].sockets[0].getsockname()[1], self.loaded)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.is_ssl:
            loop = asyncio.get_running_loop()
            # A handshake is a part of the request's headers; asyncio's own limit is a minute.
            create_server = functools.partial(loop.create_server, ssl_handshake_timeout=HEADER_S)
            loop.create_server = create_server  # type: ignore[method-assign]  # uvicorn has no setting for it
        await super().startup(sockets)
        self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain. Exit code 0 afterwards: this is how a server is meant to end. A second one does not wait, and
        the exit code is 1."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        if self.told:
            end_now(1, "stopped at once: what was being answered was not")
        self.told = True
        asyncio.get_running_loop().call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Whoever comes now is refused, so nothing more is accepted; who is here is answered, and then told to go. Nothing was
        accepted while the model loads."""
        for listener in self.servers:
            listener.close()
        self.model.draining = True
        asyncio.get_running_loop().call_later(LAME_DUCK_S if self.loaded else 0.0, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int
    tls: Tls | None = None

    def url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{port}"


def server_config(app: ASGIApp, address: Address) -> uvicorn.Config:
    """How uvicorn is set up; EdgenasError where certificate and key cannot be used."""
    if address.tls is not None:
        server_context(address.tls)
    return uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        ssl_certfile=address.tls.certificate if address.tls else None,
        ssl_keyfile=address.tls.key if address.tls else None,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=log_config(),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=16_384,
        limit_concurrency=None,
    )


def end_now(code: int, words: str) -> None:
    """End the process without waiting for its threads, one of which may be building an engine; what it started goes along."""
    os.write(2, f"{words}\n".encode())
    os._exit(code)


def run_server(
    app: ASGIApp,
    model: ServedModel,
    address: Address,
    on_lost: list[Server],
    announce: Announce,
    count: Callable[[int], None] = lambda _: None,
    stop_grace_s: float | None = None,
) -> None:
    """Serve until a signal comes; `announce` is given the port as soon as it listens, and again when the model is loaded (True);
    `count` the status of every answer that the application does not give. A signal while the model loads ends the process. What
    sends it waits for `stop_grace_s`, and then kills; None: as long as it takes.

    EdgenasError where the port is taken, the self-test fails or the device is lost.
    """
    server = Server(server_config(app, address), model, announce, count, stop_grace_s)
    logging.captureWarnings(
        True
    )  # libraries warn of what clients send, such as pictures that are refused for their size
    on_lost.append(server)
    try:
        asyncio.run(server.serve_model())
    finally:
        if server.told and not server.loaded and not server.failure:
            end_now(0, "stopped while the model was loading")
        model.close()
    if server.failure:
        raise EdgenasError(server.failure)
