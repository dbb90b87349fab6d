"""Encryption at rest for galleries: AES-256-GCM, a fresh nonce for every value, bound to its owner; HMAC-SHA256 for rows."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from edgenas.errors import DataError, MissingExtraError, pip_line

NONCE = 12


class Vault:
    """Seals and opens bytes under one 32-byte key."""

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise MissingExtraError(f"an encrypted gallery needs cryptography: {pip_line('faces')}") from error
        if len(key) != 32:
            raise DataError(f"a gallery key has 32 bytes, not {len(key)}: openssl rand -hex 32 > gallery.key")
        self._cipher = AESGCM(key)
        self._mac_key = hmac.digest(key, b"edgenas gallery rows", hashlib.sha256)

    def seal(self, data: bytes, owner: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, data, owner)

    def open(self, sealed: bytes, owner: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], owner)
        except (InvalidTag, ValueError) as error:
            raise DataError(
                "the gallery key does not open this gallery (wrong key, or the file was changed)"
            ) from error

    def mac(self, data: bytes) -> bytes:
        """32 bytes that only this key gives for `data`."""
        return hmac.digest(self._mac_key, data, hashlib.sha256)


def vault_from_file(path: Path) -> Vault:
    """The key: 64 hexadecimal digits in a file that only its owner may read."""
    try:
        if not path.is_file():
            raise DataError(f"gallery key {path} does not exist: openssl rand -hex 32 > {path}; chmod 600 {path}")
        if path.stat().st_mode & 0o077:
            raise DataError(f"gallery key {path} can be read by others: chmod 600 {path}")
        return Vault(bytes.fromhex(path.read_text().strip()))
    except OSError as error:
        raise DataError(
            f"gallery key {path} cannot be read ({error.strerror}): give it to the user who serves (chown)"
        ) from error
    except ValueError as error:
        raise DataError(f"gallery key {path} is not 64 hexadecimal digits: openssl rand -hex 32 > {path}") from error
