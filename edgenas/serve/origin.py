"""Requests that a web page makes behind its reader's back.

A page of any site can send requests to 127.0.0.1 from the browser of whoever looks at it, and with a name of its own that
it lets point to 127.0.0.1 (DNS rebinding) it can read the answers, too. Browsers say where a request comes from; programs
that are no browsers send none of these headers, except Host.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from edgenas.remote.tls import is_loopback
from edgenas.serve.errors import RequestRefused


def refuse_foreign_page(headers: Mapping[str, str]) -> None:
    """RequestRefused with 403 where the request comes from a page of another site. (This server has no pages.)"""
    fetched_by, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host", "")
    if fetched_by is not None:  # a page cannot set it, and a proxy in front leaves it as it is
        foreign = fetched_by not in ("same-origin", "none")
    else:
        foreign = origin is not None and (not host or origin.partition("://")[2].lower() != host.lower())
    if foreign:
        raise RequestRefused(
            403, "this request was made by a web page of another site, which this server does not answer"
        )


def refuse_foreign_host(headers: Mapping[str, str], local: tuple[str, int | None] | None) -> None:
    """RequestRefused with 403 where a connection to this machine's own loopback address calls it by a name of somebody else's."""
    asked = headers.get("host", "")
    if not asked or local is None or not is_loopback(local[0]):
        return
    try:
        host = urlsplit(f"//{asked}").hostname or ""
    except ValueError:
        host = ""
    if host.rstrip(".") != "localhost" and not is_loopback(host):
        raise RequestRefused(
            403,
            f"host {asked[:60]!r} is not this machine: ask for 127.0.0.1 or localhost, or serve with --token-file, "
            "where any name is taken",
        )
