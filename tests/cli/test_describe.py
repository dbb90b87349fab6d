"""`edgenas describe`: a layer is one line of a terminal of 80 columns, and says what the JSON does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import edgenas
from edgenas.cli.main import app
from tests.cli.edgenas import refusal
from tests.cli.test_boards import finished_study


@pytest.mark.parametrize("network", ["gnas-cifar10-t", "nsenet-gpu"])
def test_every_layer_is_one_line_of_80_columns(network: str) -> None:
    run = CliRunner()
    asked = ["describe", network, "--target", "raspberry-pi-4"]
    lines = run.invoke(app, asked).stdout.splitlines()
    kernels = json.loads(run.invoke(app, [*asked, "--json"]).stdout)["kernels"]
    layers = lines[1 : lines.index("")]
    assert lines[0].split() == [
        *["kind", "in", "out", "size", "stride", "groups", "output", "params", "M", "macs", "ms"]
    ]
    assert len(layers) == len(kernels)
    assert max(map(len, layers)) <= 80
    assert lines[-1].endswith("; the first layer bears what a run costs before any")
    alone = [kernel["ms"] for kernel in kernels if kernel["kind"] == kernels[0]["kind"] and kernel["macs"] > 0]
    assert kernels[0]["ms"] > min(alone[1:])
    for line, kernel in zip(layers, kernels, strict=True):
        kind, inside, outside, *_, output, params, macs, ms = line.split()
        assert (kind, inside, outside) == (kernel["kind"], str(kernel["in_channels"]), str(kernel["out_channels"]))
        assert output == f"{kernel['height']}x{kernel['width']}"
        assert (params, macs, ms) == (str(kernel["params"]), f"{kernel['macs'] / 1e6:.3f}", f"{kernel['ms']:.4f}")


def test_what_chooses_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--precision int8 is that of a latency: name a --target, or leave it out"
    assert refusal("describe", "gnas-cifar10-t", "--precision", "int8") == words
    with pytest.raises(edgenas.EdgenasError, match=words):
        edgenas.describe("gnas-cifar10-t", precision="int8")
    assert edgenas.describe("gnas-cifar10-t", target="jetson", precision="int8").latency_precision == "int8"
    for what in ("gnas-cifar10-t", "torchvision:resnet18", "net.onnx", "net.json"):
        line = refusal("describe", what, "--trial", "3")
        assert line == f"--trial 3 chooses among a study's networks, and {what} is no study: leave it out"
    study = finished_study(tmp_path, None)
    assert "has no trial 3" in refusal("describe", str(study), "--trial", "3")
