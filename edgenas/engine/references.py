"""References: public networks beside what was searched. Fitted to the study's images, costed on its targets, trained on its
splits.

A reference is a record of the study (kind `reference`, key = what it was asked for by), with the weights that its training
starts from in a file of the study: so it goes on after a kill, and where the file that was named is not. Its final training is
one of kind `reference-final`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.costing import Costing
from edgenas.engine.events import Listener, RunEnds, TrainingBegins, noting
from edgenas.engine.final import START_LR
from edgenas.engine.plan import written_plan
from edgenas.errors import EdgenasError, StudyError
from edgenas.identity import digest
from edgenas.records import Cost, FinalTraining, OnnxArchitecture, Preprocessing, Recipe, Record
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool, SeedTraining

KIND, FINAL, EPOCHS = "reference", "reference-final", "reference-epochs"
BESIDE = "reference-beside"  # the hash of the winner's weights that a reference's final training stands beside
SAMPLE = 256  # training images from which folded batch norms are put back
Tell = Callable[[str], None]


class Reference(Record, frozen=True):
    """A public network as this study has it. `began`: with the head that its weights have. `weights`: the file, relative to the
    study, that its training starts from; "" = from scratch. `source`: what they were read from, such as a file's name.

    `preprocessing`: how the study's pixels become its input.
    """

    name: str
    architecture: OnnxArchitecture
    began: OnnxArchitecture
    preprocessing: Preprocessing
    cost: Cost
    weights: str = ""
    weights_sha256: str = ""
    source: str = ""
    source_sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def keeps_head(self) -> bool:
        """Does its training go on with the last layer that its weights came with, since that is of the right size?"""
        return bool(self.weights) and self.began.workload.kernels[-1] == self.architecture.workload.kernels[-1]

    @property
    def origin(self) -> str:
        """In a few words: "from scratch", or what its weights are."""
        return f"from {self.source}" if self.weights else "from scratch"


@dataclass(frozen=True)
class TrainingOfReferences:
    """How long references train. Left out: as they were trained beside this winner; at first as many seeds as the winner's,
    each as many seconds as one of its runs took."""

    seeds: int | None = None
    epochs: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--seeds", self.seeds), ("--epochs", self.epochs)):
            if value is not None and value < 1:
                raise EdgenasError(f"{flag} {value}: at least one")


def references_in(store: Store) -> tuple[Reference, ...]:
    """Those of the study, in the order of their names."""
    return tuple(store.all(KIND, Reference).values())


def add_references(store: Store, asked: Sequence[str], task: Task, cost: Costing) -> None:
    """Put those on record that are not there yet: fitted to `task`, and costed; where a board is given, those that are there are
    measured, too. EdgenasError for what cannot be one, and where a file is not what it was."""
    from edgenas.networks.public import file_sha256

    known = store.all(KIND, Reference)
    for name in dict.fromkeys(asked):
        if name not in known:
            store.put(KIND, name, _reference(store, name, task, cost))
        elif file_sha256(name) not in ("", known[name].source_sha256):
            raise StudyError(
                f"{name} is not the file that {store.folder} has as a reference (its SHA-256 differs): restore it, or give "
                "this one another name"
            )
    for reference in references_in(store):
        if cost.is_better(reference.cost):
            measured = msgspec.structs.replace(reference, cost=cost(reference.architecture))
            store.put(KIND, reference.name, measured)


def _reference(store: Store, name: str, task: Task, cost_of: Costing) -> Reference:
    from edgenas.networks.public import public_network
    from edgenas.networks.weights import save_tensors

    images = task.train.images
    sample = images[:: -(-len(images) // SAMPLE)]
    public = public_network(name, task.head, task.preprocessing, sample)
    cost = cost_of(public.architecture)
    file, sha256 = "", ""
    if public.tensors is not None:
        path, sha256 = save_tensors(public.tensors, store.folder / "weights", "start")
        file = f"{path.parent.name}/{path.name}"
    for note in public.notes:
        cost_of.tell(note)
    reference = Reference(
        name=name,
        architecture=public.architecture,
        began=public.began,
        preprocessing=public.preprocessing,
        cost=cost,
        weights=file,
        weights_sha256=sha256,
        source=public.source,
        source_sha256=public.source_sha256,
        notes=public.notes,
    )
    cost_of.tell(f"reference {name}, {reference.origin}: {cost.params:,} parameters, {cost.macs:,} MACs")
    return reference


# ---------------------------------------------------------------- trained as the winner was


def trained_reference(
    store: Store,
    reference: Reference,
    task: Task,
    winner: FinalTraining,
    asked: TrainingOfReferences,
    listener: Listener,
) -> FinalTraining:
    """The reference's final training, on the winner's images and by its recipe; runs that are finished are not trained again.

    Where its last layer is kept it goes on at a part of the learning rate, as `train --from-trained` does. A new last layer
    needs the whole: EfficientNet-Lite0 on 800 images of CIFAR-10, 48 px, 75 steps: 39 % with it, 25 % with a fifth, 17 % from
    scratch (one run each).
    """
    from edgenas.networks.regularised import lacking, without_lacking
    from edgenas.training.final import FinalPool

    started, beside = time.monotonic(), digest(*(run.weights_sha256 for run in winner.runs))
    known = store.get(FINAL, reference.name, FinalTraining)
    if known is not None and asked.seeds is asked.epochs is None and store.get(BESIDE, reference.name, str) == beside:
        return known
    seeds = asked.seeds or len(winner.runs)
    recipe = without_lacking(untaught(winner.recipe), reference.architecture)
    for key in lacking(winner.recipe, reference.architecture):
        noting(listener)(f"{reference.name} has no place for the recipe's {key}: it is trained without")
    if reference.keeps_head:
        recipe = msgspec.structs.replace(recipe, lr=START_LR * recipe.lr)
    own = with_preprocessing(task, reference.preprocessing)
    with FinalPool(own, asked.workers or seeds, written_plan(store.study).device) as pool:
        epochs = asked.epochs or _epochs(store, reference, recipe, winner, pool, noting(listener))
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
        final = final_runs_of(store, reference, recipe, seeds, pool, listener, (FINAL, started))
    store.put(BESIDE, reference.name, beside)
    return final


def final_runs_of(
    store: Store,
    reference: Reference,
    recipe: Recipe,
    seeds: int,
    pool: FinalPool,
    listener: Listener,
    kept: tuple[str, float],
) -> FinalTraining:
    """Train every seed that is missing, and put the whole on record. `kept`: the kind of row, and when the command began."""
    from edgenas.training.final import final_runs

    kind, started = kept
    task = pool.task
    images = {"train": len(task.train), "val": len(task.val), "test": len(task.test)}
    items = [seed_of(store, reference, recipe, index) for index in range(seeds)]
    listener(TrainingBegins(len(items), task.metric, images))
    tell = noting(listener)
    runs = final_runs(items, pool, store, lambda run: listener(RunEnds(run, task.metric, images)), tell)
    before = store.get(kind, reference.name, FinalTraining)
    if before is not None and before.runs == runs:
        return before
    final = FinalTraining(
        trial=0,
        architecture=reference.architecture,
        recipe=recipe,
        data=store.study.data,
        images=images,
        metric=task.metric.name,
        classes=task.classes,
        preprocessing=task.preprocessing,
        params=reference.cost.params,
        runs=runs,
        seconds=time.monotonic() - started,
        scored=task.metric,
    )
    store.put(kind, reference.name, final)
    return final


def untaught(recipe: Recipe) -> Recipe:
    """The recipe without the teacher that the winner had: a reference learns from the labels."""
    return msgspec.structs.replace(recipe, teacher="", teacher_weight=0.0, temperature=1.0)


def with_preprocessing(task: Task, preprocessing: Preprocessing) -> Task:
    """The same images, normalised otherwise. EdgenasError for a task that cannot be changed so."""
    from edgenas.tasks.task import has_parts, with_parts

    if task.preprocessing == preprocessing:
        return task
    if not has_parts(task, "preprocessing"):
        raise EdgenasError(
            f"task {task.name!r} cannot be normalised as trained weights need it: make it a dataclass with a field "
            "`preprocessing`, or start from scratch"
        )
    return with_parts(task, preprocessing=preprocessing)


def seed_of(store: Store, reference: Reference, recipe: Recipe, index: int) -> SeedTraining:
    """One seed of a reference's training; the same, and found again, for the same recipe."""
    from edgenas.training.final import SeedTraining

    architecture = reference.architecture
    seed = int(digest(store.study.seed, architecture.fingerprint, recipe, "reference", index)[:12], 16)
    name = f"{digest(architecture, recipe, reference.weights_sha256)}-{index}.safetensors"
    start = (reference.began, store.folder / reference.weights, reference.weights_sha256) if reference.weights else None
    return SeedTraining(architecture, recipe, seed, store.folder / "weights" / name, start)


def _epochs(
    store: Store, reference: Reference, recipe: Recipe, winner: FinalTraining, pool: FinalPool, tell: Tell
) -> int:
    """As many as fit the seconds that a run of the winner took, on this machine; one at least. Remembered, for what goes on."""
    from edgenas.training.final import epochs_within, seconds_of

    seconds = sum(run.seconds for run in winner.runs) / len(winner.runs)
    key = digest(reference.architecture, recipe, reference.weights_sha256, seconds, pool.size)
    known = store.get(EPOCHS, key, int)
    if known is not None:
        return known
    per_image = pool.seconds_per_image(seed_of(store, reference, recipe, 0))
    epochs = max(1, epochs_within(seconds, pool.task, per_image, 1))
    least = seconds_of(1, pool.task, per_image, 1)
    over = f" (one takes {least:.0f} s)" if least > seconds else ""
    many = f"{epochs} epoch{'s' * (epochs > 1)}"
    tell(f"{reference.name}: {many}, in the {seconds:.0f} s that a run of the winner took{over}")
    store.put(EPOCHS, key, epochs)
    return epochs
