"""How often a search loads its images, how long that takes, and how much memory all its processes hold.

    python -m benchmarks.loading --images 10000
    python -m benchmarks.loading --images 10000 --package ../edgenas-0.1   # another checkout, for comparison
    python -m benchmarks.loading --whole --images 20000 --size 128 --workers 4
    python -m benchmarks.loading --whole --images 100000 --size 224 --workers 4 --kill 0.5 --picture 320x240

Generates photographs (JPEG, smooth noise) in two class folders. The first form runs `edgenas search --budget` on them in a
process of its own and stops it after the first candidate; a sitecustomize counts how many images Pillow decodes, headers are
read once more.

`--whole` runs a search and a final training to their ends: `edgenas data` alone (with `--kill SHARE` killed once that share of
the images is decoded, and run again), then `edgenas search` (four random networks, one epoch of --search-images) and `edgenas
train` (two seeds, one epoch of all images, or stopped after --steps of each). Every 0.2 s RssAnon and RssShmem of the command
and all its descendants are summed; pages of mapped files do not count, since the system takes them back when it needs them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
SEEN_SECONDS = 0.2  # between two looks at the memory
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
STEPS = """
import os, sys, threading, time
def patch():
    while "edgenas.training.step" not in sys.modules or not hasattr(sys.modules["edgenas.training.step"], "Step"):
        time.sleep(0.01)
    step, done = sys.modules["edgenas.training.step"].Step, [0]
    real = step.__call__
    def counting(self, *arguments):
        real(self, *arguments)
        done[0] += 1
        with open(os.path.join(os.environ["COUNTS"], str(os.getpid())), "w") as file:
            file.write(str(done[0]))
    step.__call__ = counting
threading.Thread(target=patch, daemon=True).start()
"""
PROJECT = """
target = ["jetson"]
data = "{images}"
image_size = {size}
method = "random"
min_depth = 4
max_depth = 6
min_width = 4
max_width = 8
search_images = {searched}
epoch_scale = 1.0
[rules]
trials = 4
epochs = 1
"""


def photograph(path: Path, seed: int, size: tuple[int, int] = (640, 480)) -> None:
    """Smooth noise, lighter for one of the two classes: about 25 kB at 640 x 480."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 160, (12, 16, 3), dtype=np.uint8) + np.uint8(80 * (seed % 2))
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, quality=85)


def generate(folder: Path, count: int, size: tuple[int, int] = (640, 480), processes: int | None = None) -> None:
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True, exist_ok=True)
    paths = [folder / ("light" if seed % 2 else "dark") / f"{seed:06d}.jpg" for seed in range(count)]
    missing = [(path, seed) for seed, path in enumerate(paths) if not path.exists()]
    draw = functools.partial(photograph, size=size)
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(draw, *zip(*missing, strict=True), chunksize=64) if missing else ())


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


# ---------------------------------------------------------------- the whole way, with its memory


