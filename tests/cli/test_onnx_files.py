"""predict, describe and bench on ONNX files as people have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgenas
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.records import Workload
from tests.architectures.graphs import CONV, LAST, WVB, W, conv, flat, graph, node, pooled, value
from tests.cli.edgenas import refusal

FREE = ("N", 3, "H", "W")


def saved(tmp_path: Path, model: onnx.ModelProto, name: str = "m.onnx", **more: Any) -> str:
    onnx.save(model, str(tmp_path / name), **more)
    return str(tmp_path / name)


def quantised() -> onnx.ModelProto:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        conv("xd"),
        pooled(),
    ]
    scale = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "q": np.ones((8, 3, 3, 3), np.int8)}
    return graph(nodes, scale)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    """The JSON document of a command that is run here, and what it said beside."""
    app([*arguments, "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def test_describe_shows_a_file_kernel_by_kernel_with_the_weights_in_it(tmp_path: Path, capsys) -> None:
    file = saved(tmp_path, graph([conv(), node("Relu", ["c"], ["r"]), *flat("r")], WVB))
    document, _ = answer(capsys, "describe", file)
    assert (document["macs"], document["params"]) == (CONV + LAST, 216 + 20480 + 10)
    kernels = [(k["kind"], k["macs"], k["params"], k["height"], k["width"]) for k in document["kernels"]]
    assert kernels == [("conv", CONV, 216, 16, 16), ("linear", LAST, 20490, 1, 1)]
    assert (document["precision"], document["inputs"]) == ("fp32", {"x": [1, 3, 16, 16]})
    app(["describe", file, "--target", "jetson-nano"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "20,706 parameters, 75,776 MACs" in text
    assert "ms on jetson-nano-4gb in fp32 (predicted)" in text


def test_describe_counts_a_tensor_that_two_layers_share_where_it_is_read_first(tmp_path: Path, capsys) -> None:
    nodes = [conv(), node("Relu", ["c"], ["r"]), conv("r", "d", "u"), conv("d", "e", "u"), pooled("e")]
    document, _ = answer(capsys, "describe", saved(tmp_path, graph(nodes, {**W, "u": (8, 8, 3, 3)})))
    assert [kernel["params"] for kernel in document["kernels"]] == [216, 576, 0, 0]
    assert document["params"] == 216 + 576


def test_predict_names_profile_precision_and_origin(tmp_path: Path, capsys) -> None:
    file = saved(tmp_path, graph([conv(), pooled()], W))
    (row,), _ = answer(capsys, "predict", file, "--target", "jetson")
    assert {key: row[key] for key in ("name", "precision", "profile", "origin", "extrapolated")} == {
        "name": "m.onnx", "precision": "fp16", "profile": "jetson-orin-nano-8gb-super", "origin": "predicted",
        "extrapolated": True,
    }  # fmt: skip
    (other,), _ = answer(capsys, "predict", file, "--target", "jetson", "--precision", "fp32")
    assert other["precision"] == "fp32"
    assert other["ms"] > row["ms"]
    app(["predict", file, "--target", "jetson"], standalone_mode=False)
    header, line = capsys.readouterr().out.strip().split("\n")
    assert header == "name,ms,precision,profile,origin,extrapolated,low,high"
    assert ",fp16,jetson-orin-nano-8gb-super,predicted," in line


def test_strict_fp32_and_tf32_are_two_predictions_and_say_so(tmp_path: Path, capsys) -> None:
    file = saved(tmp_path, graph([conv(), pooled()], W))
    (strict,), said = answer(capsys, "predict", file, "--target", "jetson", "--precision", "fp32")
    (loose,), quiet = answer(capsys, "predict", file, "--target", "jetson", "--precision", "tf32")
    assert (strict["precision"], loose["precision"]) == ("fp32", "tf32")
    assert loose["low"] < loose["ms"] < loose["high"]
    assert "--precision tf32" in said
    assert "--precision tf32" not in quiet
    assert "choose fp32, fp16, int8, tf32" in refusal("predict", file, "--target", "jetson", "--precision", "fp64")


def test_a_quantised_file_is_predicted_at_int8_and_says_so(tmp_path: Path, capsys) -> None:
    file = saved(tmp_path, quantised(), "q.onnx")
    (row,), said = answer(capsys, "predict", file, "--target", "jetson")
    (asked,), _ = answer(capsys, "predict", file, "--target", "jetson", "--precision", "int8")
    assert row["precision"] == "int8"
    assert row == asked
    assert "q.onnx computes in int8, and is predicted at it" in said
    assert "--precision out" in refusal("predict", file, "--target", "jetson", "--precision", "fp16")
    assert "jetson-nano-4gb has fp32 and fp16 only" in refusal("predict", file, "--target", "jetson-nano")
    document, _ = answer(capsys, "describe", file, "--target", "jetson")
    assert document["latency"]["precision"] == "int8"
    assert document["latency"]["ms"] == row["ms"]


def test_sizes_that_are_free_are_given_with_shape_to_every_command(tmp_path: Path, capsys) -> None:
    file = saved(tmp_path, graph([conv(), pooled()], W, inputs=[value("x", FREE)]))
    wish = "such as --shape x=1x3x320x320"
    for command in (["predict", file, "--target", "jetson"], ["describe", file], ["bench", file]):
        assert wish in refusal(*command)
    assert answer(capsys, "describe", file, "--shape", "x=1x3x32x32")[0]["macs"] == 4 * CONV
    (small,), _ = answer(capsys, "predict", file, "--target", "jetson", "--shape", "x=1x3x32x32")
    (large,), _ = answer(capsys, "predict", file, "--target", "jetson", "--shape", "x=1x3x640x640")
    assert large["ms"] > small["ms"]
    (tmp_path / "t.csv").write_text("architecture\nm.onnx\n")
    (row,), _ = answer(capsys, "predict", str(tmp_path / "t.csv"), "--target", "jetson", "--shape", "x=1x3x32x32")
    assert row["ms"] == small["ms"]
    assert "belongs to ONNX files" in refusal("describe", "gnas-cifar10-t", "--shape", "x=1x3x32x32")


def test_the_size_of_images_is_given_to_predict_and_describe(tmp_path: Path, capsys) -> None:
    """16 x 16 px take CONV multiplications; a network with its own size, and two ways to say one, are refused."""
    file = saved(tmp_path, graph([conv(), pooled()], W, inputs=[value("x", FREE)]))
    assert answer(capsys, "describe", file, "--image-size", "16x64")[0]["macs"] == 4 * CONV
    assert answer(capsys, "describe", file, "--image-size", "32")[0]["macs"] == 4 * CONV
    (wide,), _ = answer(capsys, "predict", file, "--target", "jetson", "--image-size", "16x64")
    (tall,), _ = answer(capsys, "predict", file, "--target", "jetson", "--image-size", "64x16")
    assert (wide["macs"], wide["ms"]) == (4 * CONV, tall["ms"])
    wished = edgenas.predict(file, "jetson", image_size=(16, 64))
    assert (wished.macs, wished.ms) == (wide["macs"], wide["ms"])
    assert edgenas.describe(file, image_size="16x64").macs == 4 * CONV
    fixed = saved(tmp_path, graph([conv(), pooled()], W), "fixed.onnx")
    (tmp_path / "t.csv").write_text("architecture\nm.onnx\n")
    for command in (("predict", "--target", "jetson"), ("describe",)):
        assert answer(capsys, *command, fixed, "--image-size", "16")[0]
        wrong = refusal(*command, fixed, "--image-size", "16x64")
        assert wrong == "--image-size is 16x64, and the input 'x' of fixed.onnx is Nx3x16x16"
        both = refusal(*command, file, "--image-size", "16x64", "--shape", "x=1x3x16x64")
        assert both == "--shape and --image-size both say how large the images are: give one of them"
        for size, why in (
            ("0x32", "write 64 for a square"),
            ("8193", "no side is larger than 8192"),
            ("64x", "write 64"),
        ):
            assert why in refusal(*command, file, "--image-size", size)
        assert answer(capsys, *command, file, "--image-size", "8x8192")[0]
    assert "has its own size" in refusal(
        "predict", str(tmp_path / "t.csv"), "--target", "jetson", "--image-size", "16x64"
    )
    assert "--image-size belongs to ONNX files" in refusal("describe", "gnas-cifar10-t", "--image-size", "64")
    with pytest.raises(EdgenasError, match="the workload has its own size"):
        edgenas.predict([Workload(())], "jetson", image_size=64)


@pytest.mark.slow  # a vision transformer is built and traced
def test_a_published_network_is_predicted_for_strips(capsys) -> None:
    name = "torchvision:squeezenet1_1"
    (wide,), _ = answer(capsys, "predict", name, "--target", "jetson", "--image-size", "64x320")
    (own,), _ = answer(capsys, "predict", name, "--target", "jetson")
    assert wide["params"] == own["params"]
    assert 0.35 < wide["macs"] / own["macs"] < 0.41  # 64 * 320 / 224 ** 2 = .408, less what padding adds
    assert wide["ms"] < own["ms"]
    line = refusal("predict", "torchvision:vit_b_16", "--target", "jetson", "--image-size", "64x320")
    assert line.startswith("torchvision:vit_b_16 cannot be run at 64x320 and written as ONNX: ")


def test_a_file_of_a_fixed_batch_is_predicted_for_one_image_and_says_so(tmp_path: Path, capsys) -> None:
    four = saved(tmp_path, graph([conv(), *flat()], WVB, inputs=[value("x", (4, 3, 16, 16))]), "four.onnx")
    one = saved(tmp_path, graph([conv(), *flat()], WVB), "one.onnx")
    (a,), said = answer(capsys, "predict", four, "--target", "jetson")
    (b,), _ = answer(capsys, "predict", one, "--target", "jetson")
    assert a["ms"] == b["ms"]
    assert "four.onnx is made for batches of 4; the latency is that of one image" in said


@pytest.mark.usefixtures("times_at_once")
def test_bench_measures_weights_beside_the_file_and_names_the_users_file(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = graph([conv(), pooled()], W, inputs=[value("x", FREE)], outputs=[value("y", ("N", 8, 1, 1))])
    saved(tmp_path, model, save_as_external_data=True, location="w.bin", size_threshold=0)
    document, _ = answer(capsys, "bench", "m.onnx", "--shape", "x=1x3x16x16")
    assert document["model"] == "m.onnx"
    assert document["ms"]["median"] > 0
    (tmp_path / "w.bin").unlink()
    assert refusal("bench", "m.onnx", "--shape", "x=1x3x16x16") == (
        "m.onnx keeps weights in w.bin, which cannot be read: copy it beside the model"
    )
    odd = graph([node("Relu", ["x"], ["y"], domain="org.me")], {}, opsets=[onnx.helper.make_opsetid("org.me", 1)])
    saved(tmp_path, odd, "odd.onnx")
    line = refusal("bench", "odd.onnx")
    assert "odd.onnx" in line
    assert "/tmp" not in line


@pytest.mark.parametrize(("name", "params"), [("gnas-fashion-m", 6_159_850), ("gnas-emnist-m", 2_252_547)])
def test_published_networks_are_described_by_name(name: str, params: int, capsys) -> None:
    document, _ = answer(capsys, "describe", name)
    assert document["params"] == params
    assert document["architecture"]["in_channels"] == 1
    assert name in refusal("describe", "gnas-fashion-x")
