"""How long a person waits: `edgenas --help`, `targets`, `design`, and `report` of a study with 500 trials.

    python -m benchmarks.responsiveness

The study's trials are random chains with their real costs on a Jetson Nano; a formula stands in place of their accuracies, since
nothing is trained here. Wall seconds of whole processes, all samples, to benchmarks/results/responsiveness.json.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.throughput import device_name
from edgenas.architectures.chain import ChainSpace
from edgenas.engine.plan import Plan, plan_json
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.baselines import BaselineRules
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.records import Candidate, Choice, Classes, Limits, Recipe, StudyRecord, Trial
from edgenas.store import Store
from edgenas.tasks import TaskSettings

TRIALS, ROUNDS, TARGET = 500, 5, "jetson-nano-4gb"


def large_study(folder: Path) -> None:
    """A finished random search of TRIALS trials."""
    rng = random.Random(0)
    space = ChainSpace(Classes(10), 3, 32, min_depth=4, max_depth=20, min_width=8, max_width=64, width_step=2)
    cost = CostModel([profile_from_name(TARGET)], "fp32", Limits())
    asked = SearchSettings(target=(TARGET,), data="cifar10", method="random")
    training, rules = Training(Recipe("fast", 10, 64, 0.1)), BaselineRules()
    plan = Plan(asked, False, "t", "cpu", TaskSettings("cifar10"), training, space, rules)
    study = StudyRecord("random", "classification", "cifar10", (TARGET,), "fp32", Limits(), 0, plan=plan_json(plan))
    trials = []
    with Store.create(folder, study) as store:
        while len(trials) < TRIALS:
            depth, width = rng.randint(4, 20), rng.randrange(8, 65, 2)
            net = space.chain(depth, width, tuple(rng.randint(0, 1) for _ in range(depth)))
            known = cost(net)
            score = 70 + 3 * math.log10(known.params) + rng.gauss(0, 1)
            scores = {"val_accuracy": score, "train_accuracy": score}
            trials.append(
                Trial(Candidate(net, Recipe("fast", 10, 64, 0.1), "random"), "complete", known, 0, scores, 1.0)
            )
            store.add(trials[-1])
            store.number(trials[-1].candidate.key)
        store.choose(Choice(max(trials, key=lambda trial: trial.scores["val_accuracy"]), {}))


def seconds(*command: str) -> list[float]:
    """Wall seconds of `python -m edgenas COMMAND`, ROUNDS times."""
    samples = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "edgenas", *command], check=True, capture_output=True)
        samples.append(round(time.perf_counter() - begun, 3))
    return samples


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        large_study(Path(folder) / "large")
        commands = {
            "--help": ("--help",),
            "targets": ("targets",),
            "design --target jetson": ("design", "--target", "jetson"),
            f"report of {TRIALS} trials": ("report", f"{folder}/large", "--out", f"{folder}/report.html"),
        }
        samples = {name: seconds(*command) for name, command in commands.items()}
        size = (Path(folder) / "report.html").stat().st_size / 1e6
    for name, values in samples.items():
        print(
            f"{name:24} median {statistics.median(values):.2f} s, {min(values):.2f} .. {max(values):.2f}, n = {ROUNDS}"
        )
    result = {"device": device_name(torch.device("cpu")), "seconds": samples, "report_mb": round(size, 1)}
    path = Path(__file__).parent / "results" / "responsiveness.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
