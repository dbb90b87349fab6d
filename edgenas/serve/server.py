"""uvicorn around the application: slow headers are cut off, SIGTERM drains, a lost device ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
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
from edgenas.serve.connection import HEADER_S, PatientProtocol
from edgenas.serve.logs import log_config
from edgenas.serve.model import ServedModel

LAME_DUCK_S = 1.0  # no longer accepting, still answering, closing every connection after its answer
Announce = Callable[[int, bool], None]  # the port, and whether the model is loaded
DRAIN_S = 30.0  # for what is being computed


class Server(uvicorn.Server):
    """Loads the model while it listens; ends by itself when told to, or when the model or device fails."""

    def __init__(self, config: uvicorn.Config, model: ServedModel, announce: Announce) -> None:
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
        loading = asyncio.create_task(self.model.load())
        loading.add_done_callback(self._loaded)
        try:
            await self.serve()
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
        """SIGTERM and SIGINT drain; a second one does not wait. Exit code 0 afterwards: this is how a server is meant to end."""
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
            self.should_exit = self.force_exit = True
            return
        self.told = True
        asyncio.get_running_loop().call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Whoever comes now is refused, so nothing more is accepted; who is here is answered, and then told to go."""
        for listener in self.servers:
            listener.close()
        self.model.draining = True
        asyncio.get_running_loop().call_later(LAME_DUCK_S, self._stop)

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
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=log_config(),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(DRAIN_S),
        h11_max_incomplete_event_size=16_384,
        limit_concurrency=None,
    )


def run_server(app: ASGIApp, model: ServedModel, address: Address, on_lost: list[Server], announce: Announce) -> None:
    """Serve until a signal comes; `announce` is given the port as soon as it listens, and again when the model is loaded (True).

    EdgenasError where the port is taken, the self-test fails or the device is lost.
    """
    server = Server(server_config(app, address), model, announce)
    logging.captureWarnings(
        True
    )  # libraries warn of what clients send, such as pictures that are refused for their size
    on_lost.append(server)
    try:
        asyncio.run(server.serve_model())
    except SystemExit as error:  # uvicorn's way to say that it cannot listen
        where = f"{address.host}:{address.port}"
        raise EdgenasError(f"cannot listen on {where}: choose another --host or --port") from error
    finally:
        model.close()
    if server.failure:
        raise EdgenasError(server.failure)
