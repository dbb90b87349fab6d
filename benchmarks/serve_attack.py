"""Health checks and memory of `edgenas serve` while bodies come in that are meant to stop it, on 127.0.0.1 alone.

`python -m benchmarks.serve_attack BUNDLE [--seconds 10] [--senders 2] [--json]`

Senders and the health check share the machine's cores with the server. Each attack has a server of its own; `health_ms` is
of one connection a check, as an orchestrator asks, every 20 ms; `peak_mb` is the most that the process ever held (VmHWM).
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgenas.bundle import read_bundle
from edgenas.runtimes import LARGEST_BATCH

HOST = "127.0.0.1"


def request(path: str, body: bytes, *lines: str, method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def largest_json(bundle: Path) -> bytes:
    """The largest batch, its numbers written so long that the body has 31 MB where there are enough of them."""
    shape = [LARGEST_BATCH, *read_bundle(bundle).golden()["inputs"].shape[1:]]
    count = int(np.prod(shape))
    digits = max(1, min(17, 31_000_000 // count - 3))
    number = b"0." + b"1" * digits
    tensor = json.dumps({"name": "image", "shape": shape, "datatype": "FP32"}).encode()
    return b'{"inputs":[' + tensor[:-1] + b',"data":[' + b",".join([number] * count) + b"]}]}"


def attacks(bundle: Path, infer: str) -> dict[str, bytes]:
    """Whole requests by name."""
    lists = b'{"inputs":[{"name":"image","shape":[1],"datatype":"FP32","data":[' + b"[]," * 10_333_000 + b"[]]}]}"
    numbers = b'{"inputs":[{"name":"image","shape":[1],"datatype":"FP32","data":[' + b"0.5," * 7_750_000 + b"0]}]}"
    bomb = gzip.compress(b'{"inputs":[' + b"[]," * 9_000_000 + b"[]]}", 9)
    return {
        "31 MB of numbers, wrong count": request(infer, numbers),
        "31 MB of empty lists": request(infer, lists),
        f"{len(bomb) / 1e3:.0f} kB of gzip, 27 MB of empty lists": request(infer, bomb, "Content-Encoding: gzip"),
        "the largest batch as JSON": request(infer, largest_json(bundle)),
    }


def ask(port: int, content: bytes) -> str:
    """The status, or what happened instead."""
    try:
        with socket.create_connection((HOST, port), timeout=60) as connection:
            connection.sendall(content)
            return connection.recv(65536)[9:12].decode() or "closed"
    except OSError as error:
        return type(error).__name__


class Server:
    """`edgenas serve`, ready."""

    def __init__(self, bundle: Path, token: str | None) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the server
        command = [sys.executable, "-m", "edgenas", "serve", str(bundle), "--port", "0"]
        if token is not None:
            self.file = tempfile.NamedTemporaryFile("w")  # noqa: SIM115  # mode 0600
            self.file.write(token)
            self.file.flush()
            command += ["--token-file", self.file.name]
        self.process = subprocess.Popen(command, stderr=self.log)
        while True:
            self.log.seek(0)
            if found := re.search(rb"http://\S+:(\d+)", self.log.read()):
                self.port = int(found[1])
                if ask(self.port, request("/v2/health/ready", b"", method="GET")) == "200":
                    return
            if self.process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.1)

    def memory_mb(self, what: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status)[1]) / 1e3

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def measured(server: Server, seconds: float, sender: Callable[[], str], senders: int) -> dict[str, object]:
    """Health latencies while `senders` threads send again and again."""
    until, statuses, before = time.perf_counter() + seconds, Counter[str](), server.memory_mb("VmRSS")

    def send() -> None:
        while time.perf_counter() < until:
            statuses[sender()] += 1

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    ms, failed, check = [], 0, request("/v2/health/live", b"", method="GET")
    while time.perf_counter() < until:
        started = time.perf_counter()
        failed += ask(server.port, check) != "200"
        ms.append(1000 * (time.perf_counter() - started))
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(ms, [50, 99])
    return {
        "health_ms": {"n": len(ms), "p50": round(p50, 1), "p99": round(p99, 1), "max": round(max(ms), 1)},
        "health_failed": failed,
        "answers": dict(statuses),
        "before_mb": before,
        "peak_mb": server.memory_mb("VmHWM"),
        "after_mb": server.memory_mb("VmRSS"),
    }


def anonymous(bundle: Path, path: str, method: str) -> dict[str, object]:
    """30 connections without the token, each with 30 MB that it sends as fast as it is taken."""
    server = Server(bundle, secrets.token_hex(32))
    before, statuses = server.memory_mb("VmRSS"), Counter[str]()
    content = request(path, bytes(30_000_000), method=method)
    threads = [threading.Thread(target=lambda: statuses.update([ask(server.port, content)])) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {"answers": dict(statuses), "before_mb": before, "peak_mb": server.memory_mb("VmHWM")}
    return {**found, "exit_code": server.stop()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--senders", type=int, default=2)
    options = parser.parse_args()
    infer = f"/v2/models/{read_bundle(options.bundle).manifest.name}/infer"
    results: dict[str, object] = {"device": platform.processor() or platform.machine(), "senders": options.senders}
    for name, content in attacks(options.bundle, infer).items():
        server = Server(options.bundle, None)
        one = measured(server, options.seconds, lambda port=server.port, c=content: ask(port, c), options.senders)
        results[name] = {"request_bytes": len(content), **one, "exit_code": server.stop()}
    results["30 anonymous bodies of 30 MB to health"] = anonymous(options.bundle, "/v2/health/live", "GET")
    results["30 anonymous bodies of 30 MB to infer"] = anonymous(options.bundle, infer, "POST")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
