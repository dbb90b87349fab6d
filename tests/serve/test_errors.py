"""What a client and an operator see when something below an endpoint fails: over HTTP, through the whole application."""

import asyncio
import functools
import gc
import io
import json
import logging
import signal
import socket
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DeviceError
from edgenas.runtimes import Port, is_device_lost
from edgenas.serve.errors import RequestRefused
from edgenas.serve.logs import PlainFormatter
from tests.digits_bundle import digits_bundle
from tests.export.test_faces import shared_face_bundle
from tests.serve import hooks
from tests.serve.bad_requests import bad_request
from tests.serve.hosted import hosted
from tests.serve.running import HOST, TOKEN, Running, counted, eventually, serving, token_file

ROOT = Path(__file__).parents[2]


def picture(red: int, seed: int = 3) -> bytes:
    """A sharp face-sized PNG whose first pixel tells the liveness hook what to do."""
    image = np.random.default_rng(seed).integers(60, 220, (14, 14, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    image[0, 0, 0] = red
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("door")
    options = ("--gallery", str(folder / "people.db"), "--token-file", str(token_file(folder)), "--threshold", "0.9")
    with serving(
        shared_face_bundle().folder, *options, "--liveness", "tests.serve.hooks:check", token=TOKEN
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("red", "status", "message"),
    [
        (hooks.BROKEN, 400, "this picture cannot be used"),
        (hooks.STARVED, 500, "running the model failed: CUDA failure 2: out of memory"),
        (hooks.FULL, 503, "this machine has no memory left for this request"),
        (hooks.UNFORESEEN, 500, "the server made a mistake (ZeroDivisionError); its log says where"),
    ],
)
@pytest.mark.parametrize("path", ["/embed", "/verify?name=Ada", "/enroll?name=Eve", "/identify"])
def test_an_error_below_an_endpoint_is_an_answer_and_is_counted(
    door: Running, path: str, red: int, status: int, message: str
) -> None:
    assert door.json("POST", "/enroll?name=Ada", picture(1))[0] == 200
    endpoint = path.partition("?")[0]
    before = counted(door, endpoint, status)
    code, headers, body = door.ask("POST", path, picture(red))
    assert (code, headers["content-type"], json.loads(body)) == (status, "application/json", {"error": message})
    assert counted(door, endpoint, status) == before + 1
    assert door.ready()


@pytest.mark.parametrize("path", ["/embed", "/verify?name=Ada", "/enroll?name=Mallory", "/identify"])
def test_a_face_that_is_not_alive_is_refused_and_nobody_is_enrolled_by_it(door: Running, path: str) -> None:
    assert door.json("POST", "/enroll?name=Ada", picture(1))[0] == 200
    refused = {"error": "not_alive: the liveness check refused the image", "reason": "not_alive"}
    assert door.json("POST", path, picture(hooks.DEAD)) == (422, refused)
    assert "Mallory" not in {person["name"] for person in door.json("GET", "/people")[1]["people"]}


def test_the_log_says_where_it_happened_and_nothing_of_who_it_happened_to(door: Running) -> None:
    door.json("POST", "/enroll?name=Grace%20Hopper", picture(hooks.UNFORESEEN))
    door.json("POST", "/verify?name=Grace%20Hopper", picture(1))
    door.json("DELETE", "/people/Grace%20Hopper")
    log = door.text()
    assert "ZeroDivisionError at " in log
    assert "hooks.py:" in log
    for secret in (hooks.SECRET, "Lovelace", "Grace", "Traceback"):
        assert secret not in log


@pytest.mark.parametrize("name", ["n" * 201, "a%09b", "a%0Ab", "a%00b", "%FF", "a%E2%80%8Bb", "%20%20"])
def test_a_name_that_cannot_be_one_is_a_400_at_enrolment_and_nobody_elsewhere(door: Running, name: str) -> None:
    status, answer = door.json("POST", f"/enroll?name={name}", picture(1))
    assert status == 400
    assert "\n" not in answer["error"]
    assert door.json("POST", f"/verify?name={name}", picture(1))[0] == 404
    assert door.json("DELETE", f"/people/{name}")[0] == 404


def test_the_longest_name_is_two_hundred_characters(door: Running) -> None:
    name = "n" * 200
    assert door.json("POST", f"/enroll?name={name}", picture(1)) == (200, {"name": name, "samples": 1})
    assert door.json("DELETE", f"/people/{name}")[0] == 200


def test_one_name_in_two_spellings_is_one_person(door: Running) -> None:
    composed, decomposed = "Jos%C3%A9", "Jose%CC%81"
    assert door.json("POST", f"/enroll?name={decomposed}", picture(1)) == (200, {"name": "José", "samples": 1})
    assert door.json("POST", f"/enroll?name={composed}", picture(1, seed=4)) == (200, {"name": "José", "samples": 2})
    for name in (composed, decomposed):
        assert door.json("POST", f"/verify?name={name}", picture(1))[1]["same"] is True
    assert door.json("DELETE", f"/people/{decomposed}") == (200, {"deleted": "José"})
    assert "José" not in {person["name"] for person in door.json("GET", "/people")[1]["people"]}
    assert door.json("DELETE", f"/people/{composed}")[0] == 404


def test_a_lost_device_is_answered_once_and_ends_the_process(tmp_path: Path) -> None:
    with serving(shared_face_bundle().folder, "--liveness", "tests.serve.hooks:check") as running:
        status, answer = running.json("POST", "/embed", picture(hooks.LOST))
        assert status == 500
        assert "CUDA failure 700" in answer["error"]
        assert running.process.wait(60) == 1
        assert "edgenas: the device is lost: running the model failed: CUDA failure 700" in running.text()


def test_a_full_queue_answers_503_with_retry_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--liveness", "tests.serve.hooks:check", "--queue", "1", "--deadline-s", "300")
    with serving(shared_face_bundle().folder, *options, path=ROOT) as running:
        slow: list[int] = []
        first = threading.Thread(target=lambda: slow.append(running.ask("POST", "/embed", picture(hooks.SLOW))[0]))
        first.start()
        eventually((tmp_path / "begun").exists)
        status, headers, body = running.ask("POST", "/embed", picture(1))
        (tmp_path / "go").touch()
        first.join()
        assert (status, headers["retry-after"], slow) == (503, "1", [200])
        assert "1 requests are waiting already" in json.loads(body)["error"]


def test_a_request_that_was_given_up_is_held_no_longer() -> None:
    """It holds its body, and it may stand behind others for long after its client was told."""
    with hosted(digits_bundle().folder, deadline_s=0.2) as server:
        model, go = server.service.model, threading.Event()
        asyncio.run_coroutine_threadsafe(model.compute(go.wait), server.loop)
        work = functools.partial(bytes, 10)
        held = weakref.ref(work)
        with pytest.raises(RequestRefused, match="no result within"):
            asyncio.run_coroutine_threadsafe(model.compute(work), server.loop).result(60)
        del work
        try:
            eventually(lambda: gc.collect() >= 0 and held() is None)
            assert model.waiting == 2
        finally:
            go.set()


def test_a_sixteen_bit_picture_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 1024).reshape(32, 32).astype(np.uint16)).save(buffer, "PNG")
    with hosted(digits_bundle().folder) as server:
        status, answer = server.json("POST", "/classify", buffer.getvalue())
        shallow = io.BytesIO()
        Image.fromarray((np.array(Image.open(buffer)) >> 8).astype(np.uint8)).save(shallow, "PNG")
        same = server.json("POST", "/classify", shallow.getvalue())[1]
    assert status == 200
    assert (answer["label"], answer["probability"]) == (same["label"], same["probability"])


