"""HTTP as bytes: requests that are nearly right, and what was answered, read strictly."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.mutation import RANDOMS, mutated

PATIENCE_S = 30.0  # within which a connection is answered or closed
METHODS = (
    "GET",
    "POST",
    "POST",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
    "P\0ST",
    "",
)
ODD_HEADERS = (
    "Content-Length: -1", "Content-Length: 0", "Content-Length: 7", "Content-Length: " + "9" * 5000, "Content-Length: 1e3",
    "Content-Length: +5",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: x", "Content-Encoding: gzip",
    "Content-Encoding: br",
    "Content-Encoding: deflate", "Content-Encoding: gzip, gzip", "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/json",
    "Content-Type: image/png", "Expect: 100-continue", "Expect: x", "Upgrade: websocket",
    "Connection: Upgrade, HTTP2-Settings", "Connection: close",
    "Connection: keep-alive", "Host: evil.example", "Host: 127.0.0.1", "Host:", "Origin: http://evil.example",
    "Origin: null", "Sec-Fetch-Site: cross-site",
    "Inference-Header-Content-Length: 10", "Inference-Header-Content-Length: -1",
    "Inference-Header-Content-Length: " + "9" * 5000,
    "Inference-Header-Content-Length: ²", "Authorization: Bearer", "Authorization: Basic eDp4",
    "Authorization: Bearer \xff", "X: " + "a" * 9000,
    "X: " + "a" * 90_000, "X", ": x", "X : y", "X: \0", "X: \x1b[31m", "Range: bytes=0-1", "Accept: text/html",
    "Accept-Encoding: gzip", "Cookie: " + "a=b; " * 500,
)  # fmt: skip


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def exchange(port: int, content: bytes, patience_s: float = PATIENCE_S) -> bytes | None:
    """All that comes back for these bytes and the end of them; None where the connection stays open without a word."""
    answer, until = b"", time.monotonic() + patience_s
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        with contextlib.suppress(OSError):  # refused while still being sent: the answer may be there all the same
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        try:
            while part := connection.recv(65536):
                answer += part
                connection.settimeout(max(0.1, until - time.monotonic()))
        except TimeoutError:
            return None
        except OSError:
            pass  # reset after its answer, or instead of one: closed
    return answer


def replies(answer: bytes, *, heads: bool) -> list[Reply]:
    """The answers on one connection. Raises ValueError where they are not whole HTTP. `heads`: some may have no body."""
    found: list[Reply] = []
    while answer:
        head, end, rest = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = re.fullmatch(r"HTTP/1\.[01] ([1-5]\d\d)( [ -~]*)?", lines[0])
        fields = [re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)", line) for line in lines[1:]]
        if not end or status is None or None in fields:
            raise ValueError(f"no HTTP answer: {answer[:200]!r}")
        headers = {field[1].lower(): field[2] for field in fields if field}
        code = int(status[1])
        if code < 200 or code in (204, 304):
            length = 0
        elif "content-length" in headers:
            length = int(headers["content-length"])
        else:
            length = len(rest)
        if len(rest) < length and not (heads and not rest):
            raise ValueError(f"an answer of {length} bytes ends after {len(rest)}: {answer[:200]!r}")
        if heads and length and re.match(rb"HTTP/1\.[01] [1-5]\d\d ", rest):
            length = 0
        if code >= 200:
            found.append(Reply(code, headers, rest[:length]))
        answer = rest[length:]
    return found


def request(
    method: str, path: str, body: bytes = b"", *lines: str, version: str = "HTTP/1.1", length: bool = True
) -> bytes:
    """A request as bytes; `lines` are headers."""
    sent = ["Host: 127.0.0.1", *lines, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join([f"{method} {path} {version}", *sent, "", ""]).encode("latin-1", "replace") + body


def requests(paths: Sequence[str], bodies: SearchStrategy[bytes], lines: Sequence[str] = ()) -> SearchStrategy[bytes]:
    """Whole requests with one or two odd things about them, and such requests mutated as bytes. `lines` go with each."""
    built = st.builds(_request, st.sampled_from(paths), bodies, RANDOMS, st.just(tuple(lines)))
    return built | built | st.builds(lambda whole, rng: mutated(whole, rng), built, RANDOMS)


def _request(path: str, body: bytes, rng: Random, lines: tuple[str, ...]) -> bytes:
    method, length, odd = "POST", True, []
    change = rng.randrange(10)
    if change == 0:
        method = rng.choice(METHODS)
    elif change == 1:
        odd = [rng.choice(ODD_HEADERS) for _ in range(rng.randint(1, 3))]
    elif change == 2:
        body, odd = _packed(body, rng), [f"Content-Encoding: {rng.choice(('gzip', 'deflate', 'x-gzip'))}"]
    elif change == 3:
        size = rng.randint(0, len(body))
        odd = [
            f"Inference-Header-Content-Length: {rng.choice((size, len(body), len(body) + 1, body.find(b'}]}') + 3))}"
        ]
        body += rng.randbytes(rng.choice((0, 1, 256)))
    elif change == 4:
        body, length, odd = _chunks(body, rng), False, ["Transfer-Encoding: chunked"]
    elif change == 5:
        path = rng.choice(
            (
                path + "/",
                path + "?a=%FF&name=%00",
                "//" + path,
                path.upper(),
                path + "%2f..",
                path[:-2],
                path + "\x1b",
                path * 40,
                "*",
                "",
            )
        )
    elif change == 6:
        body = body[: rng.randint(0, len(body))]
    elif change == 7 and lines:
        lines = lines[rng.randint(0, len(lines)) :]
    whole = request(
        method,
        path,
        body,
        *lines,
        *odd,
        length=length,
        version=rng.choice(("HTTP/1.1",) * 9 + ("HTTP/1.0", "HTTP/2.0", "HTCPCP/1.0", "")),
    )
    return whole if rng.random() < 0.9 else whole + whole


def _packed(body: bytes, rng: Random) -> bytes:
    packed = rng.choice(
        (gzip.compress(body), zlib.compress(body), gzip.compress(body) * 2, gzip.compress(body * 2000)[:200_000], body)
    )
    return mutated(packed, rng) if rng.random() < 0.3 else packed


def _chunks(body: bytes, rng: Random) -> bytes:
    size = rng.choice((len(body), len(body) + 1, max(0, len(body) - 1), 2**40, 0))
    return (
        f"{size:x}{rng.choice(('', ';x=y', ' '))}\r\n".encode()
        + body
        + rng.choice((b"\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n", b"\r\n0\r\nX: y\r\n\r\n"))
    )


def document(content: bytes) -> Any:
    """JSON without duplicate keys. Raises ValueError for anything else."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in items}) != len(items):
            raise ValueError("a key stands twice")
        return dict(items)

    return json.loads(content, object_pairs_hook=pairs)
