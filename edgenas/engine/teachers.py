"""`--teacher`: whose outputs a final training learns from, beside the labels. Found, checked against the task, and copied into
the study.

A teacher is a record of the study (kind `teacher`, key = what it was asked for by) with a file of it: the weights of a network,
or its outputs. So a training goes on after a kill, and where the file that was named is not.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgenas.architectures.workload import workload_from_architecture
from edgenas.durable import replace_file
from edgenas.engine.events import Listener, RunEnds, noting
from edgenas.engine.final import TrainingAsked, epochs_for_budget
from edgenas.engine.folders import ROOT
from edgenas.engine.plan import plan_of
from edgenas.engine.references import FINAL as REFERENCE_FINAL
from edgenas.engine.references import Tell
from edgenas.engine.registry import method_named
from edgenas.engine.scores import best_run
from edgenas.engine.trained import final_of
from edgenas.errors import DataError, EdgenasError, StudyError
from edgenas.identity import digest
from edgenas.records import (
    Architecture,
    Classes,
    Embedding,
    FinalTraining,
    OnnxArchitecture,
    Preprocessing,
    Recipe,
    Record,
)
from edgenas.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool, SeedTraining
    from edgenas.training.teaching import TeacherAt

LIBRARIES = ("torchvision:", "timm:")
DAMAGED_NPZ = (ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError)
KIND, LARGEST = "teacher", "largest"
FORMS = (
    "FILE.onnx, torchvision:NAME=FILE.pth, timm:NAME=FILE, any reference that `edgenas compare` has trained, a study, "
    "OUTPUTS.npz, and largest"
)


class Teacher(Record, frozen=True):
    """What taught. `file`: relative to the study, and its SHA-256; `source_sha256`: of the file that was named, "" where
    none was. `width`: numbers that it gives for an image. `architecture`, `preprocessing`: of a network; None where it is
    outputs."""

    name: str
    file: str
    sha256: str
    width: int
    architecture: Architecture | None = None
    preprocessing: Preprocessing | None = None
    source_sha256: str = ""


def taught_by(store: Store, asked: TrainingAsked, listener: Listener, recipe: Recipe, pool: FinalPool) -> TeacherAt:
    """The teacher that a final training asked for. `largest` is trained by the student's recipe; of a budget it gets half."""
    assert asked.teacher is not None
    tell = noting(listener)
    if asked.teacher == LARGEST and asked.budget is not None:
        half = replace(asked, budget=asked.budget / 2, seeds=1)
        epochs = epochs_for_budget(store, half, largest_seed(store, recipe), pool, tell)
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
    teacher = teacher_for(asked.teacher, store, pool, recipe, tell, listener)
    tell(f"teacher {asked.teacher}: {teacher.width} numbers for an image")
    return teacher


def teacher_for(name: str, store: Store, pool: FinalPool, recipe: Recipe, tell: Tell, listener: Listener) -> TeacherAt:
    """The teacher of that name; `largest` is trained now, by `recipe`, where it is not yet. Raises EdgenasError for one that
    is not there, cannot be read, or does not fit the task."""
    from edgenas.training.teaching import TeacherAt

    task = pool.task
    if not isinstance(task.head, Classes | Embedding):
        raise EdgenasError(f"--teacher is for classes and embeddings: leave it out for task {task.name}")
    teacher = _largest(store, pool, recipe, tell, listener) if name == LARGEST else _found(store, name, task, tell)
    _refuse_unfit(teacher, task)
    store.put(KIND, name, teacher)
    path = store.folder / teacher.file
    return TeacherAt(path, teacher.sha256, teacher.width, teacher.architecture, teacher.preprocessing)


def _found(store: Store, name: str, task: Task, tell: Tell) -> Teacher:
    """What is named, copied into the study; where it is not here any more, what was copied before."""
    library, path = name.startswith(LIBRARIES), Path(name)
    trained = store.get(REFERENCE_FINAL, name, FinalTraining)
    if trained is not None:
        tell(f"teacher {name}: as `edgenas compare` has trained it on these images")
        return _of_reference(name, trained)
    if library and "=" not in name:
        raise StudyError(
            f"teacher {name} knows nothing of these images yet: run `edgenas compare {store.folder} --reference {name}` "
            f"first, or name a file of weights, {name}=FILE"
        )
    if library or path.suffix.lower() in (".onnx", ".npz"):
        file = Path(name.partition("=")[2]) if library else path
        known = store.get(KIND, name, Teacher)
        if known is not None and not file.is_file():
            return known
        if library:
            return _of_library(store, name, task)
        return _of_outputs(store, path, task) if path.suffix.lower() == ".npz" else _of_file(store, path, task, tell)
    return _of_study(store, name, task, tell)


def _refuse_unfit(teacher: Teacher, task: Task) -> None:
    from edgenas.training.teaching import refuse_blind

    if isinstance(task.head, Classes) and teacher.width != task.head.count:
        raise EdgenasError(
            f"teacher {teacher.name} gives {teacher.width} numbers for an image, and there are {task.head.count} classes: "
            "fine-tune it on these images "
            "first (`edgenas compare --reference` or `edgenas train --start`)"
        )
    if teacher.preprocessing is not None:
        refuse_blind(task.preprocessing, teacher.preprocessing)


# ---------------------------------------------------------------- where a teacher comes from


