"""The bundle: a folder that is all deployment knows. Written whole or not at all; read only if every byte is as it was written.

`manifest.json` holds the SHA-256 of every other file and of its own canonical form (keys sorted, no spaces, UTF-8, the field
`sha256` left out). No pickles, no code, no files outside the folder. Hashes show damage and mix-ups; they are no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgenas.bundle_contents import Shape, check_golden, check_name, check_ports, check_preprocessing, check_sizes
from edgenas.durable import (
    alone_in,
    contents,
    folder_beside,
    has_to_stay,
    put_in_place,
    recover,
    replace_file,
    stood_aside,
    try_folder,
    write_files,
)
from edgenas.errors import BundleError, EdgenasError
from edgenas.files import read_bytes, read_npz
from edgenas.identity import canonical_json
from edgenas.records import (
    ACCURACY,
    TAR,
    Architecture,
    Artifact,
    Latency,
    Metric,
    Precision,
    Preprocessing,
    Record,
    TaskKind,
)
from edgenas.runtimes.operators import check_safe

SCHEMA = 1
MANIFEST, GOLDEN, PARITY, CARD = "manifest.json", "golden.npz", "parity.json", "model_card.md"
MODEL_FILES: dict[Precision, str] = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
OTHERS = ("faces.json", CARD)  # files that a bundle may hold besides
# Names that a bundle's folder may hold.
KNOWN = {MANIFEST, f"{MANIFEST}.new", GOLDEN, PARITY, *MODEL_FILES.values(), *OTHERS}
LARGEST_MANIFEST, LARGEST_GOLDEN, LARGEST_FILE = 16_000_000, 256_000_000, 2**31  # bytes


class Parity(Record, frozen=True):
    """How far one file is from the torch network; shares are fractions.

    `max_rel` is relative to the largest value of its output row. Figures of INT8 are over real images alone;
    `top1_agreement` always is.
    """

    precision: Precision
    max_abs: float
    max_rel: float
    cosine: float
    top1_agreement: float
    inputs: int
    images: int
    tolerance: float | None
    passed: bool


class Score(Record, frozen=True):
    """One figure of quality: of which split, over how many images, computed by what; `interval`: its 95 % interval, if known."""

    metric: str
    value: float
    split: str
    n: int
    runtime: str
    interval: tuple[float, float] | None = None


class CalibrationImages(Record, frozen=True):
    """What the INT8 scales were taken from."""

    images: int
    split: str


class Model(Record, frozen=True):
    """One precision of the network: its file and what is known of it."""

    artifact: Artifact
    scores: tuple[Score, ...] = ()
    latencies: tuple[Latency, ...] = ()
    calibration: CalibrationImages | None = None
    weight_bits: int | None = None  # of INT8: 8, or 7 where no 16-bit sum may overflow


class Threshold(Record, frozen=True):
    """Cosine above which two faces are the same person, for a false accept rate, as calibrated on `pairs` impostor pairs."""

    value: float
    far: float
    interval: tuple[float, float] | None
    pairs: int
    data: str
    precision: Precision | None = None  # of the file whose embeddings were compared; None: nobody wrote it down


class Manifest(Record, frozen=True):
    """All that is said about a bundle."""

    name: str
    task: str
    architecture: Architecture
    fingerprint: str
    input: Literal["float32", "uint8"]  # (N, C, H, W) normalised as in preprocessing, or (N, H, W, C) pixels
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    models: dict[Precision, Model]
    chosen_precision: Precision
    profile: str
    data: str
    files: dict[str, str] = msgspec.field(default_factory=dict)  # path -> SHA-256
    data_license: str = ""
    recipe: str = ""
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    threshold: Threshold | None = None
    schema: int = SCHEMA
    sha256: str = ""
    left_out: dict[Precision, str] = {}  # what was asked for and did not pass, with the reason
    kind: TaskKind | None = None  # None in a bundle of before there were tasks of other packages: its task's
    metric: Metric | None = None  # likewise
    batch: int | None = None  # images that every file takes at a time; None: any number


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    parity: dict[Precision, Parity]

    @property
    def kind(self) -> TaskKind:
        """What can be done with the model's outputs; "generic" where nothing more is known than that they are numbers."""
        kind, task = self.manifest.kind, self.manifest.task
        return kind or ("faces" if task == "faces" else "classification" if task == "classification" else "generic")

    @property
    def metric(self) -> Metric:
        """That of the models' scores."""
        return self.manifest.metric or (TAR if self.kind == "faces" else ACCURACY)

    def path(self, precision: Precision) -> Path:
        """The ONNX file of this precision; BundleError where the bundle has none."""
        models = self.manifest.models
        if precision not in models:
            raise BundleError(f"{self.folder} holds no {precision} model: possible are {', '.join(sorted(models))}")
        return self.folder / models[precision].artifact.path

    def golden(self) -> dict[str, NDArray[Any]]:
        """`inputs` and, under each precision's name, the outputs that ONNX Runtime gave when the bundle was written."""
        return read_npz(self.folder / GOLDEN, LARGEST_GOLDEN)


