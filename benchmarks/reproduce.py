"""The papers, reproduced: what docs/reproduce.md says, how long it takes, and all of it at small size.

    python -m benchmarks.reproduce list                   every command, as it is typed
    python -m benchmarks.reproduce hours                  hours on one H100 by our model -> benchmarks/results/hours.json
    python -m benchmarks.reproduce rehearse [NAME ...]    each command at 1 % of its epochs on a few drawn images, to its end
                                                          -> benchmarks/results/rehearsals.json
    python -m benchmarks.reproduce page                   writes blocks and tables of docs/reproduce.md anew

NAME is a setting (gnas-cifar10-t); without one all are rehearsed. A rehearsal that was interrupted goes on with the same command:
what is finished under --folder is not run again, and what was begun goes on as every command of edgenas does.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import rehearsal_data
from benchmarks.hours import hours_of
from benchmarks.reproduce_page import PAGE, page
from benchmarks.reproductions import FILES, SETTINGS, Command, Setting
from benchmarks.throughput import device_name
from edgenas.errors import EdgenasError
from edgenas.runtimes.child import child_environment
from edgenas.version import __version__

RESULTS = Path(__file__).parent / "results"
HOURS, REHEARSALS = RESULTS / "hours.json", RESULTS / "rehearsals.json"


def hours() -> dict[str, Any]:
    """Of every command that trains, least and most, rounded to what the page shows."""
    return {
        "benchmark": "hours of reproductions",
        "device": "one H100, from its data sheet: not measured",
        "commands": {
            setting.key(command): [float(f"{end:.2g}") for end in hours_of(command.work())]
            for setting in SETTINGS
            for command in setting.commands
            if command.work is not None
        },
    }


def settings_named(names: Sequence[str]) -> list[Setting]:
    """Those, in the page's order; all of them where none is named."""
    known = [setting.name for setting in SETTINGS]
    for name in names:
        if name not in known:
            raise EdgenasError(f"{name!r} is not on the page: {', '.join(known)}")
    return [setting for setting in SETTINGS if not names or setting.name in names]


def prepared(folder: Path) -> dict[str, str]:
    """The environment of the rehearsals, with their data and files under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rehearsal_data.prepare(folder)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return {**child_environment(), "EDGENAS_DATA": str((folder / rehearsal_data.ROOT).resolve())}


def rehearse(settings: Sequence[Setting], folder: Path) -> dict[str, Any]:
    """What came of every command, by its name. EdgenasError at the first that fails."""
    environment = prepared(folder)
    return {
        setting.key(command): rehearsed(setting, command, folder, environment)
        for setting in settings
        for command in setting.commands
    }


def rehearsed(setting: Setting, command: Command, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """One command, or what is known of it: in `folder`, in a process of its own. What it says goes to a file there."""
    name = setting.key(command).replace("/", "-")
    done, log = folder / f"{name}.json", folder / f"{name}.log"
    typed = shlex.join(["edgenas", *command.rehearsed()])
    if done.exists():
        known: dict[str, Any] = json.loads(done.read_text())
        if known["command"] == typed:
            return known
    sys.stderr.write(f"{setting.key(command)}: {typed}\n")
    begun = time.monotonic()
    with log.open("a") as told:
        ended = subprocess.run(
            [sys.executable, "-m", "edgenas", *command.rehearsed()],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=told, text=True, check=False,
        )  # fmt: skip
    if ended.returncode:
        raise EdgenasError(f"{setting.key(command)} ended with exit code {ended.returncode}: {log}")
    found = {
        "command": typed,
        "seconds": round(time.monotonic() - begun, 1),
        "last_line": ended.stdout.rstrip().splitlines()[-1],
        "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "versions": {"edgenas": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    done.write_text(json.dumps(found, indent=1) + "\n")
    return found


def merged(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """The file's rehearsals with these in place of theirs: those of commands that are still on the page, in its order."""
    before = json.loads(path.read_text())["commands"] if path.exists() else {}
    names = [setting.key(command) for setting in SETTINGS for command in setting.commands]
    every = before | found
    return {
        "benchmark": "rehearsals of reproductions",
        "commands": {name: every[name] for name in names if name in every},
    }


def write(path: Path, document: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("what", choices=("list", "hours", "rehearse", "page"))
    made.add_argument("names", nargs="*", metavar="NAME")
    made.add_argument("--folder", type=Path, default=Path("studies/rehearsals"), help="of the rehearsals")
    made.add_argument("--out", type=Path, help="a file in place of the one in benchmarks/results, or of the page")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        settings = settings_named(asked.names)
        if asked.what == "list":
            for setting in settings:
                for command in setting.commands:
                    sys.stdout.write(f"{setting.key(command)}: {shlex.join(['edgenas', *command.arguments])}\n")
        elif asked.what == "hours":
            document = hours()
            write(asked.out or HOURS, document)
            for name, (least, most) in document["commands"].items():
                sys.stdout.write(f"{name:40} {least:8g} to {most:g} h\n")
        elif asked.what == "rehearse":
            found = rehearse(settings, asked.folder)
            out = asked.out or REHEARSALS
            write(out, merged(out, found))
            for name, each in found.items():
                sys.stdout.write(f"{name:40} {each['seconds']:7.1f} s  {each['last_line']}\n")
        else:
            known = [json.loads(path.read_text())["commands"] for path in (HOURS, REHEARSALS)]
            (asked.out or PAGE).write_text(page(PAGE.read_text(), *known))
    except EdgenasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
