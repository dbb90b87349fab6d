"""One trial, one study: what is asked, trained, decided and chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from edgenas.identity import digest
from edgenas.image_sizes import AnySize, ImageSize, sides_of, size_from_sides
from edgenas.ranges import beside
from edgenas.records.architectures import (
    Architecture,
)
from edgenas.records.base import Record
from edgenas.records.devices import Cost, Latency


class Metric(Record, frozen=True):
    """The score that guides a task. Searches maximise its `objective`, people read it as it is.

    `unit`: as it is printed, "%" or "deg" or "". `share`: percent of the images that are right, which is what binomial
    intervals are about. `max_drop`: how much worse, in the unit, a file of lower precision may score than FP32 where the user
    does not say it. A threshold of one point in a search's rules is 1 in this unit.
    """

    name: str
    unit: str = "%"
    better: Literal["higher", "lower"] = "higher"
    share: bool = False
    max_drop: float = 0.5

    @property
    def objective(self) -> str:
        """The score of a trial that searches maximise: "val_accuracy"; of an error its negative, "val_neg_mae"."""
        return f"val_{self.name}" if self.better == "higher" else f"val_neg_{self.name}"

    def gain(self, value: float) -> float:
        """The value as something to be maximised: the objective."""
        return value if self.better == "higher" else -value

    def error(self, value: float) -> float:
        """The value as something to be minimised: 100 - percent, an error itself, or the negative of another score. The same
        again is the value."""
        if self.better == "lower":
            return value
        return 100 - value if self.unit == "%" else -value

    def number(self, value: float) -> str:
        """The value without its unit: "97.20", "3.142"."""
        return f"{value:.2f}" if self.unit == "%" else f"{value:.4g}"

    def words(self, value: float) -> str:
        """The value with its unit: "97.20 %", "3.142 deg"."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def trial_scores(self, scores: Mapping[str, float]) -> dict[str, float]:
        """What a trial keeps of the scores on validation: each as val_<name>; with the objective of a metric that is better
        lower, and its interval, where these have one."""
        kept = {f"val_{name}": value for name, value in scores.items()}
        if self.better == "lower":
            for name, end in (("", ""), ("_low", "_high"), ("_high", "_low")):
                if f"{self.name}{end}" in scores:
                    kept[f"{self.objective}{name}"] = -scores[f"{self.name}{end}"]
        return kept


ACCURACY = Metric("accuracy", share=True)

TAR = Metric("tar")


class Limits(Record, frozen=True):
    """Upper bounds on every candidate; None = no limit. Checked before training."""

    latency_ms: float | None = None
    params: int | None = None
    size_mb: float | None = None
    memory_mb: float | None = None
    energy_mj: float | None = None
    margin: bool = False  # is a latency judged by the upper end of its interval, where it has one
    mmacs: float | None = None  # millions of multiply-accumulates of one image

    def judged_ms(self, latency: Latency) -> float:
        """What is held against the latency limit: the figure; with `margin` the upper end of its interval, where it has one."""
        return latency.high if self.margin and latency.high is not None else latency.ms

    def broken(self, cost: Cost) -> tuple[str, ...]:
        """One phrase for every limit that `cost` breaks, such as "latency 5.31 ms > 4 ms on jetson-nano-4gb"."""
        phrases = []
        for latency in cost.latencies.values():
            ms = self.judged_ms(latency)
            if self.latency_ms is not None and ms > self.latency_ms:
                by = "up to " if self.margin and latency.high is not None else ""
                phrases.append(
                    f"latency {by}{beside(ms, self.latency_ms)} ms > {self.latency_ms:.12g} ms on {latency.profile}"
                )
            if self.energy_mj is not None and latency.energy_mj is not None and latency.energy_mj > self.energy_mj:
                phrases.append(
                    f"energy {beside(latency.energy_mj, self.energy_mj)} mJ > {self.energy_mj:.12g} mJ on {latency.profile}"
                )
        if self.params is not None and cost.params > self.params:
            phrases.append(f"{cost.params} parameters > {self.params}")
        if self.size_mb is not None and cost.size_mb > self.size_mb:
            phrases.append(f"size {beside(cost.size_mb, self.size_mb)} MB > {self.size_mb:.12g} MB")
        if self.memory_mb is not None and cost.memory_mb > self.memory_mb:
            phrases.append(f"memory {beside(cost.memory_mb, self.memory_mb)} MB > {self.memory_mb:.12g} MB")
        if self.mmacs is not None and cost.macs / 1e6 > self.mmacs:
            phrases.append(f"{cost.macs / 1e6:.12g} M MACs > {self.mmacs:.12g} M MACs")
        return tuple(phrases)

    def excess(self, cost: Cost) -> float:
        """The largest share of a limit that `cost` takes: above 1 where it breaks one; 0 without limits."""
        shares: list[tuple[float | None, float | None]] = [
            (cost.params, self.params),
            (cost.size_mb, self.size_mb),
            (cost.memory_mb, self.memory_mb),
            (cost.macs / 1e6, self.mmacs),
        ]
        for latency in cost.latencies.values():
            shares += [(self.judged_ms(latency), self.latency_ms), (latency.energy_mj, self.energy_mj)]
        return max((used / limit for used, limit in shares if used is not None and limit is not None), default=0.0)

    def uncertain(self, cost: Cost) -> bool:
        """Does the latency limit lie inside the interval of a latency, so that a measurement may decide otherwise?"""
        limit = self.latency_ms
        known = [(found.low, found.high) for found in cost.latencies.values()]
        return any(
            limit is not None and low is not None and high is not None and low <= limit < high for low, high in known
        )


