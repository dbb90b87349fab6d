"""`--teacher`: whose outputs a final training learns from, beside the labels. Found, checked against the task, and copied into
the study.

A teacher is a record of the study (kind `teacher`, key = what it was asked for by) with a file of it: the weights of a network,
or its outputs. So a training goes on after a kill, and where the file that was named is not.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.durable import replace_file
from edgenas.engine.call import Given
from edgenas.engine.data import is_own_data, same_data, same_place, whole_task
from edgenas.engine.events import Listener, noting
from edgenas.engine.final import epochs_for_budget
from edgenas.engine.folders import is_study, study_folder
from edgenas.engine.largest import LARGEST, largest_seed, largest_teacher
from edgenas.engine.references import FINAL as REFERENCE_FINAL
from edgenas.engine.references import Tell, with_lost_runs_again
from edgenas.engine.scores import best_run
from edgenas.engine.starts import FINAL as START_FINAL
from edgenas.engine.taught import KIND, Teacher, width_of
from edgenas.engine.trained import final_of
from edgenas.engine.training_asked import TrainingAsked
from edgenas.errors import DataError, EdgenasError, StudyError
from edgenas.files import lost
from edgenas.records import (
    Classes,
    Embedding,
    FinalTraining,
    OnnxArchitecture,
    Preprocessing,
    Recipe,
)
from edgenas.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from edgenas.engine.teacher_outputs import TeacherOutputs
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool
    from edgenas.training.teaching import TeacherAt

LIBRARIES = ("torchvision:", "timm:")
TRAINED_HERE = {REFERENCE_FINAL: "edgenas compare", START_FINAL: "edgenas train --start"}  # rows of trainings: whose
FORMS = (
    "FILE.onnx, torchvision:NAME=FILE.pth, timm:NAME=FILE, any network that `edgenas compare` or `edgenas train --start` has "
    "trained, a study, OUTPUTS.npz, and largest"
)


def taught_by(
    store: Store, asked: TrainingAsked, listener: Listener, given: Given, recipe: Recipe, pool: FinalPool
) -> TeacherAt:
    """The teacher that a final training asked for. `largest` is trained by the student's recipe; of a budget it gets half.
    `given`: the objects that the study was made from."""
    assert asked.teacher is not None
    tell = noting(listener)
    if asked.teacher == LARGEST and asked.budget is not None:
        half = replace(asked, budget=asked.budget / 2, seeds=1)
        epochs = epochs_for_budget(store, half, largest_seed(store, asked, recipe, pool.task, given.space), pool, tell)
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
    teacher = teacher_for(asked, store, pool, recipe, listener, given)
    further = f", {teacher.further} further images" if teacher.further else ""
    tell(f"teacher {asked.teacher}: {teacher.width} numbers for an image{further}")
    return teacher


def teacher_for(
    asked: TrainingAsked,
    store: Store,
    pool: FinalPool,
    recipe: Recipe,
    listener: Listener,
    given: Given = Given(),
) -> TeacherAt:
    """The teacher that was asked for; `largest` is trained now, by `recipe`, where it is not yet. Raises EdgenasError for one
    that is not there, cannot be read, or does not fit the task. What it reaches itself on the test images stands beside the
    runs."""
    from edgenas.training.teaching import TeacherAt

    task, name = pool.task, asked.teacher or ""
    if not isinstance(task.head, Classes | Embedding):
        raise EdgenasError(f"--teacher is for classes and embeddings: leave it out for task {task.name}")
    file = Path(name).suffix.lower() == ".onnx" and not name.startswith(LIBRARIES)
    if not file and (asked.teacher_pixels is not None or asked.teacher_views is not None):
        raise EdgenasError(
            f"--teacher-mean, --teacher-std and --teacher-views are for FILE.onnx, not for {name}: leave them out"
        )
    if name == LARGEST:
        if is_study(name):
            noting(listener)(
                f"teacher {name}: the space's largest network; the study that is called so is ./{study_folder(name)}"
            )
        teacher = largest_teacher(store, asked, pool, recipe, listener, given.space)
    else:
        teacher = _found(store, asked, task, given.task, listener)
    _refuse_unfit(teacher, task)
    store.put(KIND, _key(asked), teacher)
    if teacher.anchor is not None:
        pool.beside(name, teacher.anchor)
    path = store.folder / teacher.file
    return TeacherAt(path, teacher.sha256, teacher.width, teacher.architecture, teacher.preprocessing, teacher.further)


def _key(asked: TrainingAsked) -> str:
    """What a teacher is found under again: its name, how its input was said to be made, and for which other data."""
    pixels, views = asked.teacher_pixels, asked.teacher_views
    how = "" if pixels is None else f" mean {pixels.mean} std {pixels.std}"
    how += "" if views is None else f" views {views}"
    return f"{asked.teacher}{how}" + ("" if asked.data is None else f" on {asked.data}")


def _found(store: Store, asked: TrainingAsked, task: Task, own: Task | None, listener: Listener) -> Teacher:
    """What is named, copied into the study; where it is not here any more, what was copied before. `own`: the object that is the
    study's task, where it was begun with one."""
    name, tell = asked.teacher or "", noting(listener)
    library, path = name.startswith(LIBRARIES), Path(name)
    for kind, command in TRAINED_HERE.items():
        trained = store.get(kind, name, FinalTraining)
        if trained is not None:
            if asked.data is not None:
                raise EdgenasError(
                    f"teacher {name}: `{command}` has trained it on {trained.data}, not on {asked.data}: name another, or train "
                    "without --teacher"
                )
            if asked.teacher_pixels is not None or asked.teacher_views is not None:
                raise EdgenasError(
                    f"{name} was trained on these images by `{command}`, so its input is known: leave out --teacher-mean, "
                    "--teacher-std and --teacher-views"
                )
            _refuse_other_classes(name, trained.classes, task)
            tell(f"teacher {name}: as `{command}` has trained it on these images")
            plain = whole_task(store, tell, asked.data_dir, own) if asked.all_images else task  # that it was trained on
            return _of_reference(name, with_lost_runs_again(store, name, kind, plain, listener))
    if library and "=" not in name:
        raise StudyError(
            f"teacher {name} knows nothing of these images yet: run `edgenas compare {shlex.quote(str(store.folder))} "
            f"--reference {shlex.quote(name)}` first, or name a file of weights, {name}=FILE"
        )
    if library or path.suffix.lower() in (".onnx", ".npz"):
        file = Path(name.partition("=")[2]) if library else path
        known = store.get(KIND, _key(asked), Teacher)
        if known is not None and not file.is_file():
            return _copy_of(store, known, task)
        if library:
            return _of_library(store, name, task)
        if path.suffix.lower() == ".npz":
            return _of_outputs(store, path, task)
        if isinstance(task.head, Embedding):
            return _of_recogniser(store, _key(asked), path, asked, task, own is not None, tell)
        return _of_file(store, path, asked, task, tell)
    return _of_study(store, asked, name, task, tell)


