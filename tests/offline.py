"""Every command under strace in a network namespace that has nothing but loopback: which addresses does it speak to?

`unshare --net python -m tests.offline FOLDER` prints a JSON document (root).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.cli.edgenas import ENVIRONMENT, SMALL
from tests.remote.models import honest

STRACE = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-s", "32", "-o"]
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')
EDGENAS = [sys.executable, "-m", "edgenas"]
CONTROL = """
import socket
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.sendto(b"x", (address, 9))
        except OSError:
            pass
"""


def spoken_to(trace: Path) -> list[str]:
    """ADDRESS:PORT of everything that was connected or sent to, loopback included."""
    found = ADDRESS.findall(trace.read_text(errors="replace"))
    return sorted({f"{v4 or v6}:{port}" for port, v4, v6 in found})


def run(folder: Path, name: str, *arguments: str, command: list[str] = EDGENAS) -> dict[str, Any]:
    trace = folder / f"{name}.trace"
    done = subprocess.run(
        [*STRACE, str(trace), *command, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {"exit": done.returncode, "said": done.stderr[-2000:], "addresses": spoken_to(trace)}


def listening(folder: Path, name: str, ready: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """The traced process, and what `ready` matches of what it says."""
    process = subprocess.Popen(
        [*STRACE, str(folder / f"{name}.trace"), *EDGENAS, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(ready, line):
            return process, match[1]
    raise AssertionError(f"{name} ended with {process.wait()}")


def ended(folder: Path, name: str, process: subprocess.Popen[str], *, answered: bool) -> dict[str, Any]:
    subprocess.run(["pkill", "-TERM", "-P", str(process.pid)], check=True)  # strace's child
    said, _ = process.communicate(timeout=60)
    return {
        "exit": process.returncode,
        "answered": answered,
        "said": said[-2000:],
        "addresses": spoken_to(folder / f"{name}.trace"),
    }


def served(folder: Path) -> dict[str, Any]:
    process, url = listening(folder, "serve", r"on (http://\S+)$", "serve", "bundle", "--port", "0")
    answered = b""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=10) as response:
                answered = response.read()
                break
        except OSError:
            subprocess.run(["sleep", "0.1"], check=True)
    with urllib.request.urlopen(f"{url}/v2", timeout=10) as response:
        answered += response.read()
    return ended(folder, "serve", process, answered=b'"edgenas"' in answered)


def measured(folder: Path) -> dict[str, Any]:
    (folder / "model.onnx").write_bytes(honest())
    process, url = listening(
        folder, "agent", r'"url":"([^"]+)"', "agent", "--port", "0", "--token-file", "token", "--json"
    )
    bench = run(folder, "bench", "bench", "model.onnx", "--target", url, "--token-file", "token", "--json")
    return {**ended(folder, "agent", process, answered=bench["exit"] == 0), "bench": bench}


def everything(folder: Path) -> dict[str, Any]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    study = ("studies/digits",)
    return {
        "control": run(folder, "control", "-c", CONTROL, command=[sys.executable]),
        "search": run(folder, "search", *SMALL, "--study", "digits", "--workers", "1"),
        "train": run(folder, "train", "train", *study, "--seeds", "1", "--epochs", "3"),
        "export": run(
            folder, "export", "export", *study, "--out", "bundle", "--precision", "fp32,fp16,int8", "--max-drop", "100"
        ),
        "report": run(folder, "report", "report", *study, "--out", "page.html"),
        "serve": served(folder),
        "agent": measured(folder),
    }


if __name__ == "__main__":
    print(json.dumps(everything(Path(sys.argv[1])), indent=1))
