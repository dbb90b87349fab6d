"""Trials as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgenas.engine.fronts import network_words
from edgenas.records import StudyRecord, Trial


def rows_of(study: StudyRecord, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """One dictionary per trial: number, phase, status, network, epochs, costs, <target>_ms, scores, seconds, error."""
    rows = []
    for trial in trials:
        candidate, cost = trial.candidate, trial.cost
        row: dict[str, Any] = {
            "trial": trial.number,
            "phase": candidate.phase,
            "status": trial.status,
            "network": network_words(msgspec.to_builtins(candidate.architecture)),
            "epochs": candidate.recipe.epochs,
            "repeat": candidate.repeat,
            "cut": candidate.cut,
            "params": cost.params,
            "macs": cost.macs,
            "size_mb": cost.size_mb,
            "memory_mb": cost.memory_mb,
        }
        for name in study.profiles:
            latency = cost.latencies.get(name)
            row[f"{name}_ms"] = None if latency is None else latency.ms
            row[f"{name}_origin"] = None if latency is None else latency.origin
        rows.append({**row, **trial.scores, "seconds": trial.seconds, "seed": trial.seed, "error": trial.error})
    return rows
