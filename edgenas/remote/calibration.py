"""A board made known: designed networks are made, measured there and kept, in one go that can be interrupted.

What was measured is kept line by line beside the profile; the same command reads it and goes on with what is missing.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgenas.errors import EdgenasError
from edgenas.files import read_bytes
from edgenas.hardware.calibrate import MIN_SAMPLES, profile_to_calibrate
from edgenas.hardware.calibration import Calibrated, as_it_ran, calibration, unstable
from edgenas.hardware.candidates import model_of
from edgenas.hardware.designed import Designed, designed_network
from edgenas.hardware.measure import (
    SPREAD_TO_DEVIATION,
    MeasureError,
    Say,
    Timing,
    latency_from_measurement,
    no_one,
    spread,
)
from edgenas.hardware.predictor import Row
from edgenas.hardware.profile import HOST_CPU
from edgenas.ranges import check_seed
from edgenas.records import HardwareProfile, Measurement, Precision, Record
from edgenas.remote.boards import open_board, refuse_without_board
from edgenas.remote.client import BoardAway
from edgenas.remote.here import Here
from edgenas.remote.job import job_for, runtime_of

if TYPE_CHECKING:
    from edgenas.remote.client import Board

SHORT = Timing(
    runs=20, seconds=0.3, rounds=10, warmup_runs=3, warmup_seconds=0.05
)  # judged by the ratio to the reference
SAMPLES = 50  # designed networks that a board is asked to measure
# Of a busy or full board, of the way to it, or of what its agent allows (size, memory): asked again when the command runs again.
PASSING = ("timeout", "mismatch", "refused", "oom")
LARGEST = 64 * 10**6  # bytes
MOST_SAMPLES = 1000


def kept_beside(profile: Path) -> Path:
    """Where a board's measurements are kept: beside the profile that is made of them."""
    return profile.with_name(f"{profile.stem}.measured.jsonl")


class Line(Record, frozen=True):
    """One network on the board: which, at what precision, the model's hash, and `ms` or why there is none."""

    number: int
    seed: int
    precision: Precision
    sha256: str
    name: str
    ms: float | None = None
    spread: float = 0.0
    status: str = "ok"
    error: str = ""
    host: str = ""
    runtime: str = ""
    reference_ms: float | None = None  # of the first measurement, to which all others are held
    ran: str = ""  # runtime, threads and power mode; "" in files of earlier versions


def calibration_by_board(
    url: str,
    out: Path,
    target: str | None = None,
    *,
    new: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    shapes: object = None,
    token_file: Path | None = None,
    ca: Path | None = None,
    say: Say = no_one,
) -> Calibrated:
    """The same of the board at `url`, or of this machine (host-cpu); what is measured is kept beside `out`, the profile to be.
    EdgenasError for what belongs to measurements that are there: a runtime, shapes."""
    if runtime is not None or shapes:
        raise EdgenasError("--runtime and --shape belong to measurements that are there: a board says what it runs")
    if url == HOST_CPU:
        refuse_without_board(token_file, ca, here=True)
    board = Here(say=say) if url == HOST_CPU else open_board(url, token_file, ca, say)
    count = SAMPLES if samples is None else samples
    kept = kept_beside(out)
    return calibration_of_board(board, kept, target, new=new, precision=precision, samples=count, seed=seed, say=say)


def calibration_of_board(
    board: Board,
    kept: Path,
    target: str | None = None,
    *,
    new: str | None = None,
    precision: str | None = None,
    samples: int = 50,
    seed: int = 0,
    timing: Timing | None = None,
    say: Say = no_one,
) -> Calibrated:
    """The profile of `target` (or of a `new` device) calibrated on `samples` designed networks, measured on the board now.

    Four in five are fitted, the others judge. `kept`: where measurements are written as they come, and read again. How many
    could not be measured, or are unstable, is among the warnings. Raises EdgenasError where the board does not run what the
    target's profile describes.
    """
    info = board.info()
    runtime = str(info["runtime"])
    at = precision if new is None or precision is not None else "fp32"
    profile = profile_to_calibrate(target, new, runtime if new is not None else None, at)
    if profile.runtime != runtime:
        ssh = board.url.startswith("ssh://")
        other = (
            f"ask for {board.url}{'&' if '?' in board.url else '?'}runtime="
            if ssh
            else "start the agent with --runtime "
        )
        raise EdgenasError(
            f"{profile.name} describes {profile.runtime}, and board {board.url} runs {runtime}: {other}{profile.runtime}, or "
            "make a profile of your own with --new NAME"
        )
    say(f"board {board.url}: {info['device']['model']}, {runtime} {info['runtime_version']}, {profile.precision}")
    rows = rows_from_board(board, profile, samples, seed, kept, timing=timing or SHORT, say=say)
    source = f"{len(rows)} designed networks on {info['device']['model']}, {runtime} {info['runtime_version']}"
    result = calibration(
        rows,
        target,
        new=new,
        runtime=runtime if new is not None else None,
        precision=at,
        seed=seed,
        source=source,
    )
    measured = as_it_ran(result.profile, str(info["runtime_version"]), info["load"], info["device"])
    failed = samples - len(rows)
    lacking = (f"{failed} of {samples} networks could not be measured, and are left out",) if failed else ()
    warnings = (*lacking, *unstable(rows, samples), *result.warnings)
    return msgspec.structs.replace(result, profile=measured, warnings=warnings)


