"""Published latencies of whole networks (../shared/data/latency/measured.csv.gz) as calibration rows.

The networks that the table names are built here and read as a user's ONNX file is; nothing of the table is copied. A network's
kernels are kept in a cache folder outside of the repository (--cache). `timm:` networks need timm installed; a network that only
its authors' package can build is taken from FOLDER/NAME.onnx where the user gives a folder (--onnx).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from edgenas.architectures.from_onnx import workload_from_onnx
from edgenas.errors import EdgenasError
from edgenas.records import Precision, Record, Workload

SHARED = Path(os.environ.get("EDGENAS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
TABLE = SHARED / "latency" / "measured.csv.gz"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgenas" / "boards"
VERSION = "3"  # of what is cached: raise it where reading ONNX files changes


class Published(Record, frozen=True):
    """One published measurement: `ms` for one run of `batch` images. `group`: sources of one kind, measured alike."""

    device: str
    runtime: str
    precision: Precision
    batch: int
    network: str
    side: str  # input, pixels: "224" or "480x640"
    ms: float
    source: str
    group: str
    what: str

    @property
    def repository(self) -> str:
        return self.source.split(":")[0]

    @property
    def family(self) -> str:
        """Networks of one design: a family is held out as a whole."""
        name = self.network.split(":")[-1].split(".")[-1].strip()
        for known in FAMILIES:
            if known in name.lower():
                return known
        return name


FAMILIES = (
    "yolov7", "yolox", "yolov8", "yolov9", "yolov10", "yolo11", "yolo26", "mixnet", "efficientformer", "efficientnet_lite",
    "repvgg", "efficientnet", "mobilenetv1", "mobilenet_v2", "mobilenetv2", "mobilenet_v3", "mobilenetv3", "shufflenet",
    "squeezenet", "mnasnet", "semnasnet", "densenet", "resnext", "resnet", "vgg", "vit",
)  # fmt: skip
# How the sources measured, by repository; each kind has its own constant in a fit. Python loops hold copies and calls.
GROUPS = {
    "justincdavis/trtutils": "engine and synchronisation from Python, with NMS",
    "Nota-NetsPresso/netspresso-trainer": "device time",
    "onnxsim/onnxsim": "device time",
    "hokwangchoi/jetson-orin-nano-benchmarks": "device time",
    "NVIDIA-AI-IOT/yolo_deepstream": "device time",
    "NVIDIA-AI-IOT/torch2trt": "Python loop, TensorRT of 2019",
    "ultralytics/ultralytics": "Python loop with copies",
    "azhezzz666/ultralytics-chinese-docs": "Python loop with copies",
    "murray-mu/yolo26": "Python loop with copies",
    "PaddlePaddle/PaddleClas": "Paddle Inference",
    "ispcojp/ai_inference_device_benchmark": "call of ONNX Runtime",
}
# Not comparable with the rest, each for the reason that the table itself gives. Pairs of patterns: field, text.
LEFT_OUT = (
    ("confidence", r"MaxQ"),  # MLPerf power mode whose clocks are not stated
    (
        "confidence",
        r"^low(?!: same board as the COCO128|: older series)",
    ),  # the table's own verdict; repeated series are kept
    ("confidence", r"enqueued without sync"),
    ("runtime", r"DeepStream|TF-TRT"),
    ("board_detail", r"dividiti|CUDA graph"),  # another submitter's code; graphs launch nothing
    ("runtime_version", r"^6\.0$"),
    ("network", r"-cls|Conv2d|MLPerf"),
)


def published(path: Path = TABLE) -> Iterator[tuple[Published, Mapping[str, str]]]:
    """Rows of the table that can be compared, with all fields of each. FP32 on an Ampere or later GPU is TF32 (its notes)."""
    with gzip.open(path, "rt", newline="") as stream:
        for row in csv.DictReader(stream):
            if is_left_out(row):
                continue
            precision = PRECISIONS.get(row["precision"])
            if precision is None:
                continue
            if precision == "fp32" and "tensorrt" in row["runtime"] and AMPERE.search(row["device"]):
                precision = "tf32"
            repository = row["source"].split(":")[0]
            group = "MLPerf" if repository.startswith("mlcommons/") else GROUPS.get(repository, repository)
            yield (
                Published(
                    device=row["device"], runtime=row["runtime"], precision=precision, batch=int(row["batch"]),
                    network=row["network"], side=row["input_px"], ms=float(row["ms"]), source=row["source"].split(" (")[0],
                    group=group, what=row["what"],
                ),
                row,
            )  # fmt: skip


PRECISIONS: dict[str, Precision] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8"}
AMPERE = re.compile(r"orin|thor|a100|h100|l4|rtx-4090")


def is_left_out(row: Mapping[str, str]) -> bool:
    """Is this row known not to be comparable with the others of its device?"""
    if row["source"].startswith("hokwangchoi") and row["what"] == "end to end incl. copies":
        return True  # the same runs as their device time
    if row["source"].startswith("Nota-NetsPresso") and "orin-nano" in row["device"]:
        return True  # a lower power mode than any that is named, 1.5-2.6 times slow
    if "torch2trt" in row["source"] and "README" not in row["source"] and "densenet" in row["network"]:
        return row["device"] == "jetson-agx-xavier"  # launch-bound there: twice the time of the same author's README
    return any(re.search(pattern, row[field]) for field, pattern in LEFT_OUT)


# ---------------------------------------------------------------- the networks


def module_of(name: str):
    """The network that the table names, with random weights; None where nothing here can build it."""
    import torchvision

    from benchmarks.detectors import detector
    from benchmarks.mobilenet_v1 import MobileNetV1

    if match := re.fullmatch(r"torchvision\.models\.(\w+)\(width_mult=([\d.]+)\)", name):
        return getattr(torchvision.models, match[1])(width_mult=float(match[2]))
    if name.startswith("torchvision.models."):
        short = name.split(".")[2]
        more = {"init_weights": False, "aux_logits": True} if short in ("googlenet", "inception_v3") else {}
        return getattr(torchvision.models, short)(**more)
    if match := re.match(r"MobileNetV1 x([\d.]+)", name):
        return MobileNetV1(float(match[1]))
    if name.startswith("timm:"):
        try:
            import timm
        except ImportError as error:
            raise EdgenasError("the table names networks of timm: pip install timm, where benchmarks run") from error
        return timm.create_model(name.removeprefix("timm:").split(" ")[0], exportable=True)
    return detector(re.split(r"[:/]", name)[-1].strip().split(" ")[0])


def workload_of(name: str, side: str, cache: Path, files: Path | None = None) -> Workload | None:
    """The kernels of a named network at an input size; None where it cannot be built, or read, here. Kept in `cache` by its
    name, or by the content of its file in `files`."""
    given = None if files is None else files / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.onnx"
    content = given.read_bytes() if given is not None and given.exists() else b""
    key = hashlib.sha256(f"{VERSION} {name} {side} ".encode() + content).hexdigest()[:24]
    path = cache / f"{key}.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Workload)
    if given is not None and content:
        height, width = sides(side)
        workload = workload_from_onnx(given, {"images": (1, 3, height, width)})
    elif (module := module_of(name)) is not None:
        workload = _traced(module, side)
    else:
        return None
    cache.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(workload))
    return workload


def _traced(module, side: str) -> Workload:
    import torch

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        image = torch.zeros(1, 3, *sides(side))
        torch.onnx.export(module.eval(), image, str(file), dynamo=False, opset_version=17)
        return workload_from_onnx(file, {})


def sides(text: str) -> tuple[int, int]:
    """(height, width) of an input size as the table writes it."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def with_workloads(
    rows: Sequence[Published], cache: Path, files: Path | None = None
) -> tuple[list[tuple[Published, Workload]], dict[str, int]]:
    """Rows whose network can be built, and how many rows each other network has."""
    found, missing = [], {}
    known: dict[tuple[str, str], Workload | None] = {}
    for row in rows:
        key = row.network, row.side
        if key not in known:
            known[key] = workload_of(*key, cache, files)
        workload = known[key]
        if workload is None:
            missing[row.network] = missing.get(row.network, 0) + 1
        else:
            found.append((row, workload))
    return found, missing
