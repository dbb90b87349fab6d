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

from edgenas.engine.alike import pool_as, seconds_as
from edgenas.engine.costing import Costing
from edgenas.engine.counts import counted
from edgenas.engine.events import Listener, RunEnds, TrainingBegins, noting
from edgenas.engine.final import START_LR
from edgenas.engine.plan import written_plan
from edgenas.engine.training_asked import refuse_counts
from edgenas.errors import EdgenasError, StudyError
from edgenas.faces.pixels import Pixels
from edgenas.files import lost
from edgenas.identity import digest
from edgenas.records import Cost, FinalTraining, OnnxArchitecture, Preprocessing, Recipe, Record
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.networks.public import Public
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool, SeedTraining

KIND, FINAL, START_FINAL, EPOCHS = "reference", "reference-final", "start-final", "reference-epochs"
BESIDE = "reference-beside"  # the hash of the winner's weights that a reference's final training stands beside
SAMPLE = 256  # training images from which folded batch norms are put back
Tell = Callable[[str], None]


class Reference(Record, frozen=True):
    """A public network as this study has it. `began`: with the head that its weights have. `weights`: the file, relative to the
    study, that its training starts from; "" = from scratch. `source`: what they were read from, such as a file's name.

    `preprocessing`: how the study's pixels become its input. `pixels`: what a FILE.onnx takes, where that was said.
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
    other_classes: bool = False
    pixels: Pixels | None = None

    @property
    def keeps_head(self) -> bool:
        """Does its training go on with the last layer of its weights, which has the right size and knows no other classes?"""
        from edgenas.networks.fitting import head_is_kept

        began, fitted = self.began.workload.kernels, self.architecture.workload.kernels
        return bool(self.weights) and not self.other_classes and head_is_kept(began, fitted)

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
        refuse_counts(self.seeds, self.epochs, self.workers)


def references_in(store: Store) -> tuple[Reference, ...]:
    """Those of the study, in the order of their names."""
    return tuple(store.all(KIND, Reference).values())


def add_references(store: Store, asked: Sequence[str], task: Task, cost: Costing, pixels: Pixels | None = None) -> None:
    """Put those on record that are not there yet: fitted to `task`, and costed; where a board is given, those that are there are
    measured, too. `pixels`: what the FILE.onnx that is asked for takes; that can be said until it is trained. EdgenasError for
    what cannot be one, and where a file is not what it was."""
    known = store.all(KIND, Reference)
    for name in dict.fromkeys(asked):
        there = known.get(name)
        if there is not None:
            _refuse_another_file(store, name, there.source_sha256)
        if there is None or pixels not in (None, there.pixels):
            _refuse_trained(store, name, there)
            store.put(KIND, name, _reference(store, name, task, cost, pixels))
    for reference in references_in(store):
        if cost.is_better(reference.cost):
            measured = msgspec.structs.replace(reference, cost=cost(reference.architecture))
            store.put(KIND, reference.name, measured)


def _refuse_another_file(store: Store, name: str, sha256: str) -> None:
    from edgenas.networks.public import file_sha256

    if file_sha256(name) not in ("", sha256):
        raise StudyError(
            f"{name} is not the file that {store.folder} has as a reference (its SHA-256 differs): restore it, or give "
            "this one another name"
        )


def _refuse_trained(store: Store, name: str, there: Reference | None) -> None:
    if there is not None and any(store.get(kind, name, FinalTraining) for kind in (FINAL, START_FINAL)):
        raise StudyError(
            f"{name} is trained in {store.folder}, with its input normalised otherwise: give the file another name, or leave out "
            "the mean and the deviation"
        )


def _public(name: str, task: Task, pixels: Pixels | None) -> Public:
    from edgenas.networks.public import public_network

    images = task.train.images
    return public_network(
        name, task.head, task.preprocessing, images[:: -(-len(images) // SAMPLE)], task.classes, pixels
    )


def _kept(store: Store, public: Public) -> tuple[str, str]:
    """The file of its weights, relative to the study, and its SHA-256; "" where it has none."""
    from edgenas.networks.weights import save_tensors

    if public.tensors is None:
        return "", ""
    path, sha256 = save_tensors(public.tensors, store.folder / "weights", "start")
    return f"{path.parent.name}/{path.name}", sha256


def _reference(store: Store, name: str, task: Task, cost_of: Costing, pixels: Pixels | None) -> Reference:
    public = _public(name, task, pixels)
    cost = cost_of(public.architecture)
    file, sha256 = _kept(store, public)
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
        other_classes=public.other_classes,
        pixels=pixels,
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

    started, beside = time.monotonic(), digest(*(run.weights_sha256 for run in winner.runs))
    known = store.get(FINAL, reference.name, FinalTraining)
    known = known if store.get(BESIDE, reference.name, str) == beside else None
    if known is not None and asked.seeds is asked.epochs is None:
        return with_lost_runs_again(store, reference.name, FINAL, task, listener)
    seeds = asked.seeds or len((winner if known is None else known).runs)
    recipe = without_lacking(untaught(winner.recipe), reference.architecture)
    for key in lacking(winner.recipe, reference.architecture):
        noting(listener)(f"warning: {reference.name} has no place for the recipe's {key}: it is trained without")
    if reference.keeps_head:
        recipe = msgspec.structs.replace(recipe, lr=START_LR * recipe.lr)
    own = with_preprocessing(task, reference.preprocessing)
    with pool_as(winner, own, seeds, written_plan(store.study).device, asked.workers) as pool:
        epochs = asked.epochs or (known.recipe.epochs if known is not None else None)
        epochs = epochs or _epochs(store, reference, recipe, winner, pool, noting(listener))
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
        noting(listener)(f"{reference.name}: {counted(seeds, 'seed')}, {min(seeds, pool.size)} at once")
        reference = with_its_weights(store, reference, recipe, seeds, task, noting(listener))
        final = final_runs_of(store, reference, recipe, seeds, pool, listener, (FINAL, started))
    store.put(BESIDE, reference.name, beside)
    return final


def with_its_weights(
    store: Store, reference: Reference, recipe: Recipe, seeds: int, task: Task, tell: Tell
) -> Reference:
    """The reference, with the file that its training goes on from read anew, from what was named, where it is lost and one of
    the seeds is to be trained. `task`: as the study has it. StudyError where what was named is not there either."""
    from edgenas.training.final import why_missing

    path = store.folder / reference.weights
    why = lost(path, reference.weights_sha256) if reference.weights else ""
    if not why or all(why_missing(store, item) is None for item in seeds_of(store, reference, seeds, recipe)):
        return reference
    _refuse_another_file(store, reference.name, reference.source_sha256)
    tell(f"warning: {path} {why}: read again from {reference.name}")
    try:
        public = _public(reference.name, task, reference.pixels)
    except EdgenasError as error:
        raise StudyError(f"{path} {why}, and {error}: restore one of them") from error
    file, sha256 = _kept(store, public)
    if sha256 != reference.weights_sha256:  # folded batch norms that other images gave back: its training is another
        reference = msgspec.structs.replace(reference, weights=file, weights_sha256=sha256)
        store.put(KIND, reference.name, reference)
    return reference


def with_lost_runs_again(store: Store, name: str, kind: str, task: Task, listener: Listener) -> FinalTraining:
    """The final training of a reference or of a start (its `kind` of row), as it is on record; a run whose file of weights is
    lost is trained again, as it was."""
    began, known, reference = time.monotonic(), store.get(kind, name, FinalTraining), store.get(KIND, name, Reference)
    assert known is not None
    if reference is None or not any(lost(store.folder / run.weights, run.weights_sha256) for run in known.runs):
        return known
    recipe, seeds = known.recipe, len(known.runs)
    reference = with_its_weights(store, reference, recipe, seeds, task, noting(listener))
    own = with_preprocessing(task, reference.preprocessing)
    with pool_as(known, own, seeds, written_plan(store.study).device) as pool:
        return final_runs_of(store, reference, recipe, seeds, pool, listener, (kind, began))


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
    from edgenas.training.final import final_runs, why_missing

    kind, started = kept
    task = pool.task
    images = {"train": len(task.train), "val": len(task.val), "test": len(task.test)}
    items = seeds_of(store, reference, seeds, recipe)
    there = sum(why_missing(store, item) is None for item in items)
    listener(TrainingBegins(len(items), task.metric, images, kept=there))
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
    from edgenas.training.start import Start

    architecture, how = reference.architecture, () if reference.pixels is None else (reference.pixels,)
    seed = int(digest(store.study.seed, architecture.fingerprint, recipe, "reference", index, *how)[:12], 16)
    name = f"{digest(architecture, recipe, reference.weights_sha256, *how)}-{index}.safetensors"
    file = store.folder / reference.weights
    start = Start(reference.began, file, reference.weights_sha256) if reference.weights else None
    return SeedTraining(architecture, recipe, seed, store.folder / "weights" / name, start)


def seeds_of(store: Store, reference: Reference, seeds: int, recipe: Recipe) -> list[SeedTraining]:
    """Every seed of its training."""
    return [seed_of(store, reference, recipe, index) for index in range(seeds)]


def _epochs(
    store: Store, reference: Reference, recipe: Recipe, winner: FinalTraining, pool: FinalPool, tell: Tell
) -> int:
    """As many as fit the seconds that a run of the winner took, on this machine; one at least. Remembered, for what goes on."""
    from edgenas.training.final import epochs_within, seconds_of

    device = written_plan(store.study).device
    seconds = seconds_as(winner, device)
    key = digest(reference.architecture, recipe, reference.weights_sha256, seconds)  # however many train at once
    known = store.get(EPOCHS, key, int)
    if known is not None:
        return known
    per_image = pool.seconds_per_image(seed_of(store, reference, recipe, 0))
    epochs = max(1, epochs_within(seconds, pool.task, per_image, 1))
    least = seconds_of(1, pool.task, per_image, 1)
    over = f" (one takes {least:.0f} s)" if least > seconds else ""
    many = f"{epochs} epoch{'s' * (epochs > 1)}"
    unit = "GPU seconds" if device != "cpu" and any(run.processes > 1 for run in winner.runs) else "s"
    tell(f"{reference.name}: {many}, in the {seconds:.0f} {unit} that a run of the winner took{over}")
    store.put(EPOCHS, key, epochs)
    return epochs
