"""Open Inference Protocol v2 on the wire: requests as JSON with tensors in it or behind it, and the answers.

Nothing that a request asks for is left out in silence: a field or parameter that is not known here is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.runtimes import LARGEST_BATCH
from edgenas.serve.errors import RequestRefused
from edgenas.serve.tensors import array_from_bytes, array_from_json, bytes_from_texts, classes_from_values, count_of

Array = NDArray[Any]
T = TypeVar("T")
HEADER = "inference-header-content-length"
SMALL = 65_536  # bytes of JSON for everything that is not a tensor's data
NOTHING = msgspec.Raw(b"null")


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """Parts stay undecoded until their size is known."""

    name: msgspec.Raw
    shape: msgspec.Raw
    datatype: msgspec.Raw
    data: msgspec.Raw = NOTHING
    parameters: msgspec.Raw = NOTHING


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON part of POST /v2/models/{m}/infer."""

    inputs: tuple[_Tensor]
    id: msgspec.Raw = NOTHING
    outputs: msgspec.Raw = NOTHING
    parameters: msgspec.Raw = NOTHING


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: msgspec.Raw = NOTHING


class IndexRequest(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v2/repository/index: all models, or those that are ready."""

    ready: bool = False


class LoadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v2/repository/models/{m}/load."""

    parameters: dict[str, msgspec.Raw] | None = None


class ServedPort(msgspec.Struct):
    """What the model takes or gives: name, datatype, shape without the batch; `batch`: the one that the file was made for."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    batch: int | None = None

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": [self.batch or -1, *self.shape]}


@dataclass(frozen=True)
class Request:
    """What is to be inferred, and how the answer is wanted: as bytes, and as the names of `classes` classes (0: values)."""

    inputs: Array
    id: str | None = None
    binary: bool = False
    classes: int = 0


def request_from_bytes(body: bytes, json_length: str | None, taken: ServedPort, given: ServedPort) -> Request:
    """The request with its one input. RequestRefused with 400 and a reason for anything that does not fit exactly."""
    head, tail = _split(body, json_length)
    _refuse_endless(head, taken)
    document = _decoded(head, _Document, f"the request for the one input {taken.name!r}")
    binary = bool(_parameters(document.parameters, "parameters", binary_data_output=bool).get("binary_data_output"))
    binary, classes = _wanted_output(document.outputs, given, binary)
    return Request(
        _input(document.inputs[0], tail, taken),
        _small(document.id, "id", str),
        binary,
        classes,
    )


def document_from_bytes(body: bytes, kind: type[T]) -> T:
    """A small JSON body that may be missing. RequestRefused with 400 where it is something else."""
    found = _small(msgspec.Raw(body or b"{}"), "the request", kind)
    if found is None:
        raise RequestRefused(400, "the request is null")
    return found


def _split(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    if json_length is None:
        return body, b""
    size = integer(json_length)
    if size is None or size > len(body):
        raise RequestRefused(400, f"{HEADER} is {json_length[:40]!r}, the body has {len(body)} bytes")
    if size == 0:
        raise RequestRefused(
            400, f"{HEADER} is 0: requests of a tensor's bytes alone are not taken, send the JSON before them"
        )
    return body[:size], body[size:]


def _refuse_endless(head: bytes, taken: ServedPort) -> None:
    """Counted before anything is decoded: decoding holds up every thread of the process."""
    rows, values = LARGEST_BATCH * math.prod(taken.shape[:-1]), LARGEST_BATCH * math.prod(taken.shape)
    for byte, most in ((b"[", 2 * rows), (b"{", 0), (b'"', 0), (b",", values)):
        if len(head) > SMALL and (found := count_of(head, byte)) > most + 1000:
            raise RequestRefused(
                400, f"the request has {found} times {byte.decode()!r}: more than the largest batch can have"
            )


def integer(digits: str) -> int | None:
    """A whole number of a header; None for anything else, and for more digits than any length has."""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None


def _decoded(data: bytes | msgspec.Raw, kind: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        possible = _possible(kind, str(error)) if "unknown field" in str(error) else ""
        raise RequestRefused(400, f"{path} is not what the protocol says: {error}{possible}") from error


def _possible(kind: Any, error: str) -> str:
    """The fields where msgspec found one that is none."""
    record = _Tensor if "$.inputs" in error else _Output if kind == list[_Output] else kind
    return f"; possible: {', '.join(record.__struct_fields__)}"


def _small(data: msgspec.Raw, path: str, kind: type[T]) -> T | None:
    """A part of the request that has no reason to be long; None where it is missing or null."""
    if memoryview(data).nbytes > SMALL:
        raise RequestRefused(400, f"{path} is longer than {SMALL} bytes")
    return None if bytes(data) == b"null" else _decoded(data, kind, path)


def _parameters(data: msgspec.Raw, path: str, **known: type) -> dict[str, Any]:
    """Those that are known, each of its type; any other is refused, since to leave it out would be another answer."""
    given = _small(data, path, dict[str, bool | int | float | str | None]) or {}
    for name, value in given.items():
        if name not in known:
            words = ", ".join(known) or "none"
            raise RequestRefused(400, f"{path}: {name[:60]!r} is not done by this server; possible: {words}")
        if value is not None and type(value) is not known[name]:
            raise RequestRefused(400, f"{path}: {name} is {known[name].__name__}, not {value!r}")
    return {name: value for name, value in given.items() if value is not None}


def _wanted_output(data: msgspec.Raw, given: ServedPort, binary: bool) -> tuple[bool, int]:
    """(as bytes?, as how many classes); none named means all, and all is one."""
    outputs = _small(data, "outputs", list[_Output])
    if not outputs:
        return binary, 0
    if [output.name for output in outputs] != [given.name]:
        names = [output.name for output in outputs][:4]
        raise RequestRefused(400, f"outputs {names} were asked for, the model gives {given.name!r}")
    parameters = _parameters(outputs[0].parameters, "outputs[0].parameters", binary_data=bool, classification=int)
    classes = parameters.get("classification", 0)
    if classes < 0:
        raise RequestRefused(400, f"outputs[0].parameters: classification is the number of classes, not {classes}")
    return bool(parameters.get("binary_data", binary)), classes


def _input(tensor: _Tensor, tail: bytes, port: ServedPort) -> Array:
    name = _small(tensor.name, "inputs[0].name", str)
    if name != port.name:
        raise RequestRefused(400, f"input {(name or '')[:60]!r} was given, the model takes {port.name!r}")
    datatype = _small(tensor.datatype, "inputs[0].datatype", str)
    if datatype != port.datatype:
        raise RequestRefused(
            400, f"input {name!r} has datatype {(datatype or '')[:60]!r}, the model takes {port.datatype}"
        )
    shape = tuple(_small(tensor.shape, "inputs[0].shape", list[int]) or ())
    possible = (port.batch, port.batch) if port.batch else (1, LARGEST_BATCH)
    if len(shape) != 1 + len(port.shape) or shape[1:] != port.shape or not possible[0] <= shape[0] <= possible[1]:
        sides = ", ".join(map(str, port.shape))
        batch = (
            f"{port.batch}, {sides}] (exported with --batch {port.batch})"
            if port.batch
            else f"1..{LARGEST_BATCH}, {sides}]"
        )
        raise RequestRefused(400, f"input shape {list(shape[:8])}: the model takes [{batch}")
    array = _array(name, tensor, tail, shape, np.dtype(np.float32 if port.datatype == "FP32" else np.uint8))
    if not np.isfinite(array).all():
        raise RequestRefused(400, f"input {name!r} holds NaN or infinity")
    return array


def _array(name: str, tensor: _Tensor, tail: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = _parameters(tensor.parameters, "inputs[0].parameters", binary_data_size=int).get("binary_data_size")
    data = bytes(tensor.data)
    if size is None:
        if tail:
            raise RequestRefused(400, f"{len(tail)} bytes follow the JSON and no input claims them")
        if not data.startswith(b"["):
            raise RequestRefused(
                400, f"data of {name!r} is missing: a list of numbers, or binary_data_size and the bytes"
            )
        return array_from_json(name, data, shape, dtype)
    wanted = math.prod(shape) * dtype.itemsize
    if data != b"null" or size != wanted or len(tail) != wanted:
        reason = f"binary_data_size {size} and {len(tail)} bytes: shape {list(shape)} needs {wanted}, no data"
        raise RequestRefused(400, reason)
    return array_from_bytes(tail, shape, dtype)


def response_bytes(
    model: str, request: Request, port: ServedPort, values: Array, labels: Sequence[str] = ()
) -> tuple[bytes, dict[str, str]]:
    """Body and headers; as bytes or as classes where the request asks for it."""
    output: dict[str, Any] = {"name": port.name, "datatype": port.datatype, "shape": list(values.shape)}
    if request.classes:
        rows = classes_from_values(values, request.classes, labels)
        data: list[Any] = [text for row in rows for text in row]
        output |= {"datatype": "BYTES", "shape": [len(rows), len(rows[0])]}
        content = bytes_from_texts(data) if request.binary else b""
    else:
        content = np.ascontiguousarray(values, "<f4").tobytes() if request.binary else b""
        data = [] if request.binary else values.ravel().tolist()
    output |= {"parameters": {"binary_data_size": len(content)}} if request.binary else {"data": data}
    document: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": [output]}
    if request.id is not None:
        document["id"] = request.id
    head = msgspec.json.encode(document)
    if not request.binary:
        return head, {"content-type": "application/json"}
    return head + content, {"content-type": "application/octet-stream", HEADER: str(len(head))}
