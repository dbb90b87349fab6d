"""Methods, spaces, tasks and runtimes by name: those that come along, and those of other packages.

Another package adds one by an entry point, and no file here changes:

    [project.entry-points."edgenas.tasks"]
    angle = "my_package.angle:load_angle"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgenas.errors import EdgenasError

# What importing somebody else's module and looking up a name in it may raise.
BROKEN = (
    *(ImportError, AttributeError, NameError, SyntaxError, TypeError, ValueError, RuntimeError),
    *(LookupError, OSError, ArithmeticError, AssertionError),
)


@dataclass(frozen=True)
class Registry:
    """The things of one kind, "task" say. Nothing is imported before it is asked for by its name.

    `built_in`: name -> "module:attribute". `group`: the entry points that add to them.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]
    further: tuple[str, ...] = ()  # names that are known elsewhere, and possible too

    def names(self) -> tuple[str, ...]:
        """All names, those of edgenas first."""
        return (*self.built_in, *sorted({point.name for point in entry_points(group=self.group)} - set(self.built_in)))

    def load(self, name: str) -> Any:
        """What the name stands for. EdgenasError where it is unknown, stands for two things, or cannot be imported."""
        point = self._point(name)
        if point.dist is None:
            return point.load()  # what goes wrong there is our fault, and a bug
        try:
            return point.load()
        except BROKEN as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise EdgenasError(
                f"{self.kind} {name!r} of {_package(point)} cannot be imported ({reason}): repair or uninstall that package"
            ) from error

    def refuse_taken(self, name: str) -> None:
        """Raise EdgenasError for the name of an object of the caller's that something of edgenas has."""
        if name in (*self.built_in, *self.further):
            raise EdgenasError(
                f"{self.kind} {name!r} comes with edgenas, and a study finds its {self.kind} by the name: give yours another one"
            )

    def refuse_double(self, name: str) -> None:
        """Raise EdgenasError where a package has another thing of a name that comes with edgenas."""
        if points := self._points(name):
            raise EdgenasError(
                f"{self.kind} {name!r} comes with edgenas, and {_packages(points.values())} names another one so: "
                "uninstall that package, or have it choose another name"
            )

    def _points(self, name: str) -> dict[tuple[str, str], EntryPoint]:
        return {(_package(point), point.value): point for point in entry_points(group=self.group, name=name)}

    def _point(self, name: str) -> EntryPoint:
        points = self._points(name)
        if name in self.built_in:
            self.refuse_double(name)
            return EntryPoint(name, self.built_in[name], self.group)
        if not points:
            possible, add = ", ".join((*self.further, *self.names())), "other packages add theirs as entry points of"
            raise EdgenasError(f"{self.kind} {name!r} is unknown; possible: {possible}; {add} {self.group}")
        if len(points) > 1:
            raise EdgenasError(
                f"{self.kind} {name!r} is {len(points)} things, of {_packages(points.values())}: uninstall all but one"
            )
        return next(iter(points.values()))


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name if point.dist is not None else '?'}"


def _packages(points: Any) -> str:
    return " and ".join(sorted({f"{_package(point)} ({point.value})" for point in points}))
