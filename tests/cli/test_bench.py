"""`edgenas bench` says which INT8 arithmetic it timed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.hardware.measure import Timing
from edgenas.records import Classes
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.int8 import MEANING, exact_arithmetic
from tests.cli.edgenas import refusal
from tests.runtimes.quantised import case


def bench(file: Path, content: bytes, *options: str) -> str:
    file.write_bytes(content)
    result = CliRunner().invoke(app, ["bench", str(file), *options])
    assert result.exit_code == 0, result.exception
    return result.stdout


@pytest.mark.usefixtures("times_at_once")
@pytest.mark.parametrize("largest", [64, 127])
def test_the_document_names_the_arithmetic(tmp_path: Path, largest: int) -> None:
    found = msgspec.json.decode(bench(tmp_path / "int8.onnx", case(np.int8, "Conv", largest)[0], "--json"))
    assert found["int8"] == found["settings"]["int8"] == exact_arithmetic(largest)


@pytest.mark.parametrize(("more", "least"), [((), (200, 3.0, 100)), (("--mlperf",), (1024, 600.0, 200))])
def test_runs_seconds_and_rounds_are_those_of_the_help(
    more: tuple[str, ...], least: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(_models: object, _load: object, timing: Timing, *_rest: object, **_more: object) -> None:
        raise EdgenasError(repr((timing.runs, timing.seconds, timing.rounds)))

    monkeypatch.setattr("edgenas.hardware.measure.measure", measured)
    (tmp_path / "int8.onnx").write_bytes(case(np.int8, "Conv")[0])
    assert refusal("bench", str(tmp_path / "int8.onnx"), *more) == repr(least)


def test_a_measurement_that_could_not_be_kept_is_not_begun(tmp_path: Path) -> None:
    out = tmp_path / "none" / "m.json"
    words = f"cannot write {out}: No such file or directory: choose another place, or make room"
    assert refusal("bench", str(tmp_path / "missing.onnx"), "--out", str(out)) == words
    assert "missing.onnx" in refusal("bench", str(tmp_path / "missing.onnx"), "--out", str(tmp_path / "m.json"))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("times_at_once")
def test_a_float_file_has_none(tmp_path: Path) -> None:
    workload = workload_from_architecture(chain(4, 3, (0, 1, 0), (3, 3, 3), Classes(10), 1, 8))
    content = onnx_from_workload(workload, None).SerializeToString()
    assert msgspec.json.decode(bench(tmp_path / "float.onnx", content, "--json"))["int8"] is None


@pytest.mark.usefixtures("times_at_once")
def test_the_line_says_it_in_words(tmp_path: Path) -> None:
    text = bench(tmp_path / "int8.onnx", case(np.int8, "Conv")[0])
    assert f"INT8 sums are {MEANING[exact_arithmetic(127)]}" in text
