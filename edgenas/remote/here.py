"""This machine as a board: measured without an agent, by ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

from edgenas.hardware.measure import Say, measure, no_one
from edgenas.hardware.profile import HOST_CPU
from edgenas.hardware.worker import Load
from edgenas.records import Measurement
from edgenas.remote.job import Bounds, Job


class Here:
    """Answers as an agent on this machine would."""

    url = HOST_CPU

    def __init__(self, threads: int = 1, say: Say = no_one) -> None:
        self._load, self._say = Load("", threads=threads), say

    def info(self) -> dict[str, Any]:
        from edgenas.remote.agent import about

        return about(self._load, Bounds())

    def measure(self, model: bytes, job: Job) -> Measurement:
        return measure([model], self._load, job.timing, job.profile, say=self._say)[0]
