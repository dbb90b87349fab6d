"""Fuzzes every place where something comes in from outside.

    python -m tests.fuzz                              # all targets, five minutes together
    python -m tests.fuzz --minutes 30 --seed 7        # longer, and with inputs of another seed
    python -m tests.fuzz requests bundle              # only these
    python -m tests.fuzz bundle --input FILE          # once more with an input that was kept

Prints a table; exit code 1 where anything crashed, ended in a traceback or silently meant something else. Inputs at fault
are kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz import boards, files, server
from tests.fuzz.engine import FAULTS, HEADER, Tally, fuzz

TARGETS = {target.name: target for target in (*server.TARGETS, *boards.TARGETS, *files.TARGETS)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without one")
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        "--minutes", type=float, help="of all targets together (default: 5; each tries a few inputs even so)"
    )
    time.add_argument("--seconds", type=float, help="the same in seconds")
    parser.add_argument("--seed", type=int, default=None, help="of the inputs (default: another one every time)")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-faults"), help="where inputs at fault go (default: %(default)s)"
    )
    parser.add_argument("--input", type=Path, help="try this one file only, with one TARGET")
    asked = parser.parse_args()
    unknown = [name for name in asked.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}: there are {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory(prefix="edgenas-fuzz-") as work:
        if asked.input:
            return _once(parser, asked, Path(work))
        seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
        print(f"seed {seed}", flush=True)
        chosen = asked.targets or [*TARGETS]
        total = asked.seconds if asked.seconds is not None else 60 * (asked.minutes if asked.minutes is not None else 5)
        return _all(chosen, total / len(chosen), seed, Path(work), asked.keep)


def _once(parser: argparse.ArgumentParser, asked: argparse.Namespace, work: Path) -> int:
    if len(asked.targets) != 1:
        parser.error("--input goes with one TARGET")
    with TARGETS[asked.targets[0]].opened(work) as door:
        verdicts = [door.tried(asked.input.read_bytes()), *door.ended()]
    for verdict in verdicts:
        print(f"{verdict.kind}: {verdict.words}")
    return int(any(verdict.kind in FAULTS for verdict in verdicts))


def _all(chosen: list[str], seconds: float, seed: int, work: Path, keep: Path) -> int:
    tallies: list[Tally] = []
    for name in chosen:
        tally = fuzz(TARGETS[name], seconds, seed, work, keep)
        tallies.append(tally)
        note = f"; {tally.note}" if tally.note else ""
        print(f"{name}: {tally.inputs} inputs, {len(tally.faults)} at fault{note}", file=sys.stderr, flush=True)
        for path, words in tally.faults:
            print(f"  {path or '(after all inputs)'}: {words}", file=sys.stderr, flush=True)
    rows = [HEADER, *(tally.row() for tally in tallies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print(
            "  ".join(
                cell.ljust(w) if not place else cell.rjust(w)
                for place, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        )
    faults = sum(len(tally.faults) for tally in tallies)
    print(
        f"{sum(tally.inputs for tally in tallies)} inputs, {faults} faults"
        + (f": inputs at fault are in {keep}" if faults else "")
    )
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
