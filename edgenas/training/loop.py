"""The training loop: data on the device, no loader, no synchronisation inside an epoch, on CUDA one graph per step.

On a CPU: channels last (twice as fast for these narrow networks), threads as the recipe says, bitwise repeatable.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgenas.errors import TaskError, TrainingError
from edgenas.image_sizes import square_side
from edgenas.networks import Network, network_from_architecture, output_width
from edgenas.networks.regularised import AuxiliaryLoss, Regularised, regularises
from edgenas.records import Architecture, Preprocessing, Recipe
from edgenas.tasks import Split, Task
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.checkpoint import Checkpoints, Drawing, Part, State
from edgenas.training.memory import give_back_spare_memory, memory_errors
from edgenas.training.mixing import MixedLoss, mixes
from edgenas.training.schedule import learning_rates
from edgenas.training.share import ALONE, Share
from edgenas.training.step import Step
from edgenas.training.teaching import Distillation, TeacherAt, Teaching

EVALUATION_BATCH = {"cpu": 256, "cuda": 4096}  # see evaluation_batch
EVALUATION_SIDE = 64
OnEpoch = Callable[[int, nn.Module], None]


@dataclass(frozen=True)
class TrainingResult:
    """A trained network (the averaged one, where the recipe asks for EMA) and its last epoch on training batches."""

    network: nn.Module
    train_accuracy: float | None  # percent, of augmented images, as they came; None where nothing is right or wrong
    train_loss: float


def train_network(
    network: nn.Module,
    task: Task,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    on_epoch: OnEpoch | None = None,
    teacher: TeacherAt | None = None,
    checkpoints: Checkpoints | None = None,
    share: Share = ALONE,
) -> TrainingResult:
    """Train `network` in place, by labels and where there is one a `teacher`. `on_epoch(epochs done, network to evaluate)` is
    called after every epoch. With `checkpoints` it goes on from the last one, and writes others. `share`: of a training in
    several processes, of which each draws the same for the whole batch and takes its part.

    Raises TrainingError where the loss stops being a number or memory runs out.
    """
    give_back_spare_memory()
    with pinned_threads(share.threads(recipe.threads), device), memory_errors():
        generator = torch.Generator(device).manual_seed(seed)
        data = DeviceImages(task.train, task.preprocessing, device, recipe.crop_padding)
        augmentation = Augmentation(data, recipe, generator)
        teaching = None if teacher is None else Teaching(teacher, task, recipe, augmentation, output_width(network))
        learner = learner_of(network, recipe, seed, min(recipe.batch_size, len(data)))
        share.see_whole_batches(learner or network, device)
        step = Step(
            network, loss_of(task, recipe, output_width(network), seed, teaching), recipe, device, share, learner
        )
        epochs = Epochs(augmentation, teaching, step, recipe, share)
        parts: dict[str, Part] = {"step": step, "drawing": Drawing(generator), "epochs": epochs}
        done = 0 if checkpoints is None else checkpoints.restore(parts)
        for epoch in range(done, recipe.epochs):
            epochs.train(epoch)
            if on_epoch is not None and share.leads:
                on_epoch(epoch + 1, step.averaged)
            if checkpoints is not None and share.leads:
                checkpoints.epoch_ends(epoch + 1)
        return TrainingResult(step.averaged, epochs.accuracy, epochs.loss)


class Epochs:
    """Trains an epoch at a time. loss, accuracy: see TrainingResult, of the last one."""

    def __init__(
        self, augmentation: Augmentation, teaching: Teaching | None, step: Step, recipe: Recipe, share: Share = ALONE
    ) -> None:
        self.augmentation, self.teaching, self.step = augmentation, teaching, step
        self.recipe, self.share = recipe, share
        images = len(augmentation.data)
        self.batch_size = min(recipe.batch_size, images)
        self.seen = images_an_epoch(images, self.batch_size, recipe)
        self.steps = -(-self.seen // self.batch_size)
        self.rates = learning_rates(recipe, self.steps)
        self.loss = 0.0
        self.accuracy: float | None = 0.0

    def train(self, epoch: int) -> None:
        """One epoch, the first being 0. Raises TrainingError where the loss is no number."""
        step = self.step
        step.learner.train()
        step.totals.zero_()
        order = self.augmentation.order()[: self.seen]
        for index in range(self.steps):
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            if isinstance(step.learner, Regularised):
                step.learner.draw(epoch, self.augmentation.generator, self.share.part(len(chosen)))
            rate, weight = self.rates[epoch * self.steps + index], self.share.weight(len(chosen))
            step(*self._batch(chosen, epoch), rate, weight)
        self.share.add_up(step.totals)
        total, correct = step.totals.tolist()  # the epoch's one synchronisation
        self.loss = total / self.steps / self.share.processes
        self.accuracy = 100 * correct / self.seen if step.counts else None
        if not math.isfinite(self.loss):
            raise TrainingError(f"the loss is {self.loss} after epoch {epoch + 1} of {self.recipe.epochs}")

    def _batch(self, chosen: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        part = self.share.part(len(chosen))
        if self.teaching is not None:
            return self.teaching.batch(chosen, epoch, part)
        x, labels = self.augmentation.batch(chosen, epoch)
        return x[part], labels[part]

    def state(self) -> State:
        return State({}, {"loss": self.loss, "accuracy": self.accuracy})

    def restore(self, state: State) -> None:
        self.loss, self.accuracy = state.notes["loss"], state.notes["accuracy"]


def loss_of(task: Task, recipe: Recipe, width: int, seed: int, teaching: Teaching | None = None) -> nn.Module:
    """The task's loss, held to a teacher where there is one; what it learns along (a margin's centres) is drawn from `seed`, as
    the network's weights are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = task.loss(recipe, width)
        loss = MixedLoss(loss, task) if mixes(recipe) else loss
        if teaching is not None:
            loss = Distillation(loss, task, recipe, (width, teaching.width), further=teaching.further is not None)
        return AuxiliaryLoss(loss, recipe.auxiliary) if recipe.auxiliary else loss


