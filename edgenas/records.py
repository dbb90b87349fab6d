"""The frozen records that everything else passes around.

Units are in the names; accuracies are percent, latencies milliseconds, sizes MB (1e6 bytes). What of a record its fingerprint
is taken of says identity.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from edgenas.identity import canonical_json, digest
from edgenas.image_sizes import AnySize, ImageSize, sides_of, size_from_sides
from edgenas.ranges import (
    BatchSize,
    Channels,
    ClassCount,
    Correlation,
    Count,
    Depth,
    Error,
    Expansion,
    Factor,
    GigabytesPerSecond,
    Megabytes,
    Microseconds,
    Share,
    Stride,
    Tera,
    Threads,
    Watts,
    WidthOrNone,
    Window,
)

Origin = Literal["measured", "predicted", "datasheet"]
# tf32: FP32 whose products a GPU rounds to 10 bits (tensor cores, from compute capability 8.0). TensorRT's own default, and what
# every public FP32 figure of an Orin is; EdgeNAS's engines have it off. Only latencies are asked at it.
Precision = Literal["fp32", "fp16", "int8", "tf32"]
TaskKind = Literal["classification", "faces", "generic"]
Confidence = Literal["measured", "published", "datasheet", "derived", "estimate"]
BYTES: dict[str, int] = {"fp32": 4, "fp16": 2, "int8": 1, "tf32": 4}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records: immutable, strictly decoded."""

    def canonical_json(self) -> bytes:
        return canonical_json(self)


# ---------------------------------------------------------------- architectures: what a network is, as data


class Classes(Record, frozen=True, tag="classes", tag_field="kind"):
    """Global average pool, then a linear layer with bias to `count` logits."""

    count: ClassCount


class Embedding(Record, frozen=True, tag="embedding", tag_field="kind"):
    """Global pool (average, or a depthwise convolution over the whole map), BN, linear to `dim`, BN."""

    dim: Channels
    pool: Literal["average", "depthwise"] = "average"


class Outputs(Record, frozen=True, tag="outputs", tag_field="kind"):
    """Global average pool, then a linear layer with bias to `count` numbers that mean what the task says, such as an angle."""

    count: ClassCount


Head = Classes | Embedding | Outputs


class ChainArchitecture(Record, frozen=True, tag="chain", tag_field="type"):
    """A chain of `depth` layers of working width `width` (GNAS, TRG-NAS); see architectures/chain.py.

    ops[i]: 0 separable, 1 dense. kernels[i]: odd kernel side. `stem_strides`: extra stride-2 stem convolutions for large
    images, () for none. `stage_strides`: strides of the first layers of stages two and three. `stem`: what the extra stem
    convolutions are like; see architectures/stem.py.
    """

    width: Channels
    depth: Depth
    ops: tuple[int, ...]
    kernels: tuple[Window, ...]
    head: Head
    in_channels: Channels = 3
    image_size: ImageSize = 32
    stem_strides: tuple[Stride, ...] = ()
    stage_strides: tuple[Stride, Stride] = (2, 2)
    stem: Literal["wide", "growing"] = "wide"

    @property
    def fingerprint(self) -> str:
        return digest(self)


class BranchCell(Record, frozen=True):
    """One NSE cell: kind N (same channels), E (next channels) or R (next channels, stride 2), and its operations' indices."""

    kind: Literal["N", "E", "R"]
    out_channels: Channels
    ops: tuple[int, ...]


class MultiBranchArchitecture(Record, frozen=True, tag="multibranch", tag_field="type"):
    """A string of multi-branch cells (NSE); op indices refer to the pool of that size; see architectures/multibranch.py."""

    pool: Literal[19, 27, 72]
    cells: tuple[BranchCell, ...]
    head: Head
    stem_channels: Channels = 16
    stem_stride: Stride = 2
    tail_channels: Channels = 1024
    in_channels: Channels = 3
    image_size: ImageSize = 224

    @property
    def fingerprint(self) -> str:
        return digest(self)


