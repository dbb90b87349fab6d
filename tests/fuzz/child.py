"""A process that reads files as the product does, so that one that crashes, hangs or eats memory is seen from outside.

`Child` is the parent's side; `python -m tests.fuzz.child DOOR` is the process: a line of JSON that names a file in, a line out.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgenas.runtimes.child import child_environment
from tests.fuzz.engine import SilentChangeError, Verdict

MEMORY_MB = 3000  # of data; libraries that are only mapped do not count
CPU_S = 10.0  # of one input
WALL_S = 60.0  # of one input, however busy the machine is: nothing comes any more
READY = b"ready\n"

ROOT = Path(__file__).parents[2]


class Child:
    """`with Child("tests.fuzz.doors:csv", folder) as child: child.tried(content)`; started again where it died."""

    def __init__(
        self, door: str, folder: Path, *, memory_mb: int = MEMORY_MB, cpu_s: float = CPU_S, wall_s: float = WALL_S
    ) -> None:
        self._folder, self._wall_s = folder, wall_s
        self._command = [sys.executable, "-W", "always", "-m", "tests.fuzz.child", door, str(memory_mb), str(cpu_s)]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self._kill()
        self._log.close()

    def tried(self, content: bytes) -> Verdict:
        """What the door says of a file with this content."""
        file = self._folder / "input"
        file.write_bytes(content)
        process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        self._log.truncate(0)
        process.stdin.write(json.dumps({"file": str(file), "folder": str(self._folder)}).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], self._wall_s)[0]:
            self._kill()
            return Verdict("crash", f"no end after {self._wall_s:g} s")
        answer = process.stdout.readline()
        if not answer:
            code = process.wait()
            self._kill()
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Verdict("crash", f"the process died of {cause}: {self._said()}")
        return Verdict(**json.loads(answer))

    def _said(self) -> str:
        return os.pread(self._log.fileno(), 100_000, 0).decode(errors="replace").strip("\0 \n")[-500:]

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {**child_environment(), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._process = process
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise RuntimeError(f"{self._command} did not start: {self._said()}")
        return process

    def _kill(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


# ---------------------------------------------------------------- the process


def edgenas(*arguments: str) -> str:
    """What `edgenas ARGUMENTS` prints, run by its own `main`. Raises EdgenasError where it ends with its one line.

    Anything else that it does or says is an error of another kind.
    """
    from edgenas.cli.main import main
    from edgenas.errors import EdgenasError

    before, out, err = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["edgenas", *arguments]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    said = err.getvalue().splitlines()
    if any("Warning:" in line for line in said):
        raise AssertionError(f"a warning of Python's on stderr: {said}")
    if code in (0, None):
        return out.getvalue()
    if code == 1 and said and said[-1].startswith("edgenas: ") and not out.getvalue():
        raise EdgenasError(said[-1])
    raise AssertionError(f"exit code {code!r}, stderr {said}")


def _verdict(door: Callable[[bytes, Path], object], asked: dict[str, str], cpu_s: float) -> Verdict:
    from edgenas.errors import EdgenasError
    from edgenas.serve.errors import RequestRefused

    content, folder = Path(asked["file"]).read_bytes(), Path(asked["folder"])
    began = time.process_time()
    try:
        words = str(door(content, folder) or "")
        verdict = Verdict("accepted", words)
    except (EdgenasError, RequestRefused) as error:
        lines = str(error).splitlines()
        verdict = Verdict("refused", str(error)) if len(lines) == 1 else Verdict("traceback", f"many lines: {lines}")
    except SilentChangeError as error:
        verdict = Verdict("silent change", str(error))
    except BaseException as error:  # noqa: BLE001 (to find those that should not be is what this is for)
        where = " < ".join(
            f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[:-7:-1]
        )
        verdict = Verdict("traceback", f"{type(error).__name__}: {error} at {where}"[:1500])
    took = time.process_time() - began
    return Verdict("crash", f"{took:.1f} s of CPU; {verdict}"[:1500]) if took > cpu_s else verdict


def main() -> None:
    (module, _, name), memory_mb, cpu_s = sys.argv[1].partition(":"), int(sys.argv[2]), float(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 10**6,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries that print
    door = getattr(importlib.import_module(module), name)
    answers.write(READY)
    for line in sys.stdin.buffer:
        verdict = _verdict(door, json.loads(line), cpu_s)
        answers.write(json.dumps({"kind": verdict.kind, "words": verdict.words[:1500]}).encode() + b"\n")


if __name__ == "__main__":
    main()
