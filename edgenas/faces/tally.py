"""A seal over all rows of a gallery: rows that were exchanged, put back or taken away are noticed when it is opened.

The sum of every row's MAC modulo 2^256, kept up to date row by row (MSet-Add-Hash, Clarke et al., ASIACRYPT 2003), with the
number of rows; encrypted and bound to its gallery. Without a key the MAC is SHA-256: damage is found, a forger is not.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from edgenas.faces.vault import Vault

MODULUS = 1 << 256


class Tally(NamedTuple):
    """How many rows there are, and their sum."""

    rows: int = 0
    total: int = 0

    def plus(self, mac: bytes) -> Tally:
        return Tally(self.rows + 1, (self.total + int.from_bytes(mac, "big")) % MODULUS)

    def minus(self, mac: bytes) -> Tally:
        return Tally(self.rows - 1, (self.total - int.from_bytes(mac, "big")) % MODULUS)

    def to_bytes(self) -> bytes:
        return struct.pack(">q", self.rows) + self.total.to_bytes(32, "big")


class Lock(NamedTuple):
    """Seals what a gallery's rows hold; `gallery` names this file among others of the same key."""

    vault: Vault | None
    gallery: bytes

    def seal(self, data: bytes, owner: str) -> bytes:
        return self.vault.seal(data, self.gallery + owner.encode()) if self.vault else data

    def open(self, data: bytes, owner: str) -> bytes:
        return self.vault.open(data, self.gallery + owner.encode()) if self.vault else data

    def person_mac(self, person: int, name: bytes, created: float) -> bytes:
        return self._mac(struct.pack(">cqd", b"p", person, created) + name)

    def sample_mac(self, sample: int, person: int, embedding: bytes) -> bytes:
        return self._mac(struct.pack(">cqq", b"s", sample, person) + embedding)

    def _mac(self, row: bytes) -> bytes:
        data = self.gallery + row
        return self.vault.mac(data) if self.vault else hashlib.sha256(data).digest()


def name_of(person: int) -> str:
    """What a sealed name is bound to."""
    return f"name of person {person}"


def embedding_of(person: int) -> str:
    """What a sealed embedding is bound to."""
    return f"embedding of person {person}"
