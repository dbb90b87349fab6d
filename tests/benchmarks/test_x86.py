"""x86 profiles rank well-known networks at least as well as their MACs do (measured: benchmarks/results/x86.json)."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.board_rows import workload_of
from benchmarks.x86 import JUDGE, RESULTS
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_name


def test_the_networks_that_judge_are_not_the_ones_that_were_fitted() -> None:
    known = json.loads(RESULTS.read_text())["ms"]
    seeds = {key.removeprefix("timm:").split()[0] for key in known if key.startswith("timm:")}
    assert len(seeds) > 30
    assert {f"torchvision.models.{name} 224" for name in JUDGE} <= set(known)
    assert not seeds & set(JUDGE)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["intel-n100", "x86-avx512"])
def test_an_x86_profile_ranks_well_known_networks_no_worse_than_their_macs(target: str, tmp_path: Path) -> None:
    known = json.loads(RESULTS.read_text())["ms"]
    rows = []
    for name in JUDGE:
        workload = workload_of(f"torchvision.models.{name}", "224", tmp_path)
        assert workload is not None
        rows.append(Row(name, workload, known[f"torchvision.models.{name} 224"]))
    ms = np.array([row.ms for row in rows])
    said = spearmanr([one.ms for one in latencies(profile_from_name(target), rows)], ms).statistic
    assert said >= spearmanr([row.workload.macs for row in rows], ms).statistic - 0.01
    assert said > 0.96
