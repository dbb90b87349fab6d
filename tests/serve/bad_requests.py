"""Requests that a server must refuse, each kind with the status that it must answer; numbers in them vary with `rng`."""
# ruff: noqa: ARG005  # every kind is called alike

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

INFER = "/v2/models/digits/infer"
Rng = np.random.Generator


@dataclass
class BadRequest:
    status: int
    body: bytes | None = None
    method: str = "POST"
    path: str = INFER
    headers: dict[str, str] = field(default_factory=dict)


def bad_request(kind: str, rng: Rng) -> BadRequest:
    return KINDS[kind](rng)


def _good(rng: Rng) -> dict[str, Any]:
    data = rng.standard_normal(64).round(4).tolist()
    return {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": data}]}


def _changed(rng: Rng, **changes: Any) -> bytes:
    document = _good(rng)
    document["inputs"][0].update(changes)
    return json.dumps(document).encode()


def _truncated(rng: Rng) -> BadRequest:
    body = json.dumps(_good(rng)).encode()
    return BadRequest(400, body[: int(rng.integers(0, len(body)))])


def _nan_json(rng: Rng) -> BadRequest:
    data = [float("nan"), *rng.standard_normal(63).tolist()]
    return BadRequest(400, _changed(rng, data=data))


def _binary(rng: Rng, content: bytes, **parameters: Any) -> BadRequest:
    document = _good(rng)
    del document["inputs"][0]["data"]
    document["inputs"][0]["parameters"] = {"binary_data_size": 256, **parameters}
    head = json.dumps(document).encode()
    return BadRequest(400, head + content, headers={"Inference-Header-Content-Length": str(len(head))})


def _nan_binary(rng: Rng) -> BadRequest:
    values = rng.standard_normal(64).astype("<f4")
    values[int(rng.integers(64))] = [np.nan, np.inf][int(rng.integers(2))]
    return _binary(rng, values.tobytes())


def _wrong_length_header(rng: Rng) -> BadRequest:
    request = _binary(rng, bytes(256))
    request.headers["Inference-Header-Content-Length"] = ["-1", "1e3", "99999999", "x"][int(rng.integers(4))]
    return request


def _png(width: int, height: int, data: bytes) -> bytes:
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _hundred_megapixels(rng: Rng) -> BadRequest:
    row = b"\0" + bytes(10_000)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(10_000)) + packer.flush()
    return BadRequest(413, _png(10_000, 10_000, data), path="/classify")


def _huge_header(rng: Rng) -> BadRequest:
    return BadRequest(413, _png(int(rng.integers(2**20, 2**31)), 2**20, zlib.compress(b"")), path="/classify")


def _cut_image(rng: Rng) -> BadRequest:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(buffer, "PNG")
    content = buffer.getvalue()
    return BadRequest(400, content[: int(rng.integers(100, len(content) - 100))], path="/classify")


def _gif(rng: Rng) -> BadRequest:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(buffer, "GIF")
    return BadRequest(415, buffer.getvalue(), path="/classify")


def _noise(rng: Rng) -> BadRequest:
    return BadRequest(415, rng.bytes(200), path="/classify")


def form(*parts: tuple[str, bytes], boundary: str = "b0undary") -> bytes:
    """multipart/form-data of these (content-disposition, content)."""
    lines = [
        f"--{boundary}\r\nContent-Disposition: form-data; {what}\r\n\r\n".encode() + content + b"\r\n"
        for what, content in parts
    ]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def _form(body: bytes, status: int = 400, kind: str = "multipart/form-data; boundary=b0undary") -> BadRequest:
    return BadRequest(status, body, path="/classify", headers={"Content-Type": kind})


def _image(form: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, form)
    return buffer.getvalue()


FILE = 'name="image"; filename="a.png"'


def _huge_webp() -> bytes:
    """An extended WebP whose header says 16,384 x 16,384 pixels."""
    side = (16383).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    picture = _image("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(chunk) + len(picture)) + b"WEBP" + chunk + picture


def _packed_bmp(_: Rng) -> BadRequest:
    """A bitmap of 8 x 8 pixels in runs (BI_RLE8)."""
    runs = b"\x08\x01\x00\x00" * 8 + b"\x00\x01"
    info = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, len(runs), 0, 0, 256, 0)
    head = struct.pack("<2sIHHI", b"BM", 14 + 40 + 1024 + len(runs), 0, 0, 14 + 40 + 1024)
    return BadRequest(415, head + info + bytes(1024) + runs, path="/classify")


def _bomb(rng: Rng) -> BadRequest:
    return BadRequest(413, gzip.compress(bytes(20_000_000), 9), headers={"Content-Encoding": "gzip"})


