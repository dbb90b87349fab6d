"""Which boards share a model, what such chips reach before anything is measured, and which published sources are fitted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.board_fit import Prior
from benchmarks.board_rows import Published
from edgenas.hardware.kernels import COMPUTE, DEPTHWISE
from edgenas.hardware.profile import profile_from_name
from edgenas.records import HardwareProfile, Precision

BYTES_OF_GPUS = {
    "read": (0.7, 0.4), "write": (0.7, 0.4), "weights": (0.7, 0.4),
    "moved": (2.0, 0.7), "pooled": (2.0, 0.7), "activated": (4.0, 1.0),
}  # fmt: skip
# Small maps stay in the caches of a CPU: a byte is cheaper than its memory's bandwidth says. Exponentials are not.
BYTES_OF_CPUS = {
    "read": (2.0, 0.7), "write": (2.0, 0.7), "weights": (2.0, 0.7),
    "moved": (1.0, 0.7), "pooled": (1.0, 0.7), "activated": (1.0, 1.0),
}  # fmt: skip
COMMON = {
    "dense": (0.6, 0.4),
    "dense2": (0.5, 0.5),
    "winograd": (0.9, 0.5),
    "pointwise": (0.6, 0.4),
    "linear": (0.2, 1.0),
}


def computes(depthwise: float, grouped: float, first: float) -> dict[str, tuple[float, float]]:
    """Shares of the peak by class; depthwise kernels use vector units, not the matrix units that the peak is of."""
    other = dict.fromkeys(DEPTHWISE, (depthwise, 0.8)) | {"grouped": (grouped, 0.8), "first": (first, 0.8)}
    return {name: (COMMON | other)[name] for name in COMPUTE}


@dataclass(frozen=True)
class Boards:
    """A family: its profiles, the table's runtimes, its prior, and boards that only lend their measurements."""

    profiles: tuple[str, ...]
    runtime: str
    precisions: tuple[Precision, ...]
    prior: Prior
    same_as: tuple[tuple[str, str], ...] = ()  # devices of the table that are a profile's under another name
    lent: tuple[HardwareProfile, ...] = ()
    other_names: tuple[tuple[Precision, Precision], ...] = ()  # a published precision, and what is computed

    def device(self, row: Published) -> str:
        """The profile that a row is of, "" for none."""
        name = dict(self.same_as).get(row.device, row.device)
        known = (*self.profiles, *(board.name for board in self.lent))
        return (
            name
            if name in known and re.fullmatch(self.runtime, row.runtime) and row.precision in self.precisions
            else ""
        )

    def profile(self, name: str) -> HardwareProfile:
        return next((board for board in self.lent if board.name == name), None) or profile_from_name(name)


TENSORRT = r"tensorrt( ultralytics| via torch2trt| via Paddle Inference)?"
GPU = computes(0.03, 0.1, 0.25)
ORIN_CPU = HardwareProfile(
    "orin-nano-cpu", "Jetson Orin Nano's CPU", "onnxruntime", "", "fp32", "estimate", soc="6x Cortex-A78AE 1.5 GHz", threads=6,
    peaks={"fp32": 0.144}, bandwidth_gb_s=68.0, launch_overhead_us=8.0, instruction_set="aarch64",
)  # fmt: skip

FAMILIES = {
    "Orin": Boards(
        ("jetson-orin-nano-8gb", "jetson-orin-nano-8gb-super", "jetson-orin-nx-16gb", "jetson-agx-orin-64gb"),
        TENSORRT, ("fp16", "tf32", "int8"), Prior(GPU, BYTES_OF_GPUS, 0.006, 0.15, (0.12, 0.05, 0.15)),
        same_as=(("jetson-agx-orin-devkit-32gb", "jetson-agx-orin-64gb"),),  # the whole GPU, 4-9 % slower
    ),
    "Thor": Boards(
        ("jetson-agx-thor",), TENSORRT, ("fp16", "tf32", "int8"), Prior(GPU, BYTES_OF_GPUS, 0.004, 0.15, (0.5, 0.3, 0.3)),
    ),
    "Xavier": Boards(
        ("jetson-xavier-nx", "jetson-agx-xavier"),
        TENSORRT, ("fp16", "int8"), Prior(GPU, BYTES_OF_GPUS, 0.008, 0.2, (0.12, 0.05, 0.15)),
    ),
    "Maxwell and Pascal": Boards(
        ("jetson-nano-4gb", "jetson-tx2"), TENSORRT, ("fp16",), Prior(GPU, BYTES_OF_GPUS, 0.02, 0.5, (0.12, 0.05, 0.15)),
    ),
    "T4": Boards(
        ("t4",), TENSORRT, ("fp16", "int8"), Prior(GPU, BYTES_OF_GPUS, 0.006, 0.2, (0.3, 0.2, 0.3)),
    ),
    "ONNX Runtime on Arm": Boards(
        ("raspberry-pi-4", "raspberry-pi-5"), r"onnxruntime( ultralytics)?", ("fp32",),
        Prior(computes(0.03, 0.1, 0.3), BYTES_OF_CPUS, 0.01, 0.1, (0.4, 0.3, 0.5)),
        same_as=(("jetson-orin-nano-8gb", "orin-nano-cpu"),), lent=(ORIN_CPU,),
    ),
    "TFLite on a Raspberry Pi 4": Boards(
        ("raspberry-pi-4-tflite",), r"tflite( \(ruy\))?", ("fp32",),
        Prior(computes(0.15, 0.2, 0.3), BYTES_OF_CPUS, 0.01, 1.0, (0.4, 0.3, 0.5)),
        same_as=(("raspberry-pi-4", "raspberry-pi-4-tflite"),), other_names=(("fp16", "fp32"),),  # weights only: no FP16 units
    ),
}  # fmt: skip
