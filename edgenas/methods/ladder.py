"""What the macro-micro searches share: asking for one candidate, comparing two trials, and fitting a width to a limit."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal

import msgspec

from edgenas.architectures.chain import DENSE, LAYERS, SEPARABLE, ChainSpace
from edgenas.architectures.space import Space
from edgenas.architectures.stages_space import StagesSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError, LimitError, TrainingError
from edgenas.methods import Asking, CostOf
from edgenas.records import (
    Architecture,
    Ask,
    Candidate,
    ChainArchitecture,
    Cost,
    Decision,
    Limits,
    Recipe,
    Record,
    Trial,
)

TOLERANCE = 1e-9  # accuracies are percent with two or three decimals
DRAWS = 300  # random networks of a space that are looked at before a limit is called impossible
LEAST_EPOCHS = {"cosine-epoch": 2}  # by schedule: of one epoch that one would train at rate 0
LOOKAHEAD = 8  # rungs that are offered to idle workers before the current one is judged
Policy = Literal["gnas", "fixed", "gpu-seconds"]


class Training(Record, frozen=True):
    """How long a candidate is trained.

    policy: `gnas` takes the method's own schedule; `fixed` gives all the same; `gpu-seconds` gives all the same compute,
    counted as epochs times bytes moved (these networks are bandwidth-bound), `fixed_epochs` being what the largest gets.
    """

    recipe: Recipe
    policy: Policy = "gnas"
    fixed_epochs: int = 10
    epoch_scale: float = 1.0
    reference_bytes: int = 0
    least_epochs: int = 1  # what a budget plans is never shorter
    other_cuts: bool = False  # what is trained again is so on another cut of the training and validation images

    def again(self, candidate: Candidate, repeat: int) -> Candidate:
        """The candidate with another seed; where validation is small, also judged on other images."""
        return msgspec.structs.replace(candidate, repeat=repeat, cut=repeat if self.other_cuts else 0)

    def recipe_for(self, scheduled: int, cost: Cost) -> Recipe:
        """The recipe with this candidate's epochs, at least `least_epochs`, and as many as its schedule needs."""
        epochs = float(scheduled)
        if self.policy == "fixed":
            epochs = self.fixed_epochs
        elif self.policy == "gpu-seconds":
            epochs = self.fixed_epochs * self.reference_bytes / cost.bytes_moved
        least = max(self.least_epochs, LEAST_EPOCHS.get(self.recipe.schedule, 1))
        return msgspec.structs.replace(self.recipe, epochs=max(least, math.floor(epochs * self.epoch_scale + 0.5)))


def with_reference(training: Training, space: Space, cost: CostOf) -> Training:
    """What the policy `gpu-seconds` refers to: a large network of the space, whose cost no other policy asks for."""
    if training.policy != "gpu-seconds":
        return training
    return msgspec.structs.replace(training, reference_bytes=cost(space.reference()).bytes_moved)


