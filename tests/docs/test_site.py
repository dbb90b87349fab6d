"""The site builds with warnings as errors: links, anchors, navigation, docstrings."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.runtimes.child import child_environment
from tests.docs.blocks import ROOT

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    environment = {**child_environment(), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    reference = (tmp_path / "site" / "reference" / "index.html").read_text(encoding="utf-8")
    assert "workload_from_architecture" in reference
    assert "side in pixels" in reference  # the comment behind a record's field
    assert "fields edgenas" not in reference  # every such line became its records
    assert "fonts.googleapis" not in reference
