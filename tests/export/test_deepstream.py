"""What is written for DeepStream's nvinfer, read back and computed by hand as NVIDIA documents it; DeepStream is not run."""

from __future__ import annotations

import configparser
import functools
import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.bundle import Bundle
from edgenas.errors import EdgenasError
from edgenas.export.deepstream import (
    LABELS,
    MODELS,
    PRIMARY,
    SECONDARY,
    check_deepstream,
    for_nvinfer,
    write_deepstream,
)
from edgenas.export.onnx import onnx_from_network
from edgenas.export.release import Wishes, bundle_from_trained
from edgenas.hardware.measure import SEARCH
from edgenas.preprocessing import input_from_pixels, pad
from edgenas.records import Preprocessing
from edgenas.runtimes.onnx_session import open_session
from tests.digits_bundle import digits_bundle, trained
from tests.export.test_faces import faces, shared_face_bundle
from tests.export.test_families import FAMILIES
from tests.export.test_families import trained as trained_member
from tests.trained_digits import digits

# Gst-nvinfer, table "Property Group": integers, lists with semicolons
KNOWN = {
    *("gpu-id", "gie-unique-id", "process-mode", "operate-on-gie-id", "onnx-file", "model-engine-file", "network-mode"),
    *("batch-size", "infer-dims", "model-color-format", "net-scale-factor", "offsets", "maintain-aspect-ratio"),
    *(
        "symmetric-padding",
        "scaling-filter",
        "network-type",
        "output-tensor-meta",
        "output-blob-names",
        "labelfile-path",
    ),
    "classifier-threshold",
}


def properties(path: Path) -> dict[str, str]:
    """The group [property], as GLib reads a key file: nothing but comments, groups and `key=value`."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    assert parser.sections() == ["property"]
    found = dict(parser["property"])
    assert set(found) <= KNOWN
    return found


def fed(config: dict[str, str], pixels: np.ndarray) -> np.ndarray:
    """y = net-scale-factor * (x - offsets[c]), planes: (N, H, W, C) uint8 of infer-dims' size -> (N, C, H, W)."""
    channels, height, width = (int(side) for side in config["infer-dims"].split(";"))
    assert pixels.shape[1:] == (height, width, channels)
    assert {"0": 3, "2": 1}[config["model-color-format"]] == channels
    offsets = np.array([float(x) for x in config.get("offsets", ";".join("0" * channels)).split(";")], np.float32)
    planes = (pixels.astype(np.float32) - offsets).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(np.float32(config["net-scale-factor"]) * planes)


def named(config: dict[str, str], folder: Path, outputs: np.ndarray) -> list[str | None]:
    """nvinfer's own parser of classifiers: of the labels in the file's first line that of the largest output, where an output is
    above the threshold and above 0."""
    labels = (folder / config["labelfile-path"]).read_text().splitlines()[0].split(";")
    answers: list[str | None] = []
    for row in outputs:
        best, most = None, 0.0
        for index, value in enumerate(row):
            if value > float(config["classifier-threshold"]) and value > most:
                best, most = labels[index], value
        answers.append(best)
    return answers


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found: np.ndarray = powers / powers.sum(1, keepdims=True)
    return found


def outputs_of(path: Path, inputs: np.ndarray) -> np.ndarray:
    with open_session(path) as session:
        (found,) = session.run({"image": inputs}).values()
    return np.asarray(found)


def chosen(bundle: Bundle, **fields: object) -> Bundle:
    """The same bundle as if the manifest said so."""
    return Bundle(bundle.folder, msgspec.structs.replace(bundle.manifest, **fields), bundle.parity)


@functools.cache
def images() -> np.ndarray:
    return digits().val.images[:40]


@pytest.mark.parametrize(("precision", "mode"), [("fp32", "0"), ("fp16", "2")])
def test_real_pixels_by_nvinfers_formula_give_our_probabilities_and_labels(
    precision: str, mode: str, tmp_path: Path
) -> None:
    bundle = chosen(digits_bundle(), chosen_precision=precision)
    folder = write_deepstream(bundle, tmp_path).folder
    assert folder == tmp_path / "digits"
    logits = outputs_of(bundle.path(precision), input_from_pixels(images(), bundle.manifest.preprocessing))  # type: ignore[arg-type]
    for name, process, batch in ((PRIMARY, "1", "1"), (SECONDARY, "2", "16")):
        config = properties(folder / name)
        assert (config["process-mode"], config["batch-size"], config["network-mode"]) == (process, batch, mode)
        assert (config["network-type"], config["output-blob-names"]) == ("1", "probabilities")
        found = outputs_of(folder / config["onnx-file"], fed(config, images()))
        np.testing.assert_allclose(found, softmax(logits), atol=1e-5)
        assert named(config, folder, found) == [digits().classes[i] for i in logits.argmax(1)]


