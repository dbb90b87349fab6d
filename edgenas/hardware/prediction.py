"""What networks take on a device that is not here, as records: behind `edgenas predict` and `edgenas.predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from edgenas.architectures.onnx_file import Shape
from edgenas.architectures.published import PUBLISHED, published_architecture
from edgenas.errors import EdgenasError
from edgenas.files import refuse_folder
from edgenas.hardware.predictor import Row, latencies, row_from_onnx
from edgenas.hardware.profile import checked_precision, precision_of, profile_from_name
from edgenas.hardware.rows import BOTH_SIZES, ZOO, Px, Zoo, no_zoo, rows_from_csv, shapes_at
from edgenas.records import Architecture, HardwareProfile, Latency, Origin, Precision, Record, Workload

LARGEST_BATCH = 1024
Asked = str | Path | Architecture | Workload


class Prediction(Record, frozen=True):
    """One network's latency on a target: `ms` for one run of `batch` images, and where that number comes from.

    `notes`: what a person should know about how it was read, one sentence each.
    """

    name: str
    ms: float
    precision: Precision
    profile: str
    origin: Origin
    extrapolated: bool
    batch: int
    params: int
    macs: int  # of one image
    low: float | None = None  # where nine of ten measurements of such networks lie; None where that was never judged
    high: float | None = None
    notes: tuple[str, ...] = ()


def predictions(
    asked: Asked | Sequence[Asked],
    target: str | Path | HardwareProfile,
    precision: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    zoo: Zoo = no_zoo,
    px: Px | None = None,
) -> tuple[Prediction, ...]:
    """The latency of every network that is named: an ONNX file, a CSV with a column `architecture` (all its rows), an
    architecture or a workload, a published network's name (`mobilenet-v2`) or one that `zoo` knows (`torchvision:resnet18`), or
    several of these.

    `target`: a name, an alias, a profile's file or the profile. `batch`: images per run, left out 1 or what a row of the CSV
    says. `shapes`: sizes of ONNX inputs with free sides. `px`: (height, width) of the images that such a file, or a name of the
    zoo, takes. `zoo`: edgenas.networks.zoo.row_from_zoo where torch is there.
    Raises EdgenasError, in one line, for what cannot be predicted.
    """
    if batch is not None and not 1 <= batch <= LARGEST_BATCH:
        raise EdgenasError(f"a batch of {batch} images was asked for: possible are 1 to {LARGEST_BATCH}")
    if px is not None and shapes:
        raise EdgenasError(BOTH_SIZES)
    profile = target if isinstance(target, HardwareProfile) else profile_from_name(str(target))
    several = [asked] if isinstance(asked, str | Path | Workload | Architecture) else list(asked)
    rows = [row for one in several for row in _rows(one, shapes or {}, zoo, px)]
    if batch is not None:
        rows = [msgspec.structs.replace(row, batch=batch) for row in rows]
    return _predicted(profile, rows, checked_precision(precision))


def precision_of_row(profile: HardwareProfile, row: Row, asked: Precision | None) -> Precision:
    """The precision that a network runs at: a quantised or half-precision file's own, else what is asked.

    Raises EdgenasError where the file (or the row) and what is asked differ, or where the device cannot do it.
    """
    if row.ran_in is not None:
        if asked not in (None, row.ran_in):
            raise EdgenasError(
                f"{row.name} is said to run in {row.ran_in}, and {asked} was asked for: leave --precision out"
            )
        asked = row.ran_in
    if row.precision == "fp32":
        return precision_of(profile, asked)
    if asked not in (None, row.precision):
        raise EdgenasError(
            f"{row.name} computes in {row.precision} by its own nodes, {asked} was asked for: leave --precision out, "
            "or give the FP32 file"
        )
    if row.precision not in profile.precisions:
        raise EdgenasError(
            f"{row.name} computes in {row.precision} by its own nodes, and {profile.name} has "
            f"{' and '.join(profile.precisions)} only: give the FP32 file"
        )
    return row.precision


def _rows(asked: Asked, shapes: Mapping[str, Shape], zoo: Zoo, px: Px | None) -> list[Row]:
    if isinstance(asked, Workload | Architecture):
        name = "the workload" if isinstance(asked, Workload) else asked.fingerprint
        return [Row(name, asked)] if px is None else refuse_size(name)
    if str(asked).startswith(ZOO):
        return [zoo(str(asked), px)]
    if asked in PUBLISHED:
        return [Row(str(asked), published_architecture(str(asked)))] if px is None else refuse_size(str(asked))
    path = Path(asked)
    refuse_folder(path, (".onnx", ".csv"))
    if path.suffix.lower() == ".onnx":
        return [row_from_onnx(path, shapes if px is None else shapes_at(path, path.name, px, "--image-size"))]
    return rows_from_csv(path, measured=False, shapes=shapes, zoo=zoo) if px is None else refuse_size(str(path))


def refuse_size(name: str) -> NoReturn:
    """Raise EdgenasError for an image size beside what has its own."""
    raise EdgenasError(
        f"--image-size is for torchvision:NAME, timm:NAME and ONNX files with free sides: {name} has its own size (a table in "
        "its column input_px)"
    )


def _predicted(profile: HardwareProfile, rows: Sequence[Row], asked: Precision | None) -> tuple[Prediction, ...]:
    """Every row at the precision that it runs at; rows of one precision are predicted together."""
    at = [precision_of_row(profile, row, asked) for row in rows]
    known: dict[int, Latency] = {}
    for one in sorted(set(at)):
        places = [place for place, precision in enumerate(at) if precision == one]
        known |= dict(zip(places, latencies(profile, [rows[place] for place in places], one), strict=True))
    return tuple(_prediction(row, at[place], known[place]) for place, row in enumerate(rows))


def _prediction(row: Row, precision: Precision, latency: Latency) -> Prediction:
    return Prediction(
        name=row.name,
        ms=latency.ms,
        precision=precision,
        profile=latency.profile,
        origin=latency.origin,
        extrapolated=latency.extrapolated,
        batch=row.batch,
        params=row.params if row.params is not None else row.workload.params if row.connected else 0,
        macs=row.workload.macs if row.connected else 0,
        low=latency.low,
        high=latency.high,
        notes=notes_of(row),
    )


def notes_of(row: Row) -> tuple[str, ...]:
    """What a file's own precision and batch mean for its prediction."""
    notes = []
    if row.precision != "fp32":
        notes.append(f"{row.name} computes in {row.precision}, and is predicted at it")
    if row.fixed_batch > 1:
        images = "that of one image" if row.batch == 1 else f"that of {row.batch} images in one run"
        notes.append(f"{row.name} is made for batches of {row.fixed_batch}; the latency is {images}")
    return tuple(notes)
