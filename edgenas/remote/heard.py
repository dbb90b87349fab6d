"""What a board says, checked before it is believed: shapes, ranges, and no control characters for a terminal."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edgenas.errors import EdgenasError
from edgenas.hardware.measure import MeasureError
from edgenas.records import Measurement
from edgenas.remote.job import Answer, Job

T = TypeVar("T")
Milliseconds = Annotated[float, msgspec.Meta(gt=0, le=1e7)]  # nothing that is timed here takes three hours
NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class _Device(msgspec.Struct, frozen=True):
    model: str
    power_mw: dict[str, float]
    power_mode: str


class _Load(msgspec.Struct, frozen=True):
    provider: str


class _Settings(msgspec.Struct, frozen=True):
    runtime: str
    runtime_version: str
    provider: str = ""  # of runtimes that have several


class _Info(msgspec.Struct, frozen=True):
    device: _Device
    runtime: str
    runtime_version: str
    load: _Load


class _Around(msgspec.Struct, frozen=True):
    before: _Device
    after: _Device


class _Detail(msgspec.Struct, frozen=True):
    runs: Annotated[int, msgspec.Meta(ge=1)]
    reference_ms: Annotated[tuple[Milliseconds, ...], msgspec.Meta(min_length=1)]
    round_ms: Annotated[tuple[Milliseconds, ...], msgspec.Meta(min_length=1)]
    settings: _Settings
    device: _Around
    warnings: tuple[str, ...]
    sha256: str
    batch_size: int
    energy_mj: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None


class _Timed(msgspec.Struct, frozen=True):
    status: Literal["ok", "unstable", "throttled"]
    precision: Literal["fp32", "fp16", "int8"]
    samples_ms: Annotated[tuple[Milliseconds, ...], msgspec.Meta(min_length=1)]
    detail: _Detail


def info_from(body: bytes, url: str) -> dict[str, Any]:
    """What an agent said about itself; EdgenasError where something else answered."""
    with _an_agent(url):
        info: dict[str, Any] = printable(msgspec.json.decode(body, type=dict[str, Any]))
        msgspec.convert(info, type=_Info)
    return info


def answer_from(body: bytes, url: str) -> Answer:
    """An agent's answer to a job; EdgenasError where something else answered."""
    with _an_agent(url):
        return msgspec.json.decode(body, type=Answer)


def measurement_of(answer: Answer, job: Job, url: str) -> Measurement:
    """The measurement in an answer, or what went wrong as a MeasureError. EdgenasError where it cannot be one of this job."""
    if answer.id != job.id:
        raise EdgenasError(f"board {url} answers another job than was asked: {printable(answer.id)[:40]}")
    if answer.measurement is None:
        raise MeasureError(answer.status, f"board {url}: {answer.status}: {printable(answer.error)}")
    with _an_agent(url):
        plain = printable(msgspec.to_builtins(answer.measurement))
        detail = msgspec.convert(plain, type=_Timed).detail
        if len(detail.round_ms) != len(detail.reference_ms):
            raise msgspec.ValidationError("it timed the network in other rounds than the reference")
        if detail.sha256 != job.sha256:
            raise msgspec.ValidationError("it timed another file than was sent")
        if detail.batch_size != job.batch_size:
            raise msgspec.ValidationError(f"it timed a batch of {detail.batch_size}, {job.batch_size} was asked for")
        if (plain["profile"], plain["status"]) != (job.profile, answer.status):
            raise msgspec.ValidationError(f"it says {plain['status']} on {plain['profile']} here, and otherwise there")
        return msgspec.convert(plain, type=Measurement)


def printable(value: Any) -> Any:
    """The value with control characters of all its texts escaped: a board's words are shown on a terminal."""
    if isinstance(value, str):
        return NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], value)
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable(item) for item in value]
    return value


@contextlib.contextmanager
def _an_agent(url: str) -> Iterator[None]:
    """One line where what was read is not what an agent says."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EdgenasError(
            f"board {url}: what answers there is no edgenas agent of this version ({printable(str(error))}): check the "
            "address, and install the same edgenas on both sides"
        ) from error
