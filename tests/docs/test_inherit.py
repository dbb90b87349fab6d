"""What docs/search.md says of inherited weights and of stopping early is what the benchmark found."""

import json
import statistics
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOUND = json.loads((ROOT / "benchmarks/results/inherit.json").read_text())
PAGE = (ROOT / "docs/search.md").read_text()


def apart(key: str, one: str, other: str) -> str:
    """The mean difference over the seeds, without its sign, and the standard error."""
    each = [run["ways"][one][key] - run["ways"][other][key] for run in FOUND["runs"]]
    error = statistics.stdev(each) / len(each) ** 0.5
    return f"{abs(statistics.fmean(each)):.2f} +- {error:.2f}".replace("0.", ".")


def test_every_row_is_the_files() -> None:
    for row in FOUND["ways"].values():
        cells = (f"{row[key]['mean']:.2f} +- {row[key]['se']:.2f}" for key in ("spearman", "regret"))
        assert f"| {row['epochs']['mean']:.1f} | {' | '.join(cells)} |" in PAGE


def test_the_differences_are_those_of_the_same_seeds() -> None:
    assert f"is lower by {apart('spearman', 'inherited', 'half')} and the regret higher by" in PAGE
    assert f"higher by {apart('regret', 'inherited', 'half')} points" in PAGE
    assert f"({apart('regret', 'half', 'whole')} points less)" in PAGE
    whole, stopped = FOUND["ways"]["whole"], FOUND["ways"]["stopped"]
    assert stopped["regret"]["each"] == whole["regret"]["each"]
    assert f"{100 * (1 - stopped['epochs']['mean'] / whole['epochs']['mean']):.0f} % fewer epochs" in PAGE
