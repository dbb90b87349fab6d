"""Studies to report on: the published GNAS search on CIFAR-10, written into a study.db as a search of ours would."""

from pathlib import Path

import msgspec

from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.subspace import AdditiveCost, Round, RoundPlan, Scored
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.replay import Trace, replay
from edgenas.methods.settings import SearchSettings
from edgenas.records import Classes, FinalRun, FinalTraining, Limits, Preprocessing, StudyRecord, Trial
from edgenas.store import Store, read_json
from tests.plans import plan, studied

GOLDEN = Path(__file__).parents[1] / "golden"
TARGET = "jetson-nano-4gb"
ASKED = SearchSettings(target=(TARGET,), data="cifar10", method="gnas", recipe="paper", max_latency_ms=10.0)
PLAN = plan(asked=ASKED, preset="t", device="cuda")


def study_record(**changes: object) -> StudyRecord:
    """A study of CIFAR-10 with the published schedule, on a GPU. Its plan does not know the validation split."""
    return studied(PLAN, **{"versions": {"edgenas": "0.1.0"}, **changes})


def published_study(folder: Path, *, finished: bool = True, **changes: object) -> Path:
    """All trials and decisions of the published search with latencies on the Jetson Nano; one trial broke the limit."""
    result = replay(read_json(GOLDEN / "gnas_cifar10_t.json", Trace))
    cost = CostModel([profile_from_name(TARGET)], "fp32", Limits())

    def costed(trial: Trial) -> Trial:
        return msgspec.structs.replace(trial, cost=cost(trial.candidate.architecture), seconds=60.0)

    trials = [costed(trial) for trial in result.trials]
    with Store.create(folder, study_record(**changes)) as store:
        for trial in trials if finished else trials[:5]:
            store.add(trial)
            store.number(trial.candidate.key)
        broken = msgspec.structs.replace(trials[0].candidate, phase="depth", repeat=9)
        reason = "latency 12 ms > 10 ms on jetson-nano-4gb"
        store.add(msgspec.structs.replace(trials[0], candidate=broken, status="infeasible", scores={}, error=reason))
        store.number(broken.key)
        for index, decision in enumerate(result.decisions if finished else result.decisions[:4]):
            store.put("decision", f"{index:06d}", decision)
        if finished:
            chosen = next(t for t in trials if t.candidate.key == result.choice.trial.candidate.key)
            store.put("choice", "choice", msgspec.structs.replace(result.choice, trial=chosen))
        store.put("clock", "wall", 3600.0)
    return folder


def played_round(number: int) -> Round:
    """One round of a small multi-branch space: two networks scored, the cheaper one also survives."""
    space = MultiBranchSpace(19, "NR", (16, 32), Classes(10), 1, 32, 1, 256)
    cost = AdditiveCost(1.0, ((0.5, 0.7), (0.9, 1.1)))
    protected = ((), ()) if number == 1 else ((0, 1), (2, 3))
    plan = RoundPlan(number, 7, space, ((0, 1), (2, 3)), protected, cost, 3.0, "M MACs")
    networks = (Scored(((0,), (2,)), 2.4, 30.0 - number, "target"), Scored(((1,), (3,)), 2.8, 28.0 - number, "target"))
    return Round(plan, ((0.1, -0.2), (0.3, None)), networks, networks, ((0, 1), (2, 3)), 60.0)


def trained_in_full(folder: Path, test: float, val: float) -> FinalTraining:
    """Trial 7 of the published search, as one seed of 60 epochs leaves it."""
    with Store.read(folder) as store:
        candidate = store.ledger()[6].candidate
    recipe = msgspec.structs.replace(candidate.recipe, epochs=60)
    run = FinalRun(1, "1.safetensors", {"accuracy": test}, {"accuracy": val}, 60, {}, {}, 90.0)
    how = (recipe, "cifar10", "accuracy", ("a",), Preprocessing(3, 32, (0.5,) * 3, (0.5,) * 3))
    return FinalTraining(7, candidate.architecture, *how, 5, (run,), 90.0)