# ---------------------------------------------------------------- writing


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write everything beside `folder`, read it back, and only then put it in place (of an older bundle, if there is one).

    At every moment, a kill or a power cut included, `folder` is the whole older bundle or the whole new one.
    """
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    with _says_what_to_do(folder):
        recover(folder, KNOWN)
        check_destination(folder)
        with folder_beside(folder) as partial:
            text = sealed(msgspec.structs.replace(manifest, files=hashes))
            write_files(partial, {**files, MANIFEST: text})
            read_bundle(partial)
            put_in_place(partial, folder)
    return read_bundle(folder)


def rewrite_manifest(bundle: Bundle, manifest: Manifest) -> Bundle:
    """The same files under another manifest, such as one with a threshold. BundleError where the folder holds another bundle by
    now."""
    folder = bundle.folder
    with _says_what_to_do(folder), alone_in(folder):
        if _read_manifest(folder) != bundle.manifest:
            raise BundleError(f"{folder} was written anew meanwhile, nothing was changed: do this again")
        replace_file(folder / MANIFEST, sealed(manifest))
    return read_bundle(folder)


def check_destination(folder: Path) -> None:
    """Raise BundleError where a bundle cannot be written, or would destroy something else."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} is not a folder: choose another --out")
    with _says_what_to_do(folder):
        there = contents(folder) if folder.is_dir() else set()
        if there and not {MANIFEST, PARITY} <= there:
            raise BundleError(f"{folder} is not empty and holds no bundle: choose another --out")
        if others := sorted(there - KNOWN):
            raise BundleError(f"{folder} holds {others[0]}, too, which is no part of a bundle: choose another --out")
        if why := has_to_stay(folder):
            raise BundleError(
                f"{folder} {why}, and a bundle takes the place of its folder: choose another --out, such as {folder / 'bundle'}"
            )
        try_folder(folder.absolute().parent, parents=True)


def sealed(manifest: Manifest) -> bytes:
    """The text of manifest.json, with the hash of its canonical form in it."""
    return _sealed(msgspec.to_builtins(manifest))


def _sealed(fields: dict[str, Any]) -> bytes:
    fields = {name: value for name, value in fields.items() if name != "sha256"}
    fields["sha256"] = hashlib.sha256(canonical_json(fields)).hexdigest()
    return msgspec.json.format(canonical_json(fields), indent=2) + b"\n"


@contextmanager
def _says_what_to_do(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{folder}: {error.strerror}: nothing was written; make room or choose another --out"
        ) from error


# ---------------------------------------------------------------- reading


