"""The runtime of the tutorial as a package outside of this one: built from the page's own blocks."""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import ROOT, blocks
from tests.packages import install

PAGE = ROOT / "docs" / "tutorials" / "new-runtime.md"


@functools.cache
def reference_package() -> Path:
    """The folder that goes on the path."""
    folder = Path(tempfile.mkdtemp(prefix="edgenas-runtime-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    code = next(block.text for block in blocks(PAGE) if block.file == "reference-runtime/reference_runtime.py")
    points = {"edgenas.runtimes": {"reference": "reference_runtime:REFERENCE"}}
    return install(folder, "reference-runtime", "reference_runtime", code, points)


def with_reference_runtime() -> Path:
    """The package is on this process's path from now on."""
    folder = reference_package()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return folder
