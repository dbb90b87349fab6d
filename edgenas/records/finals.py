"""Final trainings, their study, and its sessions."""

from __future__ import annotations

from typing import Any

import msgspec

from edgenas.records.architectures import (
    Architecture,
)
from edgenas.records.base import Precision, Record
from edgenas.records.devices import HardwareProfile
from edgenas.records.trials import (
    ACCURACY,
    Limits,
    Metric,
    Preprocessing,
    Recipe,
)


class Look(Record, frozen=True):
    """The metric on validation after so many epochs of a final training."""

    epoch: int
    value: float


class Mistake(Record, frozen=True):
    """One test image that a trained network took for another class. `index`: in the test split; `confidence`, `of_true`: the
    probabilities that it gave the class `called` and the true one, percent. `image`: a PNG file, relative to the study; `file`:
    what the image was read from, relative to the data's folder, "" where that is not known."""

    index: int
    true: str
    called: str
    confidence: float
    of_true: float
    image: str
    image_sha256: str
    file: str = ""


class FinalRun(Record, frozen=True):
    """One seed of a final training. Scores of the last epoch; of the best epoch on validation only beside it.

    `weights`: a safetensors file, relative to the study. `mirrored`: test scores with outputs averaged over both mirror images.
    `curve`: the looks at validation during the training; `mistakes`: the worst ones on the test set, None where none were kept
    (another kind of task; both: runs of earlier versions).
    """

    seed: int
    weights: str
    test: dict[str, float]
    val: dict[str, float]
    best_epoch: int
    best_val: dict[str, float]
    best_test: dict[str, float]
    seconds: float
    mirrored: dict[str, float] = {}
    report: dict[str, Any] = {}
    weights_sha256: str = ""  # of the file; runs of the first version have none
    curve: tuple[Look, ...] = ()
    mistakes: tuple[Mistake, ...] | None = None
    processes: int = 1  # that trained it together

    # Trained on the validation images, too (FinalTraining.all_images): `val`, `best_val` and `curve` are empty, and the best
    # epoch is the last one.


class FinalTraining(Record, frozen=True):
    """A finished final training (store kind `final`, key = the trial's candidate key; other data: key + ":" + its name)."""

    trial: int
    architecture: Architecture
    recipe: Recipe
    data: str
    metric: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    params: int
    runs: tuple[FinalRun, ...]
    seconds: float
    data_dir: str | None = None
    images: dict[str, int] = {}  # of each split: train, val, test
    scored: Metric | None = None  # what `metric` is
    inherited_percent: float = 0.0  # of the parameters, that began with the weights of `edgenas search --start`
    all_images: bool = False  # trained on the validation images, too: there is no score on them
    flags: tuple[str, ...] | None = None  # of `edgenas train`, that it was asked for with; None: of an earlier version


class StudyRecord(Record, frozen=True):
    """Everything that decides what a search does; other settings are another study.

    `hardware`: the profiles as they were when it began, in the order of `profiles`. `plan`: what the settings decided, as JSON;
    engine/plan.py reads it, `{}` where a study was not made by a search.
    """

    method: str
    task: str
    data: str
    profiles: tuple[str, ...]
    precision: Precision
    limits: Limits
    seed: int
    hardware: tuple[HardwareProfile, ...] = ()
    metric: Metric = ACCURACY  # what guides the search
    plan: msgspec.Raw = msgspec.Raw(b"{}")
    versions: dict[str, str] = {}


class Session(Record, frozen=True):
    """One run of a command that writes a study (store kind `session`, key = its number), and what it ran on."""

    command: str
    began: str  # UTC, ISO 8601
    trials: int  # that decisions had read
    versions: dict[str, str]
