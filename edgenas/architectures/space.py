"""`Space`: what a search must know of the networks that it chooses from. `NamedChoices`: the part of it that follows from
named choices."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.words import words_of
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Workload

Value: TypeAlias = int | float | str | bool
Values: TypeAlias = range | tuple[Value, ...]  # a range: sizes, in order; a tuple: alternatives
Answer: TypeAlias = Callable[[str, Values], Value]  # (name of a choice, its values) -> one of them
DRAWS = 1000  # random choices that make no network, in a row, before a space is called empty
PASSES = 4  # over all choices, when the smallest network is looked for


class Space(Protocol):
    """Networks that a search chooses from. `guided`, the baselines and `--control` run on any object that has these."""

    @property
    def name(self) -> str:
        """What it is called: in a study, and in each of its architectures."""
        ...

    def choices(self) -> dict[str, Values]:
        """Every choice that a network may depend on, and what can be chosen: as Optuna is told them."""
        ...

    def choose(self, answer: Answer) -> Architecture:
        """The network that `answer` chooses. It is asked for each choice that the network depends on, once, and for no other.

        Raises EdgenasError where these choices make no network."""
        ...

    def smallest(self) -> Architecture:
        """The network with the fewest parameters: where it breaks a limit, all do."""
        ...

    def reference(self) -> Architecture:
        """A large network. The policy `gpu-seconds` gives every network the compute that training this one takes."""
        ...

    def draw(self, rng: random.Random) -> Architecture:
        """A random network; the same generator in the same state draws the same one."""
        ...

    def neighbour(self, network: Architecture, rng: random.Random) -> Architecture:
        """A network that differs from this one in one choice."""
        ...

    def features(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """(n, d) of n networks: what can be known without training, as numbers of about 0 to 10. d depends on the space only."""
        ...

    def words(self, network: Architecture) -> str:
        """A few words for a line of progress, such as "L8 W16"."""
        ...

    def contains(self, network: Architecture) -> bool:
        """Is it one of the networks that `choose` makes?"""
        ...


class NamedChoices:
    """Base of spaces of named choices. Such a space defines `name`, `choices`, `choose`, `choices_of` and `workload`; the other
    methods of `Space` follow from these."""

    __slots__ = ()

    @property
    def name(self) -> str:
        raise NotImplementedError

    def choices(self) -> dict[str, Values]:
        raise NotImplementedError

    def choose(self, answer: Answer) -> Architecture:
        raise NotImplementedError

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        """What `choose` has to be answered to make this network. Raises EdgenasError for a network of another space."""
        raise NotImplementedError

    def workload(self, network: Architecture) -> Workload:
        """Its kernels."""
        raise NotImplementedError

    def pick(self, values: Mapping[str, Value]) -> Architecture:
        """The network of these choices, by name. Raises EdgenasError where one is missing, unknown, or has no such value."""
        choices = self.choices()
        if unknown := sorted(set(values) - set(choices)):
            raise EdgenasError(f"space {self.name} has no choice {unknown[0]!r}: {', '.join(choices)}")

        def given(name: str, possible: Values) -> Value:
            if name not in values:
                raise EdgenasError(f"space {self.name}: choice {name!r} is missing: one of {values_in_words(possible)}")
            if values[name] not in possible:
                raise EdgenasError(
                    f"space {self.name}: {name} {values[name]!r} was chosen: {values_in_words(possible)}"
                )
            return values[name]

        return self.choose(given)

    def draw(self, rng: random.Random) -> Architecture:
        """Every choice uniformly among its values; drawn again where the choices make no network."""

        def uniformly(_name: str, values: Values) -> Value:
            return rng.choice(values)

        return first_network(self.name, lambda: self.choose(uniformly))

    def neighbour(self, network: Architecture, rng: random.Random) -> Architecture:
        """One choice of the network, any with equal probability, has another value; choices that it did not have are drawn."""
        return changed_in_one(self, network, self.choices_of(network), rng)

    def smallest(self) -> Architecture:
        """From the first value of every choice on, each choice takes the value of the fewest parameters, until none changes:
        exact where the choices add up."""
        return least(self, first_values(self), lambda network: self.workload(network).params)

    def reference(self) -> Architecture:
        """In the same way, each choice takes the value of the most bytes moved."""
        return least(self, first_values(self), lambda network: -self.workload(network).bytes_moved)

    def features(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """(n, d): per choice its place among its values (1 / k for the first of k), or for words one column for each value; 0
        where the network does not have the choice; then the logarithms of parameters, MACs and bytes moved, and the number of
        kernels / 10."""
        choices = self.choices()
        rows = [[*_chosen(choices, self.choices_of(net)), *sizes(self.workload(net))] for net in networks]
        width = len(list(_chosen(choices, {}))) + 4
        return np.array(rows, np.float64).reshape(len(networks), width)

    def words(self, network: Architecture) -> str:
        return words_of(network)

    def contains(self, network: Architecture) -> bool:
        try:
            return self.pick(self.choices_of(network)) == network
        except EdgenasError:
            return False


def asking(choices: Mapping[str, Values], answer: Answer) -> Callable[[str], Value]:
    """A function that takes a name and returns the chosen value; `answer` is called once for each name."""
    said: dict[str, Value] = {}

    def ask(name: str) -> Value:
        if name not in said:
            said[name] = answer(name, choices[name])
        return said[name]

    return ask


def first_network(name: str, draw: Callable[[], Architecture]) -> Architecture:
    """Call `draw` until it returns a network. Raises EdgenasError after DRAWS failures in a row."""
    reason = ""
    for _ in range(DRAWS):
        try:
            return draw()
        except EdgenasError as error:  # noqa: PERF203  # that these choices make no network is an answer
            reason = str(error)
    raise EdgenasError(f"{DRAWS} random choices of space {name} made no network; the last: {reason}")


def changed_in_one(
    space: NamedChoices, network: Architecture, held: Mapping[str, Value], rng: random.Random
) -> Architecture:
    """Another network, by another value of one of the choices `held`: the network's own, and others that may be given a value
    before they mean anything. Raises EdgenasError where there is none."""
    choices, own = space.choices(), space.choices_of(network)
    for name in rng.sample(list(held), len(held)):
        others = [value for value in choices[name] if value != held[name]]
        for value in rng.sample(others, len(others)):
            found = _network({**held, name: value}, space, rng.choice)
            if found is not None and found != network and _one_differs(own, space.choices_of(found)):
                return found
    raise EdgenasError(f"no network of space {space.name} differs from this one in one choice: it has no other")


def _one_differs(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    """True where the same choices are held and one of them differs, and where other choices are held."""
    return one.keys() != other.keys() or sum(one[name] != other[name] for name in one) == 1


def first_values(space: NamedChoices) -> Architecture:
    """The network of the first value of every choice; a drawn one, always the same, where these make none."""
    found = _network({}, space, lambda values: values[0])
    return space.draw(random.Random(0)) if found is None else found


def least(space: NamedChoices, network: Architecture, key: Callable[[Architecture], int]) -> Architecture:
    """Coordinate descent from `network` to the smallest `key`: one choice after the other, at most PASSES times over all."""
    choices = space.choices()
    for _ in range(PASSES):
        before = network
        for name in space.choices_of(network):
            network = min(_with_each(space, network, name, choices[name]), key=key)
        if network == before:
            break
    return network


def _with_each(space: NamedChoices, network: Architecture, name: str, values: Values) -> Iterator[Architecture]:
    """The network itself, then those with another value of this choice; further choices take their first value."""
    yield network
    held = space.choices_of(network)
    if name not in held:  # a change before has made it meaningless
        return
    for value in values:
        found = _network({**held, name: value}, space, lambda possible: possible[0])
        if found is not None:
            yield found


def _network(
    held: Mapping[str, Value], space: NamedChoices, otherwise: Callable[[Values], Value]
) -> Architecture | None:
    """The network of these choices and, for all others, of what `otherwise` says; None where they make none."""
    try:
        return space.choose(lambda name, values: held[name] if name in held else otherwise(values))
    except EdgenasError:
        return None


def _chosen(choices: Mapping[str, Values], held: Mapping[str, Value]) -> Iterator[float]:
    for name, values in choices.items():
        if any(isinstance(value, str) for value in values):
            yield from (float(name in held and held[name] == value) for value in values)
        elif name not in held:
            yield 0.0
        elif isinstance(values, range):  # a size between the steps is one, too
            yield ((float(held[name]) - values[0]) / values.step + 1) / len(values)
        else:
            yield (values.index(held[name]) + 1) / len(values)


def sizes(workload: Workload) -> tuple[float, float, float, float]:
    """log10 of parameters, MACs and bytes moved, and the number of kernels / 10."""
    params, macs, moved = (math.log10(max(1, n)) for n in (workload.params, workload.macs, workload.bytes_moved))
    return params, macs, moved, len(workload.kernels) / 10


def values_in_words(values: Values) -> str:
    """The values of a choice, such as "8 to 32 in steps of 8" or "3, 5"."""
    if isinstance(values, range) and len(values) > 3:
        return f"{values[0]} to {values[-1]}{'' if values.step == 1 else f' in steps of {values.step}'}"
    return ", ".join(map(str, values))
