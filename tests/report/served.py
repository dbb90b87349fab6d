"""`edgenas report --serve` as a process, and what it answers."""

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.edgenas import ENVIRONMENT


class Served:
    """A process of the command, and what it answers."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        command = [sys.executable, "-m", "edgenas", "report", *arguments, "--serve", "--json"]
        self.process = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.document = json.loads(line)
        self.port = int(self.document["url"].rsplit(":", 1)[1].strip("/"))

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """`headers` with _ in place of -; Host is the server's own where it is not among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def content(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.ask("/content.json")[1])
        return found

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Exit code and stderr after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=240)
        return self.process.returncode, errors