def _of_outputs(store: Store, path: Path, task: Task) -> Teacher:
    """outputs (N, D): of the N training images in their order; labels (N,): theirs, which proves the order."""
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            outputs, labels = held["outputs"], held["labels"]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (*DAMAGED_NPZ, KeyError) as error:
        raise DataError(
            f"{path} is no file of outputs ({error}): save them with numpy.savez(FILE, outputs=..., labels=...)"
        ) from error
    count = len(task.train)
    if outputs.ndim != 2 or len(outputs) != count or outputs.dtype.kind != "f":
        raise DataError(
            f"{path}: outputs are {outputs.dtype} {outputs.shape}: one row of floats is needed for each of the {count} "
            "training images"
        )
    if not np.isfinite(outputs).all():
        raise DataError(f"{path}: outputs are not all finite numbers")
    if labels.shape != task.train.labels.shape or not np.array_equal(labels, task.train.labels):
        raise DataError(
            f"{path}: labels are not those of the training images in their order: compute outputs and labels from "
            "`edgenas.open_study(STUDY).training_images()`"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    file = _copied(store, content, sha256, ".npz")
    return Teacher(str(path), file, sha256, outputs.shape[1], source_sha256=sha256)


def _of_file(store: Store, path: Path, task: Task, tell: Tell) -> Teacher:
    from edgenas.networks.public import network_in_file

    held = network_in_file(path, task.preprocessing)
    if held.classes and held.classes != task.classes:
        raise EdgenasError(
            f"teacher {path} knows the classes {_few(held.classes)}, and this task has {_few(task.classes)}"
        )
    for note in held.notes:
        tell(note)
    return _kept(store, str(path), held.architecture, held.tensors, held.preprocessing, held.sha256)


def _of_library(store: Store, name: str, task: Task) -> Teacher:
    from edgenas.networks.public import public_network

    public = public_network(name, task.head, task.preprocessing)
    assert public.tensors is not None
    return _kept(store, name, public.began, public.tensors, public.preprocessing, public.source_sha256)


def _kept(
    store: Store,
    name: str,
    architecture: OnnxArchitecture,
    tensors: dict[str, Tensor],
    preprocessing: Preprocessing,
    source_sha256: str,
) -> Teacher:
    from edgenas.networks.weights import save_tensors

    path, sha256 = save_tensors(tensors, store.folder / "weights", "teacher")
    width = width_of(architecture)
    return Teacher(name, f"weights/{path.name}", sha256, width, architecture, preprocessing, source_sha256)


def _of_reference(name: str, trained: FinalTraining) -> Teacher:
    run = best_run(trained)
    return Teacher(
        name,
        run.weights,
        run.weights_sha256,
        width_of(trained.architecture),
        trained.architecture,
        trained.preprocessing,
    )


def _of_study(store: Store, name: str, task: Task, tell: Tell) -> Teacher:
    """The final training of another study's choice."""
    folder = next((folder for folder in (Path(name), ROOT / name) if (folder / "study.db").is_file()), None)
    if folder is None:
        raise EdgenasError(f"teacher {name!r}: possible are {FORMS}")
    with Store.read(folder) as other:
        final, seed, data = final_of(other, None, None), other.study.seed, other.study.data
    if final.classes != task.classes:
        raise EdgenasError(
            f"teacher {name} knows the classes {_few(final.classes)}, and this task has {_few(task.classes)}"
        )
    if data == store.study.data and seed != store.study.seed:
        tell(f"warning: {name} has seed {seed}, so that it may have learned from images that this study validates on")
    run = best_run(final)
    try:
        content = (folder / run.weights).read_bytes()
    except OSError as error:
        raise StudyError(f"teacher {name}: {folder / run.weights} cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if run.weights_sha256 and sha256 != run.weights_sha256:
        raise StudyError(f"teacher {name}: {folder / run.weights} is not the file that was trained: restore it")
    file = _copied(store, content, sha256, ".safetensors")
    width = width_of(final.architecture)
    return Teacher(name, file, sha256, width, final.architecture, final.preprocessing, sha256)


def _copied(store: Store, content: bytes, sha256: str, suffix: str) -> str:
    """The study's own copy of a file, relative to it."""
    file = f"weights/teacher-{sha256[:16]}{suffix}"
    (store.folder / "weights").mkdir(exist_ok=True)
    replace_file(store.folder / file, content)
    return file


def _largest(store: Store, pool: FinalPool, recipe: Recipe, tell: Tell, listener: Listener) -> Teacher:
    """A large network of the searched space, trained from scratch by the student's recipe, one seed."""
    from edgenas.training.final import final_runs

    task, item = pool.task, largest_seed(store, recipe)
    params = workload_from_architecture(item.architecture).params
    tell(f"teacher: the space's largest network, {params:,} parameters, {recipe.epochs} epochs")
    images = {"train": len(task.train), "val": len(task.val), "test": len(task.test)}
    (run,) = final_runs([item], pool, store, lambda run: listener(RunEnds(run, task.metric, images)), tell)
    network = item.architecture
    return Teacher(LARGEST, run.weights, run.weights_sha256, width_of(network), network, task.preprocessing)


def largest_seed(store: Store, recipe: Recipe) -> SeedTraining:
    """The training of the large network of the study's space."""
    from edgenas.training.final import SeedTraining

    study = store.study
    architecture = plan_of(study, method_named(study.method)).space.reference()
    seed = int(digest(study.seed, architecture.fingerprint, recipe, "teacher")[:12], 16)
    path = store.folder / "weights" / f"{digest(architecture, recipe, 'teacher')}.safetensors"
    return SeedTraining(architecture, recipe, seed, path)


def taught_words(store: Store, recipe: Recipe) -> str:
    """What is said of a network that was taught: by whom. "" where it was not."""
    if not recipe.teacher:
        return ""
    name = next((one.name for one in store.all(KIND, Teacher).values() if one.sha256 == recipe.teacher), "another")
    return f", taught by {name}"


def width_of(architecture: Architecture) -> int:
    """Numbers that a network gives for an image."""
    head = architecture.head
    return head.dim if isinstance(head, Embedding) else head.count


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)})" if len(names) > 4 else "")
