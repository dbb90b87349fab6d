"""A bundle for exactly so many images at a time: the same answers by every way to it, and one line for another number."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

from edgenas.bundle import Bundle, read_bundle, sealed
from edgenas.engine.classify import classify
from edgenas.engine.evaluate import evaluate
from edgenas.engine.verify import verified_files
from edgenas.errors import BundleError, EdgenasError
from edgenas.export.choice import predicted_latencies
from edgenas.export.faces import with_face_input
from edgenas.export.onnx import onnx_from_network, with_fixed_batch
from edgenas.export.precision import with_uint8_input
from edgenas.export.release import Wishes, bundle_from_trained
from edgenas.export.triton import write_triton
from edgenas.hardware.measure import SEARCH, measure
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_name
from edgenas.hardware.worker import Load
from edgenas.methods.settings import SearchSettings
from edgenas.records import Candidate, Measurement, Preprocessing, Recipe, Trial
from edgenas.remote.job import Job
from edgenas.runtimes.batches import run_in_batches
from edgenas.runtimes.onnx_session import open_session
from edgenas.store import Store
from tests.digits_bundle import digits_bundle, trained
from tests.export.test_faces import architecture, by_torch, faces, network_of
from tests.export.test_families import FAMILIES
from tests.export.test_families import trained as trained_member
from tests.plans import plan, studied
from tests.serve.hosted import Hosted, hosted
from tests.training.conftest import ParameterCost

INFER = "/v2/models/digits/infer"
IMAGES = np.random.default_rng(0).standard_normal((6, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module", params=[1, 4])
def fixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of the digits network, for one image and for four."""
    folder = tmp_path_factory.mktemp("fixed") / "digits"
    wishes = Wishes(("fp32", "int8"), max_drop=5, timing=SEARCH, batch=request.param)
    return bundle_from_trained(folder, trained(), wishes)


@pytest.fixture(scope="module")
def server(fixed: Bundle) -> Iterator[Hosted]:
    with hosted(fixed.folder) as running:
        yield running


@functools.cache
def wanted() -> np.ndarray:
    """(6, 10) of IMAGES, by the file of any batch."""
    with open_session(digits_bundle().path("fp32")) as session:
        return session.run({"image": IMAGES})["logits"]


def test_every_file_and_the_manifest_say_how_many_images_they_take(fixed: Bundle) -> None:
    manifest = read_bundle(fixed.folder).manifest
    batch = manifest.batch
    assert batch in (1, 4)
    for precision, model in manifest.models.items():
        assert model.artifact.inputs == {"image": (batch, 1, 8, 8)}
        assert model.artifact.outputs == {"logits": (batch, 10)}
        assert model.scores == digits_bundle().manifest.models[precision].scores
        (latency,) = model.latencies
        assert ("4 images a run" in latency.detail) is (batch == 4)
    assert digits_bundle().manifest.batch is None


def test_infer_takes_that_number_and_refuses_any_other_in_one_line(fixed: Bundle, server: Hosted) -> None:
    batch = fixed.manifest.batch
    for count in (1, 2, 3, 4, 5):
        tensor = {
            "name": "image",
            "shape": [count, 1, 8, 8],
            "datatype": "FP32",
            "data": IMAGES[:count].ravel().tolist(),
        }
        status, answer = server.json("POST", INFER, json.dumps({"inputs": [tensor]}).encode())
        if count == batch:
            assert status == 200
            found = np.reshape(answer["outputs"][0]["data"], (count, 10))
            np.testing.assert_allclose(found, wanted()[:count], atol=1e-5)
        else:
            said = f"input shape [{count}, 1, 8, 8]: the model takes [{batch}, 1, 8, 8] (exported with --batch {batch})"
            assert (status, answer) == (400, {"error": said})


def test_the_server_describes_it_as_triton_describes_a_model_without_batching(fixed: Bundle, server: Hosted) -> None:
    batch = fixed.manifest.batch
    _, about = server.json("GET", "/v2/models/digits")
    assert (about["inputs"][0]["shape"], about["outputs"][0]["shape"]) == ([batch, 1, 8, 8], [batch, 10])
    _, config = server.json("GET", "/v2/models/digits/config")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [batch, 1, 8, 8])


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (8, 8), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_one_picture_is_classified_whatever_the_batch(fixed: Bundle, server: Hosted, tmp_path: Path) -> None:
    """A batch of four is filled up with the same picture."""
    (tmp_path / "a.png").write_bytes(picture())
    status, answer = server.json("POST", "/classify", picture())
    assert status == 200
    (known,) = classify(digits_bundle().folder, [tmp_path / "a.png"])["images"]
    (found,) = classify(fixed.folder, [tmp_path / "a.png"])["images"]
    for classes in (answer["classes"], found["classes"]):
        assert classes[0]["label"] == known["label"]
        assert classes[0]["probability"] == pytest.approx(known["probability"], abs=1e-5)


def test_evaluation_is_that_of_any_batch(fixed: Bundle) -> None:
    """359 images, which four does not divide."""
    said: list[str] = []
    found, known = (
        evaluate(bundle.folder, "digits", "test", "fp32", said.append)["models"]["fp32"]
        for bundle in (fixed, digits_bundle())
    )
    assert found["confusion"] == known["confusion"]
    assert sum(map(sum, found["confusion"])) == 359


