import http.client
import io
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from edgenas.preprocessing import input_from_pixels, pixels_from_image
from edgenas.runtimes.onnx_session import open_session
from tests.digits_bundle import digits_bundle
from tests.picture_kinds import kinds
from tests.serve.bad_requests import KINDS, bad_request, form
from tests.serve.running import HOST, TOKEN, eventually, serving, token_file


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    file = token_file(tmp_path_factory.mktemp("serve"))
    with serving(digits_bundle().folder, "--token-file", str(file), "--body-mb", "1", token=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def expected():
    """Golden inputs and what ONNX Runtime itself makes of them."""
    bundle = digits_bundle()
    inputs = bundle.golden()["inputs"]
    with open_session(bundle.path(bundle.manifest.chosen_precision)) as runtime:
        return inputs, runtime.run({"image": inputs})["logits"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_the_real_triton_client_gets_what_onnx_runtime_gives(server, expected, binary, compression):
    client_module = pytest.importorskip("tritonclient.http")
    inputs, wanted = expected
    client = client_module.InferenceServerClient(f"{HOST}:{server.port}")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    tensor = client_module.InferInput("image", list(inputs.shape), "FP32")
    tensor.set_data_from_numpy(inputs, binary_data=binary)
    output = client_module.InferRequestedOutput("logits", binary_data=binary)
    result = client.infer(
        "digits", [tensor], outputs=[output], headers=headers, request_compression_algorithm=compression, request_id="7"
    )
    np.testing.assert_allclose(result.as_numpy("logits"), wanted, atol=1e-6)
    assert result.get_response()["id"] == "7"
    client.close()


def test_the_triton_client_lists_and_loads_the_model(server):
    client_module = pytest.importorskip("tritonclient.http")
    client = client_module.InferenceServerClient(f"{HOST}:{server.port}")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.is_server_live(headers)
    assert client.is_server_ready(headers)
    assert client.is_model_ready("digits", headers=headers)
    assert client.get_model_repository_index(headers=headers)[0]["name"] == "digits"
    assert client.get_model_metadata("digits", headers=headers)["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}
    ]
    client.load_model("digits", headers=headers)
    with pytest.raises(client_module.InferenceServerException, match="stop the server"):
        client.unload_model("digits", headers=headers)
    with pytest.raises(client_module.InferenceServerException, match="holds 'digits'"):
        client.load_model("other", headers=headers)
    client.close()


def test_an_image_is_classified_as_preprocessing_and_model_say(server):
    bundle = digits_bundle()
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (20, 30), dtype=np.uint8))
    body = io.BytesIO()
    image.save(body, "PNG")
    preprocessing = bundle.manifest.preprocessing
    with open_session(bundle.path("fp32")) as runtime:
        pixels = pixels_from_image(image, preprocessing)[None]
        logits = runtime.run({"image": input_from_pixels(pixels, preprocessing)})["logits"][0]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    status, answer = server.json("POST", "/classify", body.getvalue())
    assert status == 200
    assert answer["label"] == bundle.manifest.labels[logits.argmax()]
    assert answer["probability"] == pytest.approx(probabilities.max(), abs=1e-5)
    assert [c["index"] for c in answer["classes"]] == np.argsort(-probabilities, kind="stable")[:5].tolist()


@pytest.mark.parametrize("name", sorted(kinds()))
def test_a_picture_of_every_kind_is_classified_from_the_pixels_that_training_sees(server, name):
    bundle = digits_bundle()
    with Image.open(io.BytesIO(kinds()[name])) as image:
        pixels = pixels_from_image(image, bundle.manifest.preprocessing)[None]
    with open_session(bundle.path("fp32")) as runtime:
        logits = runtime.run({"image": input_from_pixels(pixels, bundle.manifest.preprocessing)})["logits"][0]
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    status, answer = server.json("POST", "/classify", kinds()[name])
    assert status == 200, answer
    assert {c["index"]: c["probability"] for c in answer["classes"]} == {
        c["index"]: pytest.approx(shares[c["index"]], abs=1e-5) for c in answer["classes"]
    }


