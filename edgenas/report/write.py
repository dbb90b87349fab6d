"""The page as a file, as the command line and the Python API write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from edgenas.durable import replace_file
from edgenas.report.facts import Facts, read_facts
from edgenas.report.html import html_from_studies


def each_once(folders: Iterable[Path]) -> list[Path]:
    """The studies' folders in their order, one that is named again left out, however it is written."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return list(found.values())


def write_report(folders: Sequence[Path], out: Path) -> list[Facts]:
    """Write the page about these studies, and return what stands on it. EdgenasError where a study cannot be read or the page not
    be written."""
    facts = [read_facts(folder) for folder in folders]
    replace_file(out, html_from_studies(facts).encode())
    return facts
