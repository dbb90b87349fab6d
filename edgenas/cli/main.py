"""`edgenas`: registers the commands and turns mistakes into one line and exit code 1."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
from pathlib import Path

import typer

from edgenas.cli.agent import agent
from edgenas.cli.bench import bench
from edgenas.cli.bundle import bundle
from edgenas.cli.calibrate import calibrate
from edgenas.cli.classify import classify
from edgenas.cli.compare import compare
from edgenas.cli.data import data
from edgenas.cli.describe import describe
from edgenas.cli.design import design
from edgenas.cli.doctor import doctor
from edgenas.cli.evaluate import evaluate
from edgenas.cli.export import export
from edgenas.cli.faces import faces
from edgenas.cli.front import front
from edgenas.cli.help import NAMES, Group, add
from edgenas.cli.init import init
from edgenas.cli.nal import app as nal
from edgenas.cli.output import say, write_result
from edgenas.cli.predict import predict
from edgenas.cli.replay import replay
from edgenas.cli.report import report
from edgenas.cli.search import search
from edgenas.cli.serve import serve
from edgenas.cli.space import space
from edgenas.cli.targets import targets
from edgenas.cli.train import train
from edgenas.cli.verify import verify
from edgenas.errors import EdgenasError, escaped

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="edgenas",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=NAMES,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        from edgenas.cli.about import installed

        write_result(installed() + "\n")
        raise typer.Exit


@app.callback()
def edgenas(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print this version and what is installed."
    ),
) -> None:
    """Design convolutional networks for a device and get them onto it.

    Example: edgenas search --target jetson --data my-images --max-latency-ms 0.45 --budget 10

    Example: edgenas search --help
    """


# In the order of the work: what a search needs, the search, what comes of it, the device, single networks.
add(app, targets, data, init, search, front, report, train, compare, export, evaluate, classify, serve)
add(app, agent, bench, verify, calibrate, predict, describe, space, design, replay)
app.add_typer(nal, name="nal")
app.add_typer(faces, name="faces")
app.add_typer(bundle, name="bundle")
add(app, doctor)


def main() -> None:
    """The command line; where stderr was closed by who started it, what is said goes nowhere."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(sys.stderr or nowhere):
        _run()


def _run() -> None:
    _heed_sigterm()
    try:
        _refuse_odd_arguments(sys.argv[1:])
        app()
    except EdgenasError as error:
        _end(str(error))
    except UnicodeEncodeError as error:
        _end(f"{error.object[error.start : error.end]!a} in {error.object!a} is not UTF-8: rename what is called so")
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno not in FULL):
            raise
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))


def _heed_sigterm() -> None:
    """The first process of a container gets no SIGTERM that it has no handler for, and is killed when the grace is over. Servers
    have handlers of their own, from when they listen."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _refuse_odd_arguments(arguments: list[str]) -> None:
    """No name with a NUL exists, and one that is not UTF-8 could not be written down when the work is done."""
    for argument in arguments:
        if re.search(r"[\0\ud800-\udfff]", argument):
            raise EdgenasError(f"the argument {argument!a} has a NUL or bytes that are not UTF-8: rename what it names")


def _end(message: str) -> None:
    """One line on stderr, exit code 1."""
    with contextlib.suppress(OSError):
        say(f"edgenas: {escaped(message)}")
    try:
        sys.stdout and sys.stdout.flush()
    except OSError:  # what is left in the buffer would be tried again, and complained about, at the interpreter's end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
