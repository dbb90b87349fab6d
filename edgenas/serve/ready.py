"""Is the server of this container ready? `python3 -m edgenas.serve.ready`: exit code 0, or 1 with the reason on stderr.

The health check of deploy/Dockerfile. Where and how the server listens is read from the command of process 1.
"""

from __future__ import annotations

import argparse
import http.client
import ssl
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

COMMAND = Path("/proc/1/cmdline")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what --host may be, and where that answers
TIMEOUT_S = 2.0


def ready_url(words: Sequence[str]) -> str:
    """What `edgenas serve`, started by these words, answers where it is ready."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="8000")
    parser.add_argument("--tls-cert")
    asked, _ = parser.parse_known_args(words[words.index("serve") + 1 :])
    host = EVERYWHERE.get(asked.host, asked.host)
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if asked.tls_cert else 'http'}://{named}:{asked.port}/v2/health/ready"


def why_not(words: Sequence[str]) -> str:
    """Why the server that was started by these words is not ready, in one line; nothing where it is."""
    # Its certificate is made out to the device's name, not to this address; nothing secret is sent, and the way is not left.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    url = ready_url(words)
    try:
        with opener.open(url, timeout=TIMEOUT_S):
            return ""
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error}"


def main() -> int:
    """The exit code."""
    reason = why_not(COMMAND.read_text(errors="replace").split("\0"))
    if reason:
        print(reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    raise SystemExit(main())
