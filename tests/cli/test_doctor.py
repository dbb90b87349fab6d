"""`edgenas doctor` says what is there and what to do about what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgenas.cli.doctor import advice_from, findings, text_from
from tests.cli.edgenas import ENVIRONMENT, REPOSITORY, edgenas

HEALTHY: dict[str, Any] = {
    "l4t": None,
    "gpu": {"reason": "no driver"},
    "tensorrt": {"reason": "TensorRT is not installed"},
    "cuda_python": None,
    "onnxruntime": {"found": "onnxruntime 1.31.1"},
    "serving": "uvicorn 0.54.0",
    "engine_cache": {"found": "/root/.cache"},
    "memory_mb": {"available": 24_000, "total": 24_000},
    "disk_gb": {"free here": 60.0},
    "throttling": [],
    "tensorrt_mounts": [],
}

NOT_310 = [] if sys.version_info[:2] == (3, 10) else ["is not what this JetPack has: >=3.10,<3.11"]


def test_data_sets_on_disk_are_found_without_reading_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENAS_DATA", str(tmp_path))
    for file in ("FashionMNIST/raw/train-images-idx3-ubyte.gz", "cifar-10-batches-py/data_batch_1"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    found = findings()
    assert found["data_sets"] == {"built in": "digits", f"in {tmp_path}": "fashion-mnist, cifar10"}
    assert found["training"].startswith("torch 2.")
    assert found["disk_gb"]["free here"] > 0
    assert "found" in found["onnxruntime"]


def found_beside(folder: Path, *files: tuple[str, str]) -> dict[str, Any]:
    """What doctor says where these files come first in the path."""
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "edgenas", "doctor", "--json"],
        env={**ENVIRONMENT, "PYTHONPATH": f"{folder}:{REPOSITORY}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    "words", ["ImportError('libcudnn.so.9: cannot open')", "ValueError('libcudnn.so.9: cannot open')"]
)
def test_an_onnx_runtime_that_does_not_start_is_one_line_with_its_reason(words: str, tmp_path: Path) -> None:
    found = found_beside(tmp_path, ("onnxruntime/__init__.py", f"raise {words}"), ("tensorrt.py", f"raise {words}"))
    reason = "onnxruntime is installed and does not start: libcudnn.so.9: cannot open"
    assert found["onnxruntime"] == {"reason": reason}
    assert found["tensorrt"] == {"reason": "tensorrt is installed and does not start: libcudnn.so.9: cannot open"}
    assert any(line.startswith(reason) for line in found["advice"])


def test_what_is_installed_beside_onnx_runtime_or_without_a_distribution_is_no_trap(tmp_path: Path) -> None:
    found = found_beside(
        tmp_path,
        ("onnxruntime_extensions-0.14.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: onnxruntime-extensions\n"),
        ("cuda/__init__.py", ""),
        ("cuda/bindings/__init__.py", ""),
    )
    assert "found" in found["onnxruntime"]
    assert found["cuda_python"] is not None


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({}, []),
        ({"l4t": "36.4"}, ["the GPU is not visible", *NOT_310]),
        ({"tensorrt": {"found": "10.3.0"}}, ["the GPU is not visible"]),  # a Jetson's container that does not see L4T
        (
            {
                "l4t": "36.4",
                "gpu": {"found": "Orin"},
                "tensorrt": {"found": "10.16.1"},
                "cuda_python": "cuda-python 12.9",
            },
            [*NOT_310, "TensorRT 10.16.1 does not go with L4T 36.4: >=10.3,<10.4"],
        ),
        ({"gpu": {"found": "Orin"}}, ["TensorRT is not installed", "engines need cuda-python"]),
        ({"serving": None}, ["pip install '.[serve]' in your clone of EdgeNAS"]),
        (
            {"l4t": "36.4", "gpu": {"found": "Orin"}, "cuda_python": "cuda-python 12.9", "serving": None},
            ["TensorRT is not installed", *NOT_310, "serving needs: pip install -r deploy/requirements-device"],
        ),
        ({"onnxruntime": {"reason": "exactly one is needed"}}, ["exactly one is needed: pip install '.[cpu]' or"]),
        ({"memory_mb": {"available": 999, "total": 4_000}}, ["less than 1 GB of memory"]),
        ({"memory_mb": {"available": 1000, "total": 4_000}}, []),
        ({"disk_gb": {"free here": 0.9}}, ["hardly any disk space"]),
        ({"disk_gb": {"free here": 1.0}}, []),
        ({"throttling": ["cpu-thermal"]}, ["slows itself down (cpu-thermal)"]),
        ({"tensorrt_mounts": ["/usr/lib/libnvinfer.so.10"]}, ["libnvinfer.so.10 is an empty file"]),
    ],
)
def test_every_lack_has_its_advice(change: dict[str, Any], advice: list[str]) -> None:
    given = advice_from(HEALTHY | change)
    assert len(given) == len(advice)
    assert all(words in line for words, line in zip(advice, given, strict=True))


def test_a_jetson_is_told_of_no_extra_since_these_bring_pytorch_along() -> None:
    lacking = {"serving": None, "onnxruntime": {"reason": "onnxruntime distributions: none; exactly one is needed"}}
    given = "\n".join(advice_from(HEALTHY | {"l4t": "36.4"} | lacking))
    assert "'.[" not in given
    assert given.count("--no-deps") == 2


def test_a_laptop_is_told_nothing_of_jetsons_and_engines_and_a_jetson_is() -> None:
    laptop = text_from(HEALTHY, [])
    assert "GPU           none: training, and measuring for host-cpu, use the CPU\n" in laptop
    assert laptop.endswith("\n\nnothing to do")
    for words in ("L4T", "TensorRT", "cuda-python", "throttling"):
        assert words not in laptop
    with_gpu = text_from(HEALTHY | {"gpu": {"found": "RTX 4090"}}, ["do this"])
    assert "TensorRT" in with_gpu
    assert "L4T" not in with_gpu
    assert with_gpu.endswith("\n\n- do this")
    assert "L4T              36.4\n" in text_from(HEALTHY | {"l4t": "36.4"}, [])


def test_the_data_are_what_comes_next_where_nothing_is_lacking(tmp_path: Path) -> None:
    done = edgenas("doctor", folder=tmp_path)
    assert ("next: edgenas data FOLDER" in done.stderr) == done.stdout.endswith("nothing to do\n")
