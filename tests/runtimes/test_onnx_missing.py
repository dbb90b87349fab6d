"""A machine where ONNX Runtime is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.edgenas import ENVIRONMENT, REPOSITORY
from tests.digits_bundle import digits_bundle

COMMANDS = {
    "classify": ["none.png"],
    "evaluate": ["--data", "digits"],
    "serve": ["--port", "0"],
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("left", ["None", "type(sys)('onnxruntime')"])
def test_one_line_says_how_to_get_it(command: str, left: str, tmp_path) -> None:
    """`left`: nothing, or the empty folder that pip leaves where one of two ONNX Runtimes was removed."""
    (tmp_path / "none.png").write_bytes(b"")
    words = ["edgenas", command, str(digits_bundle().folder), *COMMANDS[command]]
    lacks = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.modules['onnxruntime'] = {left}; sys.argv = {words!r}"
    code = f"{lacks}; from edgenas.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "pip install '.[cpu]' or '.[cuda]' in your clone of EdgeNAS" in last, done.stderr
    assert last.startswith("edgenas: ")
    assert "Traceback" not in done.stderr
