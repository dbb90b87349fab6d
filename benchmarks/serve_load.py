"""Load on `edgenas serve`, on 127.0.0.1 alone.

`python -m benchmarks.serve_load BUNDLE [--clients 32] [--seconds 60] [--queue 64]`

Clients keep their connection and send one binary inference after the other. Then the same again with SIGTERM in the middle: every
request that the server took must be answered. Client and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edgenas.bundle import read_bundle

HOST = "127.0.0.1"


class Client:
    """One connection after the other; `lost` counts requests that were sent whole and never answered."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port, self.request = port, request
        self.ms: list[float] = []
        self.statuses: collections.Counter[str] = collections.Counter()
        self.lost = 0

    async def run(self, until: float) -> None:
        while time.perf_counter() < until:
            try:
                reader, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                return  # the server has stopped listening: nothing was accepted
            try:
                while time.perf_counter() < until and await self._once(reader, writer):
                    pass
            finally:
                writer.close()

    async def _once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False where the server closes the connection afterwards."""
        started = time.perf_counter()
        writer.write(self.request)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost += 1
            return False
        self.ms.append(1000 * (time.perf_counter() - started))
        status = head.split(" ")[1]
        if status == "503" and "retry-after:" not in head:
            status = "503 without retry-after"
        self.statuses[status] += 1
        return "connection: close" not in head


def request_of(bundle: Path) -> bytes:
    """One image as a binary inference request."""
    read = read_bundle(bundle)
    image = read.golden()["inputs"][:1]
    datatype = "UINT8" if image.dtype == np.uint8 else "FP32"
    tensor = {"name": "image", "shape": list(image.shape), "datatype": datatype}
    document = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": image.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
    head, content = json.dumps(document).encode(), image.tobytes()
    lines = (
        f"POST /v2/models/{read.manifest.name}/infer HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + len(content)}\r\n\r\n"
    )
    return lines.encode() + head + content


def resident_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def load(
    port: int, request: bytes, clients: int, seconds: float, server: subprocess.Popen[bytes], stop_after: float | None
):
    team = [Client(port, request) for _ in range(clients)]
    until = time.perf_counter() + seconds
    tasks = [asyncio.create_task(client.run(until)) for client in team]
    memory = []
    started = time.perf_counter()
    while time.perf_counter() < until and server.poll() is None:
        await asyncio.sleep(0.5)
        if server.poll() is None:
            memory.append(resident_mb(server.pid))
        if stop_after is not None and time.perf_counter() - started > stop_after:
            server.send_signal(signal.SIGTERM)
            stop_after = None
    await asyncio.gather(*tasks)
    return team, memory, time.perf_counter() - started


def start(bundle: Path, queue: int) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "edgenas", "serve", str(bundle), "--port", str(port), "--queue", str(queue)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    for _ in range(300):
        time.sleep(0.1)
        try:
            with socket.create_connection((HOST, port), 1) as probe:
                probe.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if b" 200 " in probe.recv(64):
                    return server, port
        except OSError:
            continue
    raise SystemExit("the server did not become ready within 30 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--drain-only", action="store_true")
    options = parser.parse_args()
    request = request_of(options.bundle)
    if not options.drain_only:
        server, port = start(options.bundle, options.queue)
        team, memory, seconds = asyncio.run(load(port, request, options.clients, options.seconds, server, None))
        server.send_signal(signal.SIGTERM)
        report("load", team, memory, seconds, server.wait(60))
    server, port = start(options.bundle, options.queue)
    team, memory, seconds = asyncio.run(load(port, request, options.clients, 10, server, stop_after=4))
    report("SIGTERM after 4 s", team, memory, seconds, server.wait(60))


def report(title: str, team: list[Client], memory: list[float], seconds: float, code: int) -> None:
    ms = np.array([value for client in team for value in client.ms])
    statuses = sum((client.statuses for client in team), collections.Counter())
    p50, p99 = np.percentile(ms, [50, 99])
    print(f"{title}: {len(team)} clients, {seconds:.1f} s, {len(ms)} answers, {len(ms) / seconds:.0f}/s")
    print(
        f"  p50 {p50:.1f} ms, p99 {p99:.1f} ms, statuses {dict(statuses)}, sent and never answered {sum(c.lost for c in team)}"
    )
    if memory:
        tenth = max(1, len(memory) // 10)
        first, last = np.median(memory[tenth : 2 * tenth] or memory), np.median(memory[-tenth:])
        print(f"  resident memory {first:.1f} MB near the start, {last:.1f} MB at the end; exit code {code}")


if __name__ == "__main__":
    main()
