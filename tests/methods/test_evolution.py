"""Regularised evolution as the paper has it: who is a parent, who leaves, and what limits and small spaces do."""

import random

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.errors import LimitError
from edgenas.methods.baselines import BaselineRules, random_search
from edgenas.methods.evolution import evolution
from edgenas.methods.replay import cost_without_device
from edgenas.records import Architecture, Candidate, ChainArchitecture, Classes, Limits, Trial
from tests.methods.answers import SPACE, TRAINING, play

RULES = BaselineRules(trials=20, epochs=2, population=5, sample=3)


def widths(candidate: Candidate) -> float:
    net = candidate.architecture
    assert isinstance(net, ChainArchitecture)
    return 10.0 * net.depth + net.width


class Watched:
    """A space that remembers whose neighbour a network was made as, the last time."""

    def __init__(self) -> None:
        self.parent: dict[Architecture, Architecture] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(SPACE, name)

    def neighbour(self, network: Architecture, rng: random.Random) -> Architecture:
        child = SPACE.neighbour(network, rng)
        self.parent[child] = network
        return child


def evolved(rules: BaselineRules, seed: int) -> tuple[Watched, list[Architecture]]:
    """The space, and what was trained in it, in order."""
    space = Watched()
    method = evolution(space, rules, TRAINING, cost_without_device, seed=seed)  # type: ignore[arg-type]
    _, trials, _ = play(method, widths, cost_without_device)
    return space, [trial.candidate.architecture for trial in trials]


def test_it_starts_as_random_search_does_and_then_trains_neighbours_of_the_youngest() -> None:
    space, nets = evolved(RULES, 4)
    _, drawn, _ = play(random_search(SPACE, RULES, TRAINING, cost_without_device, seed=4), widths, cost_without_device)
    assert nets[:5] == [trial.candidate.architecture for trial in drawn[:5]]
    assert len(set(nets)) == 20
    for place in range(5, 20):
        parent = nets.index(space.parent[nets[place]])
        assert place - 5 <= parent < place, "only the five youngest may be parents: the oldest leaves"


def test_a_population_of_one_is_a_walk_from_network_to_network() -> None:
    space, nets = evolved(msgspec.structs.replace(RULES, population=1, trials=8), 4)
    assert [space.parent[net] for net in nets[1:]] == nets[:-1]


def test_the_parent_is_the_most_accurate_of_the_sample() -> None:
    """A sample so large that it holds the whole population, but for one case in 10^38: the best is always the parent."""
    space, nets = evolved(msgspec.structs.replace(RULES, sample=400), 1)
    scores = [widths(Candidate(net, TRAINING.recipe, "any")) for net in nets]
    for place in range(5, 20):
        assert scores[nets.index(space.parent[nets[place]])] == max(scores[place - 5 : place])


def test_what_breaks_a_limit_is_not_even_asked_for() -> None:
    limits = Limits(params=20_000)
    _, trials, _ = play(
        evolution(SPACE, RULES, TRAINING, cost_without_device, limits, seed=0), widths, cost_without_device, limits
    )
    assert len(trials) == 20
    assert all(trial.status == "complete" and trial.cost.params <= 20_000 for trial in trials)
    free = play(evolution(SPACE, RULES, TRAINING, cost_without_device, seed=0), widths, cost_without_device)[1]
    assert any(trial.cost.params > 20_000 for trial in free)


def test_a_small_space_is_searched_to_its_end_and_an_empty_one_refused() -> None:
    space = ChainSpace(
        Classes(10), 3, 32, min_depth=4, max_depth=4, min_width=8, max_width=10, width_step=2, kernels=(3,)
    )
    rules = msgspec.structs.replace(RULES, trials=500)
    choice, trials, _ = play(evolution(space, rules, TRAINING, cost_without_device), widths, cost_without_device)
    assert len(trials) == 2 * 2**4  # two widths, four layers that are separable or dense
    assert choice.trial.candidate.architecture.width == 10
    with pytest.raises(LimitError, match="held none within the limit"):
        play(evolution(space, rules, TRAINING, cost_without_device, Limits(params=10)), widths, cost_without_device)


def test_a_network_that_failed_is_no_parent_while_there_is_another() -> None:
    space = Watched()
    rules = msgspec.structs.replace(RULES, sample=400, trials=9)
    method = evolution(space, rules, TRAINING, cost_without_device, seed=2)  # type: ignore[arg-type]
    failed: set[str] = set()
    ask = next(method)
    number = 0
    while True:
        (candidate,) = ask.needed
        price = cost_without_device(candidate.architecture)
        number += 1
        if number % 2:
            failed.add(candidate.architecture.fingerprint)
            trial = Trial(candidate, "failed", price, 0, error="out of memory", number=number)
        else:
            trial = Trial(candidate, "complete", price, 0, {"val_accuracy": 50.0}, number=number)
        try:
            ask = method.send((trial,))
        except StopIteration as end:
            chosen = end.value.trial
            break
    assert chosen.status == "complete"
    assert space.parent
    assert not failed & {parent.fingerprint for parent in space.parent.values()}
