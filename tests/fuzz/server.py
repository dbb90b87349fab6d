"""A server that runs, asked raw requests: `edgenas serve` with a classifier and with faces."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.digits_bundle import digits_bundle
from tests.fuzz import pictures
from tests.fuzz.engine import Target, Verdict
from tests.fuzz.mutation import changed_documents, mutations
from tests.fuzz.wire import Reply, document, exchange, replies, request, requests
from tests.serve.bad_requests import KINDS, bad_request
from tests.serve.running import TOKEN, Running, serving, token_file

GROWTH_MB = 64  # that the process may grow after its first inputs, however many follow
WARM = 150  # inputs until then
EVERY = 50  # inputs between two looks at the process
INFER = "/v2/models/digits/infer"
DECLARED = ("are not finite (they overflow)",)  # what a 500 may say: the model's fault, not the server's
SIGNED = f"Authorization: Bearer {TOKEN}"
_DATA = np.random.default_rng(1).standard_normal(64).round(3).tolist()
TENSOR = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": _DATA}
WHOLE: dict[str, Any] = {"id": "1", "inputs": [TENSOR], "outputs": [{"name": "logits"}], "parameters": {}}


class ServerDoor:
    """One server for all inputs; every EVERY of them it must still be ready, of the same size, and answer the same."""

    def __init__(self, running: Running, right: bytes, seeds: Sequence[bytes], inputs: SearchStrategy[bytes]) -> None:
        self.running, self.seeds, self.inputs, self._right = running, seeds, inputs, right
        self._count, self._warm_mb, self._logged = 0, 0.0, len(running.text())
        self._answer = self._asked()
        self.judge: Callable[[bytes, Reply], str] = lambda _content, _reply: ""

    def tried(self, content: bytes) -> Verdict:
        self._count += 1
        if (code := self.running.process.poll()) is not None:
            return Verdict("crash", f"the server ended with {code}: {self.running.text()[-500:]}")
        verdict = self._verdict(content)
        if verdict.kind in ("refused", "accepted"):
            return self._log() or (self._health() if self._count % EVERY == 0 else None) or verdict
        return verdict

    def ended(self) -> Sequence[Verdict]:
        return [fault] if (fault := self._log() or self._health()) else []

    def _verdict(self, content: bytes) -> Verdict:
        try:
            answer = exchange(self.running.port, content)
            if answer is None:
                return Verdict("crash", "neither answered nor closed")
            found = replies(answer, heads=b"HEAD" in content)
        except (ValueError, OSError) as error:
            return Verdict("crash", f"{type(error).__name__}: {error}")
        for reply in found:
            if fault := _undeclared(reply):
                return Verdict("traceback", fault)
            if reply.status == 200 and (other := self.judge(content, reply)):
                return Verdict("silent change", other)
        return Verdict("accepted" if any(reply.status < 300 for reply in found) else "refused")

    def _asked(self) -> bytes:
        (reply,) = replies(exchange(self.running.port, self._right) or b"", heads=False)
        document = json.loads(reply.body)
        document.pop("ms", None)
        return json.dumps([reply.status, document]).encode()

    def _health(self) -> Verdict | None:
        if not self.running.ready():
            return Verdict("crash", "not ready any more")
        if (answer := self._asked()) != self._answer:
            return Verdict(
                "silent change", f"the right request was answered {self._answer[:200]!r}, now {answer[:200]!r}"
            )
        mb = resident_mb(self.running.process.pid)
        if self._count >= WARM and not self._warm_mb:
            self._warm_mb = mb
        if self._warm_mb and mb > self._warm_mb + GROWTH_MB:
            return Verdict("crash", f"{mb:.0f} MB, {self._warm_mb:.0f} after the first {WARM} inputs")
        return None

    def _log(self) -> Verdict | None:
        """No line on stderr but those about outputs that overflow."""
        text = self.running.text()[self._logged :]
        lines = [line for line in text.splitlines() if not any(words in line for words in DECLARED)]
        self._logged += len(text)
        return Verdict("traceback", f"on stderr: {lines[:3]}") if lines else None

    @property
    def note(self) -> str:
        return f"{self._warm_mb:.0f} MB after {WARM} inputs, {resident_mb(self.running.process.pid):.0f} at the end"


def _undeclared(reply: Reply) -> str:
    """What is wrong with an answer; "" where nothing is."""
    if reply.status >= 400:
        try:
            error = json.loads(reply.body)["error"] if reply.body else ""
        except (ValueError, KeyError, TypeError):
            return f"{reply.status} without a JSON error: {reply.body[:200]!r}"
        if "\n" in error or (reply.status == 500 and not any(words in error for words in DECLARED)):
            return f"{reply.status}: {error}"
    return ""


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1e3


# ---------------------------------------------------------------- a classifier


def _bodies() -> SearchStrategy[bytes]:
    binary = {**TENSOR, "parameters": {"binary_data_size": 256}}
    del binary["data"]
    classes = {**WHOLE, "outputs": [{"name": "logits", "parameters": {"classification": 3}}]}
    nested = {**TENSOR, "data": np.array(_DATA).reshape(1, 1, 8, 8).tolist()}
    bases = (
        WHOLE,
        {"inputs": [TENSOR]},
        {"inputs": [binary]},
        classes,
        {"inputs": [nested]},
        {**WHOLE, "inputs": [{**TENSOR, "shape": [2, 1, 8, 8]}]},
    )
    whole = st.sampled_from([json.dumps(base).encode() for base in bases])
    return (
        changed_documents(*bases).map(lambda found: json.dumps(found).encode())
        | mutations(json.dumps(WHOLE).encode())
        | whole
    )


def _seeds() -> list[bytes]:
    rng = np.random.default_rng(7)
    known = [bad_request(kind, rng) for kind in KINDS]
    seeds = [
        request(
            one.method,
            one.path,
            one.body or b"",
            *(f"{k}: {v}" for k, v in {"Authorization": f"Bearer {TOKEN}", **one.headers}.items()),
        )
        for one in known
    ]
    documents = (
        {**WHOLE, "parameters": None}, {**WHOLE, "outputs": []}, {**WHOLE, "outputs": [{"name": "logits",
        "parameters": {"classification": 2}}]},
        {**WHOLE, "outputs": [{"name": "logits", "parameters": {"classification": 10**30}}]}, {**WHOLE,
        "parameters": {"sequence_id": 1}},
        {"inputs": [{**TENSOR, "data": [3e38] * 64}]}, {"inputs": [{**TENSOR, "data": [[_DATA]]}]}, {"inputs": [{**TENSOR,
        "shape": [10**400, 1, 8, 8]}]},
        {"inputs": [{**TENSOR, "data": [1e39] * 64}]}, {"inputs": [{**TENSOR, "data": [10**400] * 64}]}, {**WHOLE, "id": 7},
        {**WHOLE, "id": "\0"},
    )  # fmt: skip
    seeds += [request("POST", INFER, json.dumps(one).encode(), SIGNED) for one in documents]
    seeds += [request("POST", "/classify", picture, SIGNED) for picture in pictures.found_before()]
    seeds += [request("POST", INFER, b"{}", SIGNED, "Inference-Header-Content-Length: " + "9" * 5000)]
    seeds += [
        request("GET", path, b"", SIGNED)
        for path in ("/v2/", "/v2", "/metrics", "/v2/models/digits/ready", "/\x1b]0;owned\x07", "/v2/models/x/infer")
    ]
    wire = (
        b"", b"\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(300)) + b"\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /v2 HTTP/1.1\r\n\r\n" * 200,
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    )  # fmt: skip
    return [*seeds, *wire]


def _judge(folder: Path) -> Callable[[bytes, Reply], str]:
    """What a request for the model's values is answered with is what ONNX Runtime gives for its numbers, as Python reads them."""
    from edgenas.bundle import read_bundle
    from edgenas.runtimes.onnx_session import open_session

    bundle = read_bundle(folder)
    runtime = contextlib.ExitStack().enter_context(open_session(bundle.path(bundle.manifest.chosen_precision)))

    def judge(content: bytes, reply: Reply) -> str:
        head, _, body = content.partition(b"\r\n\r\n")
        if not head.startswith(f"POST {INFER} HTTP/1".encode()) or b"ncoding" in head or b"eader-" in head:
            return ""
        try:
            (tensor,) = document(body)["inputs"]
            wanted = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
            (output,) = json.loads(reply.body)["outputs"]
            values = np.array(output["data"], np.float64).reshape(output["shape"])
        except (ValueError, KeyError, TypeError, OverflowError):
            return ""  # twice the same key, two requests, or classes instead of values
        (right,) = runtime.run({"image": wanted}).values()
        same = values.shape == right.shape and np.allclose(values, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())
        return "" if same else f"{values.ravel()[:4]} was answered, {right.ravel()[:4]} is right"

    return judge