class Ladder:
    """Asks for candidates of one chain space and keeps the decisions that have not been told yet."""

    def __init__(
        self,
        space: ChainSpace,
        training: Training,
        cost: CostOf,
        limits: Limits,
        objective: str,
        confirm_seeds: int = 0,
    ) -> None:
        self.space = space
        self.cost = cost
        self.limits = limits
        self.objective = objective
        self.confirm_seeds = confirm_seeds
        self.untold: list[Decision] = []
        self.accepted: list[Trial] = []  # by decisions, oldest first
        self.peaks: dict[str, Trial] = {}  # the best-scoring trial that was kept, by phase
        self.training = with_reference(training, space, cost)
        refuse_separable(space, cost, limits, draws=0)

    def candidate(self, architecture: ChainArchitecture, phase: str, epochs: int) -> Candidate:
        return Candidate(architecture, self.training.recipe_for(epochs, self.cost(architecture)), phase)

    def ask(self, candidate: Candidate, likely: Iterable[Candidate] = ()) -> Asking[Trial]:
        """The trial of one candidate; `likely` are the next if this one changes nothing."""
        (trial,) = yield Ask((candidate,), tuple(likely), self.told())
        return trial

    def fits(self, architecture: ChainArchitecture) -> bool:
        return not self.limits.broken(self.cost(architecture))

    def widest(self, depth: int) -> int | None:
        """W(L): the largest of max_width, max_width - step, ... at which every limit holds at this depth."""
        for width in range(self.space.max_width, self.space.min_width - 1, -self.space.width_step):
            if self.fits(self.space.chain(depth, width)):
                return width
        return None

    def nothing_fits(self) -> LimitError:
        """The error where the smallest member meets the limits, but no width that the step reaches does."""
        s = self.space
        return LimitError(
            f"at {s.min_depth} layers no width of {s.max_width}, {s.max_width - s.width_step}, .. meets the limit: raise it, or "
            "lower --width-step"
        )

    def matched(
        self, depth: int, width: int, ops: tuple[int, ...], kernels: tuple[int, ...], params: int
    ) -> int | None:
        """The largest width, one channel at a time, with at most `params` parameters at which every limit holds."""
        for narrower in range(width, self.space.min_width - 1, -1):
            architecture = self.space.chain(depth, narrower, ops, kernels)
            if workload_from_architecture(architecture).params <= params and self.fits(architecture):
                return narrower
        return None

    def score(self, trial: Trial) -> float:
        return trial.scores[self.objective] if trial.status == "complete" else -math.inf

    def gain(self, trial: Trial, best: Trial) -> float:
        """Points by which `trial` beats `best`. Where both carry an interval and these overlap it is a tie, and the faster
        (smaller, where latencies are equal) one wins it: plus or minus infinity."""
        if trial.status != "complete":
            return -math.inf
        # A row of ties must not slide away from the best network of the phase: a tie is a tie with that one, too.
        peak = max(self.peaks.get(trial.candidate.phase, best), best, key=self.score)
        self.peaks[trial.candidate.phase] = peak
        if self._tie(trial, best):
            if not self._tie(trial, peak):
                return self.score(trial) - self.score(peak)
            return math.inf if expense(trial.cost) < expense(best.cost) else -math.inf
        return self.score(trial) - self.score(best)

    def _tie(self, one: Trial, other: Trial) -> bool:
        """Do both carry an interval, and do these overlap?"""
        low, high = f"{self.objective}_low", f"{self.objective}_high"
        if low not in one.scores or low not in other.scores:
            return False
        return one.scores[low] <= other.scores[high] and other.scores[low] <= one.scores[high]

    def confirm(self, trial: Trial, best: Trial) -> Asking[bool]:
        """Repeat both with other seeds; true where the mean gain exceeds its standard error (always, with no repeats)."""
        if self.confirm_seeds < 1:
            return True
        repeats = range(1, self.confirm_seeds + 1)
        challengers = tuple(self.training.again(trial.candidate, r) for r in repeats)
        holders = tuple(self.training.again(best.candidate, r) for r in repeats)
        answers = yield Ask(challengers + holders, (), self.told())
        new = [self.score(t) for t in (trial, *answers[: len(challengers)])]
        old = [self.score(t) for t in (best, *answers[len(challengers) :])]
        if -math.inf in (*new, *old):
            return False
        noise = math.sqrt((statistics.variance(new) + statistics.variance(old)) / len(new))
        return statistics.fmean(new) - statistics.fmean(old) > noise

    def decide(self, trial: Trial, verdict: str, reason: str, best: Trial | None) -> None:
        """Keep the decision about a trial: the next Ask, or the Choice, carries it."""
        architecture = trial.candidate.architecture
        assert isinstance(architecture, ChainArchitecture)
        if verdict == "accept":
            self.accepted.append(trial)
        self.untold.append(
            Decision(
                trial.candidate.phase,
                "infeasible" if trial.status == "infeasible" else verdict,
                trial.error or tie_in_words(reason),
                depth=architecture.depth,
                width=architecture.width,
                score=self.score(trial) if trial.status == "complete" else None,
                best=self.score(best) if best is not None else None,
                key=trial.candidate.key,
            )
        )

    def told(self) -> tuple[Decision, ...]:
        untold, self.untold = tuple(self.untold), []
        return untold

    def learned_enough(self, best: Trial, target: float) -> bool:
        """Does the best network so far reach the target, or classify all its training images correctly?"""
        reached = self.score(best) >= target - TOLERANCE
        return reached or best.scores.get("train_accuracy", 0.0) >= 100.0 - TOLERANCE

    def require_complete(self, trial: Trial) -> Trial:
        """The trial; a search whose first candidate cannot be trained cannot go on."""
        if trial.status != "complete":
            raise TrainingError(f"the first candidate of the {trial.candidate.phase} phase failed: {trial.error}")
        return trial


def refuse_impossible_limit(space: Space, cost: CostOf, limits: Limits, draws: int = DRAWS) -> None:
    """Raise LimitError, with its figures, where none of the networks that may come nearest meets the limits. What has the fewest
    parameters need not be the fastest: of chains and stages the smallest of each kind of layer or block is looked at, of
    chains those with another layer here and there, and of every space so many random members."""
    small = space.simplest() if isinstance(space, StagesSpace | ChainSpace) else (space.smallest(),)
    if any(not limits.broken(cost(network)) for network in small):  # one after the other: some costs are measured
        return
    nearest = min(small, key=lambda network: _distance(cost, limits, network))
    if isinstance(space, ChainSpace):
        nearest = _other_layers(space, nearest, cost, limits)
    rng = random.Random(0)
    drawn = (space.draw(rng) for _ in range(draws))
    if any(not limits.broken(cost(network)) for network in chain((nearest,), drawn)):
        return
    lower = ", or lower --min-width or --min-depth" if isinstance(space, StagesSpace | ChainSpace) else ""
    raise LimitError(
        f"no network of this space meets the limit: its smallest member ({_member(space, nearest)}) has "
        f"{_broken(nearest, cost, limits, f'raise the limit{lower}')}"
    )


