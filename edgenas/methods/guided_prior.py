"""What studies of other data say of the networks of a space, as a feature of a guided search: what their own model expects."""

from __future__ import annotations

import math

import numpy as np

from edgenas.methods.guided_model import Array, Runs, fitted
from edgenas.records import Record


class Learned(Record, frozen=True):
    """The trainings of another study in the same space, as numbers: the new study holds them and needs the other no more.

    features: (n, d) as `Space.features` gives them; network: (n,) which training is of which network; lost: (n,) log of (most
    epochs / epochs); scores: (n,) better the higher, in that study's unit.
    """

    study: str
    features: tuple[tuple[float, ...], ...]
    network: tuple[int, ...]
    lost: tuple[float, ...]
    scores: tuple[float, ...]


class Prior:
    """What a study's trainings make us expect of any network of the space, in standard deviations of its scores."""

    def __init__(self, learned: Learned) -> None:
        rows = np.array(learned.features, np.float64)
        self.mean, spread = rows.mean(0), rows.std(0)
        self.sd = np.where(spread > 1e-9, spread, math.inf)  # what never differed there tells nothing here
        scores = np.array(learned.scores)
        network, lost, none = np.array(learned.network), np.array(learned.lost), np.zeros(len(scores))
        self.model = fitted(Runs(self._scaled(rows), network, lost, scores, none, np.zeros(len(scores), np.int64)))
        self.middle, self.spread = self.model.middle, self.model.spread

    def __call__(self, features: Array) -> Array:
        """(m, d) features of m networks -> (m,)."""
        return np.asarray((self.model.of_new(self._scaled(features)).mean - self.middle) / self.spread)

    def _scaled(self, rows: Array) -> Array:
        return np.asarray((rows - self.mean) / self.sd)