def _copy_of(store: Store, known: Teacher, task: Task) -> Teacher:
    """A teacher whose file is not here any more; StudyError where the study's copy is lost as well, DataError where it holds
    outputs of other images."""
    from edgenas.engine.teacher_outputs import read_outputs

    copy = store.folder / known.file
    if why := lost(copy, known.sha256):
        raise StudyError(f"teacher {known.name} is not here, and its copy {copy} {why}: restore one of them")
    if known.architecture is None:
        read_outputs(copy, _content(copy), task)
    return known


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


def _refuse_other_classes(name: str, classes: tuple[str, ...], task: Task) -> None:
    if classes != task.classes:
        raise EdgenasError(f"teacher {name} knows the classes {_few(classes)}, and this task has {_few(task.classes)}")


# ---------------------------------------------------------------- where a teacher comes from


def _of_outputs(store: Store, path: Path, task: Task) -> Teacher:
    from edgenas.engine.teacher_outputs import read_outputs

    content = _content(path)
    held = read_outputs(path, content, task)
    return _of_numbers(store, str(path), held, content, task, hashlib.sha256(content).hexdigest())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _of_recogniser(
    store: Store, name: str, path: Path, asked: TrainingAsked, task: Task, own: bool, tell: Tell
) -> Teacher:
    """Its embeddings of this study's people; of the same file, asked for in the same way, they are computed once."""
    from edgenas.engine.teacher_outputs import faces_at, outputs_of_recogniser, written
    from edgenas.training.work import local_devices

    if asked.data is not None:
        raise EdgenasError(
            f"teacher {path}: a recogniser is asked about this study's own faces, not about {asked.data}: name a study that "
            "knows those, or train without --teacher"
        )
    sha256 = hashlib.sha256(_content(path)).hexdigest()
    known = store.get(KIND, name, Teacher)
    if known is not None and known.source_sha256 == sha256 and not lost(store.folder / known.file, known.sha256):
        return known
    faces = faces_at(store, task, tell, asked.data_dir, own=own)
    pixels, threads = asked.teacher_pixels, len(local_devices("cpu"))
    held = outputs_of_recogniser(path, faces, task, pixels, asked.teacher_views, threads, tell)
    return _of_numbers(store, name, held, written(held, task), task, sha256)


