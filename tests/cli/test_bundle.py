"""`edgenas bundle verify` on bundles that somebody made with care: every hash is right, and something else is not."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from edgenas.bundle import _sealed
from edgenas.cli.main import app
from edgenas.errors import BundleError
from tests.digits_bundle import digits_bundle

Change = Callable[[Any], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_bundle().folder, tmp_path / "bundle"))


def verify(folder: Path) -> str:
    """ "" where it is accepted, the one line otherwise; anything but a BundleError is an error of the test."""
    result = CliRunner().invoke(app, ["bundle", "verify", str(folder)])
    if result.exception is None:
        return ""
    if not isinstance(result.exception, BundleError):
        raise result.exception
    assert result.exit_code == 1
    message = str(result.exception)
    assert message.isprintable(), message
    return message


def reseal(folder: Path, change: Change = lambda _: None, **files: bytes) -> None:
    """Other files and another manifest, with every hash made right again."""
    path = folder / "manifest.json"
    fields = msgspec.json.decode(path.read_bytes())
    for name, content in files.items():
        name = name.replace("__", ".")
        (folder / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        fields["files"][name] = sha256
        for model in fields["models"].values():
            if model["artifact"]["path"] == name:
                model["artifact"]["sha256"] = sha256
    change(fields)
    path.write_bytes(_sealed(fields))


def remodel(folder: Path, change: Change) -> None:
    """Another FP32 file; the manifest says what is in it."""
    model = onnx.load(folder / "model.onnx")
    change(model)

    def describe(fields: dict[str, Any]) -> None:
        artifact = fields["models"]["fp32"]["artifact"]
        artifact["opset"] = model.opset_import[0].version
        for key, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
            artifact[key] = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    reseal(folder, describe, model__onnx=model.SerializeToString())


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def golden_with(**changes: Any) -> bytes:
    return npz(**{**digits_bundle().golden(), **changes})


def test_resealing_alone_is_accepted(folder: Path) -> None:
    reseal(folder, golden__npz=golden_with())
    remodel(folder, lambda _: None)
    assert verify(folder) == ""


# ---------------------------------------------------------------- golden values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["inputs", "fp32", "int8"])
def test_golden_values_that_are_no_numbers_prove_nothing(folder: Path, which: str, bad: float) -> None:
    values = digits_bundle().golden()[which].copy()
    values.flat[3] = bad
    reseal(folder, golden__npz=golden_with(**{which: values}))
    assert "NaN or infinity" in verify(folder)


@pytest.mark.parametrize(
    "shape", [(), (8,), (7, 10), (8, 9), (8, 10, 1), (0, 10)], ids=lambda shape: "x".join(map(str, shape)) or "scalar"
)
def test_golden_outputs_of_another_shape_are_refused(folder: Path, shape: tuple[int, ...]) -> None:
    reseal(folder, golden__npz=golden_with(fp32=np.zeros(shape, np.float32)))
    assert "no inputs and outputs of the fp32 model" in verify(folder)


@pytest.mark.parametrize(
    "inputs",
    [np.zeros((0, 1, 8, 8), np.float32), np.zeros((8, 1, 8, 9), np.float32), np.zeros((8, 1, 8, 8), np.float64)],
    ids=["none", "wider", "double"],
)
def test_golden_inputs_that_the_model_does_not_take_are_refused(folder: Path, inputs: Any) -> None:
    outputs = {p: np.zeros((len(inputs), 10), np.float32) for p in ("fp32", "fp16", "int8")}
    reseal(folder, golden__npz=npz(inputs=inputs, **outputs))
    assert "no inputs and outputs of" in verify(folder)


def npy(shape: tuple[int, ...]) -> bytes:
    """The header of a float32 array of this shape, and 64 bytes of it."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


def zipped(content: bytes, name: str = "inputs.npy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"",
        lambda: b"garbage",
        lambda: npy((4,)),
        lambda: zipped(npy((10**12,))),
        lambda: zipped(bytes(300_000_000)),
        lambda: zipped(b"no array"),
        lambda: zipped(npy((-5,))),
    ],
    ids=["empty", "garbage", "an .npy", "promises 4 TB", "300 MB of zeros", "no array inside", "negative"],
)
def test_archives_that_are_none_or_promise_too_much_are_refused(folder: Path, content: Callable[[], bytes]) -> None:
    reseal(folder, golden__npz=content())
    assert "golden.npz cannot be read" in verify(folder)


