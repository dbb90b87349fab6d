"""In front of every endpoint: who asks, and bodies that must arrive whole, in time and within their size.

The order matters: before the page, the host and the token are known to be right, nothing of a body is kept.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgenas.serve.errors import RequestRefused
from edgenas.serve.origin import refuse_foreign_host, refuse_foreign_page
from edgenas.serve.protocol import integer
from edgenas.serve.reading import WINDOW, Budget, Reader, Share, inflated

LINGER_S = 0.5
OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")  # what orchestrators ask without knowing a token


@dataclass(frozen=True)
class RequestBounds:
    """Of one request, and of all bodies that are held at the same time."""

    body_bytes: int = 32_000_000
    body_s: float = 10.0
    bodies: int = 4  # of the largest size


class Guard:
    """ASGI middleware: reads the body itself, so that endpoints only ever see whole ones."""

    def __init__(self, app: ASGIApp, bounds: RequestBounds, token: str | None, reader: Reader) -> None:
        self.app, self.bounds, self.token, self.reader = app, bounds, token, reader
        self.budget = Budget(bounds.bodies * bounds.body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        share = Share(self.budget)
        try:
            await self._answer(scope, headers, share, receive, send)
        finally:
            share.close()

    async def _answer(self, scope: Scope, headers: dict[str, str], share: Share, receive: Receive, send: Send) -> None:
        try:
            encoding = self._checked(scope, headers)
            body = b"" if encoding is None else await self._body(headers, receive, share)
        except RequestRefused as refused:
            if refused.status != 408 and "expect" not in headers:
                await self._linger(receive)
            answer = JSONResponse({"error": str(refused)}, refused.status, {**refused.headers, "connection": "close"})
            await answer(scope, receive, send)
            return
        if encoding in WINDOW:
            packed, limit = body, self.bounds.body_bytes
            try:
                body = await self.reader.run(lambda: inflated(packed, encoding, limit, share.take))
            except RequestRefused as refused:
                await JSONResponse({"error": str(refused)}, refused.status, refused.headers)(scope, receive, send)
                return
        await self.app(scope, _replayed(body, receive), send)

    def _checked(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """The encoding of a body that may be read, None where there is none; RequestRefused before a byte of it is kept."""
        refuse_foreign_page(headers)
        if self.token is None:
            refuse_foreign_host(headers, scope["server"])
        self._check_token(scope["path"], headers.get("authorization", ""))
        if scope["path"] in OPEN_PATHS or scope["method"] != "POST":
            if integer(headers.get("content-length", "0")) != 0 or "transfer-encoding" in headers:
                raise RequestRefused(400, f"{scope['method']} takes no body here")
            return None
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", *WINDOW):
            raise RequestRefused(415, f"content-encoding {encoding[:40]!r}: gzip, deflate and none are understood")
        return encoding

    def _check_token(self, path: str, header: str) -> None:
        if self.token is None or path in OPEN_PATHS:
            return
        scheme, _, given = header.partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise RequestRefused(401, "a bearer token is needed", WWW_Authenticate="Bearer")

    async def _body(self, headers: dict[str, str], receive: Receive, share: Share) -> bytes:
        limit, declared = self.bounds.body_bytes, headers.get("content-length", "0")
        size = integer(declared)
        if size is None or size > limit:
            raise RequestRefused(413, f"the body has {declared[:40]} bytes, {limit} are allowed")
        deadline = time.monotonic() + self.bounds.body_s
        body, more = bytearray(), True
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise RequestRefused(408, f"the body did not arrive within {self.bounds.body_s:g} s") from None
            if message["type"] == "http.disconnect":
                raise RequestRefused(400, "the client went away")
            part = message.get("body", b"")
            if len(body) + len(part) > limit:
                raise RequestRefused(413, f"the body is larger than {limit} bytes")
            share.take(len(part))
            body += part
            more = message.get("more_body", False)
        return bytes(body)

    async def _linger(self, receive: Receive) -> None:
        """Throw away a little more, since a client that is still sending would lose the answer to a reset connection."""
        deadline, left, more = time.monotonic() + LINGER_S, self.bounds.body_bytes, True
        while more and left > 0:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                return
            left -= len(message.get("body", b"")) or 1
            more = message["type"] == "http.request" and message.get("more_body", False)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The whole body at once, then whatever the connection says (a disconnect)."""
    served = False

    async def replay() -> Message:
        nonlocal served
        if served:
            return await receive()
        served = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
