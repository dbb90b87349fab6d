"""The TensorRT adapter against real bindings: names, in child processes, since a Runtime without a driver crashes at exit."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STUB = REPOSITORY / "typings" / "tensorrt" / "__init__.pyi"
VERSIONS = ("10.16.1.11", "11.4.0.106")
PROBE = """
import json, sys
import tensorrt_lean_bindings as trt
missing = [n for n in json.loads(sys.argv[1]) if not hasattr(trt, n.split(".")[0]) or
           ("." in n and not hasattr(getattr(trt, n.split(".")[0]), n.split(".")[1]))]
signatures = {n: getattr(getattr(trt, n.split(".")[0]), n.split(".")[1]).__doc__ for n in json.loads(sys.argv[2])}
print(json.dumps({"version": trt.__version__, "missing": missing, "signatures": signatures}))
"""


def names_in_stub() -> list[str]:
    """`Class.attribute` of everything above the stub's line."""
    text = STUB.read_text()
    tree = ast.parse(text[: text.index("# -----")])
    names = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name != "__init__":
                    names.append(f"{node.name}.{item.name}")
                elif isinstance(item, ast.AnnAssign):
                    names.append(f"{node.name}.{item.target.id}")
    return names


def lean_bindings(version: str) -> Path:
    """A folder with the bindings of this version; installed once by pip, the test is skipped where that fails."""
    root = Path(os.environ.get("EDGENAS_TEST_CACHE", Path(tempfile.gettempdir()) / "edgenas-test-cache"))
    folder = root / f"tensorrt-lean-{version}"
    if not (folder / "tensorrt_lean_bindings").is_dir():
        packages = [f"tensorrt-lean-cu13-{part}=={version}" for part in ("bindings", "libs")]
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            pytest.skip(f"tensorrt-lean {version} cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_runtime_name_that_is_used_exists_in_the_real_bindings(version):
    folder = lean_bindings(version)
    signatures = [
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_tensor_address",
        "ICudaEngine.get_tensor_name",
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(names_in_stub()), json.dumps(signatures)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        timeout=240,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert answer["version"] == version
    assert answer["missing"] == []
    assert "stream_handle" in answer["signatures"]["IExecutionContext.execute_async_v3"]
    assert "name: str, memory" in answer["signatures"]["IExecutionContext.set_tensor_address"]
    assert "index" in answer["signatures"]["ICudaEngine.get_tensor_name"]


def test_the_adapter_uses_no_name_of_tensorrt_that_the_stub_does_not_declare():
    tree = ast.parse(STUB.read_text())
    declared = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} | {"__version__"}
    for module in ("tensorrt.py", "tensorrt_build.py"):
        source = ast.parse((REPOSITORY / "edgenas" / "runtimes" / module).read_text())
        used = {
            node.attr
            for node in ast.walk(source)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trt"
        }
        assert used <= declared, used - declared
