"""Blocks of the documentation that are marked sh or python run, page by page, in order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.runtimes.child import child_environment
from tests.docs.blocks import installed, name, pages, scripts

PAGES = pages()
SHELL = [page for page in PAGES if scripts(page, "sh")]
PYTHON = [page for page in PAGES if scripts(page, "python")]


def with_package(page: Path, folder: Path) -> dict[str, str]:
    """The environment in which a page's blocks run, with the package that its files make."""
    environment = {**child_environment(), "OMP_NUM_THREADS": "1"}
    paths = [environment["PYTHONPATH"], *map(str, installed(page, folder / "package"))]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", SHELL, ids=name)
def test_the_shell_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "edgenas"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgenas "$@"\n')
    tool.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    path = f"{tool.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**with_package(page, tmp_path), "PATH": path}
    script = "set -eu\n" + "\n".join(scripts(page, "sh"))
    done = subprocess.run(["sh", "-c", script], cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", PYTHON, ids=name)
def test_the_python_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(scripts(page, "python")))
    environment = with_package(page, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
