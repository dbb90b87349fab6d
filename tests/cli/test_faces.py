import contextlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgenas.bundle import read_bundle
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.faces.aligning import align_folders
from edgenas.faces.alignment import TEMPLATE
from edgenas.faces.detectors import Face
from edgenas.faces.images import image_from_file
from edgenas.faces.quality import QualityRules
from edgenas.faces.readers import FaceImages, write_folders
from edgenas.faces.recogniser import open_recogniser
from edgenas.tasks.faces import raw_pixels
from edgenas.tasks.synthetic_faces import draw_faces
from tests.export.test_faces import shared_face_bundle


@pytest.fixture(scope="module")
def model() -> Path:
    return shared_face_bundle().path("fp32")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn people, four images each."""
    root = tmp_path_factory.mktemp("people")
    images, labels = draw_faces(12, 4, 56, 1, seed=1)
    write_folders(FaceImages(raw_pixels(images), labels, tuple(f"p{i:02d}" for i in range(12))), root)
    return root


def run(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["faces", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_eval_prints_the_report_of_any_folder_of_identities(model: Path, people: Path) -> None:
    report = run("eval", "--model", model, "--data", people)
    assert report["pairs"] == {"genuine": 12 * 6, "impostor": 66 * 16}
    assert report["tar_at_far"]["1e-4"] == "insufficient data"
    assert report["tar_at_far"]["1e-1"]["interval"][0] <= report["tar_at_far"]["1e-1"]["value"]
    assert report["auc_interval"][0] <= report["auc"] <= report["auc_interval"][1]
    assert set(report["baselines"]) == {"pixels", "lda"}
    assert 0 <= report["baselines"]["pixels"]["auc"] <= 1
    text = CliRunner().invoke(app, ["faces", "eval", "--model", str(model), "--data", str(people), "--no-baselines"])
    assert "12 people, 48 images" in text.stdout


def test_eval_judges_another_recogniser_on_the_same_pairs(model: Path, people: Path, tmp_path: Path) -> None:
    """The same file as its own anchor reaches exactly the same; without its first nodes' names it is fed otherwise."""
    same = run("eval", "--model", model, "--data", people, "--anchor", model)
    assert set(same["baselines"]) == {"pixels", "lda", str(model)}
    beside = same["baselines"][str(model)]
    assert (beside["auc"], beside["tar"]) == (same["auc"], same["tar_at_far"]["1e-2"]["value"])
    arguments = ("eval", "--model", model, "--data", people, "--anchor", model, "--no-baselines")
    other = run(*arguments, "--anchor-mean", "127.5", "--anchor-std", "127.5")
    assert other["baselines"][str(model)]["auc"] != same["auc"]  # normalised twice
    text = CliRunner().invoke(app, ["faces", *map(str, arguments)]).stdout
    assert f"TAR % at FAR 1e-2 of {model}" in text.replace("\n", "")
    wrong = CliRunner().invoke(app, ["faces", *map(str, arguments[:5]), "--anchor-mean", "0", "--anchor-std", "1"])
    assert "name one" in str(wrong.exception)


def test_calibrate_writes_the_threshold_into_the_bundle(people: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(shared_face_bundle().folder, tmp_path / "bundle")
    found = run("calibrate", "--model", bundle, "--data", people, "--far", "1e-1")
    stored = read_bundle(bundle).manifest.threshold
    assert stored is not None
    assert stored.value == found["value"]
    assert (stored.far, stored.pairs, stored.precision) == (0.1, 66 * 16, "fp32")
    assert found["interval"][0] <= found["value"] <= found["interval"][1]


def test_eval_of_a_verification_set_follows_the_ten_fold_protocol(model: Path, people: Path, tmp_path: Path) -> None:
    files = [sorted(folder.iterdir()) for folder in sorted(people.iterdir())]
    encoded, same = [], []
    for person in range(12):
        encoded += [files[person][0].read_bytes(), files[person][1].read_bytes()]
        encoded += [files[person][0].read_bytes(), files[(person + 1) % 12][0].read_bytes()]
        same += [True, False]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((encoded, same)))
    report = run("eval", "--model", model, "--data", tmp_path / "lfw.bin")
    assert report["pairs"] == {"genuine": 12, "impostor": 12}
    assert 0 <= report["ten_fold"]["mean"] <= 100
    assert report["auc_interval"] is None
    for beside in (("--lda-data", people), ("--seed", 1), ("--anchor", model)):
        asked = ["faces", "eval", "--model", model, "--data", tmp_path / "lfw.bin", *beside]
        result = CliRunner().invoke(app, [str(word) for word in asked])
        assert str(result.exception) == (
            f"{beside[0]} is for people by name, and lfw.bin has pairs alone: leave it out"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--model", "nowhere", "--data", "."], "nowhere does not exist"),
        (["eval", "--model", "{model}", "--data", "nowhere"], "name a folder with one folder per person"),
        (["eval", "--model", "{model}", "--data", ".", "--precision", "int8"], "--precision int8 is for bundles"),
        (
            ["eval", "--model", "{model}", "--data", ".", "--lda-data", ".", "--no-baselines"],
            "--no-baselines leaves it out",
        ),
        (
            ["eval", "--model", "{model}", "--data", "{people}", "--lda-data", "{alone}"],
            "an LDA needs two people, and images of one person that differ",
        ),
        (["calibrate", "--model", "{people}", "--data", "{people}"], "holds no bundle"),
        (["align", "--detector", "haar", "--data", ".", "--out", "x"], "unknown detector 'haar'"),
    ],
)
def test_mistakes_are_one_line(model: Path, people: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    write_folders(FaceImages(draw_faces(3, 1, 112, 3, seed=2)[0], np.arange(3), ("a", "b", "c")), tmp_path)
    filled = [argument.format(model=model, people=people, alone=tmp_path) for argument in arguments]
    result = CliRunner().invoke(app, ["faces", *filled])
    assert isinstance(result.exception, EdgenasError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_file_that_is_no_recogniser_is_refused(people: Path, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["image"], ["out"])
    ports = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 64, 64]) for name in ("image", "out")]
    graph = onnx.helper.make_graph([node], "g", [ports[0]], [ports[1]])
    path = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
    result = CliRunner().invoke(app, ["faces", "eval", "--model", str(path), "--data", str(people)])
    assert "is no recogniser" in str(result.exception)