def test_a_mean_a_deviation_for_each_channel_and_padding_are_inside_the_model(tmp_path: Path) -> None:
    """One scale for all channels could not say it; black is another number in each channel."""
    model = onnx_from_network(trained_member(FAMILIES["FBNet"]), FAMILIES["FBNet"], opset=17, ir=8)
    how = Preprocessing(3, (24, 28), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), padding=0)
    for padding, size in ((0, (32, 32)), (4, (24, 24)), (3, (26, 26))):
        each = msgspec.structs.replace(how, size=size[0], padding=padding)
        pixels = np.random.default_rng(0).integers(0, 256, (5, *size, 3), dtype=np.uint8)
        onnx.save(for_nvinfer(model, each, classes=True), tmp_path / "ours.onnx")
        onnx.save(model, tmp_path / "plain.onnx")
        known = softmax(outputs_of(tmp_path / "plain.onnx", input_from_pixels(pad(pixels, padding), each)))
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
        np.testing.assert_allclose(outputs_of(tmp_path / "ours.onnx", planes), known, atol=1e-6)
        assert np.ptp(known, axis=0).max() > 1e-3  # the pictures do differ


def test_the_model_says_of_itself_what_it_takes(tmp_path: Path) -> None:
    folder = write_deepstream(digits_bundle(), tmp_path).folder
    model = onnx.load(folder / properties(folder / PRIMARY)["onnx-file"])
    source = onnx.load(digits_bundle().path("fp32"))
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["Image.NominalPixelRange"] == "NominalRange_0_255"
    assert msgspec.json.decode(said["edgenas.preprocessing"], type=Preprocessing).mean == (0.0,)
    assert said["edgenas.fingerprint"] == digits_bundle().manifest.fingerprint
    assert (model.opset_import, model.ir_version) == (source.opset_import, source.ir_version)
    assert [output.name for output in model.graph.output] == ["probabilities"]


def test_int8_names_an_engine_to_be_built_and_no_model_that_nvinfer_would_build_as_fp16(tmp_path: Path) -> None:
    folder = write_deepstream(chosen(digits_bundle(), chosen_precision="int8"), tmp_path).folder
    (model,) = folder.glob("*.onnx")
    for name, batch in ((PRIMARY, 1), (SECONDARY, 16)):
        config = properties(folder / name)
        assert "onnx-file" not in config
        assert (config["network-mode"], config["model-engine-file"]) == ("1", f"{model.name}_b{batch}_gpu0_int8.engine")
        line = f"# trtexec --onnx={model.name} --int8 --minShapes=image:1x1x8x8 --optShapes=image:{batch}x1x8x8 "
        assert (
            line + f"--maxShapes=image:{batch}x1x8x8 --saveEngine={config['model-engine-file']}\n"
            in (folder / name).read_text()
        )


def test_another_network_has_another_name_so_that_no_older_engine_is_loaded(tmp_path: Path) -> None:
    folder = write_deepstream(digits_bundle(), tmp_path).folder
    first = properties(folder / PRIMARY)
    assert hashlib.sha256((folder / first["onnx-file"]).read_bytes()).hexdigest()[:8] in first["onnx-file"]
    assert first["model-engine-file"] == f"{first['onnx-file']}_b1_gpu0_fp32.engine"
    (folder / "model-notes.onnx.txt").write_text("mine")
    assert write_deepstream(digits_bundle(), tmp_path).folder == folder  # again: the same names
    assert properties(folder / PRIMARY) == first
    write_deepstream(chosen(digits_bundle(), chosen_precision="fp16"), tmp_path)
    assert properties(folder / PRIMARY)["onnx-file"] != first["onnx-file"]
    assert len(list(folder.glob("*.onnx"))) == 1
    assert (folder / "model-notes.onnx.txt").exists()


