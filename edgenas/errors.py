"""What goes wrong because of the input, not because of us: one line to the user, exit code 1."""

import re

NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, and bytes that were not UTF-8


def escaped(text: str) -> str:
    """With control characters and what is not UTF-8 escaped: names of files may hold anything."""
    return NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


def pip_line(*extras: str) -> str:
    """How one of these extras is installed. From a clone: EdgeNAS is on no package index, and its name there may be anybody's."""
    return f"pip install {' or '.join(repr(f'.[{extra}]') for extra in extras)} in your clone of EdgeNAS"


class EdgenasError(Exception):
    """A mistake that the user can mend. The message is one line: what was asked, what is possible, what to do."""

    def __str__(self) -> str:
        return escaped(super().__str__())


class DataError(EdgenasError):
    """Images, labels or files that cannot be learned from."""


class LimitError(EdgenasError):
    """A limit that not even the smallest member of the space meets."""


class StudyError(EdgenasError):
    """A study that does not exist, belongs to other settings, is in use or is damaged."""


class ParityError(EdgenasError):
    """An export that does not compute what the network computes."""


class BundleError(EdgenasError):
    """A bundle that is incomplete, changed or unsafe."""


class DeviceError(EdgenasError):
    """A runtime or its device that failed at a right request: for a server its own fault, not the client's."""


class MissingExtraError(EdgenasError):
    """A feature whose optional dependency is not installed; the message names the extra."""


class TaskError(EdgenasError):
    """A task that does not give what `edgenas.tasks.Task` promises: no candidate can help that."""


class MachineError(EdgenasError):
    """What this machine lacks (room, open files) or has lost (a GPU) while it worked: no candidate can help that."""


class TrainingError(EdgenasError):
    """A candidate that could not be trained (NaN, out of memory): becomes a failed trial in a search."""
