"""What installed packages add: methods, spaces, tasks and runtimes, by the entry points of their distributions.

A package says so in its pyproject.toml:

    [project.entry-points."edgenas.methods"]
    my-method = "my_package:METHOD"

Names are read without importing anything; the object is imported when its name is asked for.
"""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from edgenas.errors import EdgenasError

T = TypeVar("T")


def plugged_names(group: str) -> tuple[str, ...]:
    """Names that installed packages add in this group, such as `edgenas.methods`; sorted."""
    return tuple(sorted({entry.name for entry in importlib.metadata.entry_points(group=group)}))


def chosen_plugin(group: str, name: str, built_in: Mapping[str, T], kind: type[T], what: str) -> T:
    """What has this name in the group: one that comes along (`built_in`), or a `kind` of an installed package.

    Raises EdgenasError, with what is possible, where nothing has the name; where two have it; and where the package's object
    cannot be imported or is no `kind`. `what`: the word for one of them, such as method.
    """
    entries = [entry for entry in importlib.metadata.entry_points(group=group) if entry.name == name]
    sources = [f"{entry.value} of {entry.dist.name if entry.dist else 'an unknown package'}" for entry in entries]
    if name in built_in:
        if entries:
            raise EdgenasError(f"{what} {name!r} comes with edgenas, and {sources[0]} has the same name: uninstall it")
        return built_in[name]
    if not entries:
        possible = ", ".join([*built_in, *plugged_names(group)])
        raise EdgenasError(f"{what} {name!r} is unknown: possible are {possible}; packages add more by {group!r}")
    if len(Counter(entry.value for entry in entries)) > 1:
        raise EdgenasError(f"{what} {name!r} is there twice ({'; '.join(sources)}): uninstall one of the packages")
    try:
        found = entries[0].load()
    except (ImportError, AttributeError) as error:
        raise EdgenasError(
            f"{what} {name!r} ({sources[0]}) cannot be imported: {error}: mend or uninstall it"
        ) from error
    if not isinstance(found, kind):
        raise EdgenasError(
            f"{what} {name!r} ({sources[0]}) is a {type(found).__name__}, it must be a {kind.__name__}: mend the package"
        )
    return found
