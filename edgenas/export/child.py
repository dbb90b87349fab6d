"""ONNX Runtime in a process of its own, since it keeps its memory.

`python -m edgenas.export.child MODEL INPUTS.npz OUTPUTS.npz`
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenas.errors import EdgenasError, ParityError
from edgenas.runtimes.child import child_environment

Array = NDArray[Any]
SECONDS = 1800  # far above what any export's check takes; a hang must end


def outputs_in_child(model: onnx.ModelProto, batches: Sequence[Array]) -> list[dict[str, Array]]:
    """Every output of the one-input `model` on every batch, by ONNX Runtime on the CPU; ParityError where it does not run."""
    with tempfile.TemporaryDirectory(prefix="edgenas-") as name:
        folder = Path(name)
        onnx.save_model(model, folder / "model.onnx")
        np.savez(folder / "inputs.npz", *batches)
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            *(str(folder / n) for n in ("model.onnx", "inputs.npz", "outputs.npz")),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False, env=child_environment()
            )
        except subprocess.TimeoutExpired:
            raise ParityError(
                f"ONNX Runtime did not finish within {SECONDS} s: check the model and the machine"
            ) from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ParityError(f"ONNX Runtime cannot run the exported model: {last}")
        with np.load(folder / "outputs.npz", allow_pickle=False) as saved:
            names = [output.name for output in model.graph.output]
            return [{n: saved[f"{i}/{n}"] for n in names} for i in range(len(batches))]


def main(model: str, inputs: str, outputs: str) -> int:
    """The child's side: every input batch through the model, every output into one npz file."""
    from edgenas.runtimes import open_runtime
    from edgenas.runtimes.batches import run_in_batches

    results: dict[str, Array] = {}
    with open_runtime("onnxruntime", Path(model), "fp32") as runtime, np.load(inputs, allow_pickle=False) as saved:
        for index, key in enumerate(saved.files):
            for output, value in run_in_batches(runtime, saved[key], len(saved[key])).items():
                results[f"{index}/{output}"] = value
    with Path(outputs).open("wb") as file:
        np.savez(file, **results)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except EdgenasError as error:
        sys.exit(str(error))
