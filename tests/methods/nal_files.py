"""Small files in the published layouts of NAS-Bench-101 and NATS-Bench, written here by other means than they are read by:
protobuf's own serialiser, Python's own pickler, and checksums bit by bit."""

import base64
import bz2
import json
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from edgenas.records import Nasbench101Cell


def crc32c(content: bytes) -> int:
    """By definition, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content: bytes) -> int:
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def framed(content: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<Q", len(content) if length is None else length)
    return head + struct.pack("<I", masked(head)) + content + struct.pack("<I", masked(content))


def _messages() -> Any:
    """ModelMetrics of nasbench/lib/model_metrics.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="made_here.proto", package="made_here", syntax="proto2")
    kind = descriptor_pb2.FieldDescriptorProto
    evaluation = file.message_type.add(name="EvaluationData")
    for number, name in enumerate(
        ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy"), 1
    ):
        evaluation.field.add(name=name, number=number, type=kind.TYPE_DOUBLE, label=kind.LABEL_OPTIONAL)
    evaluation.field.add(name="checkpoint_path", number=6, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=kind.TYPE_MESSAGE,
        label=kind.LABEL_REPEATED,
        type_name=".made_here.EvaluationData",
    )
    metrics.field.add(name="trainable_parameters", number=2, type=kind.TYPE_INT32, label=kind.LABEL_OPTIONAL)
    metrics.field.add(name="total_time", number=3, type=kind.TYPE_DOUBLE, label=kind.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("made_here.ModelMetrics"))


ModelMetrics = _messages()


def metrics_of(validation: float, test: float, epochs: int = 108) -> str:
    """Base64 of the metrics of one training: before it, half way, at its end."""
    made = ModelMetrics(trainable_parameters=2_694_282, total_time=1234.5)
    for share in (0.0, 0.5, 1.0):
        made.evaluation_data.add(
            current_epoch=share * epochs,
            training_time=900.0 * share,
            train_accuracy=0.1 + 0.9 * share,
            validation_accuracy=0.1 + (validation - 0.1) * share,
            test_accuracy=0.1 + (test - 0.1) * share,
            checkpoint_path="" if share else "gs://somewhere/model.ckpt-0",
        )
    return base64.b64encode(made.SerializeToString()).decode()


def row101(cell: Nasbench101Cell, epochs: int, metrics: str) -> bytes:
    adjacency = "".join(str(entry) for row in cell.matrix for entry in row)
    return json.dumps(["0123abcd", epochs, adjacency, ",".join(cell.ops), metrics]).encode()


def write_tfrecord(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"".join(map(framed, rows)))
    return path


def nats_state(text: str, accuracies: dict[tuple[str, str], list[float]], epochs: int) -> dict[str, Any]:
    """`accuracies`: by (data, set), one for each seed, after the last epoch. Half of that before."""
    seeds = (777, 888, 999)
    results: dict[tuple[str, int], dict[str, Any]] = {}
    known: dict[str, list[int]] = {}
    for (data, judged), values in accuracies.items():
        known[data] = list(seeds[: len(values)])
        for seed, value in zip(seeds, values, strict=False):
            result = results.setdefault(
                (data, seed),
                {
                    "name": "infer.tiny",
                    "net_state_dict": None,
                    "train_acc1es": OrderedDict((epoch, 50.0) for epoch in range(epochs)),
                    "arch_config": {"channel": 16, "num_cells": 5, "arch_str": text, "class_num": 10},
                    "params": np.float64(0.073),
                    "flop": 7.78,
                    "seed": seed,
                    "epochs": epochs,
                    "latency": [0.01, 0.02],
                    "eval_names": [],
                    "eval_acc1es": {},
                },
            )
            result["eval_names"].append(judged)
            curve = {f"{judged}@{epoch}": np.float64(value / 2) for epoch in range(epochs - 1)}
            result["eval_acc1es"] |= curve | {f"{judged}@{epochs - 1}": np.float64(value)}
    return {
        "arch_index": 0,
        "arch_str": text,
        "all_results": results,
        "dataset_seed": known,
        "clear_net_done": True,
    }


def write_pickle(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(bz2.compress(pickle.dumps(value, protocol=protocol)))
    return path
