"""Where files come in; run in the process of child.py.

A door gets a file's content and its target's folder, where `base` is prepared.

It returns where the file was accepted, raises EdgenasError where it was refused, SilentChangeError where it means something else
now than it should. Whatever else it raises is a fault.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
import math
import shutil
import zipfile
from pathlib import Path
from typing import Any

from tests.fuzz.child import edgenas
from tests.fuzz.engine import SilentChangeError

NETWORKS = "architecture\n|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|\n"
NETWORKS += "fbnet:0123456780123456780123\n"


def _written(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def _numbers(value: Any, path: str = "") -> None:
    """All numbers of a result are finite; JSON's null stands for those that are not, where none is missing by design."""
    if isinstance(value, dict):
        for key, item in value.items():
            _numbers(item, f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _numbers(item, f"{path}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise SilentChangeError(f"{path} of the result is {value}")


def _latency(entry: dict[str, Any]) -> None:
    if not isinstance(entry["ms"], int | float) or not 0 < entry["ms"] < 1e12:
        raise SilentChangeError(f"a latency of {entry['ms']!r} ms")


# ---------------------------------------------------------------- text


def profile(content: bytes, folder: Path) -> None:
    table = _written(folder, "nets.csv", NETWORKS.encode())
    for entry in json.loads(edgenas("predict", table, "--target", _written(folder, "p.toml", content), "--json")):
        _latency(entry)


def recipe(content: bytes, folder: Path) -> None:
    from edgenas.training.recipes import recipe_from_name

    found = recipe_from_name(_written(folder, "r.toml", content), _digits(), "cpu")
    _numbers([found.lr, found.weight_decay, found.warmup_epochs, found.epochs, found.batch_size])


@functools.cache
def _digits() -> Any:
    from edgenas.tasks import TaskSettings
    from edgenas.tasks.classification import load_classification

    return load_classification(TaskSettings("digits"))


def project(content: bytes, folder: Path) -> None:
    """`edgenas search FILE` as far as its images, of which there are none; then what it goes on with."""
    from edgenas.engine.registry import method_named
    from edgenas.engine.settings import PRESETS, chain_space, preset_of, settings_from
    from edgenas.errors import EdgenasError
    from edgenas.records import Classes

    file = _written(folder, "edgenas.toml", content)
    try:
        edgenas("search", file, "--data", str(folder / "none"), "--study", str(folder / "study"))
    except EdgenasError:
        pass
    else:
        raise SilentChangeError("a search without images came to its end")
    settings = settings_from(Path(file), {})
    spec = method_named(settings.method)
    preset = preset_of(settings, spec, on_gpu=False)
    if spec.plan is None:
        chain_space(settings, PRESETS[preset], Classes(10), 1, settings.image_size or 8)
    if settings.method != "nse":  # whose rules follow from its data
        spec.as_planned(preset, settings.rules)


def architecture(content: bytes, folder: Path) -> None:
    file = _written(folder, "net.json", content)
    document = json.loads(edgenas("describe", file, "--target", "jetson-nano-4gb", "--json"))
    _numbers(document)
    _latency(document["latency"])


def trace(content: bytes, folder: Path) -> None:
    _numbers(json.loads(edgenas("replay", _written(folder, "trace.json", content), "--json")))


def csv(content: bytes, folder: Path) -> None:
    table, out = _written(folder, "t.csv", content), str(folder / "out.toml")
    new = ("--new", "board", "--runtime", "tflite", "--precision", "fp32")
    _numbers(json.loads(edgenas("calibrate", *new, "--measurements", table, "--out", out, "--json")))
    nets = _written(folder, "nets.csv", NETWORKS.encode())
    for entry in json.loads(edgenas("predict", nets, "--target", out, "--json")):
        _latency(entry)


# ---------------------------------------------------------------- networks, tables


def onnx(content: bytes, folder: Path) -> None:
    from edgenas.architectures.from_onnx import workload_from_onnx

    file = _written(folder, "net.onnx", content)
    document = json.loads(edgenas("describe", file, "--json"))
    _numbers(document)
    if document["macs"] != workload_from_onnx(file).macs or document["macs"] < 0 or document["params"] < 0:
        raise SilentChangeError(f"{document['macs']} MACs and {document['params']} parameters")


def teacher(content: bytes, folder: Path) -> None:
    """The exact reading of a file, as a teacher or a reference: its weights fit the network that is made of it."""
    from edgenas.networks import network_from_architecture
    from edgenas.networks.public import network_in_file
    from edgenas.records import Preprocessing

    found = network_in_file(Path(_written(folder, "t.onnx", content)), Preprocessing(3, 32, (0.5,) * 3, (0.5,) * 3))
    if found.architecture.workload.params < 10**7:
        network = network_from_architecture(found.architecture)
        network.load_state_dict(network.state_dict() | found.tensors)


def cells(content: bytes, folder: Path) -> None:
    from edgenas.methods.nal_table import table_from_npz

    _table_of_cells(table_from_npz(Path(_written(folder, "t.npz", content))))


def tfrecord(content: bytes, folder: Path) -> None:
    from edgenas.methods.nal_layouts import table_from_tfrecord

    _table_of_cells(table_from_tfrecord(Path(_written(folder, "t.tfrecord", content))))


def nats(content: bytes, folder: Path) -> None:
    from edgenas.methods.nal_layouts import table_from_nats

    (folder / "nats").mkdir(exist_ok=True)
    _written(folder / "nats", "000000.pickle.pbz2", content)
    _table_of_cells(table_from_nats(folder / "nats"))


def _table_of_cells(table: Any) -> None:
    import numpy as np

    if len(table.cells) != len(table.accuracy) or not np.isfinite(table.accuracy).all():
        raise SilentChangeError(f"{len(table.cells)} cells, accuracies {table.accuracy[:5]}")


# ---------------------------------------------------------------- images


def picture(content: bytes, _: Path) -> None:
    """The two readers of single pictures: for faces, and for what a classifier is sent."""
    from edgenas.errors import EdgenasError
    from edgenas.faces.images import image_from_bytes
    from edgenas.preprocessing import pixels_from_image
    from edgenas.records import Preprocessing
    from edgenas.serve.errors import RequestRefused
    from edgenas.serve.images import image_from_bytes as sent_image

    errors: list[Exception] = []
    try:
        image_from_bytes(content)
    except EdgenasError as error:
        errors.append(error)
    try:
        for channels, fit in ((1, "crop"), (3, "stretch")):
            values = (0.5,) * channels
            pixels = pixels_from_image(sent_image(content), Preprocessing(channels, 32, values, values, fit=fit))
            if pixels.shape != (32, 32, channels):
                raise SilentChangeError(f"pixels of shape {pixels.shape}")
    except (EdgenasError, RequestRefused) as error:
        errors.append(error)
    if any("\n" in str(error) for error in errors):
        raise AssertionError(f"more than a line: {errors}")
    if errors:
        raise errors[0]


def image_folder(content: bytes, folder: Path) -> None:
    """A damaged file among whole ones: refused by its name, or one image of so many."""
    root = folder / "images"
    if not root.exists():
        shutil.copytree(folder / "base", root)
    _written(root, "a/odd.png", content)
    facts = json.loads(edgenas("data", str(root), "--json"))
    if sum(facts["classes"].values()) != len([*root.rglob("*.png")]):
        raise SilentChangeError(f"{facts['classes']} of {len([*root.rglob('*.png')])} images")


# ---------------------------------------------------------------- databases


def study(content: bytes, folder: Path) -> None:
    """What `edgenas front` prints, and every record, are as they were, or it is refused."""
    from edgenas.records import Decision
    from edgenas.store import Store

    place = folder / "s"  # `front` prints it, so that both have the same
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "base", place)
    (place / "study.db").write_bytes(content)
    printed = edgenas("front", str(place), "--json")
    with Store.read(place) as store:
        records = (store.study, store.trials(), store.all("decision", Decision), store.choice)
    wanted = _whole_study(folder)
    if (printed, records) != wanted:
        raise SilentChangeError(f"{printed[:300]} instead of {wanted[0][:300]}")


@functools.cache
def _whole_study(folder: Path) -> tuple[str, Any]:
    from edgenas.records import Decision
    from edgenas.store import Store

    place = folder / "whole" / "s"
    shutil.copytree(folder / "base", place)
    printed = edgenas("front", str(place), "--json").replace(str(place), str(folder / "s"))
    with Store.read(place) as store:
        return printed, (store.study, store.trials(), store.all("decision", Decision), store.choice)


def sealed_gallery(content: bytes, folder: Path) -> None:
    """With its key: the people and their faces are those that were enrolled."""
    from edgenas.faces.vault import Vault

    people = _people(content, folder, Vault(bytes(range(32))))
    if people != (["Chief", "Guest", "Mallory"] if content else []):  # an empty file is a new gallery
        raise SilentChangeError(f"the gallery knows {people}")


def gallery(content: bytes, folder: Path) -> None:
    """Without a key: whatever it says, it opens and answers, or is refused."""
    _people(content, folder, None)


def _people(content: bytes, folder: Path, vault: Any) -> list[str]:
    from edgenas.faces.gallery import Gallery
    from tests.faces.test_gallery import DIM, MODEL, embeddings

    for name in ("g.db-wal", "g.db-shm"):
        (folder / name).unlink(missing_ok=True)
    file = Path(_written(folder, "g.db", content))
    known = embeddings(6)
    with Gallery(file, MODEL, DIM, vault) as opened:
        names = [person.name for person in opened.people()]
        for place, face in enumerate(known):
            found = opened.identify(face, 0.5)
            if content and vault is not None and (not found or found[0].name != names[place // 2]):
                raise SilentChangeError(f"the face of {names[place // 2]} is said to be {found}")
    return sorted(names)


# ---------------------------------------------------------------- bundles


def bundle(content: bytes, folder: Path) -> str:
    """`content` is a zip of the files that are other ones; every hash is made right again. Accepted is what then serves."""
    place = folder / "bundle"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "base", place)
    reseal(place, content)
    edgenas("bundle", "verify", str(place), "--json")
    return asyncio.run(_served(place))


def reseal(place: Path, content: bytes) -> None:
    """Put the zip's files into the bundle and their hashes into its manifest, where that still is a document."""
    import hashlib

    from edgenas.bundle import _sealed

    with zipfile.ZipFile(io.BytesIO(content)) as changed:
        files = {name: changed.read(name) for name in changed.namelist()}
    for name, data in files.items():
        (place / name).write_bytes(data)
    try:
        fields = json.loads((place / "manifest.json").read_bytes())
        for name, data in files.items():
            if name != "manifest.json":
                fields["files"][name] = hashlib.sha256(data).hexdigest()
                for model in fields["models"].values():
                    if model["artifact"]["path"] == name:
                        model["artifact"]["sha256"] = fields["files"][name]
        (place / "manifest.json").write_bytes(_sealed(fields))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        pass  # no manifest any more: to be refused as it is


async def _served(place: Path) -> str:
    from edgenas.bundle import read_bundle
    from edgenas.errors import BundleError, DeviceError
    from edgenas.serve.app import Service
    from edgenas.serve.model import ServedModel
    from tests.fuzz.pictures import PNG

    model = ServedModel(read_bundle(place), None, "onnxruntime", queue=4, deadline_s=30)
    service = Service(model, lambda _: None)
    try:
        await model.load()
        outputs = await model.compute(lambda: service.outputs_from_image(PNG))
        labels = model.bundle.manifest.labels
        if labels and len(outputs) != len(labels):
            raise SilentChangeError(f"{len(outputs)} outputs, {len(labels)} labels")
    except (BundleError, DeviceError) as error:
        return f"verified, and then not served: {error}"
    finally:
        model.close()
        service.reader.close()
    return "serves"
