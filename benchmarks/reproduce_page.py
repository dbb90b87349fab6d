"""The parts of docs/reproduce.md that are made: of each paper the commands, published figures, hours and rehearsals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproductions import PAPERS, SETTINGS, Setting

PAGE = Path(__file__).parents[1] / "docs" / "reproduce.md"
Hours = Mapping[str, Sequence[float]]
Rehearsals = Mapping[str, Mapping[str, Any]]


def page(text: str, hours: Hours, rehearsals: Rehearsals) -> str:
    """The page with its made parts made anew; each stands between two comments that name it."""
    parts = {"sum": summary(hours), "rehearsed": rehearsed_on(rehearsals)}
    parts |= {paper: sections(paper, hours, rehearsals) for paper in PAPERS}
    for name, part in parts.items():
        begin, end = f"<!-- made: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"the page has no {begin} .. {end}")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    return text


def sections(paper: str, hours: Hours, rehearsals: Rehearsals) -> str:
    """Every setting of a paper."""
    return "\n\n".join(section(setting, hours, rehearsals) for setting in SETTINGS if setting.paper == paper)


def section(setting: Setting, hours: Hours, rehearsals: Rehearsals) -> str:
    published = [f"| {each.what} | {each.figure} | {each.source} |" for each in setting.published]
    rows = []
    for command in setting.commands:
        name = setting.key(command)
        ran = rehearsals.get(name)
        seconds = "no" if ran is None else f"{ran['seconds']:.0f} s"
        rows.append(f"| `{command.name}` | {command.what} | {span(hours.get(name))} | {seconds} |")
    lines = [
        f"### {setting.title}", "",
        "| published | figure | source |", "|---|---|---|", *published, "",
        "```console", *(f"$ {command.text}" for command in setting.commands), "```", "",
        f"| `{setting.name}` | | hours on one H100, predicted | rehearsed |", "|---|---|---|---|", *rows,
    ]  # fmt: skip
    return "\n".join(lines)


def span(hours: Sequence[float] | None) -> str:
    """Least to most; what needs no GPU has none."""
    if hours is None:
        return "- (seconds on a CPU)"
    least, most = hours
    return "under 0.1" if most < 0.1 else f"{float(f'{least:.2g}'):g} to {float(f'{most:.2g}'):g}"


def summary(hours: Hours) -> str:
    """All commands of each setting together."""
    rows = []
    for setting in SETTINGS:
        each = [hours[setting.key(command)] for command in setting.commands if setting.key(command) in hours]
        total = [sum(pair[end] for pair in each) for end in (0, 1)]
        accuracy = setting.published[-1].figure
        if setting.paper == "NAL":
            accuracy = setting.published[0].figure
        rows.append(f"| {setting.paper} | {setting.title} | `{setting.name}` | {accuracy} | {span(total)} |")
    heading = "| paper | data | name here | published accuracy | hours, all commands |"
    return "\n".join([heading, "|---|---|---|---|---|", *rows])


def rehearsed_on(rehearsals: Rehearsals) -> str:
    """On what and when, and how many of the commands."""
    every = sum(len(setting.commands) for setting in SETTINGS)
    if not rehearsals:
        return f"None of the {every} commands was rehearsed."
    devices = sorted({str(each["device"]) for each in rehearsals.values()})
    dates = sorted({str(each["date"]) for each in rehearsals.values()})
    torch = sorted({str(each["versions"]["torch"]) for each in rehearsals.values()})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    minutes = sum(each["seconds"] for each in rehearsals.values()) / 60
    return (
        f"{len(rehearsals)} of the {every} commands of this page were rehearsed to their last line ({when}, "
        f"{', '.join(devices)}, torch {', '.join(torch)}; {minutes:.0f} minutes in all, on a core shared with other work)."
    )