def learner_of(network: nn.Module, recipe: Recipe, seed: int, batch_size: int) -> Regularised | None:
    """The network as it is trained, where it is more than itself: its weights besides are drawn from `seed`."""
    if not regularises(recipe):
        return None
    assert isinstance(network, Network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Regularised(network, recipe, batch_size)


def images_an_epoch(images: int, batch_size: int, recipe: Recipe) -> int:
    """How many images an epoch trains on: whole batches, so that shapes stay fixed; where the recipe keeps the last batch all,
    but for a single image that is left over, of which batch norm has no statistics."""
    left_over = images % batch_size
    return images if recipe.partial_batch and left_over != 1 else images - left_over


def fresh_network(architecture: Architecture, seed: int, device: torch.device) -> nn.Module:
    """A network initialised from `seed`, channels last; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_from_architecture(architecture)
    moved: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def evaluation_batch(preprocessing: Preprocessing, device: torch.device) -> int:
    """How many images are evaluated at once: of those up to EVALUATION_SIDE px EVALUATION_BATCH, of larger ones as many pixels,
    and 16 at least."""
    smaller = max(1, square_side(preprocessing.input_size) // EVALUATION_SIDE) ** 2
    return max(16, EVALUATION_BATCH[device.type] // smaller)


@torch.no_grad()
def outputs_of(
    network: nn.Module,
    split: Split,
    preprocessing: Preprocessing,
    device: torch.device,
    threads: int,
    mirror: bool = False,
) -> Tensor:
    """(N, classes or dim) float32: the network in evaluation mode on a whole split, test-time preprocessing.

    `threads` pins a CPU's, so that results do not depend on the process. `mirror` shows the network mirror images.
    """
    network.eval()
    give_back_spare_memory()
    size = evaluation_batch(preprocessing, device)
    with pinned_threads(threads, device), memory_errors():
        data = DeviceImages(split, preprocessing, device)
        batches = (data.pixels(slice(i, i + size)) for i in range(0, len(data), size))
        return torch.cat([network(data.input(batch.flip(2) if mirror else batch)).float() for batch in batches])


def scores_of(network: nn.Module, task: Task, split: Split, device: torch.device, threads: int) -> dict[str, float]:
    """The task's scores on a split. Raises as `scored`."""
    outputs = outputs_of(network, split, task.preprocessing, device, threads)
    return scored(task, outputs, torch.from_numpy(split.labels).to(device))


def scored(task: Task, outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """The task's scores of these outputs: numbers that JSON can hold, its metric among them. Raises TrainingError where one of
    them is not finite, TaskError where the metric is not there."""
    scores = {name: float(value) for name, value in task.scores(outputs, labels).items()}
    if task.metric.name not in scores:
        given = ", ".join(scores) or "nothing"
        raise TaskError(
            f"task {task.name!r}: its scores must hold its metric {task.metric.name!r}, and they hold {given}"
        )
    for name, value in scores.items():
        if not math.isfinite(value):
            raise TrainingError(f"the score {name} is {value}")
    return scores


@contextlib.contextmanager
def pinned_threads(count: int, device: torch.device) -> Iterator[None]:
    """On a CPU exactly `count` threads, so that results and timings do not depend on the process."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(count)
    else:
        torch.backends.cudnn.benchmark = True  # shapes are fixed: choosing once pays
    try:
        yield
    finally:
        torch.set_num_threads(before)