def _cut_gzip(rng: Rng) -> BadRequest:
    body = gzip.compress(json.dumps(_good(rng)).encode())
    return BadRequest(400, body[: int(rng.integers(20, len(body) - 1))], headers={"Content-Encoding": "gzip"})


KINDS: dict[str, Callable[[Rng], BadRequest]] = {
    "truncated json": _truncated,
    "not json": lambda rng: BadRequest(400, rng.bytes(50)),
    "deep json": lambda rng: BadRequest(400, b'{"inputs":' + b"[" * 5000),
    "no inputs": lambda rng: BadRequest(400, b'{"inputs": []}'),
    "wrong name": lambda rng: BadRequest(400, _changed(rng, name="x")),
    "wrong dtype": lambda rng: BadRequest(400, _changed(rng, datatype=["INT8", "FP64", "BYTES"][int(rng.integers(3))])),
    "wrong shape": lambda rng: BadRequest(400, _changed(rng, shape=[1, 1, 8, int(rng.integers(9, 99))])),
    "negative shape": lambda rng: BadRequest(400, _changed(rng, shape=[-1, 1, 8, 8])),
    "huge shape": lambda rng: BadRequest(400, _changed(rng, shape=[2**40, 1, 8, 8])),
    "float shape": lambda rng: BadRequest(400, _changed(rng, shape=[1.5, 1, 8, 8])),
    "missing values": lambda rng: BadRequest(400, _changed(rng, data=[0.0] * int(rng.integers(0, 64)))),
    "ragged values": lambda rng: BadRequest(400, _changed(rng, data=[[1.0], [1.0, 2.0]])),
    "strings": lambda rng: BadRequest(400, _changed(rng, data=["1.0"] * 64)),
    "nan in json": _nan_json,
    "nan in binary": _nan_binary,
    "huge number": lambda rng: BadRequest(400, _changed(rng, data=[1e300] * 64)),
    "short binary": lambda rng: _binary(rng, bytes(int(rng.integers(0, 256)))),
    "trailing bytes": lambda rng: _binary(rng, bytes(256 + int(rng.integers(1, 100)))),
    "wrong binary size": lambda rng: _binary(rng, bytes(256), binary_data_size=int(rng.integers(257, 9999))),
    "text as binary size": lambda rng: _binary(rng, bytes(256), binary_data_size="256"),
    "wrong length header": _wrong_length_header,
    "unknown output": lambda rng: BadRequest(400, json.dumps({**_good(rng), "outputs": [{"name": "x"}]}).encode()),
    "unknown model": lambda rng: BadRequest(404, b"{}", path=f"/v2/models/m{rng.integers(99)}/infer"),
    "unknown version": lambda rng: BadRequest(
        404, b"{}", path=f"/v2/models/digits/versions/{rng.integers(2, 9)}/infer"
    ),
    "unknown path": lambda rng: BadRequest(404, b"{}", path=f"/{rng.integers(999)}"),
    "wrong method": lambda rng: BadRequest(405, None, "GET"),
    "load another": lambda rng: BadRequest(400, b"{}", path="/v2/repository/models/other/load"),
    "no token": lambda rng: BadRequest(401, b"{}", headers={"Authorization": ""}),
    "wrong token": lambda rng: BadRequest(401, b"{}", headers={"Authorization": f"Bearer {rng.bytes(16).hex()}"}),
    "empty image": lambda rng: BadRequest(400, b"", path="/classify"),
    "no image": _noise,
    "gif": _gif,
    "cut image": _cut_image,
    "hundred megapixels": _hundred_megapixels,
    "huge image header": _huge_header,
    "run-length bitmap": _packed_bmp,
    "huge webp": lambda rng: BadRequest(413, _huge_webp(), path="/classify"),
    "form without a file": lambda rng: _form(form(('name="image"', _image()))),
    "form with two files": lambda rng: _form(form((FILE, _image()), (FILE, _image()))),
    "form of many parts": lambda rng: _form(form(*[('name="x"', b"1")] * 17)),
    "form that is cut": lambda rng: _form(form((FILE, _image()))[: -int(rng.integers(5, 60))]),
    "form without boundary": lambda rng: _form(form((FILE, _image())), kind="multipart/form-data"),
    "form of noise": lambda rng: _form(rng.bytes(200)),
    "form with no image": lambda rng: _form(form((FILE, rng.bytes(200))), 415),
    "form with an empty file": lambda rng: _form(form((FILE, b""))),
    "other multipart": lambda rng: _form(_image(), 415, "multipart/mixed; boundary=b0undary"),
    "json to classify": lambda rng: _form(b"{}", 415, "application/json"),
    "gzip bomb": _bomb,
    "cut gzip": _cut_gzip,
    "unknown encoding": lambda rng: BadRequest(415, b"{}", headers={"Content-Encoding": "br"}),
    "body too large": lambda rng: BadRequest(413, bytes(1_000_001)),
}
