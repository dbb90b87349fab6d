"""What an older checkout of EdgeNAS says of the same networks: asked in a process of its own, where that code runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.board_rows import Published
from edgenas.hardware.least_squares import Array
from edgenas.records import Workload

SCRIPT = """
import sys
import msgspec
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Workload
asked = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=dict[str, list[tuple[int, Workload]]])
found = {}
for key, networks in asked.items():
    name, precision = key.split(" ")
    profile = profile_from_name(name)
    if precision in profile.precisions:
        said = latencies(profile, [Row("network", workload) for _, workload in networks], precision)
        found |= {str(place): latency.ms for (place, _), latency in zip(networks, said)}
print(msgspec.json.encode(found).decode())
"""


def predicted_before(checkout: Path, rows: Sequence[Published], workloads: Sequence[Workload]) -> Array:
    """Milliseconds of each row at batch 1 (older versions know no other; NaN), FP32 where TF32 was not known."""
    asked: dict[str, list[tuple[int, Workload]]] = {}
    for place, (row, workload) in enumerate(zip(rows, workloads, strict=True)):
        if row.batch == 1:
            precision = "fp32" if row.precision == "tf32" else row.precision
            asked.setdefault(f"{row.device} {precision}", []).append((place, workload))
    found = np.full(len(rows), np.nan)
    with tempfile.TemporaryDirectory() as folder:
        question = Path(folder) / "asked.json"
        question.write_bytes(msgspec.json.encode(asked))
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(question)],
            cwd=checkout,
            env=environment,
            check=True,
            capture_output=True,
        )
    for place, ms in msgspec.json.decode(done.stdout, type=dict[str, float]).items():
        found[int(place)] = ms
    return found
