"""Text as the page breaks it: what belongs together stays on one line. Everything is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

# A name in quotes, or what stands in backticks: code, in which what is quoted for a shell or for Python may hold backticks, too.
_CODE = re.compile(r"""“[^”]*”|(?<![^\s(:])`((?:'[^']*'|"[^"]*"|[^`'"])+)`(?![^\s.,;:)])""")


def coded(sentence: str) -> Markup:
    """A sentence with what stands in backticks as code, but for backticks in names. Everything is escaped."""
    from markupsafe import Markup, escape

    parts, end = Markup(""), 0
    for found in _CODE.finditer(sentence):
        if found[1] is not None:
            parts += escape(kept(sentence[end : found.start()])) + Markup("<code>{}</code>").format(command(found[1]))
            end = found.end()
    return parts + escape(kept(sentence[end:]))


def command(line: str) -> Markup:
    """A line for a shell that is broken between its words alone: a browser would break it behind hyphens, too."""
    from markupsafe import Markup

    return Markup(" ").join(Markup('<span class="whole">{}</span>').format(path(word)) for word in line.split(" "))


def path(name: str) -> Markup:
    """A path that is broken behind its slashes first."""
    from markupsafe import Markup, escape

    return Markup("/<wbr>").join(escape(part) for part in name.split("/"))


def whole(text: str) -> Markup:
    """A text whose names with hyphens, such as a target's, stay on one line where they fit on one."""
    from markupsafe import Markup, escape

    words = kept(text).split(" ")
    return Markup(" ").join(Markup('<span class="whole">{}</span>').format(w) if "-" in w else escape(w) for w in words)


def kept(text: str) -> str:
    """A text whose numbers stay with their units, and intervals such as (90.4 to 97.1) and 48 × 48 px on one line."""
    text = re.sub(r"\([-\d.e+]+ to [-\d.e+]+\)|\d (?:×|±) \d", lambda found: found[0].replace(" ", "\u00a0"), text)
    return re.sub(r"(?<=\d) (?=(?:%|(?:ms|px|MB|kB|points?)\b))", "\u00a0", text)


def is_number(cell: str) -> bool:
    """Is there nothing but a number, with its unit, in a table's cell?"""
    return re.fullmatch(r"[-+\d.,]+(e[-+]?\d+)?( \w{1,3})?|-", cell) is not None
