"""`edgenas.search`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from edgenas.api.arguments import File, checked, listener_for, path_or_none, several
from edgenas.api.study import Study
from edgenas.engine.arrays import name_of_arrays, task_of
from edgenas.engine.call import Given, Where
from edgenas.engine.decide import data_asked
from edgenas.engine.engine import search as run_search
from edgenas.engine.events import Listener
from edgenas.engine.settings import settings_from
from edgenas.errors import EdgenasError
from edgenas.image_sizes import size_asked
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import MethodSpec

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from edgenas.architectures.named_spaces import SpaceForData
    from edgenas.tasks import Task

Data: TypeAlias = "str | Path | tuple[ArrayLike, ArrayLike] | Task"
WHERE = (
    "file",
    "study",
    "workers",
    "processes",
    "ray",
    "board",
    "token_file",
    "ca",
    "quiet",
    "on_event",
    "reference",
)  # of `search`: without a budget they decide nothing

OF_FILES = ("data_dir", "skip_damaged")  # settings of data that is read
OF_DATA = (*OF_FILES, "task", "image_size", "flip", "far", "fit", "balance", "metric")


@checked
def search(
    data: Data | None = None,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    data_dir: File | None = None,
    method: str | MethodSpec | None = None,
    space: str | SpaceForData | None = None,
    preset: str | None = None,
    min_depth: int | None = None,
    max_depth: int | None = None,
    min_width: int | None = None,
    max_width: int | None = None,
    width_step: int | None = None,
    recipe: File | None = None,
    epoch_scale: float | None = None,
    search_images: int | None = None,
    budget: float | None = None,
    max_latency_ms: float | None = None,
    margin: bool | None = None,
    max_params: int | None = None,
    max_mmacs: float | None = None,
    max_size_mb: float | None = None,
    max_memory_mb: float | None = None,
    max_energy_mj: float | None = None,
    policy: str | None = None,
    confirm_seeds: int | None = None,
    control: str | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    fit: str | None = None,
    skip_damaged: bool | None = None,
    balance: str | None = None,
    metric: str | None = None,
    flip: bool | None = None,
    seed: int | None = None,
    precision: str | None = None,
    final_width: str | None = None,
    pool: int | None = None,
    rounds: int | None = None,
    from_study: str | None = None,
    far: float | None = None,
    warm_start: str | Sequence[str] | None = None,
    start: File | None = None,
    rules: Mapping[str, float | tuple[int, ...]] | None = None,
    file: File | None = None,
    study: str | None = None,
    workers: int | None = None,
    processes: int = 1,
    ray: str | None = None,
    board: str | Sequence[str] = (),
    token_file: File | None = None,
    ca: File | None = None,
    reference: str | Sequence[str] = (),
    quiet: bool = False,
    on_event: Listener | None = None,
) -> Study:
    """Find networks for a device, and return the finished study. The same call again goes on, or returns what is finished.

    `data`: a data set's name, a folder of class folders, (images (N, H, W[, C]) uint8, labels (N,)), or a `Task` of your own.
    `method`, `space`: a name, or an object: see `MethodSpec` and `OwnSpace`. All other settings have the names and defaults of
    the flags of `edgenas search` (`from_study`: --from; `image_size`: 64, or (64, 320) for height and width); `rules` are the
    method's numbers; `file`: a project file, whose settings those given here overrule. From `study` on, the arguments say where
    and how; without `budget` they decide nothing, except that latencies are measured on a `board`. Progress goes to stderr, one
    line each, or to `on_event`, a function that is called with every event of edgenas.engine.events; `quiet`: to nobody.

    Raises EdgenasError: a setting that is not possible, data that cannot be read, a limit that no network meets.
    """
    asked = dict(locals())
    decides = {name: value for name, value in asked.items() if name not in WHERE}
    given = Given(
        method if isinstance(method, MethodSpec) else None, None if space is None or isinstance(space, str) else space
    )
    if given.method is not None:
        decides["method"] = given.method.name
    if given.space is not None:
        decides["space"] = _name_of(given.space, "space")
    for name in ("data_dir", "recipe", "start"):
        decides[name] = None if decides[name] is None else str(decides[name])
    decides["image_size"] = None if image_size is None else size_asked(image_size)
    decides["target"] = [target] if isinstance(target, str) else target
    decides["warm_start"] = None if warm_start is None else several(warm_start)
    decides["rules"] = None if rules is None else dict(rules)
    decides["data"] = str(data) if isinstance(data, str | Path) else None
    settings, given = _with_data(settings_from(path_or_none(file), decides), given, data)
    boards = (several(board), path_or_none(token_file), path_or_none(ca))
    where = Where(study, workers, ray, *boards, several(reference), processes)
    listener = listener_for(quiet, on_event)
    folder = run_search(settings, where, listener, given)
    return Study(folder, listener, given)


def _with_data(settings: SearchSettings, given: Given, data: Data | None) -> tuple[SearchSettings, Given]:
    """Data that is no name gets one, and what the settings make of it is given beside them."""
    if data is None or isinstance(data, str | Path):
        return settings, given
    if isinstance(data, tuple | list):
        _refuse(settings, OF_FILES, "is for data that is read from files: leave it out with arrays")
        return _with_arrays(settings, given, data)
    from edgenas.tasks import fingerprint
    from edgenas.tasks.checks import checked_task

    _refuse(settings, OF_DATA, "is for data that EdgeNAS reads: a task of your own says it itself, leave it out")
    own = checked_task(data)
    name = f"{own.name}-{fingerprint(own.train, own.val, own.test)[:8]}"
    return msgspec.structs.replace(settings, task=own.name, data=name), dataclasses.replace(given, task=own)


def _refuse(settings: SearchSettings, names: Sequence[str], why: str) -> None:
    for name in names:
        if getattr(settings, name) != getattr(SearchSettings(), name):
            raise EdgenasError(f"{name} {why}")


def _with_arrays(settings: SearchSettings, given: Given, data: Sequence[Any]) -> tuple[SearchSettings, Given]:
    if len(data) != 2:
        raise EdgenasError(f"data is a tuple of {len(data)}: give (images, labels)")
    if settings.task != "classification":
        raise EdgenasError(f"task {settings.task}: arrays are for classification; give a Task of your own, or files")
    arrays = (data[0], data[1])
    settings = msgspec.structs.replace(settings, data=name_of_arrays(arrays))
    return settings, dataclasses.replace(given, task=task_of(arrays, data_asked(settings)), arrays=arrays)


def _name_of(thing: object, what: str) -> str:
    name = getattr(thing, "name", None) or getattr(thing, "__name__", None)
    if not isinstance(name, str) or not name:
        raise EdgenasError(f"this {what} has no name: give it an attribute `name`, by which its studies call it")
    return name
