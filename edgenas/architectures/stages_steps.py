"""Random networks of the space `stages`, and steps from one to the next, as choices by name."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Mapping, Sequence

from edgenas.architectures.space import Answer, Value, Values
from edgenas.errors import EdgenasError
from edgenas.records import StagesArchitecture

KINDS = (1, 1, 2, 2, 3)  # different blocks in one drawn network
OCTAVES = 4  # between the least and the largest width of a drawn network
WITHOUT_HEAD = 0.5  # of drawn networks


def drawn_choices(choices: Mapping[str, Values], depths: tuple[int, int], rng: random.Random) -> dict[str, Value]:
    """A value for every choice. Widths grow with the stages and lie anywhere on the ladder, and so do the costs of what is drawn:
    over orders of magnitude. `depths`: least and most blocks in all."""
    count = rng.choice(possible_counts(choices, depths))
    blocks, widths = choices["block_0"], choices["width_0"]
    low = rng.randrange(len(widths))
    high = rng.randint(low, min(low + OCTAVES * 4, len(widths) - 1))
    places = sorted(rng.randint(low, high) for _ in range(count))
    kinds = rng.sample(blocks, min(len(blocks), rng.choice(KINDS)))
    squeezed = rng.choice((0.0, 0.5, 1.0))
    early = max(rng.random(), rng.random())  # how probably a stride that may be 1 or 2 is 2
    chosen: dict[str, Value] = {name: rng.choice(values) for name, values in choices.items()}
    near = [stem for stem in choices["stem"] if int(stem) <= 2 * int(widths[places[0]])]
    chosen |= {
        "stages": count,
        "stem": rng.choice(near or choices["stem"][:1]),
        "stem_kernel": _smaller(choices["stem_kernel"], rng),
        "head": choices["head"][0] if rng.random() < WITHOUT_HEAD else chosen["head"],
    }
    repeats = _repeats(choices["repeats_0"], count, depths, rng)
    for place in range(count):
        chosen |= {
            f"block_{place}": rng.choice(kinds),
            f"width_{place}": widths[places[place]],
            f"repeats_{place}": repeats[place],
            f"kernel_{place}": _smaller(choices[f"kernel_{place}"], rng),
            f"stride_{place}": 2 if rng.random() < early else 1,
            f"squeeze_{place}": rng.random() < squeezed and True in choices[f"squeeze_{place}"],
        }
    return chosen


def possible_counts(choices: Mapping[str, Values], depths: tuple[int, int]) -> list[int]:
    """Numbers of stages that can have the least and most blocks in all, `depths`."""
    most = int(choices["repeats_0"][-1])
    return [int(count) for count in choices["stages"] if int(count) <= depths[1] and int(count) * most >= depths[0]]


def _repeats(values: Values, count: int, depths: tuple[int, int], rng: random.Random) -> list[int]:
    """Blocks of each stage, up to a number that is drawn first, then moved one by one into the bounds of their sum."""
    most = int(values[-1])
    usual = int(rng.choice(values))
    repeats = [rng.randint(1, usual) for _ in range(count)]
    while sum(repeats) < depths[0]:
        repeats[rng.choice([place for place in range(count) if repeats[place] < most])] += 1
    while sum(repeats) > depths[1]:
        repeats[rng.choice([place for place in range(count) if repeats[place] > 1])] -= 1
    return repeats


def _smaller(kernels: Sequence[Value], rng: random.Random) -> Value:
    """A kernel, with a probability that falls with its area."""
    return rng.choices(kernels, [1 / int(kernel) ** 2 for kernel in kernels])[0]


def one_step(
    choices: Mapping[str, Values],
    choose: Callable[[Answer], StagesArchitecture],
    held: Mapping[str, Value],
    rng: random.Random,
) -> StagesArchitecture:
    """Another network, by another value of one of the choices `held`. Raises EdgenasError where there is none."""
    for name in rng.sample(list(held), len(held)):
        for value in _nearest_first(choices[name], held[name], rng):
            with contextlib.suppress(EdgenasError):  # that these choices make no network is an answer
                return choose(functools.partial(_answer, {**held, name: value}, rng))
    raise EdgenasError("no network of space stages differs from this one in one choice: it has no other")


def _nearest_first(values: Values, held: Value, rng: random.Random) -> list[Value]:
    """The other values in random order: of numbers the next ones are most often first, of words and truth values any."""
    place = list(values).index(held)
    numbers = not isinstance(held, str | bool)
    far = {value: (index - place) ** 2 if numbers else 1 for index, value in enumerate(values) if value != held}
    return sorted(far, key=lambda value: rng.random() ** far[value], reverse=True)


def _answer(held: Mapping[str, Value], rng: random.Random, name: str, values: Values) -> Value:
    """What is held; of a new stage what the stage before it has, without a stride; of a block that has become another, any."""
    if name in held:
        return held[name]
    choice, _, place = name.rpartition("_")
    if choice == "stride":
        return 1
    before = f"{choice}_{int(place) - 1}" if place.isdigit() else ""
    new = f"width_{place}" not in held
    return held[before] if new and before in held else rng.choice(values)
