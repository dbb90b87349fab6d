"""Search methods in the same minutes on real data under a latency limit: test accuracy of the choice, hypervolume of the front.

    python -m benchmarks.live run [--folder DIR]          the arms in DIR/arms, one after another; goes on where it was
    python -m benchmarks.live arm TASK SPACE METHOD SEED  one of them
    python -m benchmarks.live headline [--method M] [--seeds 3] [--recipe R] [--flags="--space stages"]
                                                          results/headline.json, see live_headline.py
    python -m benchmarks.live summary [--name live]       results/live.json, results/live_runs.jsonl, docs/images/live.svg
    touch DIR/stop                                        `run` ends after the arm that it is at

An arm is a search by `edgenas search --budget MINUTES --workers 1`; then its choice and four members of its front (those nearest
to equal steps of log latency) are trained alike, 500 steps of 64 images, once for every network, and read the test set. `run`
reads DIR/arms again before every arm (one a line: TASK SPACE METHOD SEED), so that the order can be changed while it runs, and
adds a line to DIR/runs.jsonl after it. Pin it to one core: `taskset -c 0 nice -n -10 python -m benchmarks.live run`; a search
that got less than 90 % of its core is repeated. Before each search the speed of the core is measured and kept: rows of machines
of another speed are no fair comparison, and the page says so: those of a slower machine have a folder and a name of their own.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from benchmarks.live_arms import Arm, run_arm
from benchmarks.live_headline import Headline, headline
from benchmarks.live_picture import draw
from benchmarks.live_summary import box_of, lines, summary
from edgenas.errors import EdgenasError

AGAIN = 2  # an arm that fails, or that others disturbed, is tried so often


def records(folder: Path) -> list[dict[str, object]]:
    """The arms that are done."""
    file = folder / "runs.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def left(folder: Path) -> list[str]:
    """The arms that are listed and not done, in order; each as its four words."""
    done = {words_of(run) for run in records(folder) if not run["disturbed"]}
    tried = Counter(words_of(run) for run in records(folder))
    lines = [line.partition("#")[0].split() for line in (folder / "arms").read_text().splitlines()]
    listed = [" ".join(words) for words in lines if words]
    return [words for words in listed if words not in done and tried[words] < AGAIN]


def words_of(run: dict[str, object]) -> str:
    """The arm of a record, as `arms` lists it."""
    return f"{run['task']} {run['space']} {run['method']} {run['seed']}"


def run(folder: Path) -> None:
    """All arms, each in a process of its own."""
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EdgenasError(f"{folder} is being worked on by another process: one at a time") from None
    failures: dict[str, int] = {}
    while not (folder / "stop").exists():
        words = next((arm for arm in left(folder) if failures.get(arm, 0) < AGAIN), None)
        if words is None:
            break
        say(f"{words} ...")
        command = [sys.executable, "-m", "benchmarks.live", "arm", *words.split(), "--folder", str(folder)]
        if subprocess.run(command, check=False).returncode:
            failures[words] = failures.get(words, 0) + 1
            say(f"{words} failed")
    say("stopped" if (folder / "stop").exists() else f"no arm left, {len(failures)} failed: {', '.join(failures)}")


def one(folder: Path, arm: Arm, minutes: float | None) -> None:
    """Run an arm and keep its record; one that was only tried, with other minutes, has none."""
    torch.set_num_threads(1)
    result = run_arm(arm, folder, minutes)
    if minutes is None:
        with (folder / "runs.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
    final = result["final"]
    say(f"{arm.name}: {result['networks']} networks, {final['test_accuracy']:.2f} % at {final['latency_ms']:.3f} ms")


def summarise(folder: Path, out: Path, name: str) -> None:
    """Write what is there under this name, and print it as a table."""
    runs = records(folder)
    tasks = summary(runs, lambda task: box_of(task, folder))
    (out / f"{name}_runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    (out / f"{name}.json").write_text(json.dumps({"benchmark": "live", "tasks": tasks}, indent=1) + "\n")
    draw(runs, tasks, name)
    sys.stdout.write("\n".join(lines(tasks)) + "\n")


def say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "arm", "summary", "headline"))
    parser.add_argument("words", nargs="*", metavar="TASK SPACE METHOD SEED")
    parser.add_argument("--folder", type=Path, default=Path("studies/live"))
    parser.add_argument("--minutes", type=float, help="of the search, other than the task's: to try an arm")
    parser.add_argument("--method", help="headline: other than the default")
    parser.add_argument("--recipe", help="headline: of the final training, other than the default")
    parser.add_argument("--flags", default="", help="headline: further flags of the search")
    parser.add_argument("--seeds", type=int, default=3, help="headline: how many")
    parser.add_argument("--name", default="live", help="summary: of the files that it writes")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.what == "run":
        run(folder)
    elif arguments.what == "headline":
        asked = Headline(arguments.method, 0, recipe=arguments.recipe, flags=tuple(arguments.flags.split()))
        found = json.dumps({"benchmark": "headline", **headline(asked, arguments.seeds, folder)}, indent=1) + "\n"
        (arguments.out / "headline.json").write_text(found)
        sys.stdout.write(found)
    elif arguments.what == "summary":
        summarise(folder, arguments.out, arguments.name)
    else:
        one(folder, Arm.from_words(" ".join(arguments.words)), arguments.minutes)


if __name__ == "__main__":
    main()
