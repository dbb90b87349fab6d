"""Boards that are asked where it matters: the first ten candidates, then those whose latency is near the limit for its interval.

All others are predicted by a profile that has learned the board from what this study has measured: from ten networks, anew from
20, 40, 80. What was measured, in which order, and what was predicted is in the study, so a resumed search goes on with the very
same numbers. At the end of a search its finalists, the chosen network and the front, are measured too, and shown beside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from edgenas.hardware.candidates import KIND
from edgenas.hardware.learned import FIRST, learned_from, learned_profile, must_be_measured
from edgenas.hardware.measure import percentiles
from edgenas.hardware.predictor import Row, latency_from_workload
from edgenas.hardware.words import LEARNED, ORIGINS
from edgenas.ranges import beside
from edgenas.records import Architecture, HardwareProfile, Latency, Measurement, Record, Trial, Workload
from edgenas.remote.fleet import DECIDED, Boards, Decided
from edgenas.store import Store

ASKED, TOLD = "asked-board", "told-by-profile"  # what was measured, in order; what was predicted instead
FINALISTS = "finalists"  # key = FINALISTS: have the boards been asked for them, with whatever result
Finalists: TypeAlias = Callable[[Store], list[Trial]]  # of a finished search: the chosen trial, and the front


class AskedBoard(Record, frozen=True):
    """The `number`-th candidate that was measured, and the latency that was decided by."""

    number: int
    architecture: Architecture
    latency: Latency


class Told(Record, frozen=True):
    """A candidate that was decided on by a prediction: its limit is far away for the interval."""

    architecture: Architecture
    latency: Latency


def is_sparing(store: Store, profile: HardwareProfile) -> bool:
    """Are there predictions to go by? There is a limit to hold them against, and the study was not begun by measuring all."""
    limits = store.study.limits
    measured_all = any(f" {profile.name} " in key for key in store.all(KIND, Measurement)) and not store.all(
        ASKED, AskedBoard
    )
    return limits.latency_ms is not None and limits.energy_mj is None and not measured_all


def owes_finalists(store: Store) -> bool:
    """Is the search finished, and was it stopped before its boards were asked for the finalists?"""
    return store.choice is not None and bool(store.all(TOLD, Told)) and not store.get(FINALISTS, FINALISTS, bool)


class Sparing:
    """Callable like `Boards`, which it asks."""

    def __init__(self, boards: Boards, finalists: Finalists) -> None:
        self.finalists = finalists
        self.boards, self.store, self.limits = boards, boards.store, boards.store.study.limits
        self._rests_on = 0  # measured networks
        self._profile = boards.profile
        asked = sorted(self.store.all(ASKED, AskedBoard).values(), key=lambda one: one.number)
        self._rows = [self._row(one.architecture, one.latency) for one in asked]

    def __call__(self, architecture: Architecture, workload: Workload) -> Latency:
        key = self.boards.key_of(architecture)
        known = self.store.get(TOLD, key, Told) or self.store.get(DECIDED, key, Decided)
        if known is not None:
            return known.latency
        if self.store.get(ASKED, key, AskedBoard) is None:
            predicted = self._predicted(architecture)
            if predicted is not None:
                self.store.put(TOLD, key, Told(architecture, predicted))
                return predicted
        latency = self.boards(architecture, workload)
        if latency.origin == "measured" and self.store.get(ASKED, key, AskedBoard) is None:
            self.store.put(ASKED, key, AskedBoard(len(self._rows), architecture, latency))
            self._rows.append(self._row(architecture, latency))
        return latency

    def prepare(self, architectures: Iterable[Architecture]) -> None:
        """Queue those that will have to be measured."""
        room = max(0, FIRST - len(self._rows))
        for architecture in architectures:
            key = self.boards.key_of(architecture)
            if self.store.get(TOLD, key, Told) or self.store.get(DECIDED, key, Decided):
                continue
            if self._rests_on or learned_from(len(self._rows)):
                if self._predicted(architecture) is None:
                    self.boards.prepare([architecture])
            elif room:
                room -= 1
                self.boards.prepare([architecture])

    def close(self) -> None:
        """Measure the finalists of a finished search, and end."""
        if self.store.choice is not None:
            self._measure_finalists()
        self.boards.close()
        told, asked = len(self.store.all(TOLD, Told)), len(self._rows)
        if told:
            self.boards.say(f"{asked} of {asked + told} candidates were measured, the others are far from the limit")

    # ------------------------------------------------------------

    def _row(self, architecture: Architecture, latency: Latency) -> Row:
        return Row(architecture.fingerprint, architecture, latency.ms, ran_in=self.boards.precision)

    def _predicted(self, architecture: Architecture) -> Latency | None:
        """A prediction to go by; None where the board has to be asked."""
        self._learn()
        if not self._rests_on:
            return None
        found = latency_from_workload(self._profile, architecture, self.boards.precision)
        if must_be_measured(found, self.limits):
            return None
        detail = f"{found.detail}; {LEARNED} {self._rests_on} measured networks of this study"
        return msgspec.structs.replace(found, detail=detail)

    def _learn(self) -> None:
        rests_on = learned_from(len(self._rows))
        if rests_on <= self._rests_on:
            return
        profile = learned_profile(
            self.boards.profile, self._rows[:rests_on], self.boards.precision, self.store.study.seed
        )
        self._profile, self._rests_on = profile, rests_on
        assert profile.calibration is not None
        error = profile.calibration.mape or 0.0
        self.boards.say(f"the board is learned from {rests_on} measured networks (error {error:.1%} on those left out)")

    def _measure_finalists(self) -> None:
        """Each is waited for as long as a job may take, while a board is there: an engine is built for minutes."""
        finalists = [trial for trial in self.finalists(self.store) if self._told(trial)]
        self.boards.prepare_first([trial.candidate.architecture for trial in finalists])
        while missing := [t for t in finalists if self._measured(t) is None]:
            if not self.boards.any_there() or not self.boards.pending(t.candidate.architecture for t in missing):
                break
            time.sleep(0.05)
            self.boards.harvest()
        limit = self.limits.latency_ms or math.inf
        for trial in finalists:
            measurement = self._measured(trial)
            if measurement is not None:
                predicted = trial.cost.latencies[self.boards.profile.name]
                ms = percentiles(measurement)["median"]
                over = "" if ms <= limit else f": over the limit of {limit:.12g} ms"
                before = f"{predicted.ms:.4g} ms {ORIGINS[predicted.origin]}"
                self.boards.say(f"trial {trial.number}: {before}, {beside(ms, limit)} ms measured{over}")
        if missing:
            self.boards.say(
                f"warning: {len(missing)} finalists could not be measured: `edgenas verify` measures them later"
            )
        self.store.put(FINALISTS, FINALISTS, True)

    def _told(self, trial: Trial) -> bool:
        return self.store.get(TOLD, self.boards.key_of(trial.candidate.architecture), Told) is not None

    def _measured(self, trial: Trial) -> Measurement | None:
        return self.store.get(KIND, self.boards.key_of(trial.candidate.architecture), Measurement)
