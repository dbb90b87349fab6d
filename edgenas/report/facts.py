"""Everything that a report says about one study, read from its database in one go; also while a search writes it."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from edgenas.architectures.subspace import Round
from edgenas.binomial import Interval
from edgenas.engine.again import boards_known
from edgenas.engine.compare import KIND as COMPARISON
from edgenas.engine.data import place_known, places_of
from edgenas.engine.final import GIVEN
from edgenas.engine.fronts import budget_words, control_share, front
from edgenas.engine.given import BEGAN, Began
from edgenas.engine.noise import Noise, seed_noise
from edgenas.engine.plan import validation_in
from edgenas.engine.references import FINAL as REFERENCE_FINAL
from edgenas.engine.scores import at_chance, best_of_network, interval_of, interval_words
from edgenas.engine.taught import KIND as TEACHER
from edgenas.engine.taught import Teacher
from edgenas.engine.verdict import Comparison
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name, profiles_of
from edgenas.methods import CONTROL
from edgenas.records import (
    Choice,
    Decision,
    Expectation,
    FinalTraining,
    HardwareProfile,
    Measurement,
    Metric,
    Precision,
    Record,
    Session,
    StudyRecord,
    Trial,
)
from edgenas.report.beside import is_current
from edgenas.report.trained import is_better_than_chance
from edgenas.store import Store


class Compared(Record, frozen=True):
    """One network whose latency was both predicted and measured."""

    trial: int | None
    profile: str
    precision: str
    predicted_ms: float
    predicted_by: str  # origin of the prediction
    measured_ms: float
    host: str
    runtime: str


@dataclass(frozen=True)
class Facts:
    """One study as a report sees it. `trials`: all, those first that decisions have read, in their order."""

    folder: Path
    study: StudyRecord
    trials: tuple[Trial, ...]
    decisions: tuple[Decision, ...]
    choice: Choice | None
    rounds: tuple[Round, ...]
    finals: tuple[FinalTraining, ...]
    measurements: dict[str, Measurement]
    seconds: float
    sessions: tuple[Session, ...] = ()
    comparison: Comparison | None = (
        None  # with public networks, as `edgenas compare` left it; None where it is `outdated`
    )
    outdated: bool = False  # was it made with a training that another has replaced?
    references: dict[str, FinalTraining] = field(default_factory=dict)  # trainings of public networks, by name
    teachers: dict[str, str] = field(default_factory=dict)  # SHA-256 of what taught: what it was asked for by
    network: str = ""  # that was given: how it was called
    training_flags: tuple[str, ...] = ()  # what else its training was asked for with
    data_dir: str | None = None  # where its data set was found last, where somebody said it
    data_places: frozenset[str] = frozenset()  # by which the same data of another study are known
    called: str = ""  # where the folder's own name would not tell it from another study on the page

    @property
    def name(self) -> str:
        return self.called or self.folder.resolve().name

    @property
    def file_name(self) -> str:
        """For folders and files that are made of it: of the whole path, where the folder's own name would not tell it apart."""
        return "-".join(self.folder.resolve().parts[1:]) if self.called else self.name

    @property
    def shown_folder(self) -> str:
        """The folder as a shell takes it, for commands on the page."""
        return shlex.quote(str(self.folder))

    @property
    def given(self) -> bool:
        """Is its network one that the user gave, with no search?"""
        return self.study.method == GIVEN

    @property
    def boards(self) -> tuple[str, ...]:
        """The addresses of the boards that measured for this study, as far as it knows them."""
        return boards_known(self.measurements.values())

    @property
    def metric(self) -> Metric:
        return self.study.metric

    @property
    def objective(self) -> str:
        return self.metric.objective

    @property
    def read(self) -> tuple[Trial, ...]:
        """Trials that a decision has read, as `edgenas front` counts them."""
        return tuple(t for t in self.trials if t.number is not None)

    @property
    def complete(self) -> tuple[Trial, ...]:
        """Trained trials that a decision has read, the control apart."""
        return tuple(t for t in self.read if t.status == "complete" and t.candidate.phase != CONTROL)

    @property
    def control(self) -> tuple[Trial, ...]:
        """Trained trials of the control that it has asked for."""
        return tuple(t for t in self.read if t.status == "complete" and t.candidate.phase == CONTROL)

    @property
    def best(self) -> Trial | None:
        """The choice; while the search runs, the best trial so far."""
        if self.choice is not None:
            return self.choice.trial
        return max(self.complete, key=self.score, default=None)

    @property
    def peak(self) -> Trial | None:
        """The trial in which the network of `best` scored best: a search may end with a short training of it."""
        return None if self.best is None else best_of_network(self.best, self.trials, self.objective)

    @property
    def final(self) -> FinalTraining | None:
        """The final training of `best` on the study's own data."""
        number = None if self.best is None else self.best.number
        return next((one for one in self.finals if one.trial == number and one.data == self.study.data), None)

    @property
    def search_at_chance(self) -> bool:
        """Is no training of a search better than chance, so that it decided nothing?"""
        return not self.given and at_chance(self.read, self.study)

    @property
    def at_chance(self) -> bool:
        """Is nothing that was trained better than chance: no training of the search, and not `final`?"""
        if self.final is not None and is_better_than_chance(self.final, validation_in(self.study)):
            return False
        return at_chance(self.read, self.study)

    @property
    def control_words(self) -> str:
        """How much the control was trained beside the search, such as "at equal budget"."""
        return budget_words(control_share(self.read, self.study.method))

    def score(self, trial: Trial) -> float:
        """What the search maximised."""
        return trial.scores[self.objective]

    def value(self, trial: Trial) -> float:
        """The score as people read the metric."""
        return self.metric.gain(self.score(trial))

    def interval(self, trial: Trial) -> Interval | None:
        """The 95 % interval of `value`, in the metric's unit; None where it is not known."""
        return interval_of(trial.scores, f"val_{self.metric.name}", validation_in(self.study))

    def words(self, trial: Trial) -> str:
        """The value with its unit and interval, such as 97.20 % (95.9 to 98.1)."""
        return f"{self.metric.words(self.value(trial))}{interval_words(self.interval(trial), self.metric)}"

    def front(self, profile: str) -> list[Trial]:
        return front(self.complete, self.objective, profile, self.choice.expected if self.choice else None)

    def best_on(self, front: Sequence[Trial]) -> Trial | None:
        """The network of `best` in the trial by which it is on this front, which holds a network once; else its `peak`."""
        if self.best is None:
            return None
        network = self.best.candidate.architecture
        return next((trial for trial in front if trial.candidate.architecture == network), self.peak)

    def expected(self, trial: Trial) -> Expectation | None:
        """What the search's model expects of the trial's network, as people read the metric; None where it has none."""
        known = self.choice.expected.get(trial.candidate.architecture.fingerprint) if self.choice else None
        return None if known is None else Expectation(self.metric.gain(known.mean), known.sd)

    def level(self, trial: Trial) -> float:
        """What a network is ranked by, as something to be maximised: its expected score where there is one, else the trial's."""
        expected = self.expected(trial)
        return self.score(trial) if expected is None else self.metric.gain(expected.mean)

    @functools.cached_property
    def seed_noise(self) -> Noise | None:
        """What training a network again changes; None where the study repeated none."""
        return seed_noise(self.trials, self.objective)

    def profile(self, name: str) -> HardwareProfile | None:
        """The study's own profile, or one that comes along; None where it was read from a file that is not here any more."""
        try:
            return {profile.name: profile for profile in profiles_of(self.study)}.get(name) or profile_from_name(name)
        except EdgenasError:
            return None