def rows_from_board(
    board: Board,
    profile: HardwareProfile,
    samples: int,
    seed: int,
    kept: Path,
    *,
    timing: Timing = SHORT,
    say: Say = no_one,
) -> list[Row]:
    """Measured rows of `samples` designed networks, in the profile's precision; what `kept` holds already is not measured again.

    Raises EdgenasError where the board goes away (what was measured stays), and where it is another one than in `kept`, or
    measures in another way.
    """
    check_seed(seed)
    if not MIN_SAMPLES <= samples <= MOST_SAMPLES:
        raise EdgenasError(f"{samples} networks were asked for: possible are {MIN_SAMPLES} to {MOST_SAMPLES}")
    known = lines_from_file(kept)
    info = board.info()
    host = str(info["device"]["model"])
    others = {line.host for line in known if line.host} - {host}
    if others:
        raise EdgenasError(
            f"{kept} is of another board ({others.pop()}; here: {host}): name another --out, or remove it"
        )
    ran = _ran(info)
    for other in sorted({line.ran for line in known if line.ran} - {ran}):
        raise EdgenasError(
            f"{kept} was measured with {other}, and the board now has {ran}: set it as it was, name another --out, or remove "
            "the file"
        )
    if known:
        say(f"{kept} holds {len(known)} measurements: going on from there")
    rows: list[Row] = []
    baseline_ms = next((line.reference_ms for line in known if line.reference_ms is not None), None)
    for number in range(samples):
        designed = designed_network(number, seed)
        model = model_of(designed.workload, profile, profile.precision)
        line = _find(known, model, number, seed, profile.precision)
        if line is None:
            progress = f"{len(rows)} of {samples}"
            line = _measured(board, designed, model, profile, seed, baseline_ms, timing, runtime_of(info), progress)
            line = msgspec.structs.replace(line, ran=ran)
            _keep(kept, line)
            say(_words(line, number, samples))
        baseline_ms = baseline_ms if baseline_ms is not None else line.reference_ms
        if line.ms is None:
            continue
        noise = None if line.status == "ok" else line.spread / SPREAD_TO_DEVIATION
        rows.append(Row(designed.name, designed.workload, line.ms, noise=noise, ran_in=profile.precision))
    return rows


def _ran(info: dict[str, Any]) -> str:
    """What decides a board's milliseconds beside the board itself."""
    load = info["load"]
    mode = info["device"].get("power_mode")
    how = f"{info['runtime']} {info['runtime_version']} ({load['provider']}), {load.get('threads', 1)} threads"
    return how + (f", power mode {mode}" if mode else "")


def _find(known: list[Line], model: bytes, number: int, seed: int, precision: Precision) -> Line | None:
    """What was kept of this very model; not what failed for a reason that passes."""
    sha256 = hashlib.sha256(model).hexdigest()
    return next((one for one in known if (one.number, one.seed, one.precision, one.sha256)
                 == (number, seed, precision, sha256) and one.status not in PASSING), None)  # fmt: skip


def _measured(
    board: Board,
    designed: Designed,
    model: bytes,
    profile: HardwareProfile,
    seed: int,
    baseline_ms: float | None,
    timing: Timing,
    runtime: str,
    progress: str,
) -> Line:
    line = Line(designed.number, seed, profile.precision, hashlib.sha256(model).hexdigest(), designed.name)
    try:
        tries = [board.measure(model, job_for(model, profile.name[:100], timing, runtime=runtime))]
        if not tries[0].stable:  # a busy moment may have passed
            again = job_for(model, profile.name[:100], timing, repeat=1, runtime=runtime)
            with suppress(MeasureError):  # the first one is there
                tries.append(board.measure(model, again))
        measurement = min(tries, key=lambda one: (not one.stable, spread(one.samples_ms)))
    except BoardAway as away:
        raise EdgenasError(
            f"{away}: {progress} networks are measured and kept; run the same command to go on"
        ) from away
    except MeasureError as error:
        return msgspec.structs.replace(line, status=error.status, error=str(error)[:500])
    reference_ms = _reference_ms(measurement)
    latency = latency_from_measurement(measurement, baseline_ms if baseline_ms is not None else reference_ms)
    return msgspec.structs.replace(
        line,
        ms=latency.ms,
        spread=latency.spread or 0.0,
        status=measurement.status,
        host=measurement.host,
        runtime=measurement.runtime,
        reference_ms=reference_ms,
    )


def _reference_ms(measurement: Measurement) -> float:
    from statistics import median

    return float(median(measurement.detail["reference_ms"]))


def _words(line: Line, number: int, samples: int) -> str:
    result = f"{line.ms:.4g} ms" if line.ms is not None else f"not measured: {line.error}"
    shaky = f", {line.status}" if line.ms is not None and line.status != "ok" else ""
    return f"{number + 1}/{samples} {line.name}: {result}{shaky}"


# ---------------------------------------------------------------- the file of measurements


def lines_from_file(path: Path) -> list[Line]:
    """What was kept; a last line that was cut off by a crash is left out."""
    if not path.exists():
        return []
    content = read_bytes(path, LARGEST)
    whole, _, _ = content.rpartition(b"\n")
    try:
        return [msgspec.json.decode(line, type=Line) for line in whole.splitlines() if line]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EdgenasError(f"{path} is no file of measurements ({error}): name another --out, or remove it") from error


def _keep(path: Path, line: Line) -> None:
    """Append, and have it on the disk; where a crash had cut a line off, that is taken away first."""
    try:
        with path.open("ab") as file:
            if file.tell() and not _ends_whole(path):
                content = path.read_bytes()
                file.truncate(content.rfind(b"\n") + 1)
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EdgenasError(f"{path} cannot be written: {error.strerror}") from error


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
