"""The bearer token that an agent and its clients share."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from edgenas.errors import EdgenasError
from edgenas.files import at_home

VARIABLE = "EDGENAS_AGENT_TOKEN"
DEFAULT_FILE = Path("~/.config/edgenas/agent-token")
MIN_CHARACTERS = 32  # 128 bits in hexadecimal


def read_token(path: Path | None) -> str:
    """From the file if one is named, else from the environment variable, else from the default file."""
    if path is None and (value := os.environ.get(VARIABLE)):
        return _checked(value, f"${VARIABLE}")
    return _read(
        at_home(path or DEFAULT_FILE),
        f"copy the agent's token file here and give --token-file, or set {VARIABLE}",
    )


def read_or_make_token(path: Path | None) -> tuple[str, Path | None]:
    """For the agent: as above, but a missing file is made (256 bits, mode 0600); and which file it is."""
    if path is None and os.environ.get(VARIABLE):
        return read_token(None), None
    file = at_home(path or DEFAULT_FILE)
    return _made_or_read(file, f"give another file with --token-file, or set {VARIABLE}"), file


def server_token(path: Path) -> str:
    """For a server whose clients show a token: that in this file, which is made where it is missing."""
    return _made_or_read(at_home(path), "give another file with --token-file")


def _read(file: Path, advice: str) -> str:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgenasError(
            f"no token: {file} cannot be read ({getattr(error, 'strerror', None) or 'not plain text'}); {advice}"
        ) from error
    if mode & 0o077:
        raise EdgenasError(f"token file {file} has mode {mode:04o} and others can read it: chmod 600 {file}")
    return _checked(text, str(file))


def _made_or_read(file: Path, advice: str) -> str:
    if file.exists():
        return _read(file, advice)
    token = secrets.token_hex(32)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(token + "\n")
    except OSError as error:
        raise EdgenasError(f"token file {file} cannot be made: {error.strerror}; {advice}") from error
    return token


def _checked(token: str, where: str) -> str:
    if len(token) < MIN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise EdgenasError(
            f"the token in {where} is too weak: at least {MIN_CHARACTERS} characters without spaces (128 bits as hexadecimal); "
            "make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return token