def descendants(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := _status(int(entry.name))):
            children.setdefault(status["PPid"], []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _status(pid: int) -> dict[str, int]:
    """Numbers of /proc/PID/status, memory in kB; {} of a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}


class Watched:
    """A command whose memory is looked at while it runs; MB."""

    def __init__(self, command: list[str], here: Path, package: Path, before: tuple[Path, ...] = ()) -> None:
        """`before`: folders of modules that come first."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, before), str(package)])}
        self.began, self.anonymous, self.shared, self.together, self.processes = time.monotonic(), 0.0, 0.0, 0.0, 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgenas", *command],
            cwd=here,
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            found = [status for pid in descendants(self.process.pid) if (status := _status(pid))]
            anonymous, shared = (sum(s.get(kind, 0) for s in found) / 1e3 for kind in ("RssAnon", "RssShmem"))
            self.anonymous, self.shared = max(self.anonymous, anonymous), max(self.shared, shared)
            self.together, self.processes = max(self.together, anonymous + shared), max(self.processes, len(found))
            time.sleep(SEEN_SECONDS)

    def result(self) -> dict[str, Any]:
        """Waits for its end. SystemExit where it fails."""
        if self.process.wait() != 0:
            raise SystemExit(f"exit code {self.process.returncode}")
        return self.figures()

    def figures(self) -> dict[str, Any]:
        self.watcher.join()
        return {
            "seconds": round(time.monotonic() - self.began, 1),
            "peak_anonymous_and_shared_mb": round(self.together),
            "peak_anonymous_mb": round(self.anonymous),
            "peak_shared_mb": round(self.shared),
            "processes": self.processes,
        }


def stopped_training(steps: int, here: Path, package: Path) -> dict[str, Any]:
    """A final training of two seeds, stopped when each has done so many steps."""
    site, counts = here / "site", here / "counts"
    site.mkdir()
    counts.mkdir()
    (site / "sitecustomize.py").write_text(STEPS)
    os.environ["COUNTS"] = str(counts)
    training = Watched(["train", "loading", "--seeds", "2", "--epochs", "1"], here, package, (site,))
    done: list[int] = []
    while len(done) < 2 or min(done) < steps:
        time.sleep(0.5)
        done = [int(text) for file in counts.iterdir() if (text := file.read_text())]
        if training.process.poll() is not None:
            raise SystemExit("the training ended before it was stopped: ask for fewer --steps")
    os.killpg(training.process.pid, signal.SIGKILL)
    training.process.wait()
    return training.figures() | {"steps_of_each_seed": done}


def rows_decoded(cache: Path) -> int:
    """How many rows have a record: byte 65 of its 72 is 1 where one is filled."""
    records = [np.fromfile(path, np.uint8) for path in cache.glob("*/*/records")]
    return sum(int((each.reshape(-1, 72)[:, 65] == 1).sum()) for each in records)


def whole(arguments: argparse.Namespace, images: Path, here: Path) -> dict[str, Any]:
    """Caching, a search and a final training."""
    os.environ["EDGENAS_CACHE"] = str(cache := here / "cache")
    package, count = arguments.package, arguments.images
    found: dict[str, Any] = {}
    look = ["data", str(images), "--image-size", str(arguments.size)]
    if arguments.kill is not None:
        killed = Watched(look, here, package)
        while rows_decoded(cache) < arguments.kill * count:
            time.sleep(0.05)
            if killed.process.poll() is not None:
                raise SystemExit("it ended before it was killed: give a smaller --kill")
        killed.process.kill()
        killed.process.wait()
        found["killed"] = killed.figures() | {"decoded": rows_decoded(cache)}
    found["caching"] = Watched(look, here, package).result()
    found["cached"] = Watched(look, here, package).result()
    project = here / "project.toml"
    searched = min(arguments.search_images, count)
    project.write_text(PROJECT.format(images=images, size=arguments.size, searched=searched))
    workers = str(arguments.workers)
    search = ["search", str(project), "--study", "loading", "--workers", workers]
    found["search"] = Watched(search, here, package).result()
    from edgenas.records import FinalTraining
    from edgenas.store import Store

    with Store.read(here / "studies" / "loading") as store:
        one = store.ledger()[0].candidate.recipe
    steps = one.epochs * (searched // one.batch_size)
    found["search"] |= {"networks": 4, "steps_a_network": steps, "batch_size": one.batch_size}
    if arguments.steps:
        found["training"] = stopped_training(arguments.steps, here, package)
        return found
    found["training"] = Watched(["train", "loading", "--seeds", "2", "--epochs", "1"], here, package).result()
    with Store.read(here / "studies" / "loading") as store:
        (final,) = store.all("final", FinalTraining).values()
    trained, batch = final.images["train"], final.recipe.batch_size
    found["training"] |= {"steps_a_seed": final.recipe.epochs * (trained // batch), "batch_size": batch}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgenas-loading")
    parser.add_argument("--package", type=Path, default=ROOT)
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--picture", default="640x480", help="of each photograph, pixels")
    parser.add_argument("--whole", action="store_true", help="caching, search and final training, with their memory")
    parser.add_argument("--size", type=int, default=224, help="of the network's input (--whole)")
    parser.add_argument("--workers", type=int, default=4, help="of the search (--whole)")
    parser.add_argument("--search-images", type=int, default=3000, help="that the search trains on (--whole)")
    parser.add_argument("--steps", type=int, default=0, help="stop each seed's training after so many (--whole)")
    parser.add_argument("--kill", type=float, help="kill the caching at this share of the images (--whole)")
    arguments = parser.parse_args()
    width, height = map(int, arguments.picture.split("x"))
    folder = arguments.folder / f"{arguments.images}-{arguments.picture}"
    generate(folder, arguments.images, (width, height), len(os.sched_getaffinity(0)))
    about = {"images": arguments.images, "picture": arguments.picture, "cores": len(os.sched_getaffinity(0))}
    if arguments.whole:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
            print(json.dumps({**about, "size": arguments.size, **whole(arguments, folder, Path(scratch))}, indent=1))
        return
    found = first_candidate(arguments.package, folder, arguments.budget)
    print(json.dumps({**about, "loads": round(found["decoded"] / arguments.images, 3), **found}))


if __name__ == "__main__":
    main()
