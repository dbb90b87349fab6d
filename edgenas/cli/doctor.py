"""`edgenas doctor`: what this device or search host has, and what to do about what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from edgenas.cli.output import emit, say_next
from edgenas.errors import EdgenasError, pip_line

LEAST_DISK_GB = 1.0
OF_JETSONS = {"l4t", "power_mode", "throttling", "image", "tensorrt_mounts"}
LABELS = {
    "l4t": "L4T",
    "memory_mb": "memory, MB",
    "disk_gb": "disk, GB",
    "gpu": "GPU",
    "tensorrt": "TensorRT",
    "cuda_python": "cuda-python",
    "onnxruntime": "ONNX Runtime",
}
OF_GPUS = {"tensorrt", "cuda_python", "engine_cache"}


def doctor(as_json: bool = typer.Option(False, "--json", help="Print one JSON document.")) -> None:
    """Print what this machine has: L4T, GPU, TensorRT, ONNX Runtime, memory, disk, data sets, caches; and what to do.

    Example: edgenas doctor
    """
    found = findings()
    advice = advice_from(found)
    emit({**found, "advice": advice}, as_json=as_json, text=text_from(found, advice))
    if not as_json and not advice:
        say_next("edgenas data FOLDER")


def text_from(found: dict[str, Any], advice: list[str]) -> str:
    """For people: what only a Jetson or a GPU has is left out elsewhere."""
    jetson, gpu = bool(found["l4t"]), "reason" not in found["gpu"]
    shown = {name: _words(value) for name, value in found.items() if jetson or name not in OF_JETSONS}
    if not jetson and not gpu:
        shown = {name: words for name, words in shown.items() if name not in OF_GPUS}
        shown["gpu"] = "none: training, and measuring for host-cpu, use the CPU"
    rows = [(LABELS.get(name, name.replace("_", " ")), words) for name, words in shown.items()]
    width = max(len(label) for label, _ in rows)
    return "\n".join(
        [*(f"{label:{width}}  {words}" for label, words in rows), "", *(f"- {line}" for line in advice)]
        + ["nothing to do"] * (not advice)
    )


def findings() -> dict[str, Any]:
    """Facts, each read on its own; a missing one says why."""
    import platform
    import shutil

    from edgenas.hardware.device import probe
    from edgenas.runtimes.tensorrt import cache_folder, free_memory_mb, probe_gpu, tensorrt_module
    from edgenas.tasks.datasets import data_root, datasets_on_disk

    state = probe()
    available, total = free_memory_mb()
    return {
        "machine": f"{state.model or platform.machine()}, {platform.machine()}, Python {platform.python_version()}",
        "l4t": state.l4t or None,
        "power_mode": state.power_mode or None,
        "throttling": list(state.throttling),
        "memory_mb": {"available": round(available), "total": round(total)},
        "image": _image(state.l4t),
        "gpu": _or_reason(lambda: (gpu := probe_gpu()).name + f", compute capability {gpu.compute_capability}"),
        "tensorrt": _or_reason(lambda: str(tensorrt_module().__version__)),
        "onnxruntime": _onnxruntime(),
        "cuda_python": _installed("cuda.bindings"),
        "serving": _installed("uvicorn"),
        "training": _installed("torch"),
        "data_sets": {"built in": "digits", f"in {data_root(None)}": ", ".join(datasets_on_disk()) or "none"},
        "disk_gb": {"free here": round(shutil.disk_usage(".").free / 1e9, 1)},
        "engine_cache": _or_reason(lambda: _writable(cache_folder())),
        "container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "tensorrt_mounts": _mounts(),
    }


def _image(l4t: str) -> str | None:
    """Which of deploy/'s images belong here; None off Jetsons."""
    from edgenas.hardware.matrix import jetson_families

    return (", ".join(jetson_families(l4t)) or "none") if l4t else None


def _misfits(found: dict[str, Any]) -> list[str]:
    import platform

    from edgenas.hardware.matrix import misfits

    if not found["l4t"]:
        return []
    return misfits(found["l4t"], platform.python_version(), found["tensorrt"].get("found"))


