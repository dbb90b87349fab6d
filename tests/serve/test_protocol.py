"""Open Inference Protocol v2 as specified and as Triton's own client speaks it: what it allows is done, the rest refused."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgenas.runtimes.onnx_session import open_session
from tests.digits_bundle import digits_bundle
from tests.serve.hosted import Hosted, hosted
from tests.serve.running import HOST

INFER = "/v2/models/digits/infer"


@pytest.fixture(scope="module")
def server() -> Iterator[Hosted]:
    with hosted(digits_bundle().folder) as running:
        yield running


@pytest.fixture(scope="module")
def golden() -> tuple[np.ndarray, np.ndarray]:
    """Two inputs, and what ONNX Runtime itself makes of them."""
    bundle = digits_bundle()
    inputs = bundle.golden()["inputs"][:2]
    with open_session(bundle.path(bundle.manifest.chosen_precision)) as runtime:
        return inputs, runtime.run({"image": inputs})["logits"]


def request(inputs: np.ndarray, changes: dict[str, Any] | None = None, **top: Any) -> bytes:
    tensor = {"name": "image", "shape": list(inputs.shape), "datatype": "FP32", "data": inputs.ravel().tolist()}
    return json.dumps({"inputs": [{**tensor, **(changes or {})}], **top}).encode()


def data_of(server: Hosted, body: bytes, path: str = INFER, **headers: str) -> Any:
    status, answer = server.json("POST", path, body, **headers)
    assert status == 200, answer
    return answer["outputs"][0]["data"]


@pytest.mark.parametrize(
    "top",
    [
        {"parameters": None},
        {"outputs": []},
        {"outputs": None},
        {"outputs": [{"name": "logits"}]},
        {"outputs": [{"name": "logits", "parameters": None}]},
        {"id": None},
        {"inputs": None},
    ],
)
def test_what_is_optional_may_be_left_out_be_null_or_be_empty(server: Hosted, golden, top: dict[str, Any]) -> None:
    inputs, wanted = golden
    body = request(inputs, {"parameters": None}) if "inputs" in top else request(inputs, **top)
    np.testing.assert_allclose(data_of(server, body), wanted.ravel(), atol=1e-5)


@pytest.mark.parametrize("path", ["/v2", "/v2/models/digits", "/v2/models/digits/ready", "/v2/health/live"])
def test_a_slash_at_the_end_of_a_path_changes_nothing(server: Hosted, path: str) -> None:
    assert server.ask("GET", path + "/")[::2] == server.ask("GET", path)[::2]
    assert server.ask("GET", path)[0] == 200


def test_infer_with_a_slash_at_its_end_is_infer(server: Hosted, golden) -> None:
    inputs, wanted = golden
    np.testing.assert_allclose(data_of(server, request(inputs), INFER + "/"), wanted.ravel(), atol=1e-5)


def test_data_may_be_flat_or_nested_as_the_shape_says(server: Hosted, golden) -> None:
    inputs, wanted = golden
    np.testing.assert_allclose(data_of(server, request(inputs, {"data": inputs.tolist()})), wanted.ravel(), atol=1e-5)
    spaced = json.dumps(json.loads(request(inputs, {"data": inputs.tolist()})), indent=3).encode()
    np.testing.assert_allclose(data_of(server, spaced), wanted.ravel(), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 64), (1, 2, 8, 8), (2, 8, 8), (2, 1, 64), (128, 1), (2, 1, 8, 8, 1), (1, 128)])
def test_data_nested_otherwise_than_its_shape_is_refused(server: Hosted, golden, shape: tuple[int, ...]) -> None:
    data = golden[0].reshape(shape).tolist()
    status, answer = server.json("POST", INFER, request(golden[0], {"data": data}))
    assert status == 400
    assert "is nested otherwise than shape [2, 1, 8, 8]" in answer["error"]


def test_long_data_is_decoded_in_slices_to_the_same_values(server: Hosted) -> None:
    """64 digits of 17 figures are 80 kB, more than one slice."""
    inputs = np.random.default_rng(0).standard_normal((64, 1, 8, 8)).astype(np.float32)
    body = request(inputs, {"data": [float(value) + 1e-17 for value in inputs.ravel()]})
    assert len(body) > 70_000
    with open_session(digits_bundle().path("fp32")) as runtime:
        wanted = runtime.run({"image": inputs})["logits"]
    np.testing.assert_allclose(data_of(server, body), wanted.ravel(), atol=1e-5)


def test_the_largest_batch_nested_and_indented_is_taken(server: Hosted) -> None:
    """4,096 numbers in 641 lists and 200 kB: less than what is counted as endless."""
    inputs = np.random.default_rng(0).standard_normal((64, 1, 8, 8)).astype(np.float32)
    body = json.dumps(json.loads(request(inputs, {"data": inputs.tolist()})), indent=8).encode()
    assert len(body) > 200_000
    assert len(data_of(server, body)) == 640
    more = body.replace(b'"data"', b'"more": [%s], "data"' % b",".join([b"0"] * 1500))
    status, answer = server.json("POST", INFER, more)
    assert (status, "more than the largest batch can have" in answer["error"]) == (400, True)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " Gzip ", "x-gzip"])
def test_content_codings_have_no_case(server: Hosted, golden, encoding: str) -> None:
    inputs, wanted = golden
    body = gzip.compress(request(inputs))
    np.testing.assert_allclose(data_of(server, body, content_encoding=encoding), wanted.ravel(), atol=1e-5)


@pytest.mark.parametrize(
    ("top", "word"),
    [
        ({"parameters": {"sequence_id": 3}}, "'sequence_id' is not done"),
        ({"parameters": {"priority": 1}}, "'priority' is not done"),
        ({"parameters": {"timeout": 5}}, "'timeout' is not done"),
        ({"parameters": {"mine": "x"}}, "'mine' is not done"),
        ({"parameters": {"binary_data_output": 1}}, "binary_data_output is bool"),
        ({"parameters": [1]}, "parameters is not what"),
        ({"parameters": {"a": [1]}}, "parameters is not what"),
        ({"outputs": [{"name": "logits", "parameters": {"shared_memory_region": "x"}}]}, "'shared_memory_region'"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": "3"}}]}, "classification is int"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": True}}]}, "classification is int"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": -1}}]}, "not -1"),
        ({"outputs": [{"name": "logits"}, {"name": "logits"}]}, "the model gives 'logits'"),
        ({"outputs": [{"name": "softmax"}]}, "the model gives 'logits'"),
        ({"paramaters": {}}, "unknown field `paramaters`; possible: inputs, id, outputs, parameters"),
        ({"outputs": [{"name": "logits", "param": {}}]}, "`param` - at `$[0]`; possible: name, parameters"),
        ({"id": 7}, "id is not what"),
        ({"id": "x" * 70_000}, "id is longer than"),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(server: Hosted, golden, top: dict[str, Any], word: str) -> None:
    status, answer = server.json("POST", INFER, request(golden[0], **top))
    assert (status, word in answer["error"]) == (400, True), answer


def test_a_misspelt_field_of_an_input_is_refused_beside_the_possible_ones(server: Hosted) -> None:
    one = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0] * 64, "paramters": {}}
    status, answer = server.json("POST", INFER, json.dumps({"inputs": [one]}).encode())
    assert status == 400
    assert "`paramters` - at `$.inputs[0]`; possible: name, shape, datatype, data, parameters" in answer["error"]


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"shared_memory_region": "x"}},
        {"parameters": {"binary_data_size": "512"}},
        {"data": None},
        {"data": {}},
        {"data": "0,0"},
        {"data": [[[]]]},
        {"data": [None] * 128},
        {"data": [True] * 128},
        {"data": ["0"] * 128},
        {"data": ["1,2"] + [0] * 126},
        {"data": ["]["] + [0] * 127},
        {"data": [{}] * 128},
        {"data": [1e39] * 128},
        {"shape": []},
        {"shape": None},
        {"shape": [2, 1, 8, 8.0]},
        {"name": None},
        {"datatype": "fp32"},
        {"datatype": 3},
    ],
)
def test_a_tensor_that_is_not_the_models_is_refused(server: Hosted, golden, changes: dict[str, Any]) -> None:
    status, answer = server.json("POST", INFER, request(golden[0], changes))
    assert status == 400
    assert "\n" not in answer["error"]


@pytest.mark.parametrize("body", [b'{"inputs":{}}', b'{"inputs":[1]}', b'{"inputs":null}', b"[]", b"", b"null"])
def test_a_request_without_one_input_is_refused(server: Hosted, body: bytes) -> None:
    assert server.json("POST", INFER, body)[0] == 400


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 16, "0", "-1", "1_0", "\u0661"])
def test_a_header_length_that_is_no_length_is_a_400(server: Hosted, golden, digits: str) -> None:
    headers = {"Inference_Header_Content_Length": digits.encode().decode("latin-1")}
    assert server.json("POST", INFER, request(golden[0]), **headers)[0] == 400


def test_metadata_has_the_words_of_the_specification(server: Hosted) -> None:
    assert server.json("GET", "/v2/models/digits/ready") == (200, {"name": "digits", "ready": True})
    assert server.json("GET", "/v2/models/digits/versions/1/ready") == (200, {"name": "digits", "ready": True})
    assert server.json("GET", "/v2/health/ready") == (200, {"ready": True})
    assert server.json("GET", "/v2/health/live") == (200, {"live": True})
    assert server.json("GET", "/v2/models/digits")[1]["platform"] == "onnx_onnxv1"
    extensions = server.json("GET", "/v2")[1]["extensions"]
    assert extensions == ["binary_tensor_data", "classification", "model_configuration", "model_repository"]


def test_a_server_that_is_stopping_says_so_in_its_503(server: Hosted) -> None:
    server.service.model.draining = True
    try:
        assert server.json("GET", "/v2/health/ready") == (503, {"ready": False, "error": "the server is stopping"})
        status, answer = server.json("GET", "/v2/models/digits/ready")
        assert (status, answer["name"], answer["error"]) == (503, "digits", "the server is stopping")
        (one,) = server.json("POST", "/v2/repository/index")[1]
        assert (one["state"], one["reason"]) == ("UNAVAILABLE", "the server is stopping")
        assert server.json("POST", "/v2/repository/index", b'{"ready": true}') == (200, [])
        assert b"edgenas_ready 0.0" in server.ask("GET", "/metrics")[2]
    finally:
        server.service.model.draining = False


def test_the_repository_lists_loads_and_does_not_pretend_to_unload(server: Hosted) -> None:
    entry = {"name": "digits", "version": "1", "state": "READY", "reason": ""}
    assert server.json("POST", "/v2/repository/index", b"{}") == (200, [entry])
    assert server.json("POST", "/v2/repository/index", b'{"ready": true}') == (200, [entry])
    assert server.json("POST", "/v2/repository/index", b'{"ready": 1}')[0] == 400
    assert server.json("POST", "/v2/repository/models/digits/load", b"") == (200, {})
    status, answer = server.json("POST", "/v2/repository/models/digits/load", b'{"parameters": {"config": "{}"}}')
    assert (status, "takes no parameters" in answer["error"]) == (400, True)
    status, answer = server.json("POST", "/v2/repository/models/digits/unload", b"{}")
    assert (status, "stop the server" in answer["error"]) == (400, True)
    assert server.json("GET", "/v2/models/digits/ready")[0] == 200


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("multipart/form-data; boundary=x", (400, "the form is cut short")),
        ("Multipart/Form-Data", (400, "names no boundary")),
        ("multipart/mixed; boundary=x", (415, "--data-binary @image.png")),
        ("application/json", (415, "in a form (curl -F image=@image.png)")),
    ],
)
def test_what_is_no_picture_is_told_what_to_send(server: Hosted, kind: str, wanted: tuple[int, str]) -> None:
    status, answer = server.json("POST", "/classify", b"--x\r\n", content_type=kind)
    assert status == wanted[0]
    assert wanted[1] in answer["error"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("count", [1, 3, 10, 99])
def test_triton_class_count_gives_the_largest_values_with_index_and_label(
    server: Hosted, golden, binary: bool, count: int
) -> None:
    triton = pytest.importorskip("tritonclient.http")
    inputs, wanted = golden
    client = triton.InferenceServerClient(f"{HOST}:{server.port}")
    tensor = triton.InferInput("image", list(inputs.shape), "FP32")
    tensor.set_data_from_numpy(inputs)
    output = triton.InferRequestedOutput("logits", binary_data=binary, class_count=count)
    found = client.infer("digits", [tensor], outputs=[output]).as_numpy("logits")
    client.close()
    assert found.shape == (2, min(count, 10))
    for row, texts in zip(wanted, found, strict=True):
        order = np.argsort(-row, kind="stable")[:count]
        words = [text.decode() if isinstance(text, bytes) else text for text in texts]
        labels = digits_bundle().manifest.labels
        assert [word.split(":")[1:] for word in words] == [[str(i), labels[i]] for i in order]
        np.testing.assert_allclose([float(word.split(":")[0]) for word in words], row[order], atol=1e-5)


@pytest.mark.parametrize("options", [{"sequence_id": 7}, {"priority": 2}, {"timeout": 1000}, {"parameters": {"a": 1}}])
def test_triton_options_that_are_not_done_are_an_exception_of_its_client(server: Hosted, golden, options) -> None:
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(f"{HOST}:{server.port}")
    tensor = triton.InferInput("image", list(golden[0].shape), "FP32")
    tensor.set_data_from_numpy(golden[0])
    with pytest.raises(triton.InferenceServerException, match="is not done by this server"):
        client.infer("digits", [tensor], **options)
    client.close()


def test_the_triton_client_may_name_no_output_and_gets_all_as_bytes(server: Hosted, golden) -> None:
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(f"{HOST}:{server.port}")
    tensor = triton.InferInput("image", list(golden[0].shape), "FP32")
    tensor.set_data_from_numpy(golden[0])
    np.testing.assert_allclose(client.infer("digits", [tensor]).as_numpy("logits"), golden[1], atol=1e-5)
    assert client.get_model_config("digits")["max_batch_size"] == 64
    assert client.get_server_metadata()["name"] == "edgenas"
    client.close()