def test_tritons_own_configuration_has_no_batching_either(fixed: Bundle, tmp_path: Path) -> None:
    batch = fixed.manifest.batch
    config = (write_triton(fixed, tmp_path) / "config.pbtxt").read_text()
    assert "max_batch_size: 0\n" in config
    assert f"dims: [ {batch}, 1, 8, 8 ]" in config
    assert f"dims: [ {batch}, 10 ]" in config
    assert "dynamic_batching" not in config
    assert ("labels.txt" in config) is (batch == 1)  # else Triton took 40 outputs for one image's classes
    any_number = (write_triton(digits_bundle(), tmp_path / "any") / "config.pbtxt").read_text()
    assert "max_batch_size: 64\n" in any_number
    assert "dims: [ 1, 8, 8 ]" in any_number
    assert "dynamic_batching" in any_number
    assert "labels.txt" in any_number
    write_triton(fixed, tmp_path / "any")
    assert (tmp_path / "any/digits/labels.txt").exists() is (batch == 1)  # none of an older network
    (tmp_path / "any/digits/config.pbtxt").unlink()  # which is written last: as a kill leaves it
    assert (write_triton(digits_bundle(), tmp_path / "any") / "config.pbtxt").read_text() == any_number


@pytest.mark.parametrize(("manifests", "said"), [(4, "the manifest says any number"), (None, "the manifest says 2")])
def test_a_manifest_that_says_otherwise_than_its_models_is_refused(
    manifests: int | None, said: str, tmp_path: Path
) -> None:
    folder = bundle_from_trained(tmp_path / "b", trained(), Wishes(timing=SEARCH, batch=manifests)).folder
    other = msgspec.structs.replace(read_bundle(folder).manifest, batch=None if manifests else 2)
    (folder / "manifest.json").write_bytes(sealed(other))
    with pytest.raises(BundleError, match=f"{said}: export it again"):
        read_bundle(folder)


@pytest.mark.parametrize(("batch", "taken"), [(0, False), (1, True), (64, True), (65, False), (-3, False)])
def test_one_to_sixty_four_images_are_possible(batch: int, taken: bool) -> None:
    if taken:
        assert Wishes(batch=batch).batch == batch
        return
    with pytest.raises(EdgenasError, match=rf"a batch of {batch} images was asked for: possible are 1 to 64"):
        Wishes(batch=batch)


def test_what_a_target_is_expected_to_take_is_of_one_run_of_that_many_images() -> None:
    profile, network = profile_from_name("jetson"), FAMILIES["stages"]
    one, four = (predicted_latencies(profile, network, ("fp16",), [], batch)["fp16"] for batch in (1, 4))
    (row,) = latencies(profile, [Row("x", network, batch=4)], "fp16")
    assert four.ms == row.ms
    assert one.ms < four.ms < 4.5 * one.ms
    assert [f"batch {n}," in latency.detail for n, latency in ((1, one), (4, four))] == [True, True]


def test_a_board_is_asked_for_that_many_images_and_holds_no_limit_of_one(fixed: Bundle, tmp_path: Path) -> None:
    batch, asked, said = fixed.manifest.batch, [], []

    class Board:
        url = "http://board"

        def info(self) -> dict[str, Any]:
            return {
                "device": {"model": "a board"},
                "runtime": "onnxruntime",
                "runtime_version": "1",
                "load": {"provider": "cpu"},
            }

        def measure(self, content: bytes, job: Job) -> Measurement:
            asked.append(job.batch_size)
            return measure([content], Load("", batch_size=job.batch_size), SEARCH, "host-cpu")[0]

    study = tmp_path / "study"
    with Store.create(study, studied(plan(asked=SearchSettings(target=("host-cpu",), max_latency_ms=1e-9)))) as store:
        architecture = fixed.manifest.architecture
        cost = ParameterCost()(architecture)
        store.put(
            "trial", "x", Trial(Candidate(architecture, Recipe("test", 6, 64, 0.2), "depth"), "complete", cost, 0, {})
        )
    board: Any = Board()
    (found,) = verified_files(fixed.folder, study if batch == 4 else None, "fp32", board, said.append)
    assert asked == [batch]
    assert found.limit is None
    assert any(f"take {batch} images a run, a study's limits are for one" in line for line in said) is (batch == 4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_images_are_fed_in_parts_of_the_files_batch(count: int) -> None:
    model = with_fixed_batch(onnx.load(digits_bundle().path("fp32")), 3)
    with open_session(model.SerializeToString()) as session:
        np.testing.assert_allclose(run_in_batches(session, IMAGES[:count])["logits"], wanted()[:count], atol=1e-5)


def test_graphs_that_shape_their_maps_anew_take_a_fixed_batch_too() -> None:
    """FBNet shuffles channels, faces flatten pooled maps; pixels and raw faces stand behind a front of their own."""
    network = trained_member(FAMILIES["FBNet"])
    how = Preprocessing(3, 32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    plain = with_uint8_input(onnx_from_network(network, FAMILIES["FBNet"], opset=17, ir=8), how)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    assert _same(plain, pixels).shape == (6, 7)
    arch = architecture()
    recogniser = network_of(arch)
    face = with_face_input(onnx_from_network(recogniser, arch), arch)
    raw = faces().transpose(0, 3, 1, 2).astype(np.float32)
    found: Any = _same(face, raw)
    np.testing.assert_allclose(found, by_torch(recogniser, arch, faces()), atol=1e-4)


def _same(model: onnx.ModelProto, inputs: np.ndarray) -> Any:
    """The outputs, which are the same at any batch and at batches of four."""
    with open_session(model.SerializeToString()) as any_number:
        (known,) = any_number.run({"image": inputs}).values()
    with open_session(with_fixed_batch(model, 4).SerializeToString()) as four:
        (found,) = run_in_batches(four, inputs).values()
    np.testing.assert_allclose(found, known, atol=1e-5)
    return found