class Nasbench101Cell(Record, frozen=True, tag="nasbench101", tag_field="space"):
    """Upper-triangular 0/1 matrix over input, operations, output; ops named as in `edgenas design`."""

    matrix: tuple[tuple[int, ...], ...]
    ops: tuple[str, ...]


class Nasbench201Cell(Record, frozen=True, tag="nasbench201", tag_field="space"):
    """Six edge operations in the order of the benchmark's string |e0~0|+|e1~0|e2~1|+|e3~0|e4~1|e5~2|."""

    ops: tuple[str, str, str, str, str, str]


class DartsCell(Record, frozen=True, tag="darts", tag_field="space"):
    """Genotype: for each of 4 nodes two (operation, source node) pairs; sources 0 and 1 are the cell's two inputs."""

    normal: tuple[tuple[str, int], ...]
    reduce: tuple[tuple[str, int], ...]


class CellArchitecture(Record, frozen=True, tag="cell", tag_field="type"):
    """A stack of repeated cells (NAS-Bench-101/201, DARTS); see architectures/cell.py. `stem`: before images larger than cells
    work on, but for DARTS, which has a published one; see architectures/stem.py."""

    cell: Nasbench101Cell | Nasbench201Cell | DartsCell
    head: Head
    channels: Channels
    cells_per_stage: Depth
    in_channels: Channels = 3
    image_size: ImageSize = 32
    stem: Literal["wide", "growing"] = "wide"

    @property
    def fingerprint(self) -> str:
        return digest(self)


class FbnetArchitecture(Record, frozen=True, tag="fbnet", tag_field="type"):
    """22 block choices 0..8 of the FBNet space, in its 32-px or 224-px setting; see architectures/fbnet.py."""

    ops: tuple[int, ...]
    head: Head
    image_size: Literal[32, 224] = 32
    in_channels: Channels = 3

    @property
    def fingerprint(self) -> str:
        return digest(self)


BlockKind = Literal["separable", "dense", "residual", "mbconv", "fused"]


class Stage(Record, frozen=True):
    """`repeats` blocks of one kind and width, the first with the stride; see architectures/stages.py.

    `expansion`, `squeeze` (squeeze-excitation) are of mbconv and fused blocks.
    """

    block: BlockKind
    width: Channels
    repeats: Depth
    kernel: Window
    stride: Stride
    expansion: Expansion = 1
    squeeze: bool = False


class StagesArchitecture(Record, frozen=True, tag="stages", tag_field="type"):
    """A stem convolution, stages of equal blocks, a 1x1 convolution to `head_width` (0 = none), the head; see
    architectures/stages.py."""

    stages: tuple[Stage, ...]
    head: Head
    in_channels: Channels
    image_size: ImageSize
    stem_width: Channels
    stem_stride: Stride = 1
    stem_kernel: Window = 3
    head_width: WidthOrNone = 0
    activation: Literal["relu", "relu6"] = "relu"

    @property
    def fingerprint(self) -> str:
        return digest(self)


# ---------------------------------------------------------------- workloads: what a device executes

KernelKind = Literal[
    "conv", "depthwise", "linear", "maxpool", "avgpool", "globalpool", "add", "mul", "mean", "concat", "slice",
    "activation", "shuffle", "normalization", "matmul", "softmax", "resize", "reduce", "convtranspose",
]  # fmt: skip


