"""`train --start`: a network that was trained elsewhere, fine-tuned under a study's task, and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from typer.testing import CliRunner

import edgenas
from edgenas.architectures.tracer import Tracer
from edgenas.bundle import read_bundle
from edgenas.cli.main import app
from edgenas.engine.references import Reference
from edgenas.engine.starts import FINAL
from edgenas.errors import EdgenasError
from edgenas.networks import network_from_architecture
from edgenas.networks.public import public_network
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Classes, Cost, FinalTraining, OnnxArchitecture, Preprocessing
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.onnx_session import open_session
from edgenas.store import Store
from edgenas.training.start import adopt
from tests.cli.test_compare import digits_file, searched
from tests.trained_digits import digits


def run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    decoded: dict[str, Any] = msgspec.json.decode(result.stdout)
    return decoded


@pytest.mark.slow
def test_a_file_is_fine_tuned_kept_and_exported_as_a_bundle_that_computes_the_same(tmp_path: Path) -> None:
    study, path = searched(tmp_path / "study"), digits_file(tmp_path)
    arguments = ("train", str(study), "--start", str(path), "--seeds", "1", "--epochs", "1")
    found = run(*arguments)
    assert found["network"] == str(path)
    assert found["test_accuracy"]["mean"] > 90  # a network from scratch is near 30 after one epoch
    path.unlink()
    assert run(*arguments) == found  # nothing is trained again, and the file is not needed

    exported = run("export", str(study), "--start", str(path), "--out", str(tmp_path / "bundle"))
    assert exported["files"]["fp32"]["scores"][0]["value"] == pytest.approx(found["val_accuracy"], abs=0.8)
    bundle = read_bundle(tmp_path / "bundle")
    assert isinstance(bundle.manifest.architecture, OnnxArchitecture)
    opened = edgenas.open_study(study, quiet=True)
    images = input_from_pixels(np.asarray(digits().test.images[:32]), bundle.manifest.preprocessing)
    with torch.no_grad():
        wanted = opened.network(start=str(path))(torch.from_numpy(images)).numpy()
    with open_session((tmp_path / "bundle" / "model.onnx").read_bytes()) as runtime:
        (name,) = runtime.inputs
        (got,) = runtime.run({name: images}).values()
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()

    # beside it what was searched is as it was
    assert len(opened.finals) == 1
    assert run("compare", str(study), "--epochs", "1")["references"][0]["name"] == str(path)
    with Store.read(study) as store:
        (kept,) = store.all(FINAL, FinalTraining).values()
    assert kept.recipe.epochs == found["epochs"] == 1


def test_what_does_not_fit_a_start_is_one_line(tmp_path: Path) -> None:
    study, path = searched(tmp_path / "study"), digits_file(tmp_path)
    cases = [
        (("train", "--start", str(path), "--trial", "1"), "--trial is about a network that was searched"),
        (("train", "--start", str(path), "--final-width", "macro"), "--final-width is about"),
        (("train", "--start", str(path), "--teacher", "largest"), "leave it out, or leave out --start"),
        (("train", "--start", str(tmp_path / "none.onnx")), "cannot be read"),
        (("train", "--start", "resnet18"), "possible are torchvision:NAME"),
        (("train", "--start-mean", "0", "--start-std", "1"), "say what a --start takes: name one"),
        (("train", "--start", str(path), "--start-mean", "0"), "--start-mean and --start-std belong together"),
        (
            ("train", "--start", "timm:resnet18=r.pth", "--start-mean", "0", "--start-std", "1"),
            "--start-mean and --start-std are for FILE.onnx, not for timm:resnet18=r.pth: leave them out",
        ),
        (("export", "--start", str(path), "--out", str(tmp_path / "b")), "run `edgenas train .* --start .*` first"),
        (
            ("export", "--start", str(path), "--out", "b", "--trial", "1"),
            "--trial is about a network that was searched, --start",
        ),
        (
            ("export", "--start", str(path), "--out", "b", "--data", "digits"),
            "--data is about a network that was searched",
        ),
    ]
    for (command, *rest), complaint in cases:
        with pytest.raises(EdgenasError, match=complaint) as caught:
            run(command, str(study), *rest)
        assert "\n" not in str(caught.value)
    opened = edgenas.open_study(study, quiet=True)
    for beside in ({"trial": 1}, {"data": "digits"}):
        (flag,) = beside
        with pytest.raises(EdgenasError, match=f"--{flag} is about a network that was searched"):
            opened.network(start=str(path), **beside)  # type: ignore[arg-type]  # one of its arguments
        with pytest.raises(EdgenasError, match=f"--{flag} is about a network that was searched"):
            opened.export(tmp_path / "b", start=str(path), **beside)  # type: ignore[arg-type]  # one of its arguments
    assert not (tmp_path / "b").exists()


def test_what_a_start_takes_can_be_said_and_is_remembered(tmp_path: Path) -> None:
    study, path = searched(tmp_path / "study"), digits_file(tmp_path)
    how: dict[str, Any] = {"start": path, "seeds": 1, "epochs": 1}
    opened = edgenas.open_study(study, quiet=True)
    said = opened.train(**how, start_mean=0.0, start_std=510.0)
    assert said.preprocessing.std == (2.0,)
    assert opened.train(**how).runs == said.runs
    with pytest.raises(EdgenasError, match=r"is trained in .*, with its input normalised otherwise"):
        opened.train(**how, start_mean=0.0, start_std=255.0)


def classifier(path: Path, end: str, outputs: int) -> None:
    """An ONNX file for images (1, 8, 8) that ends in a linear layer, alone or with an activation behind it; or in a pool."""
    trace = Tracer(1, 8, 8)
    here = trace.conv(-1, 6, 3, norm=True, activation="relu")
    pooled = trace.global_pool(trace.conv(here, outputs, 1, bias=True) if end == "pool" else here)
    if end != "pool":
        trace.linear(pooled, outputs, bias=end != "no bias", activation="sigmoid" if end == "sigmoid" else "")
    model = onnx_from_workload(trace.workload(), None)
    if end == "softmax":
        model.graph.node.append(helper.make_node("Softmax", [model.graph.output[0].name], ["shares"], axis=1))
        model.graph.output[0].name = "shares"
    onnx.save(model, path)


@pytest.mark.parametrize("outputs", [3, 4])
@pytest.mark.parametrize("end", ["", "softmax", "sigmoid", "no bias", "pool"])
def test_the_last_layer_is_kept_where_it_has_the_tasks_classes_whatever_follows_it(
    end: str, outputs: int, tmp_path: Path
) -> None:
    classifier(tmp_path / "net.onnx", end, outputs)
    public = public_network(str(tmp_path / "net.onnx"), Classes(3), Preprocessing(1, 8, (0.5,), (0.5,)))
    free = Cost(params=0, macs=0, bytes_moved=0, size_mb=0.0, memory_mb=0.0)
    named = Reference("net", public.architecture, public.began, public.preprocessing, free, weights="weights/w")
    assert named.keeps_head is (outputs == 3)
    assert not msgspec.structs.replace(named, other_classes=True).keeps_head
    assert not msgspec.structs.replace(named, weights="").keeps_head
    assert public.tensors is not None
    network, started = network_from_architecture(public.architecture), network_from_architecture(public.began)
    started.load_state_dict(started.state_dict() | public.tensors)
    adopt(network, started)
    last = max(name for name in public.tensors if name.endswith(("linear.weight", "conv.weight")))
    assert torch.equal(network.state_dict()[last], public.tensors[last]) is named.keeps_head