# ---------------------------------------------------------------- files


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder: Path) -> None:
    for name in ("parity.json", "manifest.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        assert verify(folder)


def test_a_link_to_itself_is_refused(folder: Path) -> None:
    (folder / "parity.json").unlink()
    (folder / "parity.json").symlink_to("parity.json")
    assert "parity.json" in verify(folder)


@pytest.mark.parametrize("name", ["manifest.json", "parity.json"])
def test_a_million_brackets_are_refused(folder: Path, name: str) -> None:
    brackets = b"[" * 1_000_000
    if name == "parity.json":
        reseal(folder, parity__json=brackets)
    else:
        (folder / name).write_bytes(brackets)
    assert "damaged" in verify(folder)


# ---------------------------------------------------------------- what would be found by the first picture


@pytest.mark.parametrize(
    "name", ["", "a/b", "\x1b]0;owned\x07", "new\nline", "..", ".", "a" * 201, "with space"], ids=repr
)
def test_a_name_that_cannot_be_served_is_refused_and_not_printed_raw(folder: Path, name: str) -> None:
    reseal(folder, lambda fields: fields.update(name=name))
    assert "cannot be served" in verify(folder)


@pytest.mark.parametrize("name", ["digits", "my-model.v2", "a" * 200, "A_1"])
def test_a_name_of_letters_digits_and_marks_is_taken(folder: Path, name: str) -> None:
    reseal(folder, lambda fields: fields.update(name=name))
    assert verify(folder) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 10**9}, {"size": -8}, {"size": 0}, {"size": 9}, {"padding": 1}, {"padding": -1, "size": 10}, {"channels": 3},
        {"channels": 3, "mean": [0.5] * 3, "std": [1.0] * 3}, {"std": [0.0]}, {"std": [-1.0]}, {"mean": [0.1, 0.2]}, {"std": []},
    ],
    ids=str,
)  # fmt: skip
def test_preprocessing_that_makes_no_input_of_the_model_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    reseal(folder, lambda fields: fields["preprocessing"].update(changes))
    assert "its preprocessing makes" in verify(folder)


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 1]))


def stored_input(model: onnx.ModelProto) -> None:
    """As files of IR 3 list their weights."""
    tensor = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["more"]))
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 10]))


def half_input(model: onnx.ModelProto) -> None:
    (given,) = model.graph.input
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == given.name:
                node.input[index] = "full"
    model.graph.node.insert(0, helper.make_node("Cast", [given.name], ["full"], to=TensorProto.FLOAT))
    given.type.tensor_type.elem_type = TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (second_input, "has 2 inputs"),
        (stored_input, "has 2 inputs"),
        (second_output, "and 2 outputs"),
        (half_input, "takes float16"),
    ],
)
def test_models_that_cannot_be_served_are_refused(folder: Path, change: Change, words: str) -> None:
    remodel(folder, change)
    assert words in verify(folder)


def test_an_opset_under_another_name_of_the_same_domain_is_read(folder: Path) -> None:
    remodel(folder, lambda model: setattr(model.opset_import[0], "domain", "ai.onnx"))
    assert verify(folder) == ""


def test_a_model_without_an_opset_is_refused(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    del model.opset_import[:]
    reseal(folder, model__onnx=model.SerializeToString())
    assert "model.onnx" in verify(folder)


def grown(kind: str, *sides: int) -> Change:
    """A branch from a few bytes to so many numbers; its mean is added to the logits."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        logits = graph.output[0].name
        maker = next(node for node in graph.node if logits in node.output)
        maker.output[list(maker.output).index(logits)] = "plain"
        shape = numpy_helper.from_array(np.array(sides, np.int64), "bomb_shape")
        graph.initializer.append(shape)
        if kind == "ConstantOfShape":
            nodes = [helper.make_node(kind, ["bomb_shape"], ["bomb"])]
        elif kind == "Expand":
            graph.initializer.append(numpy_helper.from_array(np.float32(1), "bomb_one"))
            nodes = [helper.make_node(kind, ["bomb_one", "bomb_shape"], ["bomb"])]
        else:  # its length depends on the picture
            for name, value in (("bomb_zero", 0.0), ("bomb_step", 1.0)):
                graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
            nodes = [
                helper.make_node("ReduceMax", [graph.input[0].name], ["bomb_end"], keepdims=0),
                helper.make_node("Range", ["bomb_zero", "bomb_end", "bomb_step"], ["bomb"]),
            ]
        nodes += [
            helper.make_node("ReduceMean", ["bomb"], ["bomb_mean"], keepdims=0),
            helper.make_node("Add", ["plain", "bomb_mean"], [logits]),
        ]
        graph.node.extend(nodes)

    return change


@pytest.mark.parametrize(
    ("kind", "sides", "words"),
    [
        ("ConstantOfShape", (60_000, 60_000), "60000 x 60000 numbers for one image: too many"),  # 14 GB
        ("Expand", (90_000, 90_000), "90000 x 90000 numbers for one image: too many"),  # 32 GB
        ("Range", (), "is not known before it runs"),
        ("ConstantOfShape", (23_171, 23_171), "too many"),  # a little above 2 GiB
        ("ConstantOfShape", (23_170, 23_170), ""),  # a little below
    ],
)
def test_tensors_that_a_few_bytes_make_huge_are_refused(
    folder: Path, kind: str, sides: tuple[int, ...], words: str
) -> None:
    remodel(folder, grown(kind, *sides))
    found = verify(folder)
    assert words in found if words else found == ""
