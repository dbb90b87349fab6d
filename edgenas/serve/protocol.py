"""Open Inference Protocol v2 on the wire: JSON, and tensors as bytes behind it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.runtimes import LARGEST_BATCH
from edgenas.serve.errors import Refused

Array = NDArray[Any]
HEADER = "inference-header-content-length"


class Tensor(msgspec.Struct):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct):
    """One output that a request names."""

    name: str
    parameters: dict[str, Any] = {}


class Request(msgspec.Struct):
    """The JSON part of POST /v2/models/{m}/infer."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] = {}


class Port(msgspec.Struct):
    """What the model takes or gives: name, datatype, shape without the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.shape]}


def request_from_bytes(body: bytes, json_length: str | None, port: Port) -> tuple[Request, Array]:
    """The request and its one input. Refused with 400 and a reason for anything that does not fit exactly."""
    head, tail = _split(body, json_length)
    try:
        request = msgspec.json.decode(head, type=Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"the request is not what the protocol says: {error}") from error
    if len(request.inputs) != 1 or request.inputs[0].name != port.name:
        names = [tensor.name for tensor in request.inputs]
        raise Refused(400, f"inputs {names} were given, the model takes one, {port.name!r}")
    return request, _array(request.inputs[0], tail, port)


def _split(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    if json_length is None:
        return body, b""
    if not json_length.isascii() or not json_length.isdigit() or int(json_length) > len(body):
        raise Refused(400, f"{HEADER} is {json_length!r}, the body has {len(body)} bytes")
    return body[: int(json_length)], body[int(json_length) :]


def _array(tensor: Tensor, tail: bytes, port: Port) -> Array:
    if tensor.datatype != port.datatype:
        raise Refused(400, f"input {tensor.name!r} has datatype {tensor.datatype!r}, the model takes {port.datatype}")
    shape = tuple(tensor.shape)
    if len(shape) != 1 + len(port.shape) or shape[1:] != port.shape or not 1 <= shape[0] <= LARGEST_BATCH:
        raise Refused(400, f"input shape {list(shape)}: the model takes [1..{LARGEST_BATCH}, {_comma(port.shape)}]")
    dtype = np.dtype(np.float32 if port.datatype == "FP32" else np.uint8)
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        array = _from_binary(tensor, tail, size, shape, dtype)
    else:
        if tail:
            raise Refused(400, f"{len(tail)} bytes follow the JSON and no input claims them")
        array = _from_json(tensor, shape, dtype)
    if not np.isfinite(array).all():
        raise Refused(400, f"input {tensor.name!r} holds NaN or infinity")
    return array


def _from_binary(tensor: Tensor, tail: bytes, size: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    wanted = math.prod(shape) * dtype.itemsize
    if tensor.data is not None or size != wanted or len(tail) != wanted:
        raise Refused(
            400, f"binary_data_size {size} and {len(tail)} bytes: shape {list(shape)} needs {wanted}, no data"
        )
    return np.frombuffer(tail, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _from_json(tensor: Tensor, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """From nested or flat lists of numbers."""
    try:
        values = np.asarray(tensor.data)
    except (ValueError, OverflowError) as error:
        raise Refused(400, f"data of {tensor.name!r} is ragged: {error}") from error
    if values.dtype.kind not in ("iu" if dtype.kind == "u" else "iuf"):
        raise Refused(400, f"data of {tensor.name!r} is not {'whole numbers' if dtype.kind == 'u' else 'numbers'}")
    if values.size != math.prod(shape):
        raise Refused(400, f"data of {tensor.name!r} has {values.size} values, shape {list(shape)} {math.prod(shape)}")
    if dtype.kind == "u" and (values.min() < 0 or values.max() > 255):
        raise Refused(400, f"data of {tensor.name!r} does not fit UINT8")
    with np.errstate(over="ignore"):
        return values.astype(dtype).reshape(shape)


def response_bytes(model: str, request: Request, port: Port, values: Array) -> tuple[bytes, dict[str, str]]:
    """Body and headers; binary where the request asks for it."""
    wanted = request.outputs
    if wanted is not None and [output.name for output in wanted] != [port.name]:
        raise Refused(
            400, f"outputs {[output.name for output in wanted]} were asked for, the model gives {port.name!r}"
        )
    binary = bool(request.parameters.get("binary_data_output"))
    if wanted:
        binary = bool(wanted[0].parameters.get("binary_data", binary))
    output: dict[str, Any] = {"name": port.name, "datatype": port.datatype, "shape": list(values.shape)}
    content = np.ascontiguousarray(values, "<f4").tobytes() if binary else b""
    if binary:
        output["parameters"] = {"binary_data_size": len(content)}
    else:
        output["data"] = values.ravel().tolist()
    document: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": [output]}
    if request.id is not None:
        document["id"] = request.id
    head = msgspec.json.encode(document)
    if not binary:
        return head, {"content-type": "application/json"}
    return head + content, {"content-type": "application/octet-stream", HEADER: str(len(head))}


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