class Kernel(Record, frozen=True):
    """One launched kernel, after the runtime's fusions (conv + BN + activation is one).

    `height`, `width`: of the *output*; `in_height`, `in_width`: of (each) input, in pixels. `inputs`: indices of the kernels
    in the workload whose outputs this one reads, -1 = the network's input. `norm`: a folded batch norm (2 x out_channels
    trained parameters). `residual`: index of a kernel whose output is added in the same launch (one more read).
    `begin`: first channel of a slice. `counts_padding`: does an average pool divide by padded pixels as well?
    """

    kind: KernelKind
    in_channels: int
    out_channels: int
    height: int
    width: int
    in_height: int
    in_width: int
    inputs: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    norm: bool = False
    bias: bool = False
    activation: str = ""
    residual: int | None = None
    begin: int = 0
    counts_padding: bool = False

    @property
    def weights(self) -> int:
        """Weights of the operation itself, without bias or norm."""
        if self.kind not in ("conv", "depthwise", "linear", "convtranspose"):
            return 0
        return self.in_channels // self.groups * self.out_channels * self.kernel[0] * self.kernel[1]

    @property
    def params(self) -> int:
        """Trained parameters: weights, bias, and two per channel for a batch norm (running statistics are not counted)."""
        return self.weights + self.out_channels * (2 * self.norm + self.bias)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolution or linear layer at batch 1; 0 for everything else."""
        transposed = self.kind == "convtranspose"  # every *input* pixel meets every weight once
        return self.weights * (self.in_height * self.in_width if transposed else self.height * self.width)

    @property
    def input_elements(self) -> int:
        return self.in_channels * self.in_height * self.in_width * (1 if self.kind == "concat" else len(self.inputs))

    @property
    def output_elements(self) -> int:
        return self.out_channels * self.height * self.width

    @property
    def elements_moved(self) -> int:
        """Elements read and written once: inputs, an added residual, output, weights."""
        residual = 0 if self.residual is None else self.output_elements
        return self.input_elements + residual + self.output_elements + self.weights


class Workload(Record, frozen=True):
    """The kernels of one network at batch 1, in execution order."""

    kernels: tuple[Kernel, ...]

    @property
    def macs(self) -> int:
        return sum(kernel.macs for kernel in self.kernels)

    @property
    def params(self) -> int:
        return sum(kernel.params for kernel in self.kernels)

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all kernels at FP32, batch 1."""
        return 4 * sum(kernel.elements_moved for kernel in self.kernels)

    def size_mb(self, precision: str = "fp32") -> float:
        """Weights as stored at `precision`, MB."""
        return self.params * BYTES[precision] / 1e6

    def memory_mb(self, precision: str = "fp32") -> float:
        """Peak of live activations plus all weights at `precision`, batch 1, MB."""
        last_read: dict[int, int] = {}
        for index, kernel in enumerate(self.kernels):
            last_read.update(dict.fromkeys(kernel.inputs, index))
            if kernel.residual is not None:
                last_read[kernel.residual] = index
        first = self.kernels[0]
        live = {-1: first.in_channels * first.in_height * first.in_width}
        peak = 0
        for index, kernel in enumerate(self.kernels):
            live[index] = kernel.output_elements
            peak = max(peak, sum(live.values()))
            live = {source: size for source, size in live.items() if last_read.get(source, -1) > index}
        return (peak + self.params) * BYTES[precision] / 1e6


class OwnArchitecture(Record, frozen=True, tag="own", tag_field="type"):
    """A network of a space that is not part of the library. It holds all that is needed to build, export and verify it where that
    space's code is not installed; see architectures/own.py.

    `choices`: what was chosen in `space`, by name. `body`: its kernels without the head, which follows the last of them; they
    read an input of (in_channels, height, width).
    """

    space: str
    choices: dict[str, int | float | str | bool]
    body: Workload
    head: Head
    in_channels: Channels
    image_size: ImageSize

    def __hash__(self) -> int:
        return hash((self.space, frozenset(self.choices.items()), self.body, self.head))

    @property
    def fingerprint(self) -> str:
        return digest(self)


class OnnxArchitecture(Record, frozen=True, tag="onnx", tag_field="type"):
    """A network that is a member of no space: read from an ONNX file, as it is; see architectures/whole.py.

    `name`: what it was asked for by, such as torchvision:resnet18. `workload`: all kernels, those of the head too. `epsilons`: of
    their batch norms, in order. `fixed`: kernels whose weights are constants, such as a normalisation of the input.
    """

    name: str
    workload: Workload
    head: Head
    in_channels: Channels
    image_size: ImageSize
    epsilons: tuple[float, ...] = ()
    fixed: tuple[int, ...] = ()

    @property
    def fingerprint(self) -> str:
        return digest(self)


