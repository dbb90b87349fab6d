"""What the server writes on stderr: one line for each thing, without a word of what clients sent.

The message of an error may hold a person's name or a part of a picture's file; its kind and its place in the code do not.
"""

from __future__ import annotations

import logging
import time
import traceback
from types import TracebackType
from typing import Any

NAMES = ("uvicorn", "uvicorn.error", "asyncio", "edgenas.serve", "py.warnings")
FRAMES = 6  # of a traceback, the innermost ones


SELDOM_S = 60.0


class Seldom(logging.Filter):
    """The same line at most once a minute: the event loop writes one for every connection that the system has no room for."""

    def __init__(self) -> None:
        super().__init__()
        self._until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        line = record.getMessage().partition("\n")[0].partition(" <")[0]
        now = time.monotonic()
        passes = now >= self._until.get(line, now)
        if passes:
            self._until[line] = now + SELDOM_S
        return passes


class PlainFormatter(logging.Formatter):
    """`LEVEL: message; Kind at file:line (function) < ...`: no message of any exception, only the message's first line."""

    def format(self, record: logging.LogRecord) -> str:
        message = (record.getMessage().splitlines() or [""])[0]
        if record.name not in NAMES:  # another library's, which may quote what it was given
            message = f"{record.name} at {record.pathname}:{record.lineno}"
        if record.name == "asyncio":  # which writes whole objects into its messages
            message = message.partition(" <")[0]
        trouble = f"; {self.formatException(record.exc_info)}" if record.exc_info and record.exc_info[1] else ""
        return f"{record.levelname.lower()}: {message}{trouble}"

    def formatException(  # noqa: N802  # logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        if ei[1] is None:
            return ""
        frames = [f"{f.filename}:{f.lineno} ({f.name})" for f in traceback.extract_tb(ei[2])][-FRAMES:]
        return f"{type(ei[1]).__name__} at {' < '.join(reversed(frames))}"


def log_config() -> dict[str, Any]:
    """For logging.config: errors alone, of server and event loop. What clients do wrong is told to them and could fill a disk."""
    handler = {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"()": PlainFormatter}},
        "handlers": {"stderr": handler},
        "filters": {"seldom": {"()": Seldom}},
        "loggers": {
            name: {
                "handlers": ["stderr"],
                "level": "ERROR",
                "propagate": False,
                "filters": ["seldom"] if name == "asyncio" else [],
            }
            for name in NAMES
        },
        "root": {"handlers": ["stderr"], "level": "ERROR"},  # else Python writes what it warns of
    }