def advice_from(found: dict[str, Any]) -> list[str]:
    """One line for everything that would get in the way."""
    advice = []
    jetson, gpu = bool(found["l4t"]), "reason" not in found["gpu"]
    if not gpu and (jetson or "found" in found["tensorrt"]):
        advice.append(
            "the GPU is not visible: start the container with `--runtime nvidia`, or add yourself to group video"
        )
    if gpu and "reason" in found["tensorrt"]:
        advice.append(found["tensorrt"]["reason"])
    advice += _misfits(found)
    if gpu and found["cuda_python"] is None:
        advice.append("engines need cuda-python: pip install 'cuda-python>=12.6,<13' on JetPack 6, '>=13' on JetPack 7")
    if "reason" in found["onnxruntime"]:
        advice.append(f"{found['onnxruntime']['reason']}: {_device_line() if jetson else pip_line('cpu', 'cuda')}")
    if found["serving"] is None:
        advice.append(f"serving needs: {_device_line() if jetson else pip_line('serve')}")
    if "reason" in found["engine_cache"]:
        advice.append(found["engine_cache"]["reason"])
    if found["memory_mb"]["available"] < 1000:
        advice.append(
            "less than 1 GB of memory is free: building an engine may be killed; stop other programs or add swap"
        )
    if found["disk_gb"]["free here"] < LEAST_DISK_GB:
        advice.append("hardly any disk space is left here: studies, weights and bundles could not be written")
    if found["throttling"]:
        advice.append(f"the device slows itself down ({', '.join(found['throttling'])}): cool it or give it more power")
    advice += [
        f"{path} is an empty file that the container runtime left: the host lacks it"
        for path in found["tensorrt_mounts"]
    ]
    return advice


def _device_line() -> str:
    """How a board gets what serving takes: without PyTorch, which the extras bring along."""
    import sys

    older = "-py310" if sys.version_info < (3, 11) else ""
    return (
        f"pip install -r deploy/requirements-device{older}.txt, then pip install --no-deps . in your clone of EdgeNAS; or its "
        "container (docs/jetson.md)"
    )


def _or_reason(read: Callable[[], str]) -> dict[str, str]:
    try:
        return {"found": read()}
    except EdgenasError as reason:
        return {"reason": str(reason)}


def _onnxruntime() -> dict[str, Any]:
    """Version and providers; two distributions over each other are a trap, the later overwrites the earlier."""
    from importlib.metadata import packages_distributions

    from edgenas.runtimes.onnx import onnxruntime_module

    names = sorted(set(packages_distributions().get("onnxruntime", ())))
    if len(names) != 1:
        found = ", ".join(names) or "none"
        return {"reason": f"onnxruntime distributions: {found}; exactly one is needed"}
    try:
        module = onnxruntime_module()
    except EdgenasError as error:
        return {"reason": str(error)}
    return {"found": f"{names[0]} {module.__version__}: {', '.join(module.get_available_providers())}"}


def _installed(module: str) -> str | None:
    """Its distribution and version; of a module that came without one its name."""
    from importlib.metadata import PackageNotFoundError, packages_distributions, version
    from importlib.util import find_spec

    from edgenas.runtimes import BROKEN

    try:
        if find_spec(module) is None:
            return None
    except BROKEN:  # of the package that it is in
        return None
    names = packages_distributions().get(module.split(".")[0], [module])
    try:
        return f"{names[0]} {version(names[0])}"
    except PackageNotFoundError:
        return module


def _writable(folder: Path) -> str:
    import os

    if not os.access(folder, os.W_OK):
        raise EdgenasError(f"the engine cache {folder} cannot be written: mount a volume there or set EDGENAS_CACHE")
    return str(folder)


def _mounts() -> list[str]:
    """Libraries that JetPack's container runtime mounted from a host that does not have them: files of no bytes."""
    folders = (Path("/usr/lib/aarch64-linux-gnu"), Path("/usr/lib/aarch64-linux-gnu/nvidia"))
    names = ("libnvinfer*.so*", "libcuda.so*", "libcudnn*.so*")
    files = (file for folder in folders for name in names for file in folder.glob(name))
    return sorted(str(file) for file in files if file.is_file() and file.stat().st_size == 0)


def _words(value: Any) -> str:
    if isinstance(value, dict) and value.keys() <= {"found", "reason"}:
        return str(value.get("found") or f"no: {value['reason']}")
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value or "no")
