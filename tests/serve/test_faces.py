"""A recogniser over real HTTP: the network is untrained, so one image is only ever the same person as itself."""

import base64
import io
import json
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import EdgenasError
from edgenas.runtimes.child import child_environment
from edgenas.serve.faces import liveness_from_spec
from tests.export.test_faces import faces, shared_face_bundle
from tests.serve.running import TOKEN, Running, serving, token_file


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def sharp(count: int) -> list[bytes]:
    """Pictures that pass the quality gate."""
    blocks = np.random.default_rng(3).integers(40, 220, (count, 14, 14, 3), dtype=np.uint8)
    return [png(image.repeat(8, 0).repeat(8, 1)) for image in blocks]


@pytest.fixture(scope="module")
def bundle() -> Path:
    return shared_face_bundle().folder


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gallery")
    options = (
        "--gallery",
        str(folder / "people.db"),
        "--token-file",
        str(token_file(folder)),
        "--threshold",
        "0.99999",
    )
    with serving(bundle, *options, token=TOKEN) as running:
        yield running


def test_an_enrolled_image_is_identified_and_another_is_nobody(server: Running) -> None:
    ada, bob, stranger = sharp(3)
    for _ in range(2):  # the second time because the first answer was lost
        assert server.json("POST", "/enroll?name=Ada", ada) == (200, {"name": "Ada", "samples": 1})
    assert server.json("POST", "/enroll?name=" + urllib.parse.quote("Bob Z."), bob)[0] == 200
    status, found = server.json("POST", "/identify", ada)
    assert status == 200
    assert found["match"]["name"] == "Ada"
    assert found["match"]["score"] == pytest.approx(1.0, abs=1e-5)
    assert server.json("POST", "/identify", stranger)[1]["match"] is None
    people = server.json("GET", "/people")[1]["people"]
    assert [(person["name"], person["samples"]) for person in people] == [("Ada", 1), ("Bob Z.", 1)]
    assert server.json("POST", "/verify?name=Ada", ada)[1]["same"] is True
    assert server.json("POST", "/verify?name=Ada", bob)[1]["same"] is False
    assert server.json("DELETE", "/people/Bob%20Z.") == (200, {"deleted": "Bob Z."})
    assert server.json("DELETE", "/people/Bob%20Z.")[0] == 404
    assert server.json("POST", "/identify", bob)[1]["match"] is None


def test_a_name_with_a_slash_is_deleted_like_any_other(server: Running) -> None:
    name = urllib.parse.quote("R/D Eve", safe="")
    assert server.json("POST", f"/enroll?name={name}", sharp(1)[0])[0] == 200
    assert server.json("DELETE", f"/people/{name}") == (200, {"deleted": "R/D Eve"})
    assert server.json("DELETE", f"/people/{name}")[0] == 404


def test_two_images_in_one_request_are_compared(server: Running) -> None:
    first, second = (base64.b64encode(image).decode() for image in sharp(2))
    body = json.dumps({"first": first, "second": second}).encode()
    status, found = server.json("POST", "/verify", body)
    assert status == 200
    assert found["same"] is False
    assert -1 <= found["score"] < 0.99999
    assert server.json("POST", "/verify", b"{}")[0] == 400


def test_an_embedding_has_length_one(server: Running) -> None:
    embedding = server.json("POST", "/embed", sharp(1)[0])[1]["embedding"]
    assert len(embedding) == 32
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (png(np.zeros((112, 112, 3), np.uint8)), 422, "too_dark"),
        (png(np.full((112, 112, 3), 128, np.uint8)), 422, "low_contrast"),
        (png(faces(1)[0][:20, :20]), 422, "face_too_small"),
        (sharp(1)[0][:300], 400, None),
        (b"GIF89a nothing", 415, None),
        (b"", 400, None),
    ],
)
def test_pictures_that_cannot_be_used_have_named_reasons(
    server: Running, body: bytes, status: int, reason: str | None
) -> None:
    for path in ("/embed", "/enroll?name=X", "/identify"):
        code, answer = server.json("POST", path, body)
        assert code == status
        assert answer.get("reason") == reason
        assert answer["error"]
    assert "X" not in {person["name"] for person in server.json("GET", "/people")[1]["people"]}
    assert server.ready()


def test_a_classifiers_endpoint_is_not_there_and_nobody_enrols_without_a_name(server: Running) -> None:
    assert server.ask("POST", "/classify", sharp(1)[0])[0] == 404
    assert server.json("POST", "/enroll", sharp(1)[0])[0] == 400
    assert server.json("POST", "/verify?name=Nobody", sharp(1)[0])[0] == 404


def test_without_threshold_or_gallery_the_answer_says_what_to_do(bundle: Path) -> None:
    with serving(bundle) as running:
        assert "start it with --gallery" in running.json("POST", "/enroll?name=A", sharp(1)[0])[1]["error"]
        body = json.dumps(dict.fromkeys(("first", "second"), base64.b64encode(sharp(1)[0]).decode())).encode()
        status, answer = running.json("POST", "/verify", body)
        assert status == 409
        assert "edgenas faces calibrate" in answer["error"]


@pytest.mark.parametrize("option", [("--detector-sha256", "0" * 64), ("--several-faces", "largest")])
def test_what_is_of_a_detector_is_refused_without_one(bundle: Path, option: tuple[str, str], tmp_path: Path) -> None:
    next_refused = ("--threshold", "2")  # so that no server listens where this is not
    command = [sys.executable, "-m", "edgenas", "serve", str(bundle), "--port", "0", *option, *next_refused]
    done = subprocess.run(command, env=child_environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    line = f"{option[0]} {option[1]} is about a detector, and without --detector images are faces: leave it out"
    assert line in done.stderr


@pytest.mark.parametrize("spec", [".x:f", "nosuch:f", "json:nosuch", ":f", "json"])
def test_a_liveness_hook_that_is_not_there_is_one_line(spec: str) -> None:
    with pytest.raises(EdgenasError, match=r"cannot be loaded .*: give MODULE:FUNCTION"):
        liveness_from_spec(spec)