def test_what_libraries_warn_of_is_not_written_on_stderr(tmp_path: Path) -> None:
    """Pillow warns of a picture of 100 million pixels, where the server refuses it."""
    request = bad_request("hundred megapixels", np.random.default_rng(0))
    with serving(digits_bundle().folder) as running:
        before = running.text()
        assert running.json("POST", request.path, request.body)[0] == 413
        assert running.text() == before


def test_every_route_answers_nonsense_as_json_and_never_with_a_500() -> None:
    with hosted(digits_bundle().folder) as server:
        for route in server.routes:
            path = route.path.replace("{model}", "digits").replace("{version}", "1")
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
                for body in (None, b"\0\xff", b"{", b"null", b"[1]"):
                    status, headers, content = server.ask(method, path, body)
                    assert status < 500, (method, path, body)
                    if status >= 400:
                        assert headers["content-type"] == "application/json", (method, path)
                        assert json.loads(content)["error"]
        assert {route.path for route in server.routes} >= {"/classify", "/metrics", "/v2", "/v2/models/{model}/infer"}


class Dead:
    """A runtime whose device has fallen off the bus."""

    inputs = {"image": Port(("batch", 1, 8, 8), "float32")}
    outputs = {"logits": None}
    settings = {}

    def run(self, arrays):
        raise DeviceError("running the model failed: CUDA error: device-side assert triggered")


