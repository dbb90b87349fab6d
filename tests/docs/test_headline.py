"""The figures of the ten minutes on Fashion-MNIST are those of the file that the benchmark wrote."""

import json
import re
from pathlib import Path

from edgenas.engine.space_facts import facts_of

ROOT = Path(__file__).parent.parent.parent
FOUND = json.loads((ROOT / "benchmarks/results/headline.json").read_text())


def test_the_table_has_every_run_and_their_mean() -> None:
    page = (ROOT / "docs/results.md").read_text()
    for run in FOUND["runs"]:
        row = (
            f"| {run['seed']} | {run['test_accuracy']:.2f} | {run['params']:,} | {run['macs'] / 1e6:.1f} | {run['networks']} | "
            f"{run['epochs']} | {run['wall_seconds']:.0f} |"
        )
        assert row in page
        assert run["wall_seconds"] <= 600
        assert run["params"] <= 50_000
    accuracy = FOUND["test_accuracy"]
    mean = f"**{accuracy['mean']:.2f} +- {accuracy['se']:.2f}**".replace("+- 0.", "+- .")
    assert mean in page
    assert f"deviation {accuracy['sd']:.2f}".replace(" 0.", " .") in page


def test_the_readme_says_the_same() -> None:
    page = (ROOT / "README.md").read_text()
    accuracy = FOUND["test_accuracy"]
    assert f"**{accuracy['mean']:.2f} +- {accuracy['sd']:.2f} %**".replace("+- 0.", "+- .") in page
    assert "mean and deviation of 3 seeds" in page
    assert ", ".join(f"{each:.2f}" for each in accuracy["each"]) in page
    smallest, largest = re.findall(r"([\d,]+) to ([\d,]+) parameters; `python -m benchmarks.live headline`", page)[0]
    assert (smallest, largest) == (f"{min(FOUND['params']['each']):,}", f"{max(FOUND['params']['each']):,}")


def test_the_limit_of_the_first_commands_is_one_that_decides() -> None:
    page = (ROOT / "README.md").read_text()
    (limit,) = re.findall(r"--max-latency-ms ([\d.]+)", page)
    low, *_, high = facts_of("chain", (3, 96, 10), "tiny", "jetson").spread["ms"]
    assert low < float(limit) < high
    assert f"take {low:.2f} to {high:.2f} ms" in page
    low, *_, high = facts_of("chain", (3, 96, 10), "t", "jetson").spread["ms"]
    assert f"(`--preset t`: {low:.2f} to {high:.1f} ms)" in page
