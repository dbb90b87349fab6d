"""What a method of somebody's asks, decides and chooses is refused, in one line, where it could not be read again."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edgenas.architectures.chain import chain
from edgenas.engine.answers import checked
from edgenas.errors import EdgenasError
from edgenas.methods.endings import SearchEnds
from edgenas.methods.replay import cost_without_device
from edgenas.records import Ask, Candidate, Choice, Classes, Decision, Expectation, Recipe, Trial

NETWORK = chain(8, 4, (0,) * 4, (3,) * 4, Classes(10), image_size=8)
RECIPE = Recipe("fast", 2, 64, 0.1)
GOOD = Candidate(NETWORK, RECIPE, "first")
TRIAL = Trial(GOOD, "complete", cost_without_device(NETWORK), 7, {"val_accuracy": 90.0}, number=1)
CHOICE = Choice(TRIAL)
MEND = ": mend the method or its space"


def method(ask: Any, choice: Any = CHOICE) -> Generator[Any, Any, Any]:
    """Yields this once, and returns that."""
    yield ask
    return choice


def refused(given: Any) -> str:
    made = checked(given, "mine")
    with pytest.raises(EdgenasError) as caught:  # noqa: PT012  (it is the first or the second)
        next(made)
        made.send((TRIAL,))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def asking(*needed: Any, likely: Any = (), decisions: Any = ()) -> Any:
    return method(Ask(needed, likely, decisions))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "method mine: `make` gave a NoneType: it has to be a generator that yields Asks"),
        (method(GOOD), "method mine yielded a edgenas.records.trials.Candidate: it has to yield an Ask"),
        (
            asking(NETWORK),
            f"asked for what cannot be written down: Object contains unknown field `type` - at `needed[0]`{MEND}",
        ),
        (asking(GOOD, replace(GOOD, phase=None)), f"Expected `str`, got `null` - at `needed[1].phase`{MEND}"),
        (asking(replace(GOOD, recipe="fast")), "Expected `object`, got `str` - at `needed[0].recipe`"),
        (
            asking(replace(GOOD, recipe=replace(RECIPE, epochs="2"))),
            "Expected `int`, got `str` - at `needed[0].recipe.epochs`",
        ),
        (
            asking(replace(GOOD, recipe=replace(RECIPE, epochs=2.5))),
            "Expected `int`, got `float` - at `needed[0].recipe.epochs`",
        ),
        (
            asking(replace(GOOD, recipe=replace(RECIPE, lr=np.float64(0.1)))),
            f"Expected `float`, got `numpy.float64` - at `needed[0].recipe.lr`{MEND}",
        ),
        (
            asking(replace(GOOD, recipe=replace(RECIPE, lr=1))),
            f"method mine asked for a candidate whose recipe.lr is 1, which is read back as 1.0{MEND}",
        ),
        (
            asking(replace(GOOD, recipe=replace(RECIPE, lr=float("nan")))),
            "Expected `float`, got `null` - at `needed[0].recipe.lr`",
        ),
        (asking(replace(GOOD, phase=Path("x"))), "what cannot be written down: a pathlib"),
        (
            asking(replace(GOOD, architecture=replace(NETWORK, width=np.int64(8)))),
            "got `numpy.int64` - at `needed[0].architecture.w",
        ),
        (
            asking(GOOD, likely=(replace(GOOD, repeat=np.int64(1)),)),
            "Expected `int`, got `numpy.int64` - at `likely[0].repeat`",
        ),
        (asking(GOOD, decisions=("accept",)), "Expected `object`, got `str` - at `decisions[0]`"),
        (
            asking(GOOD, decisions=(Decision("a", "accept", "b", score="9"),)),
            "`float | null`, got `str` - at `decisions[0].score`",
        ),
        (method(Ask(GOOD)), "Expected `array`, got `object` - at `needed`"),  # type: ignore[arg-type]
        (
            method(Ask((GOOD,)), Choice(TRIAL, {"depth": np.int64(4)})),
            f"method mine chose what cannot be written down: Expected `int`, got `numpy.int64` - at `macro[...]`{MEND}",
        ),
        (
            method(Ask((GOOD,)), Choice(TRIAL, {}, (Decision("a", "accept", None),))),  # type: ignore[arg-type]
            "method mine chose what cannot be written down: Expected `str`, got `null` - at `decisions[0].reason`",
        ),
        (
            method(Ask((GOOD,)), Choice(TRIAL, {}, (), {"a": Expectation(np.float32(1), 0.1)})),
            "Expected `float`, got `numpy.float32` - at `expected[...].mean`",
        ),
    ],
)
def test_what_could_not_be_read_again_is_one_line(given: Any, words: str) -> None:
    assert words in refused(given)


def test_what_can_be_read_goes_through_as_it_is() -> None:
    """Lists for tuples, and whole numbers in decisions, are read back as what they mean."""
    ask = Ask([GOOD], [replace(GOOD, repeat=1)], [Decision("a", "accept", "b", score=9)])  # type: ignore[arg-type]
    choice = Choice(TRIAL, {"depth": 4}, (Decision("a", "accept", "b"),), {"a": Expectation(1.0, 0.1)})
    made = checked(method(ask, choice), "mine")
    assert next(made) is ask
    with pytest.raises(StopIteration) as end:
        made.send((TRIAL,))
    assert end.value.value is choice


def test_a_method_that_is_told_to_end_hears_it() -> None:
    def own_choice() -> Generator[Ask, Any, Choice]:
        try:
            yield Ask((GOOD,))
        except SearchEnds as end:
            return Choice(TRIAL, {}, (Decision("first", "stop", str(end)),))
        raise AssertionError

    made = checked(own_choice(), "mine")
    next(made)
    with pytest.raises(StopIteration) as end:
        made.throw(SearchEnds("time is over"))
    assert end.value.value.decisions[0].reason == "time is over"
    passing = checked(asking(GOOD), "mine")
    next(passing)
    with pytest.raises(SearchEnds, match="time is over"):
        passing.throw(SearchEnds("time is over"))