# cosine-epoch: stepped before every epoch. *-by-epoch: stepped after every epoch, so that the first has the whole rate.
Schedule = Literal["cosine-epoch", "cosine", "linear", "cosine-by-epoch", "exponential-by-epoch"]

# What is done about classes of unequal size: weights of the images in the loss, or as many draws of every class in an epoch.
Balance = Literal["none", "weights", "sampling"]


class Recipe(Record, frozen=True):
    """How a candidate is trained; its hash is part of every trial. Learning rate is per `batch_size`, weight decay is L2."""

    name: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    decay_norm_and_bias: bool = True
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0  # side in pixels
    ema: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1
    loss: str = "cross-entropy"
    settings: dict[str, float] = {}  # of the loss or the task: margin, scale, ...
    flips: Literal["alternating", "independent"] = "alternating"  # sides every epoch, or a coin every time
    partial_batch: bool = False  # is the last, smaller batch of an epoch trained on
    balance: Balance = "none"
    turns: bool = False  # by quarters of a circle, of images that have no up
    teacher: str = ""  # SHA-256 of the weights or outputs that are learned from, beside the labels; "" = none
    teacher_weight: float = 0.0  # its share of the loss
    temperature: float = 1.0  # of the teacher's classes
    warmup_start: float = 0.0  # share of the rate that the warm-up begins at; 0 = one of its steps above nothing
    gamma: float = 0.97  # schedule exponential-by-epoch: the rate's factor from epoch to epoch
    random_resized_crop: tuple[float, float] | None = (
        None  # from and to this share of the image's area, scaled to all of it
    )
    crop_ratio: tuple[float, float] = (
        3 / 4,
        4 / 3,
    )  # its width by its height, of a rectangle beside its own, from and to
    color: tuple[float, float, float, float] = (
        0.0,
        0.0,
        0.0,
        0.0,
    )  # up to this: brightness, contrast, saturation, hue
    trivial_augment: bool = False
    mixup: float = 0.0  # alpha of the Beta distribution that the share of a second image is drawn from; 0 = none
    cutmix: float = 0.0  # the same, for a rectangle of a second image; with both, each batch takes one of them
    drop_path: float = 0.0  # of cells: probability in the last epoch; else of the last shortcut
    auxiliary: float = 0.0  # weight of the loss of a second head, at two thirds of the depth; 0 = none

    @property
    def fingerprint(self) -> str:
        return digest(self)


class Candidate(Record, frozen=True):
    """What a method asks for: this architecture, trained like this, in this phase; `repeat` > 0 = another seed, `cut` > 0 =
    another cut of the study's training and validation images."""

    architecture: Architecture
    recipe: Recipe
    phase: str
    repeat: int = 0
    cut: int = 0

    @property
    def key(self) -> str:
        return digest(self)


class Trial(Record, frozen=True):
    """One evaluated candidate. `number` is its place in decision order; None while no decision has read it.

    scores: val_accuracy, train_accuracy, val_loss, ... in the metric's unit; of an error val_<name> and `Metric.objective`.
    """

    candidate: Candidate
    status: Literal["complete", "infeasible", "failed"]
    cost: Cost
    seed: int
    scores: dict[str, float] = {}
    seconds: float = 0.0
    error: str = ""
    number: int | None = None


class Decision(Record, frozen=True):
    """What a method made of one trial."""

    phase: str
    verdict: str  # accept | neutral | reject | infeasible | start; stop: the search ends here, early
    reason: str
    depth: int | None = None
    width: int | None = None
    score: float | None = None
    best: float | None = None
    key: str = ""  # of the candidate


class Ask(Record, frozen=True):
    """What a method needs next, what it would likely ask for after that, and what it has decided since it last asked.

    Decisions may read only the answers to `needed`, in order: so they cannot depend on the number of workers.
    """

    needed: tuple[Candidate, ...]
    likely: tuple[Candidate, ...] = ()
    decisions: tuple[Decision, ...] = ()


class Expectation(Record, frozen=True):
    """What a method's model expects of a network's objective: mean and standard deviation, in the metric's unit. The deviation is
    that beside other networks on the same images: what the choice of these images does to all of them alike is not in it."""

    mean: float
    sd: float


class Choice(Record, frozen=True):
    """What a method ends with: the chosen trial, the macro stage it came from, and the last decisions. `expected`: by fingerprint
    of the networks that were trained; {} of a method that has no model of them."""

    trial: Trial
    macro: dict[str, int] = {}  # depth, width, epochs
    decisions: tuple[Decision, ...] = ()
    expected: dict[str, Expectation] = {}


Fit = Literal["crop", "stretch", "pad"]


class Preprocessing(Record, frozen=True):
    """How an image becomes the network's input; the bundle's manifest carries it, edgenas/preprocessing.py does it.

    Grey (1 channel) or RGB (3); scaled to `size` px (crop: until it is covered, then the centre; stretch: both sides; pad: until
    it fits in, the rest grey); `padding` black pixels on every side; / 255; minus mean, over std (per channel).
    """

    channels: int
    size: AnySize  # what a manifest may say is held against the model, in words of its own
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 0
    fit: Fit = "crop"

    @property
    def input_sides(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        height, width = sides_of(self.size)
        return height + 2 * self.padding, width + 2 * self.padding

    @property
    def input_size(self) -> ImageSize:
        """The size of the network's input."""
        return size_from_sides(*self.input_sides)