def _of_numbers(
    store: Store, name: str, held: TeacherOutputs, content: bytes, task: Task, source_sha256: str
) -> Teacher:
    from edgenas.engine.teacher_outputs import anchor_of

    sha256 = hashlib.sha256(content).hexdigest()
    file = _copied(store, content, sha256, ".npz")
    further = 0 if held.further is None else len(held.further[0])
    width, anchor = held.outputs.shape[1], anchor_of(held, task)
    return Teacher(name, file, sha256, width, source_sha256=source_sha256, further=further, anchor=anchor)


def _of_file(store: Store, path: Path, asked: TrainingAsked, task: Task, tell: Tell) -> Teacher:
    from edgenas.networks.public import network_in_file

    if asked.teacher_views is not None:
        raise EdgenasError(
            "--teacher-views is for faces: classifiers see every batch as the student does: leave it out"
        )
    held = network_in_file(path, task.preprocessing, asked.teacher_pixels)
    if held.classes:
        _refuse_other_classes(str(path), held.classes, task)
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


def _of_study(store: Store, asked: TrainingAsked, name: str, task: Task, tell: Tell) -> Teacher:
    """The final training of another study's choice."""
    if not is_study(name):
        raise EdgenasError(f"teacher {name!r}: possible are {FORMS}")
    folder = study_folder(name)
    with Store.read(folder) as other:
        final, seed = final_of(other, None, None), other.study.seed
        if asked.data is None:
            searched, went_on = same_data(store, other), is_own_data(store, final.data)
        else:
            searched, went_on = is_own_data(other, asked.data), same_place(asked.data, final.data, store.study.task)
        trained = searched if final.data == other.study.data else went_on
    _refuse_other_classes(name, final.classes, task)
    if final.all_images and trained and not asked.all_images:
        tell(
            f"warning: {name} was trained with --all-images, and so on the images that this study validates on: validation "
            "scores of what it teaches say less, and the best seed is chosen by them"
        )
    elif (searched or trained) and seed != store.study.seed:
        tell(f"warning: {name} has seed {seed}, so that it may have learned from images that this study validates on")
    run = best_run(final)
    if why := lost(folder / run.weights, run.weights_sha256):
        raise StudyError(
            f"teacher {name}: {folder / run.weights} {why}: restore it, or run the `edgenas train` of that study again"
        )
    content = (folder / run.weights).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    file = _copied(store, content, sha256, ".safetensors")
    width = width_of(final.architecture)
    return Teacher(name, file, sha256, width, final.architecture, final.preprocessing, sha256)


def _copied(store: Store, content: bytes, sha256: str, suffix: str) -> str:
    """The study's own copy of a file, relative to it."""
    file = f"weights/teacher-{sha256[:16]}{suffix}"
    (store.folder / "weights").mkdir(exist_ok=True)
    replace_file(store.folder / file, content)
    return file


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)})" if len(names) > 4 else "")
