"""One file per search. A method is a generator: it asks, it never evaluates, stores or prints. No torch at import."""

from collections.abc import Callable, Generator
from typing import TypeAlias

from edgenas.records import Architecture, Ask, Choice, Cost, Trial

Method: TypeAlias = Generator[Ask, tuple[Trial, ...], Choice]
CostOf: TypeAlias = Callable[[Architecture], Cost]
CONTROL = "control"  # phase of the random members that a search is compared with
