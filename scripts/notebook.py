"""Writes docs/api.ipynb: the page docs/api.md as a notebook, its python blocks as cells. Run it after a change of the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, NOTEBOOK = ROOT / "docs" / "api.md", ROOT / "docs" / "api.ipynb"


def notebook(page: str) -> str:
    """The page as notebook JSON (nbformat 4.5)."""
    parts = re.split(r"^```python\n(.*?)^```\n", page, flags=re.MULTILINE | re.DOTALL)
    cells = [cell(index, part.strip("\n")) for index, part in enumerate(parts) if part.strip()]
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def cell(index: int, text: str) -> dict[str, Any]:
    """Parts of the page are text and code in turn."""
    shared = {"id": f"part-{index:02d}", "metadata": {}, "source": text.splitlines(keepends=True)}
    if index % 2 == 0:
        return {"cell_type": "markdown", **shared}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **shared}


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
