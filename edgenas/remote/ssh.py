"""A board over SSH, without a daemon: `edgenas agent --once` there reads the job and the model from stdin, prints the answer.

ssh is called with a list of arguments, in batch mode (keys only, no questions), with host keys checked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any
from urllib.parse import unquote

from edgenas.errors import EdgenasError
from edgenas.records import Measurement
from edgenas.remote.client import LARGEST_ANSWER, BoardAway, address_of, measured
from edgenas.remote.heard import answer_from, info_from, printable
from edgenas.remote.job import Job

CONFIG_VARIABLE = "EDGENAS_SSH_CONFIG"
AGENT_OPTIONS = ("runtime", "provider", "threads")  # of `edgenas agent`, which is started anew for every job


def _options_of(url: str, query: str) -> list[str]:
    """The flags of `edgenas agent` behind an address's question mark."""
    flags: list[str] = []
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        if name not in AGENT_OPTIONS or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value) or f"--{name}" in flags:
            raise EdgenasError(
                f"board {url!r}: {part!r} behind the question mark: possible are {', '.join(AGENT_OPTIONS)}, once each, such as "
                "?runtime=tensorrt"
            )
        flags += [f"--{name}", value]
    return flags


class SshBoard:
    """ssh://[user@]host[:port][/path/to/edgenas][?runtime=tensorrt]; the path is the command on the board, `edgenas` without one.

    Behind the question mark stand options of `edgenas agent`: runtime, provider and threads, joined by &.
    $EDGENAS_SSH_CONFIG names another configuration file for ssh.
    """

    def __init__(self, url: str) -> None:
        parts, host, port = address_of(url)
        if parts.scheme != "ssh" or not host or parts.password or parts.fragment:
            raise EdgenasError(f"board {url!r}: give ssh://[USER@]HOST[:PORT][/PATH/TO/EDGENAS][?runtime=NAME]")
        for name in (host, parts.username or ""):
            if name.startswith("-") or any(character.isspace() for character in name):
                raise EdgenasError(f"board {url!r}: {name!r} is no host or user name")
        self.url = url
        self._command = unquote(parts.path) if parts.path not in ("", "/") else "edgenas"
        self._options = _options_of(url, parts.query)
        self._ssh = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10"]
        self._ssh += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        if config := os.environ.get(CONFIG_VARIABLE):
            self._ssh += ["-F", config]
        if port is not None:
            self._ssh += ["-p", str(port)]
        if parts.username:
            self._ssh += ["-l", parts.username]
        self._ssh += ["--", host]

    def info(self) -> dict[str, Any]:
        return info_from(self._run(["agent", "--info", *self._options], b"", 60), self.url)

    def measure(self, model: bytes, job: Job) -> Measurement:
        output = self._run(
            ["agent", "--once", *self._options], job.canonical_json() + b"\n" + model, job.deadline_s + 60
        )
        return measured(answer_from(output, self.url), job, self.url)

    def _run(self, arguments: list[str], data: bytes, timeout_s: float) -> bytes:
        remote = shlex.join([self._command, *arguments])  # the board's shell splits it again
        try:
            code, output, errors = _called([*self._ssh, remote], data, timeout_s)
        except FileNotFoundError as error:
            raise EdgenasError("ssh is not installed here: install openssh-client, or use an http:// board") from error
        except subprocess.TimeoutExpired as error:
            raise BoardAway(f"board {self.url}: no answer within {timeout_s:.0f} s") from error
        if max(len(output), len(errors)) > LARGEST_ANSWER:
            raise EdgenasError(
                f"board {self.url} answers with more than {LARGEST_ANSWER / 1e6:.0f} MB: this is no agent"
            )
        if code == 0:
            return output
        text = errors.decode(errors="replace")
        words = text.strip().splitlines()
        last = printable(words[-1]) if words else f"exit code {code}"
        if code == 127:
            raise EdgenasError(f"board {self.url}: {last}; give the path of edgenas there: ssh://HOST/PATH/TO/EDGENAS")
        if code != 255:  # 255 is ssh's own
            raise EdgenasError(f"board {self.url}: {last}")
        if any(word in text for word in ("Permission denied", "Host key verification")):
            raise EdgenasError(
                f"board {self.url}: {last} (keys only, and the host key must be known: try `ssh {self._ssh[-1]}` once by hand)"
            )
        raise BoardAway(f"board {self.url} does not answer: {last}")


def _called(command: list[str], data: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a command that is given `data`; one that writes more than LARGEST_ANSWER bytes is killed,
    and they end one byte above. Raises subprocess.TimeoutExpired."""
    pipe = subprocess.PIPE
    late = threading.Event()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as child, ThreadPoolExecutor(3) as threads:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None

        def end() -> None:
            late.set()
            child.kill()

        def read(stream: IO[bytes]) -> bytes:
            content = stream.read(LARGEST_ANSWER + 1)
            if len(content) > LARGEST_ANSWER:
                child.kill()
            return content

        def write(stream: IO[bytes]) -> None:
            with contextlib.suppress(BrokenPipeError), stream:
                stream.write(data)

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            parts = [threads.submit(read, stream) for stream in (child.stdout, child.stderr)]
            threads.submit(write, child.stdin)
            output, errors = (part.result() for part in parts)
            code = child.wait()
        finally:
            timer.cancel()
            child.kill()
    if late.is_set():
        raise subprocess.TimeoutExpired(command, timeout_s)
    return code, output, errors
