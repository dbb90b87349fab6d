"""The notebook is the page of the API, cell by cell, and runs from its first cell to its last."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from edgenas.runtimes.child import child_environment
from tests.docs.blocks import ROOT, scripts

PAGE, NOTEBOOK = ROOT / "docs" / "api.md", ROOT / "docs" / "api.ipynb"


def test_the_notebook_is_the_page() -> None:
    spec = importlib.util.spec_from_file_location("notebook", ROOT / "scripts" / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert text == module.notebook(PAGE.read_text(encoding="utf-8")), "run python scripts/notebook.py"
    cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert cells == [block.rstrip("\n") for block in scripts(PAGE, "python")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_in_a_kernel_and_prints_what_its_cells_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed: pip install '.[dev]'")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install '.[dev]'")
    for name, value in (*child_environment().items(), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setitem(os.environ, name, value)
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [
        "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        for cell in book.cells
        if cell.cell_type == "code"
    ]
    assert printed[0].startswith("<Study studies/first: gnas on digits, ")
    assert " on jetson-orin-nano-8gb-super\n" in printed[1]
    assert "test " in printed[2]
    assert {"first", "arrays", "residual", "climbed", "task", "heard", "stopped", "from-file"} <= {
        folder.name for folder in (tmp_path / "studies").iterdir()
    }