@pytest.mark.parametrize(("side", "taken"), [(64, True), (2048, True), (2056, False), (100_000, False)])
def test_a_recogniser_of_faces_that_are_too_large_to_be_meant_is_refused(
    tmp_path: Path, side: int, taken: bool
) -> None:
    nodes = [onnx.helper.make_node("GlobalAveragePool", ["x"], ["p"]), onnx.helper.make_node("Flatten", ["p"], ["y"])]
    image, made = (onnx.helper.make_tensor_value_info(*one) for one in (("x", 1, (1, 3, side, side)), ("y", 1, (1, 3))))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", [image], [made]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "m.onnx")
    expected = contextlib.nullcontext() if taken else pytest.raises(EdgenasError, match=r"m\.onnx is no recogniser")
    with expected, open_recogniser(tmp_path / "m.onnx", any_side=True):
        pass


def test_text_that_is_no_onnx_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("this is no model")
    with (
        pytest.raises(EdgenasError, match=r"model\.onnx is no ONNX file: give"),
        open_recogniser(tmp_path / "model.onnx"),
    ):
        pass


def test_a_foreign_model_without_its_own_normalisation_is_fed_normalised(
    model: Path, people: Path, tmp_path: Path
) -> None:
    """The same network with Sub and Mul taken out, as InsightFace's newer files are, gives the same figures."""
    plain = onnx.load(model)
    source = plain.graph.node[1].output[0]
    for node in plain.graph.node:
        node.input[:] = ["image" if name == source else name for name in node.input]
        node.name = node.name.replace("Mul", "M")
    del plain.graph.node[:2]
    onnx.save(plain, tmp_path / "plain.onnx")
    arguments = ("--data", people, "--no-baselines")
    ours, theirs = (run("eval", "--model", path, *arguments) for path in (model, tmp_path / "plain.onnx"))
    assert ours["auc"] == pytest.approx(theirs["auc"], abs=1e-4)


@pytest.mark.parametrize("largest", [255, 1])
def test_a_recogniser_that_normalises_its_input_under_any_names_is_not_normalised_again(
    model: Path, people: Path, tmp_path: Path, largest: int
) -> None:
    """As exported by torch, whose names begin with a slash; also for pixels from 0 to 1."""
    other = onnx.load(model)
    for node, value in zip(other.graph.node[:2], (127.5, 1 / 127.5) if largest == 255 else (0.5, 2.0), strict=True):
        (stored,) = (tensor for tensor in other.graph.initializer if tensor.name == node.input[1])
        assert largest == 1 or onnx.numpy_helper.to_array(stored).flat[0] == np.float32(value)
        stored.CopyFrom(onnx.numpy_helper.from_array(np.float32(value), stored.name))
        node.name = f"/{node.name}"
    onnx.save(other, tmp_path / "other.onnx")
    arguments = ("--data", people, "--no-baselines")
    ours, theirs = (run("eval", "--model", path, *arguments) for path in (model, tmp_path / "other.onnx"))
    assert ours["auc"] == pytest.approx(theirs["auc"], abs=1e-4)


def upright(image: np.ndarray) -> tuple[Face, ...]:
    """A detector whose faces are where the template wants them."""
    return (Face((0.0, 0.0, 112.0, 112.0), tuple(map(tuple, TEMPLATE.tolist())), 0.9),)


def test_align_writes_upright_faces_and_counts_refusals_by_reason(tmp_path: Path) -> None:
    images, _ = draw_faces(2, 1, 112, 3, seed=1)
    write_folders(FaceImages(images, np.arange(2), ("ada", "bob")), tmp_path / "photos")
    (tmp_path / "photos" / "ada" / "broken.png").write_bytes(b"no image")
    (tmp_path / "photos" / "bob" / "black.png").write_bytes(b"")
    result = align_folders(tmp_path / "photos", tmp_path / "out", upright, QualityRules())
    assert result.aligned == 2
    assert result.counts() == {"not_decodable": 2}
    assert np.array_equal(image_from_file(tmp_path / "out" / "ada" / "000000.png"), images[0])


def test_align_keeps_images_apart_that_differ_in_their_suffix_only(tmp_path: Path) -> None:
    (tmp_path / "photos" / "ada").mkdir(parents=True)
    images, _ = draw_faces(4, 1, 112, 3, seed=1)
    names = {"1.bmp": "1.bmp.png", "1.png": "1.png.png", "1.png.bmp": "1.png.bmp.png", "2.bmp": "2.png"}
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(tmp_path / "photos" / "ada" / name)
    assert align_folders(tmp_path / "photos", tmp_path / "out", upright, QualityRules()).aligned == 4
    for written, image in zip(names.values(), images, strict=True):
        assert np.array_equal(image_from_file(tmp_path / "out" / "ada" / written), image)


def test_align_refuses_to_write_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "photos" / "ada").mkdir(parents=True)
    (tmp_path / "photos" / "ada" / "1.png").touch()
    (tmp_path / "out").touch()
    with pytest.raises(EdgenasError, match="out is a file: name a new folder"):
        align_folders(tmp_path / "photos", tmp_path / "out", upright, QualityRules())
