"""What a client did wrong, as an HTTP status and one line."""

from __future__ import annotations


class RequestRefused(Exception):  # noqa: N818  # an answer, not a failure of ours
    """Becomes {"error": message} with this status."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
