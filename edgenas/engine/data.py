"""A study's images: found again, and held against those that it began with."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.arrays import kept_task
from edgenas.engine.plan import refuse_missing_object, written_plan
from edgenas.errors import StudyError
from edgenas.files import at_home
from edgenas.image_sizes import ImageSize, size_in_words

if TYPE_CHECKING:
    from edgenas.store import Store
    from edgenas.tasks import Split, Task, TaskSettings
    from edgenas.tasks.cache import Loading
    from edgenas.tasks.facts import DataFacts

FITS = {"crop": "cut in the centre", "stretch": "stretched", "pad": "padded with grey"}
KIND = "data"  # of the store's rows: hashes of what is searched on and of all images, folder (absolute)
HASHES, HASHES_OF_DIGESTS = ("sha256", "whole"), ("digests", "whole_digests")
PLACE = "data_dir"  # key: where the data set that is named was found last, where somebody said it (absolute)


def searched_task(
    store: Store, tell: Callable[[str], None], data_dir: str | None = None, whole: Task | None = None
) -> Task:
    """What the search learns from, out of `whole` where this command has already read it. Remembered the first time;
    StudyError where any image or label is another now."""
    from edgenas.tasks import as_searched

    settings = settings_now(store, data_dir, tell)
    task = _checked(store, settings, whole, tell, remember=True)
    _remember_place(store, data_dir)
    return as_searched(task, settings)


def whole_task(store: Store, tell: Callable[[str], None], data_dir: str | None = None, own: Task | None = None) -> Task:
    """The same with all its training images."""
    task = _checked(store, settings_now(store, data_dir, tell), own, tell, remember=False)
    if own is None:
        _remember_place(store, data_dir)
    return task


def task_at(
    store: Store, task: Task, size: ImageSize, tell: Callable[[str], None], data_dir: str | None = None
) -> Task:
    """The study's images at another size, in the same order. StudyError where they are others now."""
    import numpy as np

    from edgenas.tasks import load_task

    refuse_missing_object(store.study, "data")
    settings = msgspec.structs.replace(settings_now(store, data_dir, tell), search_images=None, image_size=size)
    larger = kept_task(store.folder, settings) or load_task(settings, loading_of(store.folder, tell))
    for split, other in ((task.train, larger.train), (task.test, larger.test)):
        if not np.array_equal(split.labels, other.labels):
            raise StudyError(f"{store.folder} began with other images in {store.study.data}: restore them")
    return larger


def place_known(store: Store) -> str | None:
    """The `--data-dir` at which a command has found the study's data last, and found them the same; None where it is gone."""
    place = store.get(KIND, PLACE, str)
    return place if place is not None and Path(place).is_dir() else None


def _remember_place(store: Store, data_dir: str | None) -> None:
    """Later commands look there for the data set that is named."""
    if store.writable and (place := absolute(data_dir)) is not None:
        store.put(KIND, PLACE, place)


def absolute(data_dir: str | None) -> str | None:
    """A `--data-dir` as it is remembered, for commands in any folder; None where none is named."""
    return str(at_home(data_dir).resolve()) if data_dir else None


def images_sha256(task: Task) -> str:
    """Of all images and labels, or of the hashes that are known of them."""
    return _hashes(task.train, task, of_bytes=False).popitem()[1]


def refuse_own_data(store: Store, name: str, task: Task | None = None) -> None:
    """Raise StudyError where this names the study's own data, however it is written; or where the images of `task`, which are
    what is there under that name, are the study's own."""
    began, own = written_plan(store.study).task.data, is_own_data(store, name)
    known = {key: value for key in (HASHES[1], HASHES_OF_DIGESTS[1]) if (value := store.get(KIND, key, str))}
    if task is not None and known:
        found = _hashes(task.train, task, of_bytes=HASHES[1] in known)
        own = any(found.get(key) == value for key, value in known.items())
    if own:
        same = name if name == began else f"{name} holds the images of {began}, which"
        raise StudyError(
            f"--data {same} is what {store.folder} was trained on, and --from-trained goes on on other data: name other "
            f"images, or train longer from scratch: `edgenas train {shlex.quote(str(store.folder))} --epochs N`"
        )


def same_data(one: Store, other: Store) -> bool:
    """Do two studies learn from one data set: of one name, or in one folder, however it is written?"""
    return bool(places_of(one) & places_of(other))


def is_own_data(store: Store, name: str) -> bool:
    """Does this name the study's own data, however it is written?"""
    return name == store.study.data or bool(_places(name, store.study.task) & places_of(store))


def same_place(name: str, other: str, task: str) -> bool:
    """Do both name one data set of this task, however they are written?"""
    return bool(_places(name, task) & _places(other, task))


def places_of(store: Store) -> frozenset[str]:
    """What a study's data have in common with the same data of another study: their folder (absolute), or their name."""
    return _places(store.study.data, store.study.task, _folder_then(store))


def _folder_then(store: Store) -> str | None:
    """The folder (absolute) that the study began with; None of data in no folder. Earlier versions noted one of a data set, too,
    where a folder was called like it."""
    from edgenas.tasks.datasets import OF_TASKS

    study = store.study
    return None if study.data in OF_TASKS.get(study.task, ()) else store.get(KIND, "folder", str)