Architecture = (
    ChainArchitecture
    | MultiBranchArchitecture
    | CellArchitecture
    | FbnetArchitecture
    | StagesArchitecture
    | OwnArchitecture
    | OnnxArchitecture
)


# ---------------------------------------------------------------- devices


class HeldOut(Record, frozen=True):
    """How predictions of one kind of network compare with measurements of networks that the fit never saw.

    `factor`: nine of ten measurements lie within prediction / factor .. prediction * factor. `error`: geometric mean of the
    larger of measurement / prediction and its inverse, less 1. Every network counts once, however many rows it has.
    """

    networks: Count
    rows: Count
    factor: Factor
    error: Error
    within_125: Share
    within_150: Share
    kendall: Correlation | None = None


class Evidence(Record, frozen=True):
    """One source of the measurements that a calibration rests on: repository:path@commit, and what was measured there."""

    source: str
    precision: Precision
    networks: Count
    rows: Count
    what: str = ""


class Calibration(Record, frozen=True):
    """Fitted predictor of one profile and its report card on rows that it never saw.

    `judged`: by precision and kind of network, such as "fp16 whole"; `evidence`: where measurements of others were published.
    """

    model: str  # the spaces with a predictor of their own among the parameters, or "kernels"
    parameters: dict[str, Any]
    n: Count
    held_out: Count
    spearman: Correlation | None  # None where too few rows were held out
    kendall: Correlation | None
    mape: Error | None
    within_5: Share | None
    within_10: Share | None
    worst_under: Error | None  # largest (measured - predicted) / measured
    source: str
    date: str
    judged: dict[str, HeldOut] = {}
    evidence: tuple[Evidence, ...] = ()

    @property
    def in_words(self) -> str:
        """The report card in one sentence."""
        if self.mape is None or self.within_5 is None or self.within_10 is None or self.worst_under is None:
            return f"No network was held out to judge it ({self.source}, {self.date})"
        ranks = "" if self.spearman is None else f"Spearman {self.spearman:.3f}, "
        return (
            f"On {self.held_out} networks that the fit never saw: {ranks}mean error {100 * self.mape:.1f} %, "
            f"{100 * self.within_5:.0f} % within 5 %, {100 * self.within_10:.0f} % within 10 %, "
            f"worst underestimate {100 * self.worst_under:.1f} % ({self.source}, {self.date})"
        )


class PowerMode(Record, frozen=True):
    """A power mode by its own name, such as "15W" or "MAXN_SUPER"."""

    name: str
    watts: Watts | None = None
    clocks: str = ""


class HardwareProfile(Record, frozen=True):
    """One device + runtime + precision family (profiles/*.toml). Peaks are dense: TFLOP/s, for int8 TOPS."""

    name: str
    device: str
    runtime: str
    runtime_version: str
    precision: Precision  # the default one
    confidence: Confidence
    aliases: tuple[str, ...] = ()
    vendor: str = ""
    soc: str = ""
    compute_capability: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,2}\.[0-9])?$")] = ""
    precisions: tuple[Precision, ...] = ("fp32",)
    batch_size: BatchSize = 1
    threads: Threads = 1
    power_mode: str = ""
    power_modes: tuple[PowerMode, ...] = ()
    peaks: dict[str, Tera] = {}
    bandwidth_gb_s: GigabytesPerSecond | None = None
    memory_mb: Megabytes | None = None
    usable_memory_mb: Megabytes | None = None
    launch_overhead_us: Microseconds | None = None
    carried_from: str = ""  # the measured profile whose efficiencies the datasheet latencies use
    error_band: Factor | None = None  # of uncalibrated latencies: measured ones lie within a factor of 1 + error_band
    onnx_opset: Annotated[int, msgspec.Meta(ge=7, le=99)] = 18
    onnx_ir: Annotated[int, msgspec.Meta(ge=3, le=99)] = 10
    container_base: str = ""
    calibration: Calibration | None = None
    sources: dict[str, str] = {}
    notes: str = ""
    instruction_set: Literal["", "x86-64", "aarch64"] = (
        ""  # of a CPU: runtimes have other kernels for each; "" = not said
    )


