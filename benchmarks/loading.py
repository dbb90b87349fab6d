"""How often a search loads its images, and how long it takes until the first candidate is trained.

    python -m benchmarks.loading --images 10000
    python -m benchmarks.loading --images 10000 --package ../edgenas-0.1   # another checkout, for comparison

Generates photographs of 640 x 480 (JPEG, smooth noise) in two class folders, runs `edgenas search --budget` on them in a process
of its own and stops it after the first candidate. A sitecustomize counts how many images Pillow decodes; headers are read once
more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
COUNTER = """
import atexit, os
import PIL.ImageFile
decoded, real = [0], PIL.ImageFile.ImageFile.load_prepare
def counting(self):
    decoded[0] += 1
    if decoded[0] % 100 == 0:
        write()
    return real(self)
def write():
    with open(os.path.join(os.environ["COUNTS"], str(os.getpid())), "w") as file:
        file.write(str(decoded[0]))
PIL.ImageFile.ImageFile.load_prepare = counting
atexit.register(write)
"""


def photograph(path: Path, seed: int) -> None:
    """Smooth noise, lighter for one of the two classes: about 25 kB."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 160, (12, 16, 3), dtype=np.uint8) + np.uint8(80 * (seed % 2))
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=85)


def generate(folder: Path, count: int) -> None:
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True, exist_ok=True)
    paths = [folder / ("light" if seed % 2 else "dark") / f"{seed:06d}.jpg" for seed in range(count)]
    missing = [(path, seed) for seed, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor() as pool:
        list(pool.map(photograph, *zip(*missing, strict=True), chunksize=64) if missing else ())


def first_candidate(package: Path, images: Path, budget: float) -> dict[str, Any]:
    """Images decoded, and seconds from the command to the first trained candidate."""
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        (here / "site").mkdir()
        (here / "counts").mkdir()
        (here / "site/sitecustomize.py").write_text(COUNTER)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(here / "site"), str(package)]),
            "COUNTS": str(here / "counts"),
        }
        command = [sys.executable, "-m", "edgenas", "search", "--target", "jetson", "--data", str(images)]
        command += ["--image-size", "64", "--budget", str(budget), "--study", "loading"]
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("   1  "):
                break
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        if not said or not said[-1].startswith("   1  "):
            raise SystemExit("".join(said))
        decoded = sum(int(file.read_text()) for file in (here / "counts").iterdir())
    return {"decoded": decoded, "seconds_to_first_candidate": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgenas-loading")
    parser.add_argument("--package", type=Path, default=ROOT)
    parser.add_argument("--budget", type=float, default=30.0)
    arguments = parser.parse_args()
    folder = arguments.folder / str(arguments.images)
    generate(folder, arguments.images)
    found = first_candidate(arguments.package, folder, arguments.budget)
    loads = round(found["decoded"] / arguments.images, 3)
    print(json.dumps({"images": arguments.images, "loads": loads, **found, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
