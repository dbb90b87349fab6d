"""`edgenas`: registers the commands and turns mistakes into one line and exit code 1."""

from __future__ import annotations

import sys

import typer

from edgenas.cli.agent import agent
from edgenas.cli.bench import bench
from edgenas.cli.bundle import bundle
from edgenas.cli.calibrate import calibrate
from edgenas.cli.data import data
from edgenas.cli.describe import describe
from edgenas.cli.design import design
from edgenas.cli.doctor import doctor
from edgenas.cli.export import export
from edgenas.cli.faces import faces
from edgenas.cli.front import front
from edgenas.cli.init import init
from edgenas.cli.nal import app as nal
from edgenas.cli.predict import predict
from edgenas.cli.replay import replay
from edgenas.cli.report import report
from edgenas.cli.search import search
from edgenas.cli.serve import serve
from edgenas.cli.space import space
from edgenas.cli.targets import targets
from edgenas.cli.train import train
from edgenas.cli.verify import verify
from edgenas.errors import EdgenasError

app = typer.Typer(
    name="edgenas",
    help="Design convolutional networks for a device and get them onto it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        from edgenas.cli.about import installed

        sys.stdout.write(installed() + "\n")
        raise typer.Exit


@app.callback()
def edgenas(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print this version and what is installed."
    ),
) -> None:
    """Design convolutional networks for a device and get them onto it."""


app.command()(search)
app.command()(agent)
app.command()(bench)
app.command()(verify)
app.command()(data)
app.command()(describe)
app.command()(front)
app.command()(init)
app.command()(calibrate)
app.command()(predict)
app.command()(doctor)
app.command()(export)
app.add_typer(bundle, name="bundle")
app.command()(replay)
app.command()(report)
app.command()(space)
app.command()(serve)
app.command()(targets)
app.command()(design)
app.add_typer(nal, name="nal")
app.command()(train)
app.add_typer(faces, name="faces")


def main() -> None:
    try:
        app()
    except EdgenasError as error:
        sys.stderr.write(f"edgenas: {error}\n")
        sys.exit(1)
    except OSError as error:
        if error.filename is None or isinstance(error, BrokenPipeError):
            raise
        sys.stderr.write(f"edgenas: {error.filename}: {error.strerror}\n")
        sys.exit(1)