@contextlib.contextmanager
def _classifier(folder: Path) -> Iterator[ServerDoor]:
    bundle = digits_bundle().folder
    options = ("--body-mb", "1", "--token-file", str(token_file(folder)))
    paths = (
        INFER,
        INFER,
        INFER,
        "/classify",
        "/v2/models/digits/versions/1/infer",
        "/v2/repository/index",
        "/v2/models/digits",
        "/metrics",
    )
    paths = (*paths, "/v2/repository/models/digits/load", "/v2/health/ready", "/v2", "/nope")
    right = request("POST", INFER, json.dumps(WHOLE).encode(), SIGNED)
    bodies, sent = _bodies(), pictures.pictures()
    drawn = (
        requests([INFER], bodies, [SIGNED])
        | requests(paths, bodies, [SIGNED])
        | requests(["/classify"], sent, [SIGNED])
    )
    with serving(bundle, *options, token=TOKEN) as running:
        door = ServerDoor(running, right, [right, *_seeds()], drawn)
        door.judge = _judge(bundle)
        yield door


# ---------------------------------------------------------------- faces

NAMES = (
    "Ada",
    "Jos%C3%A9",
    "Jose%CC%81",
    "a%00b",
    "%FF",
    "n" * 201,
    "a%0Ab",
    "",
    "%F0%9F%98%80",
    "'%20OR%201=1",
    "..%2F..",
    "%20",
)


