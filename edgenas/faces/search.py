"""The nearest people in memory: exact by numpy up to 100,000 samples, above that candidates by usearch, scored exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import MissingExtraError, pip_line

EXACT_LIMIT = 100_000
SAME = 1e-6  # by which the numbers of two embeddings of one picture may differ: another count of threads, and no more


class Vectors:
    """Unit embeddings by person. A person's score is the best of their samples."""

    def __init__(self, dim: int, exact_limit: int = EXACT_LIMIT) -> None:
        self.dim, self.exact_limit = dim, exact_limit
        self.size = 0
        self._rows = np.empty((0, dim), np.float32)  # grown by doubling; the first `size` rows are in use
        self._codes = np.empty(0, np.int64)  # row -> place in _people
        self._people: list[int] = []
        self._code_of: dict[int, int] = {}
        self._index: Any = None

    def add(self, person: int, unit: NDArray[np.float32]) -> None:
        """Append samples (n, dim), of length one."""
        code = self._code_of.setdefault(person, len(self._people))
        if code == len(self._people):
            self._people.append(person)
        end = self.size + len(unit)
        if end > len(self._rows):
            capacity = max(end, 2 * len(self._rows), 64)
            self._rows = _grown(self._rows, capacity)
            self._codes = _grown(self._codes, capacity)
        self._rows[self.size : end], self._codes[self.size : end] = unit, code
        if self._index is not None:
            self._index.add(np.arange(self.size, end), unit)
        self.size = end

    def remove(self, person: int) -> None:
        """Forget a person's samples; an approximate index is rebuilt on the next search."""
        code = self._code_of.get(person)
        if code is None:
            return
        kept = self._codes[: self.size] != code
        self._rows, self._codes = self._rows[: self.size][kept], self._codes[: self.size][kept]
        self.size = len(self._rows)
        self._codes[self._codes > code] -= 1
        del self._people[code]
        self._code_of = {known: place for place, known in enumerate(self._people)}
        self._index = None

    def unknown(self, person: int, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of samples (n, dim) those that the person does not have yet: others than SAME in a number at least."""
        own = self._rows[: self.size][self._codes[: self.size] == self._code_of.get(person, -1)]
        new = [not (np.abs(own - one).max(axis=1) <= SAME).any() for one in unit]
        unknown: NDArray[np.float32] = unit[np.array(new, bool)]
        return unknown

    def score(self, person: int, probe: NDArray[np.float32]) -> float:
        """The best cosine of one person's samples."""
        own = self._codes[: self.size] == self._code_of[person]
        return float((self._rows[: self.size][own] @ probe).max())

    def best(self, probe: NDArray[np.float32], top: int) -> list[tuple[int, float]]:
        """At most `top` (person, cosine), best first."""
        if self.size == 0:
            return []
        rows = np.arange(self.size) if self.size <= self.exact_limit else self._candidates(probe, max(64, 8 * top))
        scores = self._rows[: self.size] @ probe if len(rows) == self.size else self._rows[rows] @ probe
        best = np.full(len(self._people), -np.inf, np.float32)
        np.maximum.at(best, self._codes[rows], scores)
        leaders = np.argsort(-best, kind="stable")[:top]
        return [(self._people[code], float(best[code])) for code in leaders if np.isfinite(best[code])]

    def _candidates(self, probe: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        if self._index is None:
            try:
                from usearch.index import Index
            except ImportError as error:
                raise MissingExtraError(
                    f"a gallery of {self.size} samples (more than {self.exact_limit}) needs usearch: {pip_line('faces')}"
                ) from error
            self._index = Index(
                ndim=self.dim, metric="ip", dtype="f32", connectivity=32, expansion_add=128, expansion_search=512
            )
            self._index.add(np.arange(self.size), self._rows[: self.size])
        return np.asarray(self._index.search(probe, count).keys, np.int64)


def _grown(values: NDArray[Any], capacity: int) -> NDArray[Any]:
    larger = np.zeros((capacity, *values.shape[1:]), values.dtype)
    larger[: len(values)] = values
    return larger