@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/classify"])
def test_whichever_endpoint_meets_the_lost_device_gives_it_up(path: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "PNG")
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0] * 64}
    body = buffer.getvalue() if path == "/classify" else json.dumps({"inputs": [tensor]}).encode()
    with hosted(digits_bundle().folder) as server:
        server.service.model._runtime = Dead()
        assert server.json("POST", path, body)[0] == 500
        assert server.server.failure.startswith("the device is lost")


def test_outputs_that_overflow_are_an_error_and_never_null() -> None:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [3e38] * 64}
    with hosted(digits_bundle().folder) as server:
        status, answer = server.json("POST", "/v2/models/digits/infer", json.dumps({"inputs": [tensor]}).encode())
        assert status == 500
        assert answer == {
            "error": "the model's outputs for these inputs are not finite (they overflow): nothing to answer with"
        }
        assert server.ready()


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        ("CUDA failure 700: an illegal memory access was encountered", True),
        ("CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED", True),
        ("CUDA failure 2: out of memory", False),
        ("CUDA failure 2 (cudaErrorMemoryAllocation): restart the program", False),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", False),
        ("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0", False),
        ("CUDNN failure 5003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", False),
        ("the graph is not valid", False),
    ],
)
def test_a_device_is_lost_by_failures_other_than_a_want_of_memory(words: str, lost: bool) -> None:
    assert is_device_lost(DeviceError(f"running the model failed: {words}")) is lost


def test_what_other_libraries_warn_of_is_not_written_on_stderr_and_their_errors_without_their_words() -> None:
    """python-multipart warns of every damaged form."""
    odd = b"--b\r\nX: 1\r\n\r\nq\r\n--b--\r\nmore junk"
    with serving(digits_bundle().folder) as running:
        before = running.text()
        for body, boundary in (
            (b"hello\r\n--x--\r\n", "zz"),
            (odd, "b"),
            (b"--b\r\nX Y: 1\r\n\r\nq\r\n--b--\r\n", "b"),
        ):
            kind = f"multipart/form-data; boundary={boundary}"
            assert running.json("POST", "/classify", body, Content_Type=kind)[0] == 400
        assert running.text() == before
    record = logging.LogRecord("PIL.Image", logging.ERROR, "/x/Image.py", 7, "no %s", (hooks.SECRET,), None)
    assert PlainFormatter().format(record) == "error: PIL.Image at /x/Image.py:7"


def test_a_second_signal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--liveness", "tests.serve.hooks:check", "--deadline-s", "300")
    with serving(shared_face_bundle().folder, *options, path=ROOT) as running:
        with socket.create_connection((HOST, running.port)) as connection:
            body = picture(hooks.SLOW)
            connection.sendall(
                b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            eventually((tmp_path / "begun").exists)
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: not running.ready())  # it has heard
            assert running.process.poll() is None
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(60) == 1
        assert running.text().endswith("stopped at once: what was being answered was not\n")
