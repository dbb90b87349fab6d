"""The base of all records, and what several of them may hold."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgenas.identity import canonical_json

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
