"""`Study.to_dataframe`: one row per trial."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import edgenas
from edgenas.engine.table import rows_of
from tests.report.studies import TARGET, published_study


def test_a_row_holds_what_is_known_of_its_trial(tmp_path: Path) -> None:
    study = edgenas.open_study(published_study(tmp_path / "cifar10"), quiet=True)
    rows = rows_of(study.record, study.trials)
    assert [row["trial"] for row in rows] == [trial.number for trial in study.trials]
    first, last = rows[0], rows[-1]
    latency = study.trials[0].cost.latencies[TARGET]
    assert (first[f"{TARGET}_ms"], first[f"{TARGET}_origin"]) == (latency.ms, latency.origin)
    assert first["val_accuracy"] == study.trials[0].scores["val_accuracy"]
    assert (first["status"], first["phase"], first["params"]) == ("complete", "depth", study.trials[0].cost.params)
    assert (last["status"], last["error"]) == ("infeasible", "latency 12 ms > 10 ms on jetson-nano-4gb")
    assert "val_accuracy" not in last


def test_the_table_of_pandas_has_a_column_for_each_of_them(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[dev]'")
    study = edgenas.open_study(published_study(tmp_path / "cifar10"), quiet=True)
    table = study.to_dataframe()
    assert len(table) == len(study.trials)
    assert {"trial", "phase", "status", "network", "epochs", "params", "macs", f"{TARGET}_ms", "val_accuracy"} <= set(
        table
    )
    best = table[table["status"] == "complete"].sort_values("val_accuracy").iloc[-1]
    assert best["val_accuracy"] == max(t.scores["val_accuracy"] for t in study.trials if t.scores)
    assert table["val_accuracy"].isna().sum() == 1  # the infeasible one


def test_without_pandas_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    study = edgenas.open_study(published_study(tmp_path / "cifar10"), quiet=True)
    with pytest.raises(edgenas.EdgenasError, match=r"^to_dataframe needs pandas: pip install pandas$"):
        study.to_dataframe()
