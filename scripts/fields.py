"""Records in the Python reference: a hook of mkdocs that writes each one's docstring and fields where a line of a page says

    fields edgenas.records: Trial, Candidate

Fields, types, defaults and the comments behind them are read from the source; nothing is imported.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"^fields (edgenas[\w.]*): ([\w, ]+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What mkdocs calls with every page."""
    return LINE.sub(lambda match: "\n".join(described(match[1], name) for name in names(match[2])), markdown)


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def described(module: str, name: str) -> str:
    """A class as Markdown: heading, docstring, a table of its fields, and of its properties."""
    found, source = class_in(module, name)
    said = comments(source)
    rows = [row(node, said) for node in found.body if isinstance(node, ast.AnnAssign)]
    rows += [property_row(node) for node in found.body if isinstance(node, ast.FunctionDef) and is_property(node)]
    table = ["| field | type | default | |", "|---|---|---|---|", *rows] if rows else []
    return "\n".join([f"### `{module}.{name}`", "", ast.get_docstring(found) or "", "", *table, ""])


def class_in(module: str, name: str) -> tuple[ast.ClassDef, str]:
    """The class and the text of its file: the module's, or one in the package."""
    place = ROOT / module.replace(".", "/")
    for file in sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        source = file.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return node, source
    raise ValueError(f"{module} has no class {name}")


def comments(source: str) -> dict[int, str]:
    """Line -> the comment at its end."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def row(node: ast.AnnAssign, said: dict[int, str]) -> str:
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    comment = " ".join(said[line] for line in lines if line in said and not said[line].startswith(("type:", "noqa")))
    default = "" if node.value is None else code(ast.unparse(node.value))
    return f"| `{ast.unparse(node.target)}` | {code(ast.unparse(node.annotation))} | {default} | {escaped(comment)} |"


def is_property(node: ast.FunctionDef) -> bool:
    return not node.name.startswith("_") and any(
        isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list
    )


def property_row(node: ast.FunctionDef) -> str:
    told = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    returned = "" if node.returns is None else code(ast.unparse(node.returns))
    return f"| `{node.name}` | {returned} | *computed* | {escaped(told)} |"


def code(text: str) -> str:
    return f"`{escaped(text)}`"


def escaped(text: str) -> str:
    return text.replace("|", "\\|")
