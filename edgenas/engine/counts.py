"""How many, as people write it."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """1 seed, 3 seeds, 1,295 images; `plural` where an s is not enough."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
