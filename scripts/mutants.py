"""Do the tests guard the promises? Breaks one promise at a time (scripts/mutants.toml) and runs the tests that should notice.

    python scripts/mutants.py                # all of them; exit 1 where fewer than 95 % are noticed
    python scripts/mutants.py limit agent    # those whose promise or file contains one of these words

Works on copies of the tree in a temporary folder: nothing here is changed. A list entry whose text does not stand exactly once in
its file is an error, so that the list cannot go stale without a word (tests/test_mutants.py checks that too).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".toml")
LEAST_NOTICED = 0.95
PATIENCE_S = 600


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One small change to the code: `old`, which stands once in `file`, becomes `new`, which breaks `promise`."""

    promise: str
    file: str
    old: str
    new: str
    tests: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]  # files or node ids of pytest
    survives: str = ""  # why no test notices, where that is accepted

    def applied(self, text: str) -> str:
        """`text` with the change made. Raises ValueError where `old` does not stand in it exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: stands {text.count(self.old)} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)


def mutants(path: Path = LIST) -> list[Mutant]:
    """The committed list."""
    return msgspec.convert(tomllib.loads(path.read_text())["mutant"], type=list[Mutant])


def copy_of_tree(folder: Path) -> Path:
    """What git knows here, as it is now, in `folder`; a repository too, since some tests ask git."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\n")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    if (shared := ROOT.parent / "shared").is_dir():
        (folder.parent / "shared").symlink_to(shared)
    return folder


def fails(folder: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Do these tests fail in that copy? With pytest's last line. Slow ones are run where no whole file is named."""
    which = ["-m", "slow or not slow"] if all("::" in test for test in tests) else []
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", *which, *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return True, f"not done after {PATIENCE_S} s"
    if done.returncode not in (0, 1, 2):  # 2: a mutant may break the import of a test
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    lines = done.stdout.strip().splitlines()
    return done.returncode != 0, " ".join(
        [*(line for line in lines if line.startswith(("FAILED", "ERROR"))), lines[-1]]
    )


def tried(folder: Path, mutant: Mutant) -> tuple[bool, str]:
    """Is the mutant noticed in this copy, which is put back afterwards?"""
    path = folder / mutant.file
    before = path.read_text()
    path.write_text(mutant.applied(before))
    try:
        return fails(folder, mutant.tests)
    finally:
        path.write_text(before)


def chosen(words: Sequence[str]) -> list[Mutant]:
    """The listed mutants that one of the words names; all without words."""
    return [m for m in mutants() if not words or any(word in f"{m.promise} {m.file}" for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only mutants whose promise or file contains one of these words")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried at once")
    parser.add_argument(
        "--tested", action="store_true", help="the tests are known to pass unchanged: do not run them first"
    )
    options = parser.parse_args()
    asked = chosen(options.words)
    if not asked:
        parser.error(f"no mutant's promise or file contains one of: {' '.join(options.words)}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgenas-mutants-") as name:
        copies = [copy_of_tree(Path(name) / f"tree{i}" / "repository") for i in range(options.jobs)]
        every = sorted({test for mutant in asked for test in mutant.tests})
        broken, last = (False, "") if options.tested else fails(copies[0], every)
        if broken:
            print(f"the tests fail without any change: {last}")
            return 1
        survivors = []
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            free = list(copies)

            def work(mutant: Mutant) -> tuple[bool, str]:
                copy = free.pop()
                try:
                    return tried(copy, mutant)
                finally:
                    free.append(copy)

            for mutant, (noticed, last) in zip(asked, pool.map(work, asked), strict=True):
                print(f"{'noticed ' if noticed else 'SURVIVES'}  {mutant.promise} ({mutant.file}): {last}", flush=True)
                if not noticed:
                    survivors.append(mutant)
    share = 1 - len(survivors) / len(asked)
    print(
        f"{len(asked) - len(survivors)} of {len(asked)} noticed ({100 * share:.1f} %) in {time.monotonic() - started:.0f} s"
    )
    for mutant in survivors:
        print(f"  survives: {mutant.promise}: {mutant.survives or 'no reason given: write a test'}")
    return 0 if share >= LEAST_NOTICED else 1


if __name__ == "__main__":
    sys.exit(main())
