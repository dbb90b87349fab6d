"""Child processes begin warm: forked from one that has already loaded what they load, in place of a second of imports each.

For the children that edgenas itself starts often: those that train, that time a model and that check an export. Each is a process
of its own as ever, with its own descriptors, environment and end; all that is left out is importing torch, NumPy and ONNX Runtime
once more. Everything else begins cold: other programs, children of children, a child whose environment says otherwise what is
read when a library is loaded, those of tests with the fixture `cold`, and all where EDGENAS_TESTS_COLD is set (`make test-all`).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Cold = subprocess.Popen  # Python's own
DEVICE = (
    "numpy",
    "onnx",
    "onnxruntime",
    "edgenas.hardware",
    "edgenas.runtimes.onnx_session",
    "edgenas.runtimes.batches",
)
TRAINING = (
    "edgenas.training.worker",
    "edgenas.training.final",
    "edgenas.training.evaluator",
    "edgenas.tasks.classification",
)
LOADED = {"edgenas.export.child": DEVICE, "edgenas.hardware.worker": DEVICE}
READ_WHEN_LOADED = ("PYTHON", "LD_PRELOAD", "OMP_", "MKL_", "OPENBLAS_", "MALLOC_", "CUDA_VISIBLE", "ORT_")
PATHS = "PYTHONPATH"
OPTIONS: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
PR_SET_PDEATHSIG = 1


def program_of(arguments: Any) -> list[str]:
    """From -m or -c on, where it is this Python with the options of this process; else nothing."""
    if isinstance(arguments, (str, bytes, os.PathLike)) or arguments[0] != sys.executable:
        return []
    first = 1 + len(OPTIONS) * (list(arguments[1 : 1 + len(OPTIONS)]) == OPTIONS)
    return list(arguments[first:])


def loaded_by(program: list[str]) -> tuple[str, ...]:
    """What such a child loads; nothing where it is none of those."""
    kind = program[0] if program else ""
    if kind == "-m":
        return LOADED.get(program[1], ())
    return TRAINING if kind == "-c" and "edgenas.training.worker import main" in program[1] else ()


class Warm(subprocess.Popen[Any]):
    """As Popen; such a child is forked by its `Stock`."""

    _status: int | None = None  # where its number and then its exit status can be read

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *rest: Any
    ) -> None:
        cwd, env, _, _, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *others = rest
        own_group = others[5] or others[6:] not in ([], [-1])
        plain = not shell and preexec_fn is None and executable is None and not own_group
        program = program_of(args) if plain else []
        stock = stock_for(program, env)
        if stock is None:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *rest)  # type: ignore[misc]
            return
        standard = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid, self._status = stock.child(program, cwd, env, standard, pass_fds)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._status is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        os.set_blocking(self._status, not wait_flags & os.WNOHANG)
        try:
            status = os.read(self._status, 4)
        except BlockingIOError:
            return 0, 0
        os.close(self._status)
        self._status = None
        return self.pid, int.from_bytes(status, "little")

    def _internal_poll(self, *arguments: Any, **named: Any) -> int | None:
        if self._status is None:
            return super()._internal_poll(*arguments, **named)  # type: ignore[misc, no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None and self._status is not None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


STOCKS: dict[tuple[str, ...], Stock] = {}
SURROUNDINGS: dict[str, str] = {}  # the environment in which the session began


def stock_for(program: list[str], env: Any) -> Stock | None:
    modules = loaded_by(program)
    if not modules or not like_here(os.environ if env is None else env, by_path=program[0] == "-m"):
        return None
    if modules not in STOCKS:
        STOCKS[modules] = Stock(modules)
    return STOCKS[modules]


def like_here(environment: Mapping[str, str], *, by_path: bool) -> bool:
    """Would a child with this environment load what one of the session does, and so?"""

    def read(variables: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in variables.items() if k.startswith(READ_WHEN_LOADED) and k != PATHS}

    def paths(variables: Mapping[str, str]) -> set[str]:
        return {str(ROOT), *variables.get(PATHS, "").split(os.pathsep)} - {""}

    return read(environment) == read(SURROUNDINGS) and (not by_path or paths(environment) == paths(SURROUNDINGS))


class Stock:
    """A process of one thread that has loaded `modules` and forks: see `main`."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), SURROUNDINGS.get(PATHS))))
        self.control, theirs = socket.socketpair()
        with theirs:
            self.process = Cold(
                [sys.executable, *OPTIONS, "-m", "tests.warm", str(theirs.fileno()), *modules],
                cwd=ROOT, stdin=subprocess.DEVNULL, env={**SURROUNDINGS, PATHS: path}, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        self.lock = threading.Lock()
        atexit.register(self.close)

    def child(self, program: list[str], cwd: Any, env: Any, standard: list[int], passed: Any) -> tuple[int, int]:
        """Its number, and the descriptor that its exit status can be read from."""
        status, theirs = os.pipe()
        with open(theirs, "wb"):  # noqa: PTH123
            body = pickle.dumps(
                (
                    program, str(cwd or Path.cwd()), dict(os.environ if env is None else env), os.getpid(),
                    signal.pthread_sigmask(signal.SIG_BLOCK, ()), list(passed),
                )
            )  # fmt: skip
            with self.lock:
                socket.send_fds(self.control, [len(body).to_bytes(4, "little")], [theirs, *standard, *passed])
                self.control.sendall(body)
        number = int.from_bytes(os.read(status, 4), "little")
        if not number:
            raise OSError("the process that forks the children of the tests is gone")
        return number, status

    def close(self) -> None:
        self.control.close()
        self.process.wait()


# ---------------------------------------------------------------- in that process


def main(control: socket.socket, modules: list[str]) -> None:
    """Load the modules, then fork a keeper for every request; it forks the child, says its number, waits, says its status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    while True:
        head, descriptors, _, _ = socket.recv_fds(control, 4, 64)
        if not head:
            return
        left, body = int.from_bytes(head, "little"), b""
        while left > len(body):
            body += control.recv(left - len(body))
        if not os.fork():
            keep(descriptors, *pickle.loads(body))
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def keep(descriptors: list[int], *request: Any) -> None:
    status, *others = descriptors
    die_with_parent()
    number = os.fork()
    if not number:
        be(others, *request)
    os.write(status, number.to_bytes(4, "little"))
    os.closerange(0, status)
    os.closerange(status + 1, 4096)
    _, ended = os.waitpid(number, 0)
    os.write(status, ended.to_bytes(4, "little"))
    os._exit(0)


def be(
    descriptors: list[int], program: list[str], cwd: str, env: dict[str, str], parent: int, mask: Any, passed: list[int]
) -> None:
    """The child that was asked for, to its end."""
    code = 1
    try:
        die_with_parent()
        places = [0, 1, 2, *passed]
        above = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, max(places) + 1) for descriptor in descriptors]
        os.closerange(0, max(places) + 1)
        for descriptor, place in zip(above, places, strict=True):
            os.dup2(descriptor, place)
        os.closerange(max(places) + 1, 4096)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        os.getppid = lambda: parent
        tempfile.tempdir = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        sys.path[0] = cwd
        kind, text, *sys.argv[1:] = program
        sys.argv[0] = kind
        sys.orig_argv[:] = [sys.executable, *OPTIONS, *program]
        if kind == "-m":
            runpy.run_module(text, run_name="__main__", alter_sys=True)
        else:
            exec(text, {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
