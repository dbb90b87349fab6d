"""What the engine must know of a search method: one `MethodSpec` each, in the method's own file.

A method of your own is one more of these: `edgenas.search(method=SPEC)`, or a package's entry point in `edgenas.methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import msgspec

from edgenas.architectures.chain import DENSE, ChainSpace
from edgenas.architectures.space import Space
from edgenas.architectures.stages_space import StagesSpace
from edgenas.binomial import Validation
from edgenas.errors import EdgenasError
from edgenas.methods import CostOf, Method
from edgenas.methods.ladder import Training, refuse_impossible_limit
from edgenas.methods.settings import PresetName, SearchSettings
from edgenas.records import ACCURACY, Architecture, Limits, Metric, Record, Trial

if TYPE_CHECKING:
    from edgenas.store import Store
    from edgenas.tasks import Task, TaskSettings

T = TypeVar("T")
R = TypeVar("R", bound=Record)
BOUNDS = ("min_depth", "max_depth", "min_width", "max_width", "width_step")
# The settings of a search that a method heeds only where it says so.
NOT_EVERYWHERE = (
    *BOUNDS,
    "policy",
    "confirm_seeds",
    "final_width",
    "pool",
    "rounds",
    "space",
    "from_study",
    "warm_start",
    "start",
)


@dataclass(frozen=True)
class Lab:
    """For a method that trains something of its own (NSE's supernets): who does its work items (training/work.py) on the study's
    data, each yielded with its result as they end; where to remember what they give; and whom to tell about it."""

    store: Store
    results: Callable[[Sequence[Any], Store], Iterator[tuple[Any, Any]]]
    tell: Callable[[str], None]
    processes: int = 1  # that train one network together, where the method can have it so


@dataclass(frozen=True)
class Search:
    """What one search is made from. `space` and `rules` are of the types that the method was planned with.

    validation: what the validation split can tell. share: of a search that ends by the clock, the share (0 to 1) of its time that
    is over after so many trials, the same whenever it is asked again; None where nothing but the rules ends it. guess: what
    networks cost by prediction alone, where `cost` measures latencies; None where it measures nothing."""

    space: Space
    rules: Record
    training: Training
    cost: CostOf
    limits: Limits
    seed: int
    metric: Metric = ACCURACY
    confirm_seeds: int = 0
    lab: Lab | None = None
    validation: Validation | None = None
    share: Callable[[int], float] | None = None
    guess: CostOf | None = None

    @property
    def objective(self) -> str:
        """The score of a trial that is maximised, such as "val_accuracy"."""
        return self.metric.objective

    def space_as(self, kind: type[T]) -> T:
        """The space, which must be of this kind."""
        return _as(self.space, kind)

    def rules_as(self, kind: type[T]) -> T:
        """The rules, which must be of this kind."""
        return _as(self.rules, kind)


@dataclass(frozen=True)
class Planning:
    """What a method that plans for itself decides from: the settings, the preset's name, the data as searched, the device."""

    settings: SearchSettings
    preset: str
    task: Task
    device: str


@dataclass(frozen=True)
class Minutes:
    """What a method that fits a budget for itself (NSE) is asked: its plan, all the data, and the seconds left."""

    settings: SearchSettings
    whole: Task
    task: TaskSettings
    space: Space
    rules: Record
    training: Training
    device: str
    cost: CostOf
    limits: Limits
    left: Callable[[], float]
    workers: int
    tell: Callable[[str], None]


class Fitted(NamedTuple):
    """What fits the minutes."""

    task: TaskSettings
    training: Training
    rules: Record
    budget: Record


Planned = tuple[Space, Record]  # the space and the rules


def _unknown(search: Search, last: Trial, decided: int) -> None:
    del search, last, decided


@dataclass(frozen=True)
class MethodSpec:
    """One search method.

    make: the generator of a search. rules: its numbers, a record whose fields all have defaults; `presets` has those of each
    preset that differ. spaces: names of the spaces that it can search, None for any. heeds: the settings, of those that not
    every method has, that it heeds. left: how many more candidates the present phase can judge after `last`, `decided` of
    them judged; None where only the method knows. gpu_preset: the preset where a GPU trains and none was asked for.
    largest: members of a space that are as large as the method can reach, to say when a limit cannot bind; () = not known.
    macro: of a method that sizes networks first and refines them then, the largest that the first part can reach.
    check: raises LimitError where nothing can meet the limits, so many random members neither.
    plan, fit: for a method that plans for itself.
    control: what `--control random` trains: random `members` of the space, what the method has of its `own`, or nothing.
    together: does it heed `Lab.processes`?
    """

    name: str
    summary: str
    make: Callable[[Search], Method]
    rules: type[Record]
    presets: Mapping[str, Record] = field(default_factory=dict)
    spaces: tuple[str, ...] | None = None
    heeds: tuple[str, ...] = ()
    gpu_preset: PresetName = "t"
    left: Callable[[Search, Trial, int], int | None] = _unknown
    largest: Callable[[Space], tuple[Architecture, ...]] | None = None
    macro: Callable[[Space], tuple[Architecture, ...]] | None = None
    check: Callable[[Space, CostOf, Limits, int], None] = refuse_impossible_limit
    plan: Callable[[Planning], Planned] | None = None
    fit: Callable[[Minutes], Fitted] | None = None
    control: Literal["members", "own", "none"] = "members"
    together: bool = False

    def rules_of(self, preset: str) -> Record:
        """The rules of a preset."""
        return self.presets.get(preset) or self.rules()

    def as_planned(self, preset: str, asked: Mapping[str, object]) -> Record:
        """The preset's rules with those that were asked for under [rules]. EdgenasError for one that the method does not have."""
        return changed(self.name, self.rules_of(preset), asked)


def largest_chains(space: Space) -> tuple[Architecture, ...]:
    """The deepest and widest member of a chain space, separable and dense: which of the two is slower depends on the device."""
    if not isinstance(space, ChainSpace):
        return ()
    depth, width = space.max_depth, space.max_width
    dense = space.chain(depth, width, (DENSE,) * depth, (max(space.kernels),) * depth)
    return (space.chain(depth, width), dense)


def largest_members(space: Space) -> tuple[Architecture, ...]:
    """The largest members of a space of chains or stages."""
    return space.largest() if isinstance(space, StagesSpace) else largest_chains(space)


def changed(method: str, rules: Record, asked: Mapping[str, object]) -> Record:
    """The rules with other values for some. Raises EdgenasError for a name that they do not have, or an impossible value."""
    unknown = sorted(set(asked) - set(rules.__struct_fields__))
    if unknown:
        known = ", ".join(rules.__struct_fields__)
        raise EdgenasError(f"[rules] {', '.join(unknown)}: method {method} has no such rule; it has {known}")
    return with_values(rules, asked)


def with_values(record: R, values: Mapping[str, object]) -> R:
    """The record with these values, which are fields of it. Raises EdgenasError for one that the field cannot have."""
    try:
        return msgspec.convert({**msgspec.to_builtins(record), **values}, type=type(record), strict=False)
    except msgspec.ValidationError as error:
        raise EdgenasError(f"[rules]: {error}") from error


def _as(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise EdgenasError(f"this method searches a {kind.__name__}, and was given a {type(value).__name__}")
    return value
