"""In front of every endpoint: the token, and bodies that must arrive whole, in time and within their size."""

from __future__ import annotations

import asyncio
import hmac
import time
import zlib
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgenas.serve.errors import Refused

LINGER_S = 0.5
OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")  # what orchestrators ask without knowing a token


@dataclass(frozen=True)
class Bounds:
    """Of one request."""

    body_bytes: int = 32_000_000
    body_s: float = 10.0


class Guard:
    """ASGI middleware: reads the body itself, so that endpoints only ever see whole ones."""

    def __init__(self, app: ASGIApp, bounds: Bounds, token: str | None) -> None:
        self.app, self.bounds = app, bounds
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_token(scope["path"], headers.get("authorization", ""))
            raw = await self._body(headers, receive)
        except Refused as refused:
            if refused.status in (401, 413):
                await self._linger(receive)
            answer = JSONResponse({"error": str(refused)}, refused.status, {**refused.headers, "connection": "close"})
            await answer(scope, receive, send)
            return
        try:
            body = _inflated(raw, headers.get("content-encoding"), self.bounds.body_bytes)
        except Refused as refused:
            await JSONResponse({"error": str(refused)}, refused.status, refused.headers)(scope, receive, send)
            return

        served = False

        async def replay() -> Message:
            nonlocal served
            if served:
                return await receive()  # a disconnect
            served = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    def _check_token(self, path: str, header: str) -> None:
        if self.token is None or path in OPEN_PATHS:
            return
        scheme, _, given = header.partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refused(401, "a bearer token is needed", WWW_Authenticate="Bearer")

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.bounds.body_bytes:
            raise Refused(413, f"the body has {declared} bytes, {self.bounds.body_bytes} are allowed")
        deadline = time.monotonic() + self.bounds.body_s
        parts, size, more = [], 0, True
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise Refused(408, f"the body did not arrive within {self.bounds.body_s:g} s") from None
            if message["type"] == "http.disconnect":
                raise Refused(400, "the client went away")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self.bounds.body_bytes:
                raise Refused(413, f"the body is larger than {self.bounds.body_bytes} bytes")
        return b"".join(parts)

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


def _inflated(body: bytes, encoding: str | None, limit: int) -> bytes:
    """The body decompressed, never to more than `limit` bytes."""
    if encoding in (None, "", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refused(415, f"content-encoding {encoding!r}: gzip, deflate and none are understood")
    inflater = zlib.decompressobj(31 if encoding == "gzip" else 15)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refused(400, f"the {encoding} body is damaged: {error}") from error
    if len(plain) > limit:
        raise Refused(413, f"the decompressed body is larger than {limit} bytes")
    if not inflater.eof or inflater.unused_data:
        raise Refused(400, f"the {encoding} body is cut short or followed by other bytes")
    return plain
