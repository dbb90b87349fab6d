"""`edgenas calibrate` from what people have: tables of files and published names, logs, repeats, precisions."""

import json
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from edgenas.architectures.from_text import network_from_text
from edgenas.cli import output
from edgenas.cli.main import app
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_file, profile_from_name
from edgenas.records import Workload
from edgenas.runtimes.graph import onnx_from_workload
from tests.hardware.measured_files import exported_times, trtexec_log

NAMES = [f"convnet_L{2 + i % 5}_F{8 * (1 + i % 6)}_K3x3_W{32 + 8 * (i % 4)}" for i in range(14)]
TX2 = msgspec.structs.replace(profile_from_name("jetson-tx2"), calibration=None)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    app([*arguments, "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def takes(name: str, precision: str) -> float:
    """Half again what the datasheet says: what this made-up board takes."""
    network = network_from_text(name)
    return 1.5 * latencies(TX2, [Row(name, network)], "fp16" if precision == "fp16" else "fp32")[0].ms


def saved(folder: Path, name: str) -> str:
    workload = network_from_text(name)
    assert isinstance(workload, Workload)
    onnx.save(onnx_from_workload(workload, None, 13, 7), str(folder / f"{name}.onnx"))
    return f"{name}.onnx"


def test_a_table_of_files_with_repeats_and_precisions_beside_logs(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(output, "_heard", True)
    lines = ["network,ms,precision,input_px"]
    for name in NAMES[:12]:
        file, px = saved(tmp_path, name), name.rpartition("W")[2]
        lines += [f"{file},{takes(name, 'fp32') * factor},fp32,{px}" for factor in (0.97, 1.03)]
        lines += [f"{file},{takes(name, 'fp16')},fp16,{px}"]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    file = saved(tmp_path, NAMES[12])
    side = NAMES[12].rpartition("W")[2]
    (tmp_path / "run.log").write_text(trtexec_log(file, shape=f"1x3x{side}x{side}", median=takes(NAMES[12], "fp16")))
    files = ["--measurements", str(tmp_path / "t.csv"), "--measurements", str(tmp_path / "run.log")]
    made = str(tmp_path / "mine.toml")
    arguments = ["--target", "jetson-tx2", "--precision", "fp32", "--samples", "10", "--out", made]
    card, said = answer(capsys, "calibrate", *files, *arguments, "-q")
    assert "warning: 12 networks were measured several times and averaged" in said
    assert all(line.startswith("warning: ") for line in said.splitlines())
    assert (card["n"], card["held_out"]) == (10, 3)  # networks, most of them in two precisions
    assert card["mape"] < 0.05
    for precision in ("fp32", "fp16"):
        (found,), _ = answer(capsys, "predict", str(tmp_path / file), "--target", made, "--precision", precision)
        assert found["ms"] == pytest.approx(takes(NAMES[12], precision), rel=0.05)
        assert (found["origin"], found["extrapolated"]) == ("predicted", False)
    assert profile_from_file(tmp_path / "mine.toml").calibration is not None


def test_times_of_trtexec_and_a_published_name_stand_in_one_table(tmp_path: Path, capsys) -> None:
    pytest.importorskip("torchvision")
    lines = ["architecture,log"]
    for name in NAMES[:12]:
        (tmp_path / f"{name}.json").write_text(exported_times([takes(name, "fp32")]))
        lines.append(f"{name},{name}.json")
    (tmp_path / "squeeze.json").write_text(exported_times([9.0]))
    lines.append("torchvision:squeezenet1_1,squeeze.json")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    device = ["--new", "board", "--runtime", "tensorrt", "--precision", "fp32"]
    made = str(tmp_path / "mine.toml")
    card, _ = answer(capsys, "calibrate", "--measurements", str(tmp_path / "t.csv"), *device, "--out", made)
    assert (card["n"], card["held_out"]) == (10, 3)
    (found,), _ = answer(capsys, "predict", "torchvision:squeezenet1_1", "--target", made, "--batch", "2")
    assert (found["params"], found["batch"]) == (1_235_496, 2)


def test_a_new_board_has_the_precisions_that_were_measured(tmp_path: Path, capsys) -> None:
    lines = ["architecture,latency_ms,precision"]
    lines += [f"{name},{takes(name, p)},{p}" for name in NAMES for p in ("fp32", "fp16")]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    device = ["--new", "board", "--runtime", "tensorrt", "--precision", "fp16"]
    answer(capsys, "calibrate", "--measurements", str(tmp_path / "t.csv"), *device, "--out", str(tmp_path / "b.toml"))
    profile = profile_from_file(tmp_path / "b.toml")
    assert (profile.precision, profile.precisions) == ("fp16", ("fp32", "fp16"))
