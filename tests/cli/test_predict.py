"""`edgenas predict` prints CSV with as many digits as people read; JSON has all."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from edgenas.cli.main import app
from tests.digits_bundle import digits_bundle


def test_the_csv_has_six_digits_of_what_the_json_has_whole() -> None:
    asked = ["predict", str(digits_bundle().folder / "model.onnx"), "--target", "jetson"]
    (row,) = csv.DictReader(io.StringIO(CliRunner().invoke(app, asked).stdout))
    (whole,) = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    for column in ("ms", "low", "high"):
        assert row[column] == f"{whole[column]:.6g}"
        assert len(row[column]) <= 8
        assert float(row[column]) == pytest.approx(whole[column], rel=1e-5)
    assert (row["profile"], row["extrapolated"]) == (whole["profile"], str(whole["extrapolated"]))
