"""One round's supernet training: weight steps on random networks, fitness steps on pairs of sets, checkpoints between epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from edgenas.architectures.subspace import Fitness, RoundPlan, SupernetRules, without_unfit
from edgenas.errors import DataError, StudyError, TrainingError
from edgenas.identity import digest
from edgenas.records import Recipe
from edgenas.tasks import Task
from edgenas.tasks.splits import stratified
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.schedule import learning_rates
from edgenas.training.share import ALONE, Share
from edgenas.training.step import sgd
from edgenas.training.supernet import FitnessOfCell, Fork, Supernet, draw_path, expected_cost

VERSION = 3  # of the names that a checkpoint's weights have, and of the images that batch norms are measured on


def supernet_rows(labels: NDArray[np.int64], held_out: float, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Rows of the training images for weight steps, fitness steps and scoring. DataError where one of them would have none."""
    rest, held = stratified(labels, held_out, (seed, 61))
    fitness, scoring = (held[rows] for rows in stratified(labels[held], 0.5, (seed, 62)))
    if not (len(rest) and len(fitness) and len(scoring)):
        raise DataError(
            f"--method nse holds out {100 * held_out:g} % of {len(labels)} training images, half to learn which operations "
            f"fit, half to score: {len(fitness)} and {len(scoring)} are too few: give more images, or more held_out under [rules]"
        )
    return rest, fitness, scoring


class SupernetImages:
    """The training split in three parts, on the device: weights (also without augmentation), fitness, scoring."""

    def __init__(self, task: Task, rules: SupernetRules, seed: int, device: torch.device) -> None:
        rest, fitness, scoring = supernet_rows(task.train.labels, rules.held_out, seed)

        def on_device(rows: NDArray[np.int64], crop_padding: int = 0) -> DeviceImages:
            return DeviceImages(task.train, task.preprocessing, device, crop_padding, rows)

        self.weights = on_device(rest, rules.recipe.crop_padding)
        mixed = np.random.default_rng((seed, 63)).permutation(rest)  # a folder's images come class after class
        self.plain, self.fitness, self.scoring = on_device(mixed), on_device(fitness), on_device(scoring)