def _places(name: str, task: str, was: str | None = None) -> frozenset[str]:
    """The folder that is there under this name, and where it was; the name itself of data in no folder."""
    from edgenas.tasks.datasets import folder_of_data

    folder = folder_of_data(name, task)
    found = set() if folder is None else {str(folder.resolve())}
    return frozenset(found | {was} if was is not None else found or {name})


def loading_of(study: Path, tell: Callable[[str], None]) -> Loading:
    """Decoded images lie beside the study."""
    from edgenas.tasks.cache import Loading, cache_beside

    return Loading(cache_beside(study.parent), tell)


def _hashes(train: Split, task: Task, *, of_bytes: bool) -> dict[str, str]:
    """Of what is searched on, and of all images. Of mapped ones their own hashes are known, and read instead of their bytes,
    unless the study began with a hash `of_bytes`."""
    from edgenas.tasks import fingerprint, fingerprint_of_digests

    parts, whole = (train, task.val), (task.train, task.val, task.test)
    quick = None if of_bytes else (fingerprint_of_digests(*parts), fingerprint_of_digests(*whole))
    if quick is not None and quick[0] is not None and quick[1] is not None:
        return dict(zip(HASHES_OF_DIGESTS, (quick[0], quick[1]), strict=True))
    return dict(zip(HASHES, (fingerprint(*parts), fingerprint(*whole)), strict=True))


def _checked(
    store: Store, settings: TaskSettings, whole: Task | None, tell: Callable[[str], None], *, remember: bool
) -> Task:
    from edgenas.tasks import load_task, searched
    from edgenas.tasks.datasets import folder_of_data
    from edgenas.tasks.mapped import MappedImages

    task = whole or kept_task(store.folder, settings)
    if task is None:
        refuse_missing_object(store.study, "data")
        task = load_task(msgspec.structs.replace(settings, search_images=None), loading_of(store.folder, tell))
    known = {key: value for key in (*HASHES, *HASHES_OF_DIGESTS) if (value := store.get(KIND, key, str)) is not None}
    found = _hashes(searched(task.train, settings), task, of_bytes="sha256" in known)
    if remember and not known:
        for key, value in found.items():
            store.put(KIND, key, value)
        if isinstance(task.train.images, MappedImages):
            store.put(KIND, "listing", task.train.images.folder.parent.name)
        folder = folder_of_data(settings.data, settings.task)
        if folder is not None:
            store.put(KIND, "folder", str(folder.resolve()))
    if any(found.get(key) != value for key, value in known.items()):
        named, was = store.study.data, _folder_then(store)
        what = _changes(store, task)
        then = f" (then {was})" if was not in (None, str(Path(named).resolve())) else ""
        raise StudyError(
            f"{store.folder} began with other images or labels in {named}{then}{what}: "
            "restore them, or use another --study NAME"
        )
    return task


def _changes(store: Store, task: Task) -> str:
    """Which files became others, where the images that the study began with are still in the cache."""
    from edgenas.tasks.cache import changes
    from edgenas.tasks.mapped import MappedImages

    began, images = store.get(KIND, "listing", str), task.train.images
    found = changes(began, images.folder) if began and isinstance(images, MappedImages) else ""
    return f"; since then {found}" if found else ""


def settings_now(store: Store, data_dir: str | None, tell: Callable[[str], None]) -> TaskSettings:
    """As they were written down; a data set that is named where it was found last, and a folder that is not there under its name
    where it was."""
    began, place = written_plan(store.study).task, place_known(store)
    began = msgspec.structs.replace(began, data_dir=data_dir or place or began.data_dir)
    was = _folder_then(store)
    if was is None or Path(began.data).is_dir():
        return began
    if not Path(was).is_dir():
        raise StudyError(f"{store.folder} began with the images in {was}, and there is no such folder now: restore it")
    tell(f"data {began.data}: not here, read from {was}")
    return msgspec.structs.replace(began, data=was)


# ---------------------------------------------------------------- said before something is learned


def lines_of(where: str, task: Task) -> list[str]:
    """What is learned from; nothing for tasks without such facts, such as faces."""
    facts: DataFacts | None = getattr(task, "facts", None)
    return [] if facts is None else facts_lines(where, facts)


def facts_lines(where: str, facts: DataFacts) -> list[str]:
    """Images, splits, what is left out, what repeats, warnings."""
    counts, repeats = facts.classes.values(), facts.duplicates
    least, most = min(counts), max(counts)
    each = f"{least:,} to {most:,}" if least < most else f"{least:,}"
    colours = "grey" if facts.channels == 1 else "RGB"
    splits = ", ".join(f"{kind} {facts.splits[kind]:,} ({source})" for kind, source in facts.sources.items())
    lines = [
        f"data {where}: {sum(counts):,} images in {len(counts)} classes ({each} each), "
        f"{size_in_words(facts.image_size)} px, {colours}, {FITS[facts.fit]}",
        f"  {splits}",
    ]
    if facts.ignored:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in facts.ignored.items())
        lines.append(f"  {sum(facts.ignored.values()):,} ignored: {reasons}")
    if any(repeats.values()):
        lines.append(
            f"  {repeats['within'] + repeats['across_splits']:,} images repeat another: {repeats['within']:,} within a split, "
            f"{repeats['across_splits']:,} across splits; {repeats['two_labels']:,} are there under two labels"
        )
    return [*lines, *(f"  warning: {warning}" for warning in facts.warnings)]