def test_recognisers_give_their_embedding_of_a_detectors_faces(tmp_path: Path) -> None:
    bundle = shared_face_bundle()
    written = write_deepstream(bundle, tmp_path)
    assert not (written.folder / PRIMARY).exists()
    assert not (written.folder / LABELS).exists()
    config = properties(written.folder / SECONDARY)
    asked = {
        "network-type": "100",
        "output-tensor-meta": "1",
        "output-blob-names": "embedding",
        "operate-on-gie-id": "1",
    }
    assert {key: config[key] for key in asked} == asked
    assert (config["infer-dims"], config["model-color-format"]) == ("3;112;112", "0")
    found = outputs_of(written.folder / config["onnx-file"], fed(config, faces()))
    known = outputs_of(bundle.path("fp32"), faces().transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_array_equal(found, known)
    assert "landmarks" in written.differences[0]


@pytest.mark.parametrize(
    ("fit", "aspect", "symmetric", "said"),
    [
        ("crop", "0", None, "nvinfer squeezes all of it"),
        ("stretch", "0", None, None),
        ("pad", "1", "1", "nvinfer adds black, training added grey (128)"),
    ],
)
def test_what_nvinfer_scales_otherwise_is_said_in_the_file_and_by_the_command(
    fit: str, aspect: str, symmetric: str | None, said: str | None, tmp_path: Path
) -> None:
    how = msgspec.structs.replace(digits_bundle().manifest.preprocessing, fit=fit)
    written = write_deepstream(chosen(digits_bundle(), preprocessing=how), tmp_path)
    config = properties(written.folder / PRIMARY)
    assert (config["maintain-aspect-ratio"], config.get("symmetric-padding"), config["scaling-filter"]) == (
        *(aspect, symmetric),
        "1",
    )
    text = (written.folder / PRIMARY).read_text()
    assert all(f"# - {each}\n" in text for each in written.differences)
    assert [said in each for each in written.differences if said][:1] == ([True] if said else [])
    assert len(written.differences) == (3 if said else 2)
    assert "never ran DeepStream" in text


@pytest.mark.parametrize(
    ("uint8", "batch", "labels", "line"),
    [
        (True, None, ("a",), "leave out --input uint8 or --deepstream"),
        (False, 2, ("a",), "files for exactly 2 images cannot follow: leave out --batch or --deepstream"),
        (False, None, ("a", "b;c"), "the class 'b;c' cannot stand in nvinfer's file of labels"),
        (False, None, ("a\nb",), "cannot stand"),
        (False, None, ("",), "cannot stand"),
        (False, None, ("b, c", "ä: 1"), None),
        (False, 1, (), None),
    ],
)
def test_what_nvinfer_cannot_feed_or_name_is_refused_in_one_line(
    uint8: bool, batch: int | None, labels: tuple[str, ...], line: str | None
) -> None:
    if line is None:
        check_deepstream(uint8, batch, labels)
        return
    with pytest.raises(EdgenasError) as caught:
        check_deepstream(uint8, batch, labels)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bundle_that_cannot_be_fed_writes_nothing_and_a_folder_of_others_is_kept(tmp_path: Path) -> None:
    with pytest.raises(EdgenasError, match="--input uint8"):
        write_deepstream(chosen(digits_bundle(), input="uint8"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "mine.txt").write_text("mine")
    with pytest.raises(EdgenasError, match="is no DeepStream configuration: choose another --deepstream folder"):
        write_deepstream(digits_bundle(), tmp_path)
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["mine.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgenasError, match="cannot be written: Not a directory"):
        write_deepstream(digits_bundle(), tmp_path / "file")
    folder = write_deepstream(digits_bundle(), tmp_path / "killed").folder
    (folder / SECONDARY).unlink()  # which is written last
    assert (write_deepstream(digits_bundle(), tmp_path / "killed").folder / SECONDARY).is_file()


def test_a_file_for_one_image_stays_one_for_one(tmp_path: Path) -> None:
    one = bundle_from_trained(tmp_path / "one", trained(), Wishes(timing=SEARCH, batch=1))
    int8 = write_deepstream(
        chosen(digits_bundle(), chosen_precision="int8", batch=1), tmp_path / "int8"
    ).folder  # trtexec refuses shapes for it
    assert "Shapes" not in (int8 / SECONDARY).read_text()
    folder = write_deepstream(one, tmp_path / "ds").folder
    for name in (PRIMARY, SECONDARY):
        config = properties(folder / name)
        assert config["batch-size"] == "1"
        found = outputs_of(folder / config["onnx-file"], fed(config, images()[:1]))
        assert found.shape == (1, 10)


def test_files_of_another_network_go_and_those_of_somebody_else_stay(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    write_deepstream(digits_bundle(), tmp_path)
    engine = "_b1_gpu0_fp16.engine"
    (model,) = folder.glob(MODELS)
    for name in ("model-original.onnx", f"model-original.onnx{engine}", "model-0a1b2c3d.onnx", "notes.txt"):
        (folder / name).write_text("x")
    for name in (f"model-0a1b2c3d.onnx{engine}", f"{model.name}{engine}"):
        (folder / name).write_text("x")
    write_deepstream(digits_bundle(), tmp_path)
    assert {path.name for path in folder.glob("*.engine")} == {
        f"{name}{engine}" for name in ("model-original.onnx", model.name)
    }
    face = shared_face_bundle()
    named = Bundle(face.folder, msgspec.structs.replace(face.manifest, name="digits"), face.parity)
    write_deepstream(named, tmp_path)
    (newer,) = folder.glob(MODELS)
    assert newer.name not in ("model-0a1b2c3d.onnx", model.name)
    theirs = {"model-original.onnx", f"model-original.onnx{engine}", "notes.txt"}
    assert {path.name for path in folder.iterdir()} == {newer.name, SECONDARY} | theirs
