"""Does the weight-sharing supernet rank networks as training from scratch does?

Takes networks of a finished nse study's last round, evenly spread over their inherited accuracy, trains each from scratch with
the study's own recipe and prints both accuracies with their rank correlations. Trials are kept in the study: run again, it goes
on. Example: python -m benchmarks.nse_rank studies/fashion --n 12 --epochs 5
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import kendalltau, spearmanr

from edgenas.architectures.subspace import Round, Scored
from edgenas.engine.plan import written_plan
from edgenas.hardware.cost import CostModel
from edgenas.records import Ask, Candidate, Limits
from edgenas.store import Store
from edgenas.tasks import load_task
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import local_executor


def spread(networks: list[Scored], count: int) -> list[Scored]:
    """`count` networks, evenly spaced in the order of their inherited error."""
    ranked = sorted(networks, key=lambda network: (network.error, network.cost))
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--epochs", type=int, help="of each training; default: the recipe's own")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    with Store.write(options.study) as store:
        study = store.study
        played = list(store.all("round", Round).values())[-1]
        plan = written_plan(study)
        recipe = msgspec.structs.replace(plan.training.recipe, epochs=options.epochs or plan.training.recipe.epochs)
        chosen = spread([network for network in played.networks if network.band != "cheap"], options.n)
        candidates = tuple(Candidate(played.plan.space.member(n.ops), recipe, "rank") for n in chosen)
        task = load_task(plan.task)
        evaluator = Evaluator(task, study.seed, plan.device)
        with local_executor(evaluator, CostModel((), None, Limits()), options.workers) as executor:
            trials = executor.answer(Ask(candidates), store)
    score = task.metric.objective
    inherited = [100 - network.error for network in chosen]
    scratch = [trial.scores[score] for trial in trials]
    report = {
        "study": str(options.study),
        "n": len(chosen),
        "epochs": recipe.epochs,
        "inherited": [round(x, 2) for x in inherited],
        "from_scratch": [round(x, 2) for x in scratch],
        "m_macs": [round(trial.cost.macs / 1e6, 3) for trial in trials],
        "spearman": round(float(spearmanr(inherited, scratch).statistic), 3),
        "kendall": round(float(kendalltau(inherited, scratch).statistic), 3),
        "cores": os.cpu_count(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
