"""One file per search. A method is a generator: it asks, it never evaluates, stores or prints. No torch at import."""

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from edgenas.records import Architecture, Ask, Choice, Cost, Trial

T = TypeVar("T")
Asking: TypeAlias = Generator[Ask, tuple[Trial, ...], T]  # yields what it needs, is sent the answers, returns T
Method: TypeAlias = Asking[Choice]
CostOf: TypeAlias = Callable[[Architecture], Cost]
LADDER = ("depth", "width", "ops", "kernels")  # phases of the macro-micro searches
CONTROL = "control"  # phase of the random members that a search is compared with