def _face(seed: int) -> bytes:
    image = np.random.default_rng(seed).integers(60, 220, (14, 14, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return pictures.encoded(pictures.Image.fromarray(image))


@contextlib.contextmanager
def _faces(folder: Path) -> Iterator[ServerDoor]:
    from tests.export.test_faces import shared_face_bundle

    options = (
        "--gallery",
        str(folder / "people.db"),
        "--token-file",
        str(token_file(folder)),
        "--threshold",
        "0.9",
        "--body-mb",
        "1",
    )
    paths = [f"/{what}?name={name}" for what in ("enroll", "verify") for name in NAMES] + [
        "/identify",
        "/embed",
        "/people",
        "/enroll",
        "/verify",
    ]
    deletes = [f"/people/{name}" for name in NAMES]
    right = request("POST", "/embed", _face(3), SIGNED)
    whole = st.sampled_from([_face(seed) for seed in range(4)])
    drawn = requests(paths, whole | pictures.pictures(), [SIGNED]) | st.sampled_from(
        [request("DELETE", path, b"", SIGNED) for path in deletes]
    )
    seeds = [
        right,
        *(request("POST", path, _face(1), SIGNED) for path in paths),
        *(request("DELETE", path, b"", SIGNED) for path in deletes),
    ]
    with serving(shared_face_bundle().folder, *options, token=TOKEN) as running:
        yield ServerDoor(running, right, seeds, drawn)


TARGETS = (Target("requests", _classifier, least=1000), Target("requests_faces", _faces, least=1000))
