"""Blocks of the documentation that are marked sh or python run, page by page, in order; a tutorial's files are written before."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.runtimes.child import child_environment
from tests.docs.blocks import Block, name, pages, scripts, steps

PAGES = pages()
OWN_TEST = {"docs/tutorials/solar-cells.md", "docs/first_hour.md"}  # need packages: tests of their own
SHELL = [page for page in PAGES if scripts(page, "sh") and name(page) not in OWN_TEST]
PYTHON = [page for page in PAGES if scripts(page, "python")]
LONG = {"docs/api.md"}  # searches and trains; tests/api does so in the default suite


def tools(folder: Path) -> dict[str, str]:
    """The environment of somebody who has installed edgenas: the commands `edgenas`, `python` and `pip`; what pip installs goes
    to a folder of the test's, and comes from nowhere but the path that it is given."""
    bin_folder, site = folder / "bin", folder / "site"
    bin_folder.mkdir()
    for tool, module in (("edgenas", "-m edgenas"), ("pip", "-m pip"), ("python", "")):
        (bin_folder / tool).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (bin_folder / tool).chmod(0o755)
    environment = child_environment()
    pip = {"QUIET": "1", "NO_INDEX": "1", "NO_DEPS": "1", "NO_BUILD_ISOLATION": "0", "TARGET": str(site)}
    return {
        **environment,
        **{f"PIP_{option}": value for option, value in pip.items()},
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{site}",
    }


def apply(step: Block, work: Path, environment: dict[str, str]) -> None:
    """Write the file, or run the commands."""
    if step.file:
        (work / step.file).parent.mkdir(parents=True, exist_ok=True)
        (work / step.file).write_text(step.text)
        return
    script = "set -eu\n" + step.text
    done = subprocess.run(["sh", "-c", script], cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{step.text}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", [page for page in PAGES if scripts(page, "sh")], ids=name)
def test_the_images_that_a_page_runs_on_come_along_or_are_made_on_it(page: Path) -> None:
    before = "digits"
    for step in steps(page):
        asked = re.findall(r"--data ([\w-]+)", step.text) if step.language == "sh" and not step.file else []
        assert [data for data in asked if data not in before] == [], "show such a block as bash: sh is run"
        before += step.text


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", SHELL, ids=name)
def test_the_steps_of_a_page_can_be_followed_in_order(page: Path, tmp_path: Path) -> None:
    environment, work = tools(tmp_path), tmp_path / "work"
    work.mkdir()
    for step in steps(page):
        apply(step, work, environment)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=name(page), marks=[pytest.mark.slow] * (name(page) in LONG)) for page in PYTHON],
)
def test_the_python_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(scripts(page, "python")))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
