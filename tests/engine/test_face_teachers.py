"""`train --teacher` for faces: a recogniser as ONNX, the outputs of any other, what is learned from them and what is shown."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import edgenas
from edgenas.architectures.chain import ChainSpace, chain
from edgenas.cli.main import app
from edgenas.engine.taught import KIND, Teacher
from edgenas.errors import EdgenasError
from edgenas.faces.readers import FaceImages, write_folders
from edgenas.faces.views import face_views
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.records import TAR, Candidate, Choice, Embedding, FinalTraining, Limits, Recipe, Trial
from edgenas.store import Store
from edgenas.tasks import TaskSettings
from edgenas.tasks.faces import raw_pixels
from edgenas.tasks.synthetic_faces import draw_faces
from tests.plans import plan, studied

PEOPLE, EACH = 15, 4  # 9 of them are trained on, 3 are validation, 3 the test
RECIPE = Recipe("fast-faces", 1, 32, 0.05, loss="cosface", settings={"scale": 24.0, "margin": 0.1})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searched(tmp_path_factory.mktemp("faces"))


def searched(root: Path, seed: int = 0) -> Path:
    """A finished search of fifteen drawn people, whose chosen network computes at 28 px; nothing is trained."""
    images, labels = draw_faces(PEOPLE, EACH, 112, 1, seed=5)
    if not (root / "people").exists():
        write_folders(
            FaceImages(raw_pixels(images), labels, tuple(f"p{i:02d}" for i in range(PEOPLE))), root / "people"
        )
    architecture = chain(2, 3, (0, 0, 1), (3, 3, 3), Embedding(16), 1, 28)
    profile = profile_from_name("raspberry-pi-5")
    space = ChainSpace(Embedding(16), 1, 28, 3, 4, 2, 4)
    asked = SearchSettings(target=(profile.name,), task="faces", data=str(root / "people"), seed=seed, far=0.1)
    data = TaskSettings(str(root / "people"), "faces", image_size=28, seed=seed, settings={"far": 0.1, "dim": 16})
    record = studied(
        plan(asked=asked, task=data, space=space),
        profiles=(profile.name,), hardware=(profile,), limits=Limits(), metric=TAR,
    )  # fmt: skip
    cost = CostModel((profile,), None, Limits())(architecture)
    trial = Trial(Candidate(architecture, RECIPE, "depth"), "complete", cost, 0, {"val_tar": 50.0}, number=None)
    folder = root / f"study-{seed}"
    with Store.create(folder, record) as store:
        store.add(trial)
        store.choose(Choice(store.number(trial.candidate.key), {}))
    return folder


def recogniser(path: Path, side: int = 112, seed: int = 0, dim: int = 24) -> Path:
    """Of another's making: a convolution, a PReLU, which no network of ours has, a linear layer; (x - 127.5) / 128 in, free
    batch."""
    rng = np.random.default_rng(seed)
    weights = {
        "w": rng.normal(0, 0.1, (8, 3, 14, 14)), "s": np.full((8, 1, 1), 0.25),
        "g": rng.normal(0, 0.1, (8 * (side // 14) ** 2, dim)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], strides=[14, 14]),
        helper.make_node("PRelu", ["a", "s"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "g"], ["embedding"]),
    ]
    ports = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, side, side]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim]),
    ]
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "recogniser", ports[:1], ports[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def by_hand(path: Path, images: np.ndarray, mean: float, std: float) -> np.ndarray:
    """The same without ONNX Runtime: (N, S, S, 3) -> (N, dim)."""
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    x = ((images.astype(np.float64) - mean) / std).transpose(0, 3, 1, 2)  # (N, 3, S, S)
    n, _, side, _ = x.shape
    patches = x.reshape(n, 3, side // 14, 14, side // 14, 14)
    a = np.einsum("ncyixj,ocij->noyx", patches, held["w"])
    return np.asarray(np.where(a > 0, a, 0.25 * a).reshape(n, -1) @ held["g"])


def train(study: Path, *arguments: object) -> dict[str, Any]:
    flags = ["train", str(study), "--seeds", "1", "--epochs", "1", "--recipe", "fast", *map(str, arguments), "--json"]
    result = CliRunner().invoke(app, flags)
    if result.exception is not None:
        raise result.exception
    decoded: dict[str, Any] = msgspec.json.decode(result.stdout)
    return decoded


def teacher_of(study: Path, key: str) -> tuple[Teacher, dict[str, np.ndarray]]:
    with Store.read(study) as store:
        teacher = store.all(KIND, Teacher)[key]
    with np.load(study / teacher.file) as held:
        return teacher, {name: held[name] for name in held.files}


def test_a_recogniser_of_foreign_operators_teaches_by_its_own_normalisation(study: Path, tmp_path: Path) -> None:
    path = recogniser(tmp_path / "mfn.onnx")
    found = train(study, "--teacher", path, "--teacher-mean", "127.5", "--teacher-std", "128", "--teacher-views", "40")
    teacher, held = teacher_of(study, f"{path} mean (127.5,) std (128.0,) views 40")
    images, labels = edgenas.open_study(study, quiet=True).training_images(image_size=112)
    assert (teacher.width, teacher.further) == (24, 40)
    assert np.allclose(held["outputs"], by_hand(path, raw_pixels(images), 127.5, 128), atol=1e-3)
    assert np.array_equal(held["labels"], labels)
    views = face_views(raw_pixels(images), 40)
    assert held["images"].shape == (40, 28, 28, 1)
    assert np.allclose(held["image_outputs"], by_hand(path, views, 127.5, 128), atol=1e-3)
    with Store.read(study) as store:
        (final,) = store.all("final", FinalTraining).values()
    assert (final.recipe.teacher, final.recipe.teacher_weight) == (teacher.sha256, 0.9)

    copy = study / teacher.file
    content = copy.read_bytes()
    copy.write_bytes(content[:50])
    again = train(study, "--teacher", path, "--teacher-mean", "127.5", "--teacher-std", "128", "--teacher-views", "40")
    assert again == found
    assert copy.read_bytes() == content  # computed again

    before = copy.stat().st_mtime_ns
    path.unlink()  # it was copied
    again = train(study, "--teacher", path, "--teacher-mean", "127.5", "--teacher-std", "128", "--teacher-views", "40")
    assert again == found
    assert copy.stat().st_mtime_ns == before


def test_what_the_teacher_itself_reaches_stands_beside_pixels_and_lda(study: Path, tmp_path: Path) -> None:
    path = recogniser(tmp_path / "t.onnx")
    found = train(study, "--teacher", path, "--teacher-views", "0")
    baselines = found["test"]["baselines"]
    assert set(baselines) == {"pixels", "lda", str(path)}
    images, labels = edgenas.open_study(study, quiet=True).test_images(image_size=112)
    units = by_hand(path, raw_pixels(images), 127.5, 127.5)  # what recognisers take that say nothing
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    same = labels[:, None] == labels[None, :]
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    genuine, impostor = (units @ units.T)[same & upper], (units @ units.T)[~same & upper]
    auc = (genuine[:, None] > impostor[None, :]).mean()
    assert baselines[str(path)]["auc"] == pytest.approx(auc, abs=2e-3)
    assert baselines[str(path)]["far"] == 0.1
    assert found["test"]["tar_at_far"]["1e-1"]["value"] != baselines[str(path)]["tar"]  # the student's own


def test_the_test_people_change_nothing_that_is_learned(study: Path, tmp_path: Path) -> None:
    """The same teacher with and without what it says of the test people trains the same network."""
    opened = edgenas.open_study(study, quiet=True)
    images, _ = opened.training_images()
    outputs = np.random.default_rng(1).normal(size=(len(images), 24)).astype(np.float32)
    strangers, _ = opened.test_images()
    seen = []
    for name, test in (("without", None), ("with", np.ones((len(strangers), 24), np.float32))):
        opened.save_outputs(tmp_path / f"{name}.npz", outputs, test_outputs=test)
        found = train(study, "--teacher", tmp_path / f"{name}.npz")
        assert (str(tmp_path / f"{name}.npz") in found["test"]["baselines"]) == (test is not None)
        teacher, held = teacher_of(study, str(tmp_path / f"{name}.npz"))
        assert teacher.further == 0
        seen.append(held["outputs"])
    assert np.array_equal(*seen)
    assert np.array_equal(seen[0], outputs)


def test_outputs_of_other_people_are_refused_though_their_labels_are_the_same(study: Path, tmp_path: Path) -> None:
    """Another seed trains on other people, as many images of each: labels do not tell."""
    other = edgenas.open_study(searched(study.parent, seed=1), quiet=True)
    mine = edgenas.open_study(study, quiet=True)
    (images, labels), (others, same) = mine.training_images(), other.training_images()
    assert np.array_equal(labels, same)
    assert not np.array_equal(images, others)
    other.save_outputs(tmp_path / "o.npz", np.ones((len(others), 4), np.float32))
    with pytest.raises(EdgenasError, match="of other training images than this study's"):
        train(study, "--teacher", tmp_path / "o.npz")
    np.savez(tmp_path / "plain.npz", outputs=np.ones((len(images), 4), np.float32), labels=labels)
    with pytest.raises(EdgenasError, match="has no sha256 of the training images"):
        train(study, "--teacher", tmp_path / "plain.npz")


def test_further_images_come_with_outputs_and_in_the_networks_size(study: Path, tmp_path: Path) -> None:
    opened = edgenas.open_study(study, quiet=True)
    images, _ = opened.training_images()
    outputs = np.ones((len(images), 4), np.float32)
    large = face_views(opened.training_images(image_size=112)[0], 6)
    opened.save_outputs(tmp_path / "o.npz", outputs, further=(large, np.ones((6, 4), np.float32)))
    with np.load(tmp_path / "o.npz") as held:
        assert held["images"].shape == (6, 28, 28, 1)
        mean = large.reshape(6, 28, 4, 28, 4, 1).mean(axis=(2, 4))
        assert np.abs(held["images"] - mean).max() <= 1
    wrong = {
        "each of the 6 further images": (large, np.ones((5, 4), np.float32)),
        "one row of 4 floats is needed": (large, np.ones((6, 3), np.float32)),
        "further images are uint8": (np.zeros((6, 30, 30, 1), np.uint8), np.ones((6, 4), np.float32)),
        "not all finite": (large, np.full((6, 4), np.inf, np.float32)),
    }
    for words, further in wrong.items():
        with pytest.raises(EdgenasError, match=words):
            opened.save_outputs(tmp_path / "wrong.npz", outputs, further=further)
        assert not (tmp_path / "wrong.npz").exists()
    with pytest.raises(EdgenasError, match="each of the 12 test images"):
        opened.save_outputs(tmp_path / "wrong.npz", outputs, test_outputs=np.ones((3, 4), np.float32))


def test_a_recogniser_of_another_size_is_shown_scaled_faces(study: Path, tmp_path: Path) -> None:
    path = recogniser(tmp_path / "small.onnx", side=56)
    train(study, "--teacher", path, "--teacher-views", "0")
    _, held = teacher_of(study, f"{path} views 0")
    assert held["outputs"].shape == (36, 24)
    assert "images" not in held


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--teacher-mean", "127.5"], "belong together"),
        (["--teacher-mean", "0", "--teacher-std", "0"], "above 0"),
        (["--teacher-mean", "a", "--teacher-std", "1"], "one number for all channels, or three"),
        (["--teacher-mean", "1,2", "--teacher-std", "1"], "one number for all channels, or three"),
        (["--teacher-views", "2000000"], "from 0 to 1,000,000"),
        (["--teacher", "none.onnx"], "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_one_line(study: Path, tmp_path: Path, flags: list[str], words: str) -> None:
    path = recogniser(tmp_path / "t.onnx")
    with pytest.raises(EdgenasError, match=words) as caught:
        train(study, "--teacher", path, *flags)
    assert "\n" not in str(caught.value)


def test_a_recogniser_is_not_asked_about_other_faces(study: Path, tmp_path: Path) -> None:
    others = shutil.copytree(study.parent / "people", tmp_path / "others")
    with pytest.raises(EdgenasError, match=r"is asked about this study's own faces, not about .*others: name a study"):
        train(study, "--teacher", recogniser(tmp_path / "t.onnx"), "--data", others, "--from-trained")


def test_how_a_teacher_is_asked_is_refused_where_nothing_is_asked_so(study: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgenasError, match="say how a --teacher is asked: name one"):
        train(study, "--teacher-views", "5")
    with pytest.raises(EdgenasError, match=r"are for FILE\.onnx, not for largest"):
        train(study, "--teacher", "largest", "--teacher-views", "5")


def test_a_file_that_is_no_recogniser_does_not_teach(study: Path, tmp_path: Path) -> None:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 112, 98]) for name in ("image", "out")]
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["out"])], "g", ports[:1], ports[1:])
    path = tmp_path / "t.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(EdgenasError, match=r"is no recogniser \(float32 \(N, 3, S, S\) -> \(N, D\)\)"):
        train(study, "--teacher", path)