class Latency(Record, frozen=True):
    """One inference at the profile's batch size, with its origin.

    `low`, `high`: where nine of ten measurements of such networks lie (ms); None for what was measured, and where no network
    was ever held against a measurement.
    """

    ms: float
    origin: Origin
    profile: str
    p90_ms: float | None = None
    n: int | None = None
    spread: float | None = None  # IQR / median of the samples
    extrapolated: bool = False
    energy_mj: float | None = None
    detail: str = ""  # runtime + version, precision, power mode, what was measured
    low: float | None = None
    high: float | None = None
    precision: Precision | None = None  # None: not said (written by earlier versions)
    stable: bool = True  # of what was measured: False where the machine was too busy, or slowed itself down


class Cost(Record, frozen=True):
    """What is known of an architecture before it is trained."""

    params: int
    macs: int
    bytes_moved: int
    size_mb: float
    memory_mb: float
    latencies: dict[str, Latency] = {}


# ---------------------------------------------------------------- one trial, one study


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

    def broken(self, cost: Cost) -> tuple[str, ...]:
        """One phrase for every limit that `cost` breaks, such as "latency 5.31 ms > 4 ms on jetson-nano-4gb"."""
        phrases = []
        for latency in cost.latencies.values():
            upper = latency.high if self.margin else None
            ms, by = (latency.ms, "") if upper is None else (upper, "up to ")
            if self.latency_ms is not None and ms > self.latency_ms:
                phrases.append(f"latency {by}{ms:.4g} ms > {self.latency_ms:g} ms on {latency.profile}")
            if self.energy_mj is not None and latency.energy_mj is not None and latency.energy_mj > self.energy_mj:
                phrases.append(f"energy {latency.energy_mj:.4g} mJ > {self.energy_mj:g} mJ on {latency.profile}")
        if self.params is not None and cost.params > self.params:
            phrases.append(f"{cost.params} parameters > {self.params}")
        if self.size_mb is not None and cost.size_mb > self.size_mb:
            phrases.append(f"size {cost.size_mb:.4g} MB > {self.size_mb:g} MB")
        if self.memory_mb is not None and cost.memory_mb > self.memory_mb:
            phrases.append(f"memory {cost.memory_mb:.4g} MB > {self.memory_mb:g} MB")
        if self.mmacs is not None and cost.macs / 1e6 > self.mmacs:
            phrases.append(f"{cost.macs / 1e6:.12g} M MACs > {self.mmacs:.12g} M MACs")
        return tuple(phrases)

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
    """What a method's model expects of a network's objective: mean and standard deviation, in the metric's unit."""

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
    trials: int  # that were there
    versions: dict[str, str]


# ---------------------------------------------------------------- what leaves the house


class Artifact(Record, frozen=True):
    """One exported file; shapes name their dynamic dimensions."""

    path: str  # relative to its bundle
    format: Literal["onnx", "tensorrt"]
    precision: Precision
    sha256: str
    size_mb: float
    opset: int
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]


class Measurement(Record, frozen=True):
    """Raw samples of one model on one device; medians and percentiles are derived, never stored alone."""

    profile: str
    host: str
    runtime: str
    precision: str
    warmup: int
    samples_ms: tuple[float, ...]
    stable: bool = True
    status: str = "ok"  # ok | unstable | throttled | oom | unsupported_op | timeout | mismatch
    detail: dict[str, Any] = {}
