"""benchmarks/README.md, written from the results that there are.

python -m benchmarks.readme
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.table_results import section

FOLDER = Path(__file__).parent
INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks.readme` from `results/*.json`, which hold device, versions, n and the raw samples.
`make bench` and `make bench-gpu` make the results; `python -m benchmarks.search policies|corners` and `python -m` of
`benchmarks.methods`, `benchmarks.executors` and `benchmarks.zero_cost` the others.
"""


def write_readme(results: Path = FOLDER / "results") -> None:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    parts = [INTRODUCTION]
    for name, result in found.items():
        if name.startswith(("throughput", "gpu-throughput")):
            parts.append(throughput_table(result))
        elif "document" in result and "published" in result:
            parts.append(reproduction_line(result))
        elif name == "policies":
            parts.append(policies_table(result))
        elif name == "corners":
            parts.append(corners_table(result))
        elif name == "methods":
            parts.append(methods_table(result))
        elif name == "executors":
            parts.append(executors_table(result))
        elif name == "tables":
            parts.append(section(result))
        elif name == "zero-cost":
            parts.append(zero_cost_table(result))
    (FOLDER / "README.md").write_text("\n".join(parts), encoding="utf-8")


def about(result: dict[str, Any]) -> str:
    return f"{result['device']}, torch {result['versions']['torch']}"


def throughput_table(result: dict[str, Any]) -> str:
    rows = [
        "| network (width/depth) | params | papers' loop | ours, batch 64 | ours, `fast` | ratio | share of floor |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        speed = row["images_per_second"]
        share = f"{row['share_of_floor']:.2f}" if "share_of_floor" in row else "-"
        rows.append(
            f"| {row['network']} ({row['width']}/{row['depth']}) | {row['params']:,} | {speed['papers']:.0f} | "
            f"{speed['ours_batch_64']:.0f} | {speed['ours_fast']:.0f} | {row['ratio_fast']:.2f} | {share} |"
        )
    return f"## Training throughput, images/s\n{about(result)}; {result['data']}\n\n" + "\n".join(rows) + "\n"


def reproduction_line(result: dict[str, Any]) -> str:
    """A command of docs/reproduce.md as it ended, beside what was published."""
    document = result["document"]
    ended = f"{document['seconds'] / 3600:.2f} h" if "seconds" in document else ""
    if "test_accuracy" in document:
        test = document["test_accuracy"]
        ended = (
            f"{document['params']:,} parameters, test {test['mean']:.2f} +- {test['std']:.2f} % over {document['seeds']} seeds "
            f"(last epoch), {ended}"
        )
    published = "; ".join(f"{each['what']}: {each['figure']}" for each in result["published"])
    return f"## `{' '.join(result['command'])}`\n{about(result)}\n\n{ended}. Published: {published}\n"


def policies_table(result: dict[str, Any]) -> str:
    rows = ["| policy | Kendall's tau | Spearman's rho | seeds |", "|---|---|---|---|"]
    for policy, row in result["policies"].items():
        tau, rho = (sum(row[k]) / len(row[k]) for k in ("kendall", "spearman"))
        spread = ", ".join(f"{value:.2f}" for value in row["kendall"])
        rows.append(f"| {policy} | {tau:.3f} ({spread}) | {rho:.3f} | {len(row['kendall'])} |")
    long = result["long"]
    return (
        f"## Whom to train for how long\n{about(result)}; {result['data']}; {len(result['networks'])} networks; truth: "
        f"{long['epochs']} epochs, two seeds that agree by tau {long['kendall_between_seeds']:.3f}; equal total cost\n\n"
        + "\n".join(rows)
        + "\n"
    )


def corners_table(result: dict[str, Any]) -> str:
    factors = list(result["rows"][0]["val_accuracy"])
    rows = [
        "| width | depth | " + " | ".join(f"lr x {factor}" for factor in factors) + " |",
        "|---" * (2 + len(factors)) + "|",
    ]
    for row in result["rows"]:
        scores = " | ".join(f"{row['val_accuracy'][factor]:.2f}" for factor in factors)
        rows.append(f"| {row['width']} | {row['depth']} | {scores} |")
    return (
        f"## One learning rate for the corners of the space\n{about(result)}; {result['data']}; `fast`, {result['epochs']} "
        f"epochs, lr {result['lr']:g} at batch {result['batch_size']}; validation accuracy, %\n\n"
        + "\n".join(rows)
        + "\n"
    )


def methods_table(result: dict[str, Any]) -> str:
    def cell(values: dict[str, Any], digits: int) -> str:
        spread = f" +- {values['std']:.{digits}f}" if len(values["each"]) > 1 else ""
        return f"{values['mean']:,.{digits}f}{spread}"

    rows = [
        "| method | seeds | test accuracy, % | params | networks trained | hypervolume | search, s | training, s |",
        "|---" * 8 + "|",
    ]
    for method, row in result["methods"].items():
        cells = [
            cell(row[key], digits)
            for key, digits in (
                ("test_accuracy", 2),
                ("params", 0),
                ("trials", 0),
                ("hypervolume", 3),
                ("search_seconds", 0),
                ("train_seconds", 0),
            )
        ]
        rows.append(f"| {method} | {len(row['params']['each'])} | " + " | ".join(cells) + " |")
    judge, minutes, known = result["judge"], result["minutes"], result["runs"][0]["chosen"]["latency"]
    return (
        f"## Search methods at an equal budget\n{about(result)}; {result['data']}, at most 50,000 parameters; search "
        f"{minutes['search']:g} min, final training {minutes['train']:g} min; mean +- deviation; hypervolume of error and "
        f"latency: {len(judge['networks'])} front networks trained alike ({judge['images']} images, {judge['epochs']} epochs), "
        f"their latencies those of these searches ({known['origin']}, {known['profile']})\n\n" + "\n".join(rows) + "\n"
    )


def executors_table(result: dict[str, Any]) -> str:
    rows = ["| executor | ms per candidate beyond its training | range |", "|---|---|---|"]
    for name, median in result["median"].items():
        each = [sample["overhead_ms"] for sample in result["samples"][name]]
        rows.append(f"| {name} | {median['overhead_ms']:.1f} | {min(each):.1f} to {max(each):.1f} |")
    return (
        f"## What an executor adds\n{about(result)}; {result['data']}, {result['candidates']} candidates, median of "
        f"{result['rounds']} rounds\n\n" + "\n".join(rows) + "\n"
    )


def zero_cost_table(result: dict[str, Any]) -> str:
    figures = list(next(iter(result["sets"].values()))["kendall"])
    rows = ["| networks | n | " + " | ".join(figures) + " |", "|---" * (2 + len(figures)) + "|"]
    for name, ranked in result["sets"].items():
        taus = " | ".join(f"{ranked['kendall'][figure]:.3f}" for figure in figures)
        rows.append(f"| {name} | {ranked['networks']} | {taus} |")
    return (
        f"## Ranking without training\n{about(result)}; Kendall's tau with trained accuracy; NASWOT on noise, batch "
        f"{result['batch']}, mean of {result['seeds']} initialisations\n\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    write_readme()