def refuse_separable(space: Space, cost: CostOf, limits: Limits, draws: int = DRAWS) -> None:
    """Raise LimitError where not even the smallest chain of separable layers, with which a ladder begins, meets the limits."""
    refuse_impossible_limit(space, cost, limits, draws)
    smallest = space.smallest()
    if limits.broken(cost(smallest)):
        dense = (
            "other networks of this space meet the limit: raise it, or name --method guided, which searches all of them"
        )
        raise LimitError(
            f"this method begins with separable layers, and the smallest network of those ({_member(space, smallest)}) has "
            f"{_broken(smallest, cost, limits, dense)}"
        )


def _distance(cost: CostOf, limits: Limits, network: Architecture) -> tuple[float, tuple[float, int]]:
    """From the limits; of equals the faster, then the smaller is the nearer."""
    return limits.excess(cost(network)), expense(cost(network))


def _other_layers(space: ChainSpace, network: Architecture, cost: CostOf, limits: Limits) -> Architecture:
    """The chain with the other operation in every layer where that brings it nearer to the limits."""
    assert isinstance(network, ChainArchitecture)
    for layer in range(network.depth):
        ops = list(network.ops)
        ops[layer] = SEPARABLE if ops[layer] == DENSE else DENSE
        other = space.chain(network.depth, network.width, tuple(ops), network.kernels)
        network = min(network, other, key=lambda one: _distance(cost, limits, one))
    return network


def _member(space: Space, network: Architecture) -> str:
    if not isinstance(network, ChainArchitecture):
        return space.words(network)
    kinds = " and ".join(LAYERS[op] for op in sorted({*network.ops}))
    return f"depth {network.depth}, width {network.width}, {kinds}"


def _broken(network: Architecture, cost: CostOf, limits: Limits, ways: str) -> str:
    """What the network breaks, and the ways out."""
    broken, narrow = limits.broken(cost(network)), ""
    if limits.margin and not msgspec.structs.replace(limits, margin=False).broken(cost(network)):
        narrow = (
            "; by the figure alone, without --margin, it does, and `edgenas calibrate --board URL` narrows intervals"
        )
    return f"{', '.join(broken)}: {ways}{narrow}"


def tie_in_words(reason: str) -> str:
    """The reason of a decision in words: a tie is decided by a gain of plus or minus infinity."""
    return reason.replace("+inf points", "a tie, and faster").replace("-inf points", "a tie, and slower")


def chain_of(trial: Trial) -> ChainArchitecture:
    """The architecture of a trial of a chain search."""
    architecture = trial.candidate.architecture
    assert isinstance(architecture, ChainArchitecture)
    return architecture


def largest_separable(space: Space) -> tuple[ChainArchitecture, ...]:
    """The deepest and widest member of a chain space, all separable 3x3: where a ladder of depths and widths ends."""
    return (space.chain(space.max_depth, space.max_width),) if isinstance(space, ChainSpace) else ()


def expense(cost: Cost) -> tuple[float, int]:
    """(latency in ms on the slowest target, parameters): what a tie is decided by."""
    return (max((latency.ms for latency in cost.latencies.values()), default=0.0), cost.params)


def most_accurate(trials: Iterable[Trial], objective: str) -> Trial:
    """The complete trial with the best score; of equals the faster, then the smaller. Where there is none: LimitError if all of
    them broke a limit, else TrainingError."""
    tried = tuple(trials)
    complete = [trial for trial in tried if trial.status == "complete"]
    if not complete:
        raise nothing_trained(tried)
    return max(complete, key=lambda trial: (trial.scores[objective], -expense(trial.cost)[0], -trial.cost.params))


def nothing_trained(tried: Sequence[Trial], why: str = "") -> EdgenasError:
    """The error that a search ends with none of whose trials is complete; `why` it ends now."""
    began = f"{why}: " if why else ""
    if tried and all(trial.status == "infeasible" for trial in tried):
        return LimitError(
            f"{began}none of the {len(tried)} networks that were asked for is within the limits: raise the limit"
        )
    return TrainingError(f"{began}no candidate could be trained: see the failed trials in the study")


def left_in_phase(space: ChainSpace, last: Trial, decided: int, layers: int) -> int | None:
    """How many more candidates the present phase of a macro-micro search can judge at most, `decided` of them judged already;
    `layers`: how many of the network's are tried in the micro phases."""
    net = chain_of(last)
    left = {
        # one that broke a limit was only put on record: a narrower one of the same depth may follow
        "depth": space.max_depth - net.depth + (last.status == "infeasible"),
        "width": (net.width - space.min_width) // space.width_step,
        "ops": layers - decided,
        "kernels": layers * (len(space.kernels) - 1) - decided,
    }
    phase = last.candidate.phase
    return max(0, left[phase]) if phase in left else None
