"""What goes wrong because of the input, not because of us: one line to the user, exit code 1."""


class EdgenasError(Exception):
    """A mistake that the user can mend. The message is one line: what was asked, what is possible, what to do."""


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


class TrainingError(EdgenasError):
    """A candidate that could not be trained (NaN, out of memory): becomes a failed trial in a search."""