def read_bundle(folder: Path) -> Bundle:
    """A bundle of which every file is as it was written and safe to load; BundleError otherwise."""
    manifest = _read_manifest(folder)
    for name, wanted in manifest.files.items():
        content = _read(folder, name)
        if hashlib.sha256(content).hexdigest() != wanted:
            raise BundleError(f"{folder}/{name} was changed after it was exported (SHA-256 differs): export it again")
    parities = {parity.precision: parity for parity in _decoded(folder, manifest, PARITY, tuple[Parity, ...])}
    for precision, model in manifest.models.items():
        _check_model(folder, manifest, model)
        if model.artifact.precision != precision or precision not in parities or not parities[precision].passed:
            raise BundleError(f"{folder}: the {precision} model has no proof of parity: export it again")
    bundle = Bundle(folder, manifest, parities)
    _check_contents(bundle)
    return bundle


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        old = stood_aside(folder)
        if old.is_dir() and not folder.exists():
            raise BundleError(f"{folder} was being replaced when its writer was killed: rename {old} to {folder}")
        raise BundleError(
            f"{folder} holds no bundle (no {MANIFEST}): give the folder that `edgenas export --out` wrote"
        )
    content = _read(folder, MANIFEST, LARGEST_MANIFEST)
    try:
        fields = msgspec.json.decode(content, type=dict[str, Any])
        if (found := fields.get("schema")) != SCHEMA:
            raise BundleError(
                f"{path} has schema {found!r}, this edgenas reads {SCHEMA}: use the edgenas that wrote it"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    if _sealed(fields) != content:  # of the text, not of the record: a field that came later is not in an older bundle
        raise BundleError(f"{path} was changed after it was written (its own SHA-256 differs): export the bundle again")
    return manifest


def _read(folder: Path, name: str, largest: int = LARGEST_FILE) -> bytes:
    """A file of the bundle, which must really lie in the folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or not pure.parts:
        raise BundleError(f"{folder}: the manifest names {name!r}, which is outside the bundle: do not use it")
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{folder}: {name!r} points outside the bundle: do not use it")
    except (OSError, RuntimeError) as error:  # a link to itself; Python 3.13 calls it an OSError
        raise BundleError(f"{folder}: {name!r} cannot be followed ({error}): export it again") from error
    try:
        return read_bytes(path, largest)
    except EdgenasError as error:
        raise BundleError(f"{error}: export it again") from error


def _decoded(folder: Path, manifest: Manifest, name: str, type_: Any) -> Any:
    if name not in manifest.files:
        raise BundleError(f"{folder} has no {name}: export it again")
    try:
        return msgspec.json.decode(_read(folder, name), type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{folder}/{name} is damaged: {error}") from error


def _check_model(folder: Path, manifest: Manifest, model: Model) -> None:
    """The file is the one described: hash, opset, input and output; and nothing in it is unsafe."""
    artifact = model.artifact
    name = f"{folder}/{artifact.path}"
    if manifest.files.get(artifact.path) != artifact.sha256:
        raise BundleError(f"{name} is not the file that its entry describes (SHA-256 differs): export it again")
    try:
        graph = onnx.load_model_from_string(_read(folder, artifact.path))
        onnx.checker.check_model(graph)
    except (DecodeError, onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise BundleError(f"{name} is no valid ONNX file: {' '.join(str(error).split())[:200]}") from error
    check_safe(graph, name, BundleError)
    check_ports(graph.graph, manifest.input, name)
    if artifact_from_onnx(graph, artifact) != artifact:
        raise BundleError(f"{name} has another opset, input or output than the manifest says: export it again")
    check_sizes(graph, _ends(artifact)[0], name)


def artifact_from_onnx(model: onnx.ModelProto, known: Artifact) -> Artifact:
    """`known` with what the model itself says in place of opset, inputs and outputs."""
    return msgspec.structs.replace(
        known,
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0),
        inputs={value.name: _shape(value) for value in model.graph.input},
        outputs={value.name: _shape(value) for value in model.graph.output},
    )


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)


def _check_contents(bundle: Bundle) -> None:
    """Name, preprocessing, golden values, labels and the chosen precision fit the models."""
    manifest, folder = bundle.manifest, str(bundle.folder)
    check_name(manifest.name, folder)
    bundle.path(manifest.chosen_precision)
    shapes: dict[str, tuple[Shape, Shape]] = {name: _ends(model.artifact) for name, model in manifest.models.items()}
    for given, _ in shapes.values():
        check_preprocessing(manifest.preprocessing, manifest.input, given, folder, manifest.batch)
    try:
        golden = bundle.golden()
    except EdgenasError as error:
        raise BundleError(f"{error}: export it again") from error
    check_golden(golden, manifest.input, shapes, f"{folder}/{GOLDEN}")
    if bundle.kind == "classification":
        width = shapes[manifest.chosen_precision][1][1]
        if len(manifest.labels) != width:
            raise BundleError(f"{folder}: {len(manifest.labels)} labels for {width} outputs: export it again")


def _ends(artifact: Artifact) -> tuple[Shape, Shape]:
    """Shapes of the model's input and output, of which it has one each."""
    (given,), (made,) = artifact.inputs.values(), artifact.outputs.values()
    return given, made