def read_facts(folder: Path) -> Facts:
    """What the study holds now."""
    with Store.read(folder) as store:
        trials = store.trials()
        finals = tuple(store.all("final", FinalTraining).values())
        comparison = store.get(COMPARISON, COMPARISON, Comparison)
        outdated = comparison is not None and not is_current(comparison, finals, store.study.data)
        began = store.get(GIVEN, BEGAN, Began) or Began()
        return Facts(
            folder=folder,
            study=store.study,
            trials=tuple(sorted(trials, key=lambda t: math.inf if t.number is None else t.number)),
            decisions=tuple(store.all("decision", Decision).values()),
            choice=store.choice,
            rounds=tuple(store.all("round", Round).values()),
            finals=finals,
            measurements=store.all("measurement", Measurement),
            seconds=store.get("clock", "wall", float) or 0.0,
            sessions=tuple(store.all("session", Session).values()),
            comparison=None if outdated else comparison,
            outdated=outdated,
            references=store.all(REFERENCE_FINAL, FinalTraining),
            teachers={one.sha256: one.name for one in store.all(TEACHER, Teacher).values()},
            network=began.network,
            training_flags=began.flags,
            data_dir=place_known(store),
            data_places=places_of(store),
        )


def compared(facts: Facts) -> list[Compared]:
    """Every network of the study that was measured on a device whose profile can predict it too."""
    networks = {trial.candidate.architecture.fingerprint: trial for trial in reversed(facts.trials)}
    pairs = []
    for key, measurement in facts.measurements.items():
        fingerprint = key.split()[0]
        profile = facts.profile(measurement.profile)
        if fingerprint not in networks or profile is None or measurement.status not in ("ok", "unstable"):
            continue
        trial = networks[fingerprint]
        try:
            predicted = latency_from_workload(
                profile, trial.candidate.architecture, cast(Precision, measurement.precision)
            )
        except EdgenasError:  # a profile that only measures, such as host-cpu, or one without this precision
            continue
        pairs.append(
            Compared(
                trial.number,
                profile.name,
                measurement.precision,
                predicted.ms,
                predicted.origin,
                float(np.median(measurement.samples_ms)),
                measurement.host,
                measurement.runtime,
            )
        )
    return pairs