def test_a_form_is_answered_as_the_file_in_it(server):
    picture = kinds()["rgb.png"]
    _, wanted = server.json("POST", "/classify", picture)
    body = form(('name="note"', b"a field, no file"), ('name="image"; filename="a.png"', picture))
    status, answer = server.json("POST", "/classify", body, Content_Type="multipart/form-data; boundary=b0undary")
    assert status == 200, answer
    assert answer["classes"] == wanted["classes"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_a_form(server, tmp_path):
    (tmp_path / "a picture.webp").write_bytes(kinds()["rgb.webp"])
    command = ["curl", "-s", "-H", f"Authorization: Bearer {TOKEN}", "-F", "image=@a picture.webp"]
    url = f"http://{HOST}:{server.port}/classify"
    done = subprocess.run([*command, url], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["classes"] == server.json("POST", "/classify", kinds()["rgb.webp"])[1]["classes"]


def test_the_address_alone_says_what_is_served_and_how_to_ask(server):
    status, answer = server.json("GET", "/")
    assert status == 200
    told = ("name", "model", "kind", "precision", "runtime", "ready")
    assert [answer[key] for key in told] == ["edgenas", "digits", "classification", "fp32", "onnxruntime", True]
    assert answer["labels"] == list("0123456789")
    assert answer["input"] == {"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}
    assert {"GET /metrics", "POST /classify", "POST /v2/models/{model}/infer"} <= set(answer["endpoints"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_bad_request_gets_its_status_and_one_line(server, kind):
    request = bad_request(kind, np.random.default_rng(0))
    status, headers, body = server.ask(request.method, request.path, request.body, **request.headers)
    assert status == request.status, body
    assert "\n" not in json.loads(body)["error"]
    if status == 401:
        assert headers["www-authenticate"] == "Bearer"
    assert server.ready()


def test_a_body_that_does_not_arrive_gets_408_and_headers_that_do_not_a_closed_connection(server):
    slow_body, slow_headers = (
        socket.create_connection((HOST, server.port)),
        socket.create_connection((HOST, server.port)),
    )
    start = f"POST /classify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\nab"
    slow_body.sendall(start.encode())
    slow_headers.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\n")
    for connection, wanted in ((slow_body, b"HTTP/1.1 408"), (slow_headers, b"")):
        connection.settimeout(30)
        assert connection.recv(12) == wanted
        connection.close()
    assert server.ready()


def test_metrics_tell_requests_latencies_queue_and_model(server):
    text = server.ask("GET", "/metrics")[2].decode()
    for name in (
        "edgenas_requests_total",
        "edgenas_request_seconds_bucket",
        "edgenas_queue_length",
        'precision="fp32"',
    ):
        assert name in text


def test_health_needs_no_token_and_everything_else_does(server):
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert server.ask("GET", path, Authorization="none")[0] == 200
    for path in ("/", "/v2", "/metrics", "/v2/models/digits"):
        assert server.ask("GET", path, Authorization="none")[0] == 401


def test_sigterm_answers_what_was_accepted_and_ends_with_0(tmp_path):
    with serving(digits_bundle().folder) as running:
        connection = socket.create_connection((HOST, running.port))
        body = _png(8, 8)
        asked = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(asked % len(body))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")  # it was accepted
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: not running.ready())
        connection.sendall(body)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        connection.close()
        assert running.process.wait(60) == 0


def test_a_model_that_fails_its_golden_self_test_never_becomes_ready(tmp_path):
    import shutil

    import msgspec

    from edgenas.bundle import read_bundle, write_bundle
    from edgenas.bundle_contents import golden_file

    folder = tmp_path / "digits"
    shutil.copytree(digits_bundle().folder, folder)
    bundle = read_bundle(folder)
    files = {name: (folder / name).read_bytes() for name in bundle.manifest.files}
    golden = bundle.golden()
    golden["fp32"] = golden["fp32"] + 1
    write_bundle(folder, msgspec.structs.replace(bundle.manifest), {**files, "golden.npz": golden_file(golden)})
    command = [sys.executable, "-m", "edgenas", "serve", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert "golden self-test" in done.stderr


@pytest.mark.slow
def test_a_thousand_bad_requests_leave_the_server_as_it_was(server):
    rng = np.random.default_rng(1)
    kinds = sorted(KINDS)
    for index in range(1000):
        request = bad_request(kinds[index % len(kinds)], rng)
        assert server.ask(request.method, request.path, request.body, **request.headers)[0] == request.status
    assert server.ready()


def _png(width: int, height: int) -> bytes:
    raw = b"".join(b"\0" + bytes(width) for _ in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(raw))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(("size", "status"), [(1_000_000, 400), (1_000_001, 413)])
def test_a_body_that_does_not_say_its_size_is_taken_up_to_the_limit_and_no_byte_more(server, size, status):
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    parts = iter([b" " * 500_000, b" " * (size - 500_000)])
    headers = {"Authorization": f"Bearer {TOKEN}", "Transfer-Encoding": "chunked"}
    connection.request("POST", "/v2/models/digits/infer", parts, headers, encode_chunked=True)
    assert connection.getresponse().status == status  # blanks alone are no JSON
    connection.close()