class SupernetTraining:
    """A supernet, the fitness of its operations, and both optimisers. What an epoch draws comes from (seed, round, epoch)."""

    def __init__(
        self,
        plan: RoundPlan,
        task: Task,
        rules: SupernetRules,
        data: SupernetImages,
        device: torch.device,
        share: Share = ALONE,
    ) -> None:
        """`share`: of a training in several processes, which all draw the same paths and images, and take their parts."""
        self.plan, self.rules, self.data, self.device, self.share = plan, rules, data, device, share
        self.epochs_done = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed(0))
            supernet, self.loss = Supernet(plan), task.loss(rules.recipe).to(device)
        self.supernet: Supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        share.see_whole_batches(self.supernet, device)
        self.learned = nn.ModuleDict({"supernet": self.supernet, "loss": self.loss})
        self.objective = PathObjective(self.supernet, self.loss, rules.recipe)
        # A step leaves out the operations that are not on its path.
        self.gathering = share.gathering(self.objective, device, unused=True)
        self.cells = [FitnessOfCell(kind, ops) for kind, ops in zip(plan.space.kinds, plan.subspace, strict=True)]
        self.optimizer = sgd(list(self.learned.parameters()), rules.recipe, rules.recipe.lr)
        self.adam = torch.optim.Adam([cell.alphas for cell in self.cells], rules.fitness_lr, (0.0, 0.999))
        self.generator = torch.Generator(device).manual_seed(self._seed(0))
        self.augmentation = Augmentation(data.weights, rules.recipe, self.generator)
        self.batch_size = min(rules.recipe.batch_size, len(data.weights))
        self.steps = len(data.weights) // self.batch_size
        self.rates = learning_rates(rules.recipe, self.steps)

    @property
    def name(self) -> str:
        """See training_name."""
        return training_name(self.plan, self.rules)

    def fitness(self) -> Fitness:
        return tuple(cell.values() for cell in self.cells)

    def epoch(self, number: int) -> str:
        """Train for one epoch, the first being 0; a line about it. Raises TrainingError where the loss is no number."""
        self.generator.manual_seed(self._seed(number + 1))
        rng = np.random.default_rng([self.plan.seed, self.plan.number, number])
        total = torch.zeros((), device=self.device)
        fitness_loss = math.nan
        order = self.augmentation.order()[: self.steps * self.batch_size].view(self.steps, self.batch_size)
        held_out = torch.randperm(len(self.data.fitness), generator=self.generator, device=self.device)
        self.supernet.train()
        for index in range(self.steps):
            self._drop_unfit()
            rate = self.rates[number * self.steps + index]
            total += self._weight_step(order[index], number, rate, rng)
            if (index + 1) % self.rules.fitness_every == 0:
                fitness_step = index // self.rules.fitness_every
                fitness_loss = self._fitness_step(self._fitness_batch(held_out, fitness_step), rng)
        self.share.add_up(total)
        loss = total.item() / self.steps / self.share.processes
        if not math.isfinite(loss):
            raise TrainingError(f"the supernet's loss is {loss} in round {self.plan.number}, epoch {number + 1}")
        left = sum(alpha is not None for alphas in self.fitness() for alpha in alphas)
        self.epochs_done = number + 1
        return f"loss {loss:.3f}, fitness loss {fitness_loss:.3f}, {left} operations left"

    def _weight_step(self, indices: Tensor, epoch: int, rate: float, rng: np.random.Generator) -> Tensor:
        path = draw_path(self.plan, self.fitness(), self.rules.keep, rng)
        part, weight = self.share.part(len(indices)), self.share.weight(len(indices))
        x, labels = (whole[part] for whole in self.augmentation.batch(indices, epoch))  # (B, C, H, W), (B,)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = weight * self.gathering(x, labels, path)
        self.optimizer.zero_grad()
        loss.backward()
        if self.rules.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.learned.parameters(), self.rules.recipe.clip_norm)
        self.optimizer.step()
        detached: Tensor = loss.detach()
        return detached

    def _fitness_step(self, batch: tuple[Tensor, Tensor], rng: np.random.Generator) -> float:
        """One step of the fitness alone: the weights take no gradient."""
        forks = [cell.draw_fork(rng) for cell in self.cells]
        self.learned.requires_grad_(False)
        part, weight = self.share.part(len(batch[1])), self.share.weight(len(batch[1]))
        loss: Tensor = weight * self.objective(batch[0][part], batch[1][part], forks)
        self.learned.requires_grad_(True)
        distance = (expected_cost(self.plan, forks) - self.plan.target) / self.plan.target
        whole = loss.to("cpu", torch.float64) + self.rules.cost_weight * distance**2
        self.adam.zero_grad()
        if whole.requires_grad:  # not where every cell is down to one possible set
            whole.backward()  # type: ignore[no-untyped-call]
            self.share.average_gradients([cell.alphas for cell in self.cells], self.device)
            self.adam.step()
        total = whole.detach().to(self.device)
        self.share.add_up(total)
        return float(total.item()) / self.share.processes

    def _fitness_batch(self, order: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Held-out images without augmentation, (B, C, H, W) and (B,); round and round where they are few."""
        data = self.data.fitness
        positions = torch.arange(step * self.batch_size, (step + 1) * self.batch_size, device=self.device)
        chosen = order[positions % len(order)]
        return data.input(data.pixels(chosen)), data.labels[chosen]

    def _drop_unfit(self) -> None:
        for cell, alphas in zip(
            self.cells, without_unfit(self.plan, self.fitness(), self.rules.drop_below), strict=True
        ):
            cell.alive = [alpha is not None for alpha in alphas]

    def _seed(self, epoch: int) -> int:
        return int(digest(self.plan.seed, self.plan.number, epoch)[:12], 16)

    # checkpoints

    def checkpoint(self) -> bytes:
        """Weights, momentum, fitness and its optimiser, as safetensors."""
        tensors = {f"learned.{name}": tensor for name, tensor in self.learned.state_dict().items()}
        for name, parameter in self.learned.named_parameters():
            buffer = self.optimizer.state[parameter].get("momentum_buffer")
            if buffer is not None:  # not where no batch has met this operation yet
                tensors[f"momentum.{name}"] = buffer
        for index, cell in enumerate(self.cells):
            tensors[f"fitness.{index}.alphas"] = cell.alphas.detach()
            tensors[f"fitness.{index}.alive"] = torch.tensor(cell.alive)
            for slot, tensor in self.adam.state[cell.alphas].items():
                tensors[f"fitness.{index}.adam.{slot}"] = tensor
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        return save(contiguous, {"training": self.name, "epochs_done": str(self.epochs_done)})

    def restore(self, checkpoint: bytes, epochs_done: int) -> None:
        """Be where the training that made this checkpoint was, after so many epochs."""
        self.epochs_done = epochs_done
        tensors = load(checkpoint)
        prefix = "learned."
        self.learned.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
        for name, parameter in self.learned.named_parameters():
            if f"momentum.{name}" in tensors:
                buffer = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        for index, cell in enumerate(self.cells):
            cell.alphas.data.copy_(tensors[f"fitness.{index}.alphas"])
            cell.alive = tensors[f"fitness.{index}.alive"].tolist()
            slots = ("step", "exp_avg", "exp_avg_sq")
            if f"fitness.{index}.adam.step" in tensors:
                self.adam.state[cell.alphas] = {
                    slot: tensors[f"fitness.{index}.adam.{slot}"].to("cpu") for slot in slots
                }


class PathObjective(nn.Module):
    """(images, labels, a choice per cell) -> the loss of the network of this choice."""

    def __init__(self, supernet: Supernet, loss: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.supernet, self.loss, self.bf16 = supernet, loss, recipe.precision == "bf16"

    def forward(self, x: Tensor, labels: Tensor, paths: Sequence[tuple[int, ...] | Fork]) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.supernet(x, paths)
        loss: Tensor = self.loss(outputs.float(), labels)[0]
        return loss


def training_name(plan: RoundPlan, rules: SupernetRules) -> str:
    """Of exactly this training: a checkpoint of another one, or of another version, is not used."""
    return digest(plan, rules, VERSION)


def epochs_in(path: Path, name: str) -> int:
    """How many epochs of the training of this name the checkpoint at `path` holds; 0 where there is none. StudyError where it is
    no checkpoint."""
    if not path.exists():
        return 0
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            return int(metadata["epochs_done"]) if metadata["training"] == name else 0
    except (SafetensorError, KeyError, ValueError) as error:
        raise StudyError(f"{path} is damaged ({error}): remove it, and its round starts over") from error


def fitness_in(checkpoint: bytes, plan: RoundPlan) -> Fitness:
    """Of every cell the fitness of its operations; None for those that were dropped."""
    tensors = load(checkpoint)
    cells = [(tensors[f"fitness.{i}.alphas"], tensors[f"fitness.{i}.alive"]) for i in range(len(plan.subspace))]
    return tuple(
        tuple(value if there else None for value, there in zip(alphas.tolist(), alive.tolist(), strict=True))
        for alphas, alive in cells
    )
